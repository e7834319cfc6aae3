//! The forms of a tensor's fields (section 11.2), from a sample of its weights.

use std::ops::Range;

use unweight_format::layout::{FIELDS, NARROW_BITS, PATCH_BYTES, STEP_WEIGHTS};
use unweight_format::{Dtype, Encoding, Field, Form, Forms, limits};

use super::code_lengths::cost_bits;
use super::{ValueCounts, choose_code, choose_palette};

/// All weights of a tensor that has at most this many are its sample.
pub const WHOLE_SAMPLE_WEIGHTS: u64 = 1 << 15;
/// Distance of the sample's steps in a larger tensor.
const SAMPLED_EVERY: u64 = 17;
/// Bits that a record costs beside its codes, by encoding.
const HUFFMAN_RECORD_BITS: u64 = 800;
const PALETTE_RECORD_BITS: u64 = 160;
/// A constant field must take more bits than this if it is stored for each weight.
const LEAST_CONSTANT_BITS: u64 = 128;

/// The ranges of weights that are the sample of a tensor of this many weights.
pub fn sample_ranges(weights: u64) -> impl Iterator<Item = Range<u64>> + Clone {
    sample_ranges_within(weights, 0..weights)
}

/// The parts of the sample of a tensor of this many weights that lie in one range of its weights.
pub fn sample_ranges_within(
    weights: u64,
    within: Range<u64>,
) -> impl Iterator<Item = Range<u64>> + Clone {
    let (length, distance) = match weights <= WHOLE_SAMPLE_WEIGHTS {
        true => (WHOLE_SAMPLE_WEIGHTS, WHOLE_SAMPLE_WEIGHTS),
        false => (STEP_WEIGHTS as u64, SAMPLED_EVERY * STEP_WEIGHTS as u64),
    };
    let end = within.end.min(weights);
    let first = (within.start + distance - length) / distance;
    (first..end.div_ceil(distance)).map(move |number| {
        let start = number * distance;
        start.max(within.start)..end.min(start + length)
    })
}

/// Counts of the values of all fields in the sample of a tensor.
#[derive(Clone, Debug)]
pub struct Sample {
    dtype: Dtype,
    counts: Vec<ValueCounts>,
}

impl Sample {
    /// An empty sample of a tensor of this type.
    pub fn new(dtype: Dtype) -> Sample {
        Sample {
            dtype,
            counts: vec![ValueCounts::default(); dtype.fields().len()],
        }
    }

    /// The type of the tensor.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Adds these weights, little-endian.
    pub fn add_weights(&mut self, weights: &[u8]) {
        let weight_bytes = self.dtype.weight_bytes();
        for (field, counts) in self.fields_mut() {
            counts.add_weights(field, weight_bytes, weights);
        }
    }

    /// Adds another part of the same sample.
    pub fn merge(&mut self, other: &Sample) {
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.merge(more);
        }
    }

    /// The fields and the counts of their values.
    pub(crate) fn fields_mut(&mut self) -> impl Iterator<Item = (Field, &mut ValueCounts)> {
        self.dtype.fields().iter().copied().zip(&mut self.counts)
    }

    /// The forms of the fields in a tensor of `weights` weights, as far as the sample shows them.
    pub fn choose_forms(
        &self,
        encoding: Encoding,
        weights: u64,
        chunk_size_log2: u8,
    ) -> SampledForms {
        let mut sampled = SampledForms {
            forms: Forms::raw(self.dtype),
            weights,
            may_be_constant: [false; FIELDS],
        };
        let data_bytes = u128::from(weights) * self.dtype.weight_bytes() as u128;
        let may_be_coded = data_bytes <= u128::from(limits::CODED_BYTES);
        let chunk = weights.min(1 << chunk_size_log2);
        for (number, (field, counts)) in self.dtype.fields().iter().zip(&self.counts).enumerate() {
            sampled.may_be_constant[number] = counts.only_value().is_some();
            if may_be_coded && is_worth_coding(counts, field.width(), encoding, chunk) {
                let forms = sampled.forms.with(number, encoding.form());
                sampled.forms = forms.expect("no narrow field gets the form palette");
            }
        }
        sampled
    }
}

/// Step 3 of section 11.2, for counts of the sample and for chunks of at most `chunk` weights.
fn is_worth_coding(counts: &ValueCounts, width: u32, encoding: Encoding, chunk: u64) -> bool {
    let sampled = counts.total();
    let palette = choose_palette(counts, width);
    let bits = match encoding {
        Encoding::Huffman => {
            let code = choose_code(counts, sampled, &palette);
            cost_bits(counts, &palette, &code) * chunk + HUFFMAN_RECORD_BITS * sampled
        }
        Encoding::Palette if width <= NARROW_BITS => return false,
        Encoding::Palette => {
            let inside: u64 = palette.values().iter().map(|&value| counts.of(value)).sum();
            let patch_bits = 8 * PATCH_BYTES as u64 * (sampled - inside);
            (4 * sampled + patch_bits) * chunk + PALETTE_RECORD_BITS * sampled
        }
    };
    64 * bits < 63 * u64::from(width) * sampled * chunk
}

