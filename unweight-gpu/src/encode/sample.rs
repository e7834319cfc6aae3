//! The forms of fields (section 11.2): the kernels' view of a tensor, which mirrors `SampleJob` in
//! `kernels/abi/split_job.cuh`, and what follows from their choices.

#![expect(unsafe_code, reason = "a layout that is shared with kernels")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;
use unweight_format::layout::{FIELDS, STEP_WEIGHTS};
use unweight_format::{Dtype, Encoding, Field, Form, Forms, limits};

use super::split::job_field;
use crate::decode::job::{JobField, kind_of};

/// Weights of a tensor of which all are the sample.
const WHOLE_SAMPLE: u64 = 1 << 15;
/// Distance of the sample's steps in a larger tensor.
const SAMPLED_EVERY: u8 = 17;
/// A constant field must take more bits than this if it is stored for each weight.
const LEAST_CONSTANT_BITS: u128 = 128;
/// Steps of the sample that a block counts, and bytes that a block compares.
const BLOCK_STEPS: u32 = 64;
const DIFFERING_BLOCK_BYTES: u64 = 1 << 17;
/// Counts of a job's fields in bytes.
pub const SAMPLE_COUNT_BYTES: u64 = FIELDS as u64 * 256 * 4;

/// A tensor whose forms are to be chosen. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SampleJob {
    /// Address of the weights: a multiple of 16.
    pub weights: u64,
    /// The number of weights.
    pub weight_count: u64,
    /// Address of [`SAMPLE_COUNT_BYTES`] bytes.
    pub counts: u64,
    /// Address of a [`FieldChoices`].
    pub choices: u64,
    /// Address of a [`Differing`].
    pub differing: u64,
    sampled: u64,
    /// The index of its first block in the launch.
    pub first_block: u32,
    step_count: u32,
    chunk_weights: u32,
    step_distance: u8,
    weight_bytes: u8,
    field_count: u8,
    kind: u8,
    fields: [JobField; FIELDS],
}

// SAFETY: the fields are plain numbers without padding, at the offsets of the kernels' structure
// (asserted below and in its file).
unsafe impl DeviceRepr for SampleJob {}

const _: () = {
    assert!(offset_of!(SampleJob, weights) == 0);
    assert!(offset_of!(SampleJob, weight_count) == 8);
    assert!(offset_of!(SampleJob, counts) == 16);
    assert!(offset_of!(SampleJob, choices) == 24);
    assert!(offset_of!(SampleJob, differing) == 32);
    assert!(offset_of!(SampleJob, sampled) == 40);
    assert!(offset_of!(SampleJob, first_block) == 48);
    assert!(offset_of!(SampleJob, step_count) == 52);
    assert!(offset_of!(SampleJob, chunk_weights) == 56);
    assert!(offset_of!(SampleJob, step_distance) == 60);
    assert!(offset_of!(SampleJob, weight_bytes) == 61);
    assert!(offset_of!(SampleJob, field_count) == 62);
    assert!(offset_of!(SampleJob, kind) == 63);
    assert!(offset_of!(SampleJob, fields) == 64);
    assert!(size_of::<SampleJob>() == 96);
};

/// A word for each field, which `choose_forms` writes: bit 0 is set if it deserves to be coded, and
/// bit 1 if all weights of the sample have the same value.
pub type FieldChoices = [u32; FIELDS];

/// What `find_differing` writes: the bits in which weights differ from the first one, and the first
/// one, repeated in 8 bytes each.
pub type Differing = [u32; 4];

/// A tensor whose forms are to be chosen.
#[derive(Clone, Copy, Debug)]
pub struct SampledTensor {
    /// Its type.
    pub dtype: Dtype,
    /// The number of weights.
    pub weights: u64,
    /// The encoding of its coded fields.
    pub encoding: Encoding,
    /// Binary logarithm of the chunk size.
    pub chunk_size_log2: u8,
}

impl SampledTensor {
    /// Whether the tensor may have coded fields, and so needs a sample.
    pub fn needs_sample(&self) -> bool {
        self.weights > 0
            && !self.dtype.fields().is_empty()
            && self.data_bytes() <= limits::CODED_BYTES.into()
    }

    fn data_bytes(&self) -> u128 {
        u128::from(self.weights) * self.dtype.weight_bytes() as u128
    }

