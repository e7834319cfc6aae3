//! Changes in a valid file whose checksums are made right again, so that the rule behind the
//! checksum has to find the change.

use unweight_format::layout::{self, file_header, record};
use unweight_format::{Directory, Extent, FileHeader, Payload, crc32};

/// The two tensors of [`crate::model::small`], compressed.
pub(crate) struct Small(pub(crate) Vec<u8>);

/// Extents in a file that belong to a coded tensor of one chunk.
pub(crate) struct Coded {
    pub(crate) sign_mantissa: Extent,
    pub(crate) record: Extent,
}

impl Small {
    pub(crate) fn set(&mut self, offset: u64, bytes: &[u8]) {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn flip(&mut self, offset: u64, bits: u8) {
        self.0[offset as usize] ^= bits;
    }

    pub(crate) fn u64_at(&self, offset: u64) -> u64 {
        u64::from_le_bytes(self.0[offset as usize..][..8].try_into().unwrap())
    }

    /// Offset of a field in the directory's entry `number`.
    pub(crate) fn entry(&self, number: u64, field: u64) -> u64 {
        layout::FILE_HEADER_BYTES + number * layout::ENTRY_BYTES + field
    }

    pub(crate) fn source(&self) -> Extent {
        FileHeader::parse(&self.0).unwrap().source()
    }

    pub(crate) fn coded(&self) -> Coded {
        let header = FileHeader::parse(&self.0).unwrap();
        let directory = header.directory().of(&self.0).unwrap();
        let directory = Directory::parse(&header, directory).unwrap();
        let tensor = directory.find("w").unwrap();
        let Payload::Coded(planes) = tensor.payload() else {
            panic!("w is raw")
        };
        assert_eq!(planes.chunk_count(), 1);
        Coded {
            sign_mantissa: planes.sign_mantissa(),
            record: planes.records(),
        }
    }

    /// Makes the checksum of the one record right.
    pub(crate) fn stamp_record(&mut self, coded: &Coded) {
        let checked = &coded.record.of(&self.0).unwrap()[layout::RECORD_CHECKED_FROM..];
        let checked = [checked, coded.sign_mantissa.of(&self.0).unwrap()].concat();
        let checksum = crc32(&checked).to_le_bytes();
        self.set(coded.record.offset + record::CHECKSUM, &checksum);
    }

    /// Makes the checksums of source section, directory and header right.
    pub(crate) fn stamp(&mut self) {
        let directory = layout::FILE_HEADER_BYTES;
        let source = directory + self.u64_at(file_header::DIRECTORY_LENGTH);
        let end = source + self.u64_at(file_header::SOURCE_LENGTH);
        let checksum_of = |file: &Small, start: u64, end: u64| {
            crc32(&file.0[start as usize..end as usize]).to_le_bytes()
        };
        let checksum = checksum_of(self, directory, source);
        self.set(file_header::DIRECTORY_CHECKSUM, &checksum);
        let checksum = checksum_of(self, source, end);
        self.set(file_header::SOURCE_CHECKSUM, &checksum);
        self.stamp_header();
    }

    /// Makes the checksum of the header right.
    pub(crate) fn stamp_header(&mut self) {
        let checksum = crc32(&self.0[..layout::FILE_HEADER_CHECKED_BYTES]).to_le_bytes();
        self.set(file_header::HEADER_CHECKSUM, &checksum);
    }
}
