//! The parts of a payload that kernels trust, checked for upload to the device.

use std::ops::Range;

use unweight_format::{Palettes, Payload, RecordEnds, Tensor};

use super::job::longest_records_bytes;
use crate::GpuError;

/// The palettes and record ends of a tensor, checked for the rules `palette-crc`, `palette-values`,
/// `record-ends` and `record-too-long`. They are the only parts of a payload that kernels use
/// without a check.
///
/// It owns a copy, so the checked values are the uploaded ones. The payload may be in memory that
/// changes meanwhile, such as a mapped file or memory shared with another process.
#[derive(Debug)]
pub(crate) struct CheckedParts {
    bytes: Vec<u8>,
    palettes: Palettes,
    longest_records_bytes: u64,
}

impl CheckedParts {
    /// The place of both parts in a payload. They follow one another.
    pub(crate) fn range(payload: &Payload) -> Range<usize> {
        let (palettes, ends) = (payload.palettes(), payload.record_ends());
        let place = |offset: u64| (offset - payload.start()) as usize;
        place(palettes.offset)..place(ends.end())
    }

    /// Copies both parts, and checks the copy. `bytes` are those at [`CheckedParts::range`].
    ///
    /// # Errors
    /// `palette-crc`, `palette-values`, `record-ends`, `record-too-long`.
    pub(crate) fn copy(tensor: &Tensor<'_>, bytes: &[u8]) -> Result<CheckedParts, GpuError> {
        let (bytes, payload) = (bytes.to_vec(), tensor.payload());
        let (palettes, ends) = bytes.split_at(payload.palettes().length as usize);
        let palettes = Palettes::parse(tensor, palettes)?;
        let longest_records_bytes = match payload.forms().is_coded() {
            true => longest_records_bytes(payload, &RecordEnds::parse(payload, ends)?),
            false => 0,
        };
        Ok(CheckedParts {
            longest_records_bytes,
            palettes,
            bytes,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) const fn palettes(&self) -> &Palettes {
        &self.palettes
    }

    /// The length in bytes of a chunk's records, the longest of the tensor.
    pub(crate) const fn longest_records_bytes(&self) -> u64 {
        self.longest_records_bytes
    }
}

#[cfg(test)]
mod tests {
    use unweight_format::write::{ContainerWriter, Declaration};
    use unweight_format::{Directory, Dtype, Encoding, FileHeader, Palette, Rule, SourceKind};

    use super::*;

    /// Returns a file with a tensor of two chunks. No test decodes its records.
    fn file() -> Vec<u8> {
        let shape = [(1 << 12) + 5];
        let declared = vec![Declaration::new("w", Dtype::Bf16, &shape)];
        let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        let palettes = Palettes::raw(Dtype::Bf16)
            .with_coded(0, Encoding::Huffman, Palette::lowest(8))
            .unwrap();
        let mut coded = writer.coded(&palettes, 12).unwrap();
        coded.chunk(&[7; 1 << 12], &[&[0; 64]]).unwrap();
        coded.chunk(&[7; 5], &[&[0; 32]]).unwrap();
        coded.finish(0).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_was_checked_does_not_change_with_the_payload() {
        let file = file();
        let header = FileHeader::parse(&file).unwrap();
        let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
        let tensor = directory.tensor(0).unwrap();
        let payload = tensor.payload().extent().of(&file).unwrap();
        let mut bytes = payload[CheckedParts::range(tensor.payload())].to_vec();
        let before = bytes.clone();
        let parts = CheckedParts::copy(&tensor, &bytes).unwrap();
        let rejected = |bytes: &[u8]| match CheckedParts::copy(&tensor, bytes) {
            Err(GpuError::Rule(error)) => error.rule,
            other => panic!("{other:?}"),
        };
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(rejected(&bytes), Rule::RecordEnds);
        bytes.fill(0xff);
        assert_eq!(rejected(&bytes), Rule::PaletteCrc);
        assert_eq!(parts.bytes(), before);
        assert_eq!(parts.longest_records_bytes(), 64);
        assert_eq!(parts.palettes().coded(0), Some(&Palette::lowest(8)));
    }
}
