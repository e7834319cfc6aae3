//! Changes in a valid file whose checksums are made right again, so that the rule behind the
//! checksum has to find the change.

use unweight_format::{CodedPlanes, Extent, FileHeader, layout};
use unweight_testkit::{coded_planes, repair_checksums};

/// The two tensors of [`crate::model::small`], compressed.
pub(crate) struct Small(pub(crate) Vec<u8>);

impl Small {
    pub(crate) fn set(&mut self, offset: u64, bytes: &[u8]) {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn flip(&mut self, offset: u64, bits: u8) {
        self.0[offset as usize] ^= bits;
    }

    /// Offset of a field in the directory's entry `number`.
    pub(crate) fn entry(&self, number: u64, field: u64) -> u64 {
        layout::FILE_HEADER_BYTES + number * layout::ENTRY_BYTES + field
    }

    pub(crate) fn source(&self) -> Extent {
        FileHeader::parse(&self.0).unwrap().source()
    }

    /// The coded tensor, which has one chunk, so that its plane of records is one record.
    pub(crate) fn coded(&self) -> CodedPlanes {
        let [planes] = coded_planes(&self.0)[..] else {
            panic!("w is raw, or b is coded")
        };
        assert_eq!(planes.chunk_count(), 1);
        planes
    }

    /// Makes all checksums right except those of tensors.
    pub(crate) fn stamp(&mut self) {
        repair_checksums(&mut self.0);
    }
}
