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
}

/// Offsets of a tensor's payload.
#[derive(Clone, Default)]
pub struct Placed {
    /// Start of the payload.
    pub begin: usize,
    /// End of the payload.
    pub end: usize,
    /// Data of a raw tensor.
    pub data: Range<usize>,
    /// Start of a raw tensor's block checksums.
    pub checksums: usize,
    /// Start of a coded tensor's record ends.
    pub record_ends: usize,
    /// Records of a coded tensor.
    pub records: Vec<Range<usize>>,
    /// Sign-mantissa bytes of each chunk of a coded tensor.
    pub chunks: Vec<Range<usize>>,
}

impl Forge {
    /// A forge of a file with these offsets.
    pub fn new(
        bytes: Vec<u8>,
        tensors: Vec<Placed>,
        directory_length: usize,
        source_length: usize,
    ) -> Forge {
        let directory = 64..64 + directory_length;
        let source = directory.end..directory.end + source_length;
        Forge {
            bytes,
            tensors,
            directory,
            source,
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

    /// Extent of the directory.
    pub fn directory(&self) -> Range<usize> {
        self.directory.clone()
    }

    /// Offset of a field of directory entry `number`; fields are those of [`layout::entry`].
    pub fn entry(&self, number: usize, field: u64) -> usize {
        64 + 48 * number + field as usize
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

    /// Updates every checksum except those of whole tensors: records, raw blocks, source section,
    /// directory and header.
    pub fn stamp(mut self) -> Forge {
        for tensor in &self.tensors {
            for (record, chunk) in tensor.records.iter().zip(&tensor.chunks) {
                let chunk = self.bytes[chunk.clone()].to_vec();
                record::stamp(&mut self.bytes[record.clone()], &chunk);
            }
            for (number, block) in tensor.data.clone().step_by(65_536).enumerate() {
                let end = tensor.data.end.min(block + 65_536);
                let checksum = crc32(&self.bytes[block..end]);
                self.bytes[tensor.checksums + 4 * number..][..4]
                    .copy_from_slice(&checksum.to_le_bytes());
            }
        }
        let source = crc32(&self.bytes[self.source.clone()]);
        self.put_u32(layout::file_header::SOURCE_CHECKSUM as usize, source)
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
