//! The file header (section 3.1).

use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::{self, file_header as field};
use crate::limits;
use crate::parse::RawFileHeader;
use crate::source_kind::SourceKind;
use crate::validate::require_zero;

/// A file header that keeps every rule of section 3.1, except those that need the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FileHeader {
    minor_version: u16,
    tensor_count: u32,
    file_length: u64,
    directory_length: u64,
    source_length: u64,
    directory_checksum: u32,
    source_checksum: u32,
    extension_length: u32,
    extension_checksum: u32,
    source_kind: SourceKind,
}

impl FileHeader {
    /// Parses the header of a file that begins with `bytes`. The first 64 suffice, more may follow.
    ///
    /// # Errors
    /// The rules of section 3.1. The rules on the file's length are checked as far as possible:
    /// `file-truncated` if there are fewer than 64 bytes, and `file-length` if the stated length is
    /// too small for directory, source and extensions.
    pub fn parse(bytes: &[u8]) -> Result<FileHeader, Error> {
        let begins = bytes.iter().zip(layout::MAGIC);
        if let Some(at) = begins.into_iter().position(|(&byte, magic)| byte != magic) {
            return Err(Error::new(
                Rule::FileMagic,
                at as u64,
                bytes[at].into(),
                Expected::Exactly(layout::MAGIC[at].into()),
            ));
        }
        let Some(raw) = RawFileHeader::parse(bytes) else {
            return Err(truncated(bytes.len() as u64, layout::FILE_HEADER_BYTES));
        };
        let require = |met: bool, rule, offset, found, expected| match met {
            true => Ok(()),
            false => Err(Error::new(rule, offset, found, expected)),
        };

        require(
            raw.major_version == layout::MAJOR_VERSION,
            Rule::FileVersion,
            field::MAJOR_VERSION,
            raw.major_version.into(),
            Expected::Exactly(layout::MAJOR_VERSION.into()),
        )?;
        Error::unless_checksum(
            Rule::FileHeaderCrc,
            field::HEADER_CHECKSUM,
            crate::crc32(&bytes[..layout::FILE_HEADER_CHECKED_BYTES]),
            raw.header_checksum,
        )?;
        require_zero(Rule::FileReserved, &raw.reserved, field::RESERVED)?;

        require(
            raw.tensor_count <= limits::TENSORS,
            Rule::LimitTensors,
            field::TENSOR_COUNT,
            raw.tensor_count.into(),
            Expected::AtMost(limits::TENSORS.into()),
        )?;
        require(
            raw.directory_length <= limits::DIRECTORY_BYTES,
            Rule::LimitDirectory,
            field::DIRECTORY_LENGTH,
            raw.directory_length,
            Expected::AtMost(limits::DIRECTORY_BYTES),
        )?;
        require(
            raw.source_length <= limits::SOURCE_BYTES,
            Rule::LimitSource,
            field::SOURCE_LENGTH,
            raw.source_length,
            Expected::AtMost(limits::SOURCE_BYTES),
        )?;
        require(
            raw.extension_length <= limits::EXTENSION_BYTES,
            Rule::LimitExtensions,
            field::EXTENSION_LENGTH,
            raw.extension_length.into(),
            Expected::AtMost(limits::EXTENSION_BYTES.into()),
        )?;

        let source_kind = SourceKind::from_code(raw.source_kind).ok_or(Error::new(
            Rule::SourceKind,
            field::SOURCE_KIND,
            raw.source_kind.into(),
            Expected::Words("a source kind of this version"),
        ))?;
        let (fits, expected) = match source_kind {
            SourceKind::None => (raw.source_length == 0, Expected::Exactly(0)),
            SourceKind::Safetensors => (
                raw.source_length >= layout::SAFETENSORS_LENGTH_BYTES,
                Expected::AtLeast(layout::SAFETENSORS_LENGTH_BYTES),
            ),
        };
        require(
            fits,
            Rule::SourceLength,
            field::SOURCE_LENGTH,
            raw.source_length,
            expected,
        )?;

        let header = FileHeader {
            minor_version: raw.minor_version,
            tensor_count: raw.tensor_count,
            file_length: raw.file_length,
            directory_length: raw.directory_length,
            source_length: raw.source_length,
            directory_checksum: raw.directory_checksum,
            source_checksum: raw.source_checksum,
            extension_length: raw.extension_length,
            extension_checksum: raw.extension_checksum,
            source_kind,
        };
        let shortest = header.payload_start() + layout::GUARD_BYTES;
        require(
            raw.file_length >= shortest,
            Rule::FileLength,
            field::FILE_LENGTH,
            raw.file_length,
            Expected::AtLeast(shortest),
        )?;
        Ok(header)
    }

    /// Compares the stated file length with the true one, in bytes.
    ///
    /// # Errors
    /// `file-truncated` or `file-trailing`.
    pub fn require_file_length(&self, true_length: u64) -> Result<(), Error> {
        if true_length < self.file_length {
            return Err(truncated(true_length, self.file_length));
        }
        if true_length > self.file_length {
            return Err(Error::new(
                Rule::FileTrailing,
                self.file_length,
                true_length,
                Expected::Exactly(self.file_length),
            ));
        }
        Ok(())
    }

    /// Checks the bytes of the source section.
    ///
    /// # Errors
    /// `source-crc`.
    pub fn require_source_checksum(&self, source: &[u8]) -> Result<(), Error> {
        Error::unless_checksum(
            Rule::SourceCrc,
            field::SOURCE_CHECKSUM,
            crate::crc32(source),
            self.source_checksum,
        )
    }

    /// The minor version of the file.
    pub const fn minor_version(&self) -> u16 {
        self.minor_version
    }

    /// Number of tensors.
    pub const fn tensor_count(&self) -> u32 {
        self.tensor_count
    }

    /// File length in bytes, as stated.
    pub const fn file_length(&self) -> u64 {
        self.file_length
    }

    /// Extent of the directory.
    pub const fn directory(&self) -> Extent {
        Extent {
            offset: layout::FILE_HEADER_BYTES,
            length: self.directory_length,
        }
    }

    /// Extent of the source section.
    pub const fn source(&self) -> Extent {
        Extent {
            offset: self.directory().end(),
            length: self.source_length,
        }
    }

    /// Extent of the extensions.
    pub const fn extensions(&self) -> Extent {
        Extent {
            offset: self.source().end(),
            length: self.extension_length as u64,
        }
    }

    /// Kind of the file that was compressed.
    pub const fn source_kind(&self) -> SourceKind {
        self.source_kind
    }

    /// The file offset *P0* where the payload begins (section 3).
    pub const fn payload_start(&self) -> u64 {
        // The limits keep all lengths far below 2^64.
        self.extensions()
            .end()
            .next_multiple_of(layout::PAYLOAD_ALIGNMENT)
    }

    /// The padding before *P0*.
    pub const fn padding(&self) -> Extent {
        let offset = self.extensions().end();
        Extent {
            offset,
            length: self.payload_start() - offset,
        }
    }

    pub(crate) const fn directory_checksum(&self) -> u32 {
        self.directory_checksum
    }

    pub(crate) const fn extension_checksum(&self) -> u32 {
        self.extension_checksum
    }
}

pub(crate) fn truncated(found: u64, needed: u64) -> Error {
    Error::new(Rule::FileTruncated, found, found, Expected::AtLeast(needed))
}
