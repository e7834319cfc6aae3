//! The kernels' view of a tensor to be split. It mirrors `SplitJob` in `kernels/abi/split_job.cuh`.

#![expect(unsafe_code, reason = "a layout that is shared with kernels")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;
use unweight_format::layout::FIELDS;
use unweight_format::{Field, Form, Forms};

use crate::decode::job::JobField;

/// A tensor to be split into its plain plane and the values of its coded fields. Pointers are
/// device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SplitJob {
    /// Address of the weights: a multiple of 16.
    pub weights: u64,
    /// The number of weights.
    pub weight_count: u64,
    /// Address of the plain plane.
    pub plain: u64,
    /// Bytes of the plain plane and of the zeros that complete it.
    pub plain_limit: u64,
    /// Address of 4 bytes for each chunk; 0 without coded fields.
    pub plain_remainders: u64,
    /// Addresses of the values of the coded fields.
    pub values: [u64; FIELDS],
    /// Address of the palettes in the payload.
    pub palettes: u64,
    /// The values of constant fields, by the number of the palette.
    pub constants: [u8; FIELDS],
    /// The index of its first chunk in the launch.
    pub first_chunk: u32,
    /// The number of its chunks.
    pub chunk_count: u32,
    /// Binary logarithm of the chunk size, 12 to 16.
    pub chunk_size_log2: u8,
    /// Bytes of a weight.
    pub weight_bytes: u8,
    /// Plain bits of a weight.
    pub plain_bits: u8,
    /// The number of coded fields.
    pub coded_count: u8,
    run_count: u8,
    constant_palettes: u8,
    unused: [u8; 2],
    fields: [JobField; FIELDS],
    runs: [PlainRun; FIELDS + 1],
    unused_end: u32,
}

/// Consecutive plain bits of a weight, and their place in the plain value.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PlainRun {
    low: u8,
    width: u8,
    to: u8,
    unused: u8,
}

// SAFETY: the fields are plain numbers without padding, at the offsets of the kernels' structure
// (asserted below and in its file).
unsafe impl DeviceRepr for SplitJob {}

const _: () = {
    assert!(offset_of!(SplitJob, weights) == 0);
    assert!(offset_of!(SplitJob, weight_count) == 8);
    assert!(offset_of!(SplitJob, plain) == 16);
    assert!(offset_of!(SplitJob, plain_limit) == 24);
    assert!(offset_of!(SplitJob, plain_remainders) == 32);
    assert!(offset_of!(SplitJob, values) == 40);
    assert!(offset_of!(SplitJob, palettes) == 104);
    assert!(offset_of!(SplitJob, constants) == 112);
    assert!(offset_of!(SplitJob, first_chunk) == 120);
    assert!(offset_of!(SplitJob, chunk_count) == 124);
    assert!(offset_of!(SplitJob, chunk_size_log2) == 128);
    assert!(offset_of!(SplitJob, weight_bytes) == 129);
    assert!(offset_of!(SplitJob, plain_bits) == 130);
    assert!(offset_of!(SplitJob, coded_count) == 131);
    assert!(offset_of!(SplitJob, run_count) == 132);
    assert!(offset_of!(SplitJob, constant_palettes) == 133);
    assert!(offset_of!(SplitJob, fields) == 136);
    assert!(offset_of!(SplitJob, runs) == 168);
    assert!(size_of::<SplitJob>() == 208);
};

impl SplitJob {
    /// A job for a tensor with these forms, and with these values of constant fields at their
    /// places in a weight. Addresses, weights and chunks must be filled in.
    pub fn new(forms: Forms, constant_bits: u64) -> SplitJob {
        let mut job = SplitJob {
            weight_bytes: forms.dtype().weight_bytes() as u8,
            plain_bits: forms.plain_bits() as u8,
            coded_count: forms.coded_count() as u8,
            ..SplitJob::default()
        };
        for coded in forms.coded() {
            job.fields[coded.number] = job_field(coded.field);
        }
        let stored = forms.iter().filter(|(_, form)| *form != Form::Plain);
        for (number, (field, form)) in stored.enumerate() {
            if form == Form::Constant {
                job.constants[number] = field.get(constant_bits);
                job.constant_palettes |= 1 << number;
            }
        }
        let runs = plain_runs(forms.plain_mask());
        for (place, run) in job.runs.iter_mut().zip(runs) {
            *place = run;
            job.run_count += 1;
        }
        job
    }
}

/// A field in a job that does not read its records.
pub(super) fn job_field(field: Field) -> JobField {
    JobField {
        low: field.low() as u8,
        width: field.width() as u8,
        ..JobField::default()
    }
}

/// The runs of ones of a mask, at most 9 because a type has at most 8 fields.
fn plain_runs(mask: u64) -> impl Iterator<Item = PlainRun> {
    let (mut left, mut to) = (mask, 0);
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let low = left.trailing_zeros() as u8;
        let width = (left >> low).trailing_ones() as u8;
        let run = PlainRun {
            low,
            width,
            to,
            unused: 0,
        };
        left &= u64::MAX.checked_shl(u32::from(low + width)).unwrap_or(0);
        to += width;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use unweight_format::Dtype;
    use unweight_format::bits::pext;

    use super::*;

    #[test]
    fn runs_give_the_plain_value() {
        let weight = 0x9e37_79b9_7f4a_7c15u64;
        for &dtype in Dtype::ALL {
            for chosen in 1u32..1 << dtype.fields().len() {
                let forms = (0..FIELDS).filter(|number| chosen >> number & 1 == 1);
                let forms = forms.fold(Forms::raw(dtype), |forms, number| {
                    forms.with(number, Form::Huffman).unwrap()
                });
                let job = SplitJob::new(forms, 0);
                let runs = &job.runs[..job.run_count.into()];
                let value = runs.iter().fold(0, |value, run| {
                    value | (weight >> run.low & ((1 << run.width) - 1)) << run.to
                });
                assert_eq!(value, pext(weight, forms.plain_mask()), "{forms:?}");
            }
        }
    }

    #[test]
    fn no_field_has_bits_of_both_words_of_a_weight() {
        for field in Dtype::ALL.iter().flat_map(|dtype| dtype.fields()) {
            assert_eq!(field.low() / 32, field.high() / 32);
        }
    }
}
