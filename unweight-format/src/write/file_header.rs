//! The file header's bytes (section 3.1).

use alloc::vec::Vec;

use crate::layout;
use crate::source_kind::SourceKind;

/// Fields of a file header.
pub(super) struct FileHeaderFields {
    pub(super) tensor_count: u32,
    pub(super) file_length: u64,
    pub(super) directory_length: u64,
    pub(super) source_length: u64,
    pub(super) directory_checksum: u32,
    pub(super) source_checksum: u32,
    pub(super) extension_length: u32,
    pub(super) extension_checksum: u32,
    pub(super) source_kind: SourceKind,
}

impl FileHeaderFields {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(layout::FILE_HEADER_BYTES as usize);
        bytes.extend(layout::MAGIC);
        bytes.extend(layout::MAJOR_VERSION.to_le_bytes());
        bytes.extend(layout::MINOR_VERSION.to_le_bytes());
        bytes.extend(self.tensor_count.to_le_bytes());
        bytes.extend(self.file_length.to_le_bytes());
        bytes.extend(self.directory_length.to_le_bytes());
        bytes.extend(self.source_length.to_le_bytes());
        bytes.extend(self.directory_checksum.to_le_bytes());
        bytes.extend(self.source_checksum.to_le_bytes());
        bytes.extend(self.extension_length.to_le_bytes());
        bytes.extend(self.extension_checksum.to_le_bytes());
        bytes.push(self.source_kind.code());
        bytes.resize(layout::FILE_HEADER_CHECKED_BYTES, 0);
        bytes.extend(crate::crc32(&bytes).to_le_bytes());
        bytes
    }
}