    /// A job for the weights at this address. The addresses of results must be filled in.
    pub fn job(&self, weights: u64) -> SampleJob {
        let step_weights = STEP_WEIGHTS as u64;
        let steps = self.weights.div_ceil(step_weights);
        let step_distance = match self.weights <= WHOLE_SAMPLE {
            true => 1,
            false => SAMPLED_EVERY,
        };
        let step_count = steps.div_ceil(step_distance.into());
        // The short last step may be one of the sample.
        let last = steps.saturating_sub(1);
        let missing = match last.is_multiple_of(step_distance.into()) {
            true => steps * step_weights - self.weights,
            false => 0,
        };
        let mut fields = [JobField::default(); FIELDS];
        for (place, &field) in fields.iter_mut().zip(self.dtype.fields()) {
            *place = job_field(field);
        }
        SampleJob {
            weights,
            weight_count: self.weights,
            sampled: step_count * step_weights - missing,
            // Jobs whose sample is counted have at most 2^36 weights.
            step_count: step_count as u32,
            chunk_weights: self.weights.min(1 << self.chunk_size_log2) as u32,
            step_distance,
            weight_bytes: self.dtype.weight_bytes() as u8,
            field_count: self.dtype.fields().len() as u8,
            kind: kind_of(self.encoding),
            fields,
            ..SampleJob::default()
        }
    }

    /// The forms as far as the sample shows them. `choices` are the kernel's, if the tensor needs a
    /// sample.
    pub fn sampled_forms(&self, choices: Option<FieldChoices>) -> SampledForms {
        let mut forms = Forms::raw(self.dtype);
        let mut undecided_bits = 0;
        for (number, field) in self.dtype.fields().iter().enumerate() {
            let choice = choices.map(|choices| choices[number]);
            if choice.is_some_and(|choice| choice & 1 != 0) {
                let coded = forms.with(number, self.encoding.form());
                forms = coded.expect("no narrow field gets the form palette");
            }
            let may_be_constant = choice.is_none_or(|choice| choice & 2 != 0);
            if may_be_constant && self.field_bits(*field) > LEAST_CONSTANT_BITS {
                undecided_bits |= field.mask();
            }
        }
        SampledForms {
            forms,
            undecided_bits,
        }
    }

    fn field_bits(&self, field: Field) -> u128 {
        u128::from(self.weights) * u128::from(field.width())
    }
}

impl SampleJob {
    /// Blocks of `count_sample`.
    pub const fn sample_blocks(&self) -> u64 {
        self.step_count.div_ceil(BLOCK_STEPS) as u64
    }

    /// Blocks of `find_differing`.
    pub const fn differing_blocks(&self) -> u64 {
        (self.weight_count * self.weight_bytes as u64).div_ceil(DIFFERING_BLOCK_BYTES)
    }
}

/// The forms of a tensor's fields according to its sample.
#[derive(Clone, Copy, Debug)]
pub struct SampledForms {
    forms: Forms,
    /// The bits of the fields that are constant if all weights agree on them.
    undecided_bits: u64,
}

/// The forms of a tensor's fields, and the values of those that are constant at their places in a
/// weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChosenForms {
    /// The forms.
    pub forms: Forms,
    /// The values of constant fields.
    pub constant_bits: u64,
}

impl SampledForms {
    /// Whether all weights must be looked at.
    pub const fn are_undecided(&self) -> bool {
        self.undecided_bits != 0
    }

    /// The forms of a tensor whose weights differ from the first one as `find_differing` says,
    /// which is only read if the forms are undecided.
    pub fn decide(&self, differing: Differing) -> ChosenForms {
        let joined = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let (mut differing, first) = (
            joined(differing[0], differing[1]),
            joined(differing[2], differing[3]),
        );
        let (mut forms, mut constant_bits) = (self.forms, 0);
        // Narrow weights are repeated.
        let mut bits = u64::BITS / 2;
        while u64::from(bits) >= 8 * forms.dtype().weight_bytes() as u64 {
            differing |= differing >> bits;
            bits /= 2;
        }
        for (number, field) in forms.dtype().fields().iter().enumerate() {
            if self.undecided_bits & field.mask() != 0 && differing & field.mask() == 0 {
                forms = forms
                    .with(number, Form::Constant)
                    .expect("any field can be constant");
                constant_bits |= first & field.mask();
            }
        }
        ChosenForms {
            forms,
            constant_bits,
        }
    }
}