/// The forms that a tensor's fields have according to its sample. Fields that all weights agree on
/// become constant; that takes a look at all weights.
#[derive(Clone, Copy, Debug)]
pub struct SampledForms {
    /// Plain or coded, whether or not a field is constant.
    forms: Forms,
    weights: u64,
    /// Whether all weights of the sample have the same value of a field.
    may_be_constant: [bool; FIELDS],
}

impl SampledForms {
    /// The forms of fields that are not constant: plain or coded.
    pub fn forms(&self) -> Forms {
        self.forms
    }

    /// Number of weights of the tensor.
    pub fn weights(&self) -> u64 {
        self.weights
    }

    /// Whether the tensor is raw whatever the weights outside the sample are. They need not be
    /// counted then.
    pub fn are_raw(&self) -> bool {
        self.forms.is_raw() && self.undecided_bits() == 0
    }

    /// The bits of the fields that may be constant.
    pub fn undecided_bits(&self) -> u64 {
        let fields = self.forms.dtype().fields().iter().enumerate();
        let undecided = fields.filter(|&(number, field)| self.is_undecided(number, *field));
        undecided.fold(0, |bits, (_, field)| bits | field.mask())
    }

    fn is_undecided(&self, number: usize, field: Field) -> bool {
        let bits = u128::from(self.weights) * u128::from(field.width());
        self.may_be_constant[number] && bits > LEAST_CONSTANT_BITS.into()
    }

    /// The forms of a tensor whose weights differ from each other in these bits and in no others.
    pub fn with_differing_bits(&self, differing: u64) -> Forms {
        let mut forms = self.forms;
        for (number, &field) in forms.dtype().fields().iter().enumerate() {
            if self.is_undecided(number, field) && differing & field.mask() == 0 {
                let constant = forms.with(number, Form::Constant);
                forms = constant.expect("any field can be constant");
            }
        }
        forms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_every_seventeenth_step_of_a_large_tensor() {
        assert!(sample_ranges(0).eq([]));
        assert!(sample_ranges(1).eq(std::iter::once(0..1)));
        assert!(sample_ranges(32_768).eq(std::iter::once(0..32_768)));
        let ranges: Vec<_> = sample_ranges(32_769).collect();
        assert_eq!(ranges.len(), 8);
        assert_eq!(ranges[..2], [0..256, 4352..4608]);
        let short = sample_ranges(17 * 256 * 10 + 7).last();
        assert_eq!(short, Some(43_520..43_527));
    }

    #[test]
    fn ranges_divide_the_sample_of_a_tensor() {
        for weights in [0, 1, 32_768, 32_769, 100_000] {
            for length in [1, 255, 4096, 4352, 60_000] {
                let within = (0..weights)
                    .step_by(length as usize)
                    .flat_map(|start| sample_ranges_within(weights, start..start + length));
                let sampled = sample_ranges(weights);
                assert!(
                    within.flatten().eq(sampled.flatten()),
                    "{weights} by {length}"
                );
            }
        }
    }

    fn forms_of(dtype: Dtype, encoding: Encoding, weights: &[u8]) -> SampledForms {
        let mut sample = Sample::new(dtype);
        sample.add_weights(weights);
        let count = weights.len() / dtype.weight_bytes();
        sample.choose_forms(encoding, count as u64, 15)
    }

    #[test]
    fn codes_fields_that_carry_less_than_their_bits() {
        let weights: Vec<u8> = (0..40_000u32)
            .map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8 & 0x87 | 7 << 3)
            .collect();
        let sampled = forms_of(Dtype::F8E4M3, Encoding::Huffman, &weights[..32_768]);
        assert_eq!(sampled.forms().bits(), 0x01);
        assert_eq!(sampled.undecided_bits(), 0x78);
        assert_eq!(sampled.with_differing_bits(0x87).bits(), 0x03);
        assert_eq!(sampled.with_differing_bits(0xff).bits(), 0x01);
        assert!(!sampled.are_raw());
        let narrow = forms_of(Dtype::F8E4M3, Encoding::Palette, &weights[..32_768]);
        assert!(narrow.forms().is_raw() && !narrow.are_raw());
    }

    #[test]
    fn a_constant_must_save_more_than_its_palette_takes() {
        let constant = |weights: usize| {
            let sampled = forms_of(Dtype::F8E4M3, Encoding::Huffman, &vec![0; weights]);
            sampled.with_differing_bits(0).bits()
        };
        assert_eq!([32, 33, 42, 43].map(constant), [0x00, 0x03, 0x03, 0x33]);
    }

    #[test]
    fn fields_of_random_bits_are_plain() {
        let mut state = 1u64;
        let weights: Vec<u8> = (0..30_000)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert!(forms_of(Dtype::U8, Encoding::Huffman, &weights).are_raw());
    }
}
