//! Changes in a valid file whose checksums are made right again, so that the rule behind the
//! checksum has to find the change.

use unweight_format::{Extent, FileHeader, Payload, layout};
use unweight_testkit::{coded_payloads, repair_checksums};

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

    /// The payload of the coded tensor, which has one record.
    pub(crate) fn coded(&self) -> Payload {
        let [payload] = coded_payloads(&self.0)[..] else {
            panic!("w is raw, or b is coded")
        };
        assert_eq!(payload.record_count(), 1);
        payload
    }

    /// Makes all checksums right except those of tensors.
    pub(crate) fn stamp(&mut self) {
        repair_checksums(&mut self.0);
    }
}
