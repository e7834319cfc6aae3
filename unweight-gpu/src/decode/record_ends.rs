//! Checked record ends for upload to the device.

use unweight_format::{CodedPlanes, RecordEnds};

use super::job::longest_record_bytes;
use crate::GpuError;

/// The record ends of a tensor, checked for the rules `record-ends` and `record-too-long`. They are
/// the only part of a payload that kernels follow without a check.
///
/// It owns a copy, so the checked values are the uploaded ones. The payload may be in memory that
/// changes meanwhile, such as a mapped file or memory shared with another process.
#[derive(Debug)]
pub(crate) struct CheckedRecordEnds {
    bytes: Vec<u8>,
    longest_record_bytes: u64,
}

impl CheckedRecordEnds {
    /// Copies the plane of record ends and checks the copy.
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`.
    pub(crate) fn copy(planes: &CodedPlanes, plane: &[u8]) -> Result<CheckedRecordEnds, GpuError> {
        let bytes = plane.to_vec();
        let ends = RecordEnds::parse(planes, &bytes)?;
        Ok(CheckedRecordEnds {
            longest_record_bytes: longest_record_bytes(planes, &ends),
            bytes,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of the longest record in bytes.
    pub(crate) const fn longest_record_bytes(&self) -> u64 {
        self.longest_record_bytes
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use unweight_cpu::reference::{ExponentCounts, TensorPlan, encode_weights};
    use unweight_format::write::{ContainerWriter, Declaration};
    use unweight_format::{Directory, Dtype, Encoding, FileHeader, Payload, Rule, SourceKind};

    use super::*;

    /// Returns a tensor's planes and its plane of record ends.
    fn tensor() -> (CodedPlanes, Vec<u8>) {
        let weights: Vec<bf16> = (0..20_000u32)
            .map(|number| bf16::from_f32(number.wrapping_mul(2_654_435_761) as f32 * 1e-11))
            .collect();
        let shape = [weights.len() as u64];
        let declared = vec![Declaration::new("w", Dtype::Bf16, &shape)];
        let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        let mut counts = ExponentCounts::default();
        counts.add_weights(&weights);
        let plan = TensorPlan::new(&counts, Encoding::Huffman);
        let mut coded = writer.coded(plan.parameters(12)).unwrap();
        for chunk in weights.chunks(1 << 12) {
            let (mut sign_mantissa, mut record) = (vec![], vec![]);
            encode_weights(&plan, chunk, &mut sign_mantissa, &mut record);
            coded.chunk(&sign_mantissa, &record).unwrap();
        }
        // No test decodes the payload.
        let tensor_checksum = 0;
        coded.finish(tensor_checksum).unwrap();
        let file = writer.finish().unwrap();
        let header = FileHeader::parse(&file).unwrap();
        let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
        let tensor = directory.tensor(0).unwrap();
        let Payload::Coded(planes) = tensor.payload() else {
            panic!("raw")
        };
        (*planes, planes.record_ends().of(&file).unwrap().to_vec())
    }

    #[test]
    fn what_was_checked_does_not_change_with_the_payload() {
        let (planes, mut plane) = tensor();
        let before = plane.clone();
        let ends = CheckedRecordEnds::copy(&planes, &plane).unwrap();
        plane.fill(0xff);
        assert_eq!(ends.bytes(), before);
        let of_device = RecordEnds::parse(&planes, ends.bytes()).unwrap();
        let longest = longest_record_bytes(&planes, &of_device);
        assert_eq!(ends.longest_record_bytes(), longest);
        let error = CheckedRecordEnds::copy(&planes, &plane).unwrap_err();
        assert!(matches!(error, GpuError::Rule(error) if error.rule == Rule::RecordEnds));
    }
}
