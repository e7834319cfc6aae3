//! Changes bytes of a valid file and updates every checksum, so that only the intended rule is
//! broken.
//!
//! A forge keeps the offsets of its draft; edits do not move them.

use std::ops::Range;

use unweight_format::{crc32, layout};

use crate::record;

/// A file that is being changed.
#[derive(Clone)]
pub struct Forge {
    bytes: Vec<u8>,
    tensors: Vec<Placed>,
    directory: Range<usize>,
    source: Range<usize>,
    extensions: Range<usize>,
}

/// Offsets of a tensor's payload.
#[derive(Clone, Default)]
pub struct Placed {
    /// Start of the payload.
    pub begin: usize,
    /// End of the payload.
    pub end: usize,
    /// The plain plane.
    pub plain: Range<usize>,
    /// Start of the block checksums.
    pub checksums: usize,
    /// Number of block checksums.
    pub blocks: usize,
    /// The palettes.
    pub palettes: Range<usize>,
    /// Start of the record ends.
    pub record_ends: usize,
    /// The records, chunk by chunk.
    pub records: Vec<Range<usize>>,
    /// For each record the bytes of the plain plane that its checksum covers.
    pub covered: Vec<Range<usize>>,
}

impl Forge {
    /// A forge of a file with these offsets.
    pub fn new(
        bytes: Vec<u8>,
        tensors: Vec<Placed>,
        directory_length: usize,
        source_length: usize,
        extension_length: usize,
    ) -> Forge {
        let directory = 64..64 + directory_length;
        let source = directory.end..directory.end + source_length;
        let extensions = source.end..source.end + extension_length;
        Forge {
            bytes,
            tensors,
            directory,
            source,
            extensions,
        }
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The length of the file.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Offsets of tensor `number`.
    pub fn tensor(&self, number: usize) -> &Placed {
        &self.tensors[number]
    }

    /// Extent of the source section.
    pub fn source(&self) -> Range<usize> {
        self.source.clone()
    }

    /// Extent of the extensions.
    pub fn extensions(&self) -> Range<usize> {
        self.extensions.clone()
    }

    /// Extent of the directory.
    pub fn directory(&self) -> Range<usize> {
        self.directory.clone()
    }

    /// Offset of a field of directory entry `number`; fields are those of [`layout::entry`].
    pub fn entry(&self, number: usize, field: u64) -> usize {
        64 + 40 * number + field as usize
    }

    /// Writes `bytes` at `at`.
    pub fn put(mut self, at: usize, bytes: &[u8]) -> Forge {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Writes a number of 16 bits.
    pub fn put_u16(self, at: usize, value: u16) -> Forge {
        self.put(at, &value.to_le_bytes())
    }

    /// Writes a number of 32 bits.
    pub fn put_u32(self, at: usize, value: u32) -> Forge {
        self.put(at, &value.to_le_bytes())
    }

    /// Writes a number of 64 bits.
    pub fn put_u64(self, at: usize, value: u64) -> Forge {
        self.put(at, &value.to_le_bytes())
    }

    /// Changes bits of the byte at `at`.
    pub fn flip(mut self, at: usize, bits: u8) -> Forge {
        self.bytes[at] ^= bits;
        self
    }

    /// The number of 64 bits at `at`.
    pub fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    /// The number of 32 bits at `at`.
    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("4 bytes"))
    }

    /// Truncates the file.
    pub fn cut(mut self, length: usize) -> Forge {
        self.bytes.truncate(length);
        self
    }

    /// Appends `bytes`.
    pub fn append(mut self, bytes: &[u8]) -> Forge {
        self.bytes.extend(bytes);
        self
    }

    /// Writes the file's true length into the file header.
    pub fn state_length(self) -> Forge {
        let length = self.bytes.len() as u64;
        self.put_u64(layout::file_header::FILE_LENGTH as usize, length)
    }

    /// Writes another length of the directory. Its checksum then covers that many bytes.
    pub fn state_directory_length(mut self, length: usize) -> Forge {
        self.directory.end = self.directory.start + length;
        self.put_u64(
            layout::file_header::DIRECTORY_LENGTH as usize,
            length as u64,
        )
    }

    /// Writes another length of the source section. Its checksum then covers that many bytes.
    pub fn state_source_length(mut self, length: usize) -> Forge {
        self.source.end = self.source.start + length;
        self.put_u64(layout::file_header::SOURCE_LENGTH as usize, length as u64)
    }

    /// Writes another length of the extensions. Their checksum then covers that many bytes.
    pub fn state_extension_length(mut self, length: usize) -> Forge {
        self.extensions.end = self.extensions.start + length;
        self.put_u32(
            layout::file_header::EXTENSION_LENGTH as usize,
            length as u32,
        )
    }

    /// Updates every checksum except those of whole tensors: records, blocks, palettes, source
    /// section, extensions, directory and header.
    pub fn stamp(mut self) -> Forge {
        for (number, tensor) in self.tensors.clone().into_iter().enumerate() {
            for (record, covered) in tensor.records.iter().zip(&tensor.covered) {
                let covered = self.bytes[covered.clone()].to_vec();
                record::stamp(&mut self.bytes[record.clone()], &covered);
            }
            for block in 0..tensor.blocks {
                let start = tensor.plain.start + 65_536 * block;
                let end = tensor.plain.end.min(start + 65_536);
                let checksum = crc32(&self.bytes[start..end]);
                self = self.put_u32(tensor.checksums + 4 * block, checksum);
            }
            if !tensor.palettes.is_empty() {
                let checksum = crc32(&self.bytes[tensor.palettes]);
                let at = self.entry(number, layout::entry::PALETTE_CHECKSUM);
                self = self.put_u32(at, checksum);
            }
        }
        let source = crc32(&self.bytes[self.source.clone()]);
        let extensions = crc32(&self.bytes[self.extensions.clone()]);
        self.put_u32(layout::file_header::SOURCE_CHECKSUM as usize, source)
            .put_u32(layout::file_header::EXTENSION_CHECKSUM as usize, extensions)
            .stamp_directory()
    }

    /// Updates the checksums of the directory and the header.
    pub fn stamp_directory(self) -> Forge {
        let directory = crc32(&self.bytes[self.directory.clone()]);
        self.put_u32(layout::file_header::DIRECTORY_CHECKSUM as usize, directory)
            .stamp_header()
    }

    /// Updates the checksum of the header.
    pub fn stamp_header(self) -> Forge {
        let header = crc32(&self.bytes[..60]);
        self.put_u32(layout::file_header::HEADER_CHECKSUM as usize, header)
    }
}
