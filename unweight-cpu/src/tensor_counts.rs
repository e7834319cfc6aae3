//! Counts of a whole tensor, from the counting pass to the encoding pass.

use unweight_format::layout::{FIELDS, PALETTE_ENTRIES};
use unweight_format::{Dtype, Field};

use crate::chunk_counts::ChunkCounts;
use crate::reference::{SampledForms, TensorPlan, ValueCounts};

/// Number of occurrences of each palette entry in a chunk; 0 where the palette has no entry.
pub type EntryCounts = [u64; PALETTE_ENTRIES];
/// The counts of a chunk's palette entries, by the number of the coded field, as far as known.
pub type ChunkEntryCounts = [Option<EntryCounts>; FIELDS];

/// Counts of chunks that are kept, of all coded fields together: 3.1 MiB for 2 GiB of BF16 weights
/// in chunks of the default size. Later chunks are counted again, so the memory is bounded for a
/// tensor of any size.
const COUNTS_KEPT: u64 = 1 << 15;

/// The most memory that the counts of a tensor of this type with this many chunks need, in bytes.
pub fn counts_bytes(dtype: Dtype, chunks: u64) -> u64 {
    let fields = dtype.fields().len() as u64;
    let kept = chunks.saturating_mul(fields).min(COUNTS_KEPT);
    size_of::<ChunkCounts>() as u64 * kept + size_of::<ValueCounts>() as u64 * fields
}

/// The counts of one chunk.
#[derive(Debug)]
pub struct CountedChunk {
    /// A weight of the chunk.
    weight: u64,
    /// The bits in which weights of the chunk differ from that weight.
    differing: u64,
    /// The counts of the first coded field.
    first: Option<CountedField>,
    /// The counts of the others. Most tensors have none, and chunks go from one processor to
    /// another.
    others: Vec<CountedField>,
}

/// The counts of a field in one chunk.
#[derive(Debug)]
struct CountedField {
    kept: ChunkCounts,
    /// The counts of all values, if some are not kept. They take 2 KB. Fetching them from another
    /// processor costs as much time as counting a chunk.
    all: Option<Box<ValueCounts>>,
}

impl CountedChunk {
    /// Counts a chunk whose weights have all the bits of `weight` but `differing`. `count` gives
    /// the counts of a field.
    pub(crate) fn of(
        forms: &SampledForms,
        weight: u64,
        differing: u64,
        mut count: impl FnMut(Field) -> ValueCounts,
    ) -> CountedChunk {
        let mut fields = forms.forms().coded().map(|coded| {
            let counts = count(coded.field);
            let kept = ChunkCounts::of(&counts);
            let all = (!kept.is_whole()).then(|| Box::new(counts));
            CountedField { kept, all }
        });
        CountedChunk {
            weight,
            differing,
            first: fields.next(),
            others: fields.collect(),
        }
    }
}

/// The counts of a tensor, and those of its first chunks.
#[derive(Debug)]
pub struct TensorCounts {
    forms: SampledForms,
    weight: Option<u64>,
    differing: u64,
    /// By the number of the coded field.
    totals: Vec<ValueCounts>,
    /// Chunk by chunk, and in each by the number of the coded field.
    of_chunks: Vec<ChunkCounts>,
}

impl TensorCounts {
    /// Empty counts for a tensor with these forms and this many chunks.
    pub fn new(forms: SampledForms, chunks: u64) -> TensorCounts {
        let coded = forms.forms().coded_count();
        let kept = chunks.saturating_mul(coded as u64).min(COUNTS_KEPT);
        TensorCounts {
            forms,
            weight: None,
            differing: 0,
            totals: vec![ValueCounts::default(); coded],
            of_chunks: Vec::with_capacity(kept as usize),
        }
    }

    /// Adds the counts of the next chunk, and keeps them if there is room.
    pub fn push(&mut self, chunk: CountedChunk) {
        let weight = *self.weight.get_or_insert(chunk.weight);
        self.differing |= chunk.differing | (chunk.weight ^ weight);
        let is_kept = self.of_chunks.len() + self.totals.len() <= COUNTS_KEPT as usize;
        let fields = chunk.first.into_iter().chain(chunk.others);
        for (total, field) in self.totals.iter_mut().zip(fields) {
            match &field.all {
                Some(counts) => total.merge(counts),
                None => field.kept.add_to(total),
            }
            if is_kept {
                self.of_chunks.push(field.kept);
            }
        }
    }

    /// The plan of the tensor, all chunks of which have been added.
    pub fn plan(&self) -> TensorPlan {
        let plan = self.plan_for(&self.forms);
        plan.expect("every field of these forms was counted")
    }

    /// The plan of the tensor if it has other forms than those that its chunks were counted for,
    /// for instance because these were made of a part of the sample. None if a field that matters
    /// now was not counted.
    pub fn plan_for(&self, forms: &SampledForms) -> Option<TensorPlan> {
        if forms.undecided_bits() & !self.forms.undecided_bits() != 0 {
            return None;
        }
        let forms = forms.with_differing_bits(self.differing);
        let counts: Option<Vec<ValueCounts>> = forms
            .coded()
            .map(|coded| Some(self.totals[self.number_of(coded.field_number)?].clone()))
            .collect();
        Some(TensorPlan::new(forms, self.weight.unwrap_or(0), &counts?))
    }

    /// The counts of the palette entries of `plan`, which these counts gave, in chunk `number`.
    pub fn of_chunk(&self, number: u64, plan: &TensorPlan) -> ChunkEntryCounts {
        let mut found = [None; FIELDS];
        let kept = usize::try_from(number).ok().and_then(|number| {
            let start = number.checked_mul(self.totals.len())?;
            self.of_chunks.get(start..)
        });
        if let Some(kept) = kept {
            for (found, field) in found.iter_mut().zip(plan.fields()) {
                let number = self.number_of(field.coded.field_number);
                let counts = number.and_then(|number| kept.get(number));
                *found = counts.and_then(|counts| counts.of_palette(&field.palette));
            }
        }
        found
    }

    /// The number of a field among those that were counted.
    fn number_of(&self, field_number: usize) -> Option<usize> {
        let mut counted = self.forms.forms().coded();
        let found = counted.find(|coded| coded.field_number == field_number);
        found.map(|coded| coded.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Sample, sample_ranges};
    use unweight_format::Encoding;

    fn forms(weights: &[u8]) -> SampledForms {
        let mut sample = Sample::new(Dtype::F8E4M3);
        for range in sample_ranges(weights.len() as u64) {
            sample.add_weights(&weights[range.start as usize..range.end as usize]);
        }
        sample.choose_forms(Encoding::Huffman, weights.len() as u64, 12)
    }

    fn counted(forms: &SampledForms, weights: &[u8]) -> CountedChunk {
        let differing = weights
            .iter()
            .fold(0, |bits, weight| bits | weight ^ weights[0]);
        CountedChunk::of(forms, weights[0].into(), differing.into(), |field| {
            let mut counts = ValueCounts::default();
            counts.add_weights(field, 1, weights);
            counts
        })
    }

    #[test]
    fn keeps_no_more_counts_than_there_is_room_for() {
        let weights = [0x38; 4096];
        let forms = forms(&weights);
        assert_eq!(forms.forms().coded_count(), 2);
        let mut counts = TensorCounts::new(forms, COUNTS_KEPT);
        for _ in 0..COUNTS_KEPT {
            counts.push(counted(&forms, &weights));
        }
        let room = counts.of_chunks.capacity() * size_of::<ChunkCounts>();
        assert!(room as u64 <= counts_bytes(Dtype::F8E4M3, COUNTS_KEPT));
        let plan = TensorPlan::new(forms.forms(), 0, &counts.totals);
        for (number, is_kept) in [
            (0, true),
            (COUNTS_KEPT / 2 - 1, true),
            (COUNTS_KEPT / 2, false),
            (u64::MAX, false),
        ] {
            let found = counts.of_chunk(number, &plan);
            let of_exponent = found[0].map(|counts| counts[7]);
            assert_eq!(of_exponent, is_kept.then_some(4096), "{number}");
        }
    }

    #[test]
    fn a_field_that_is_constant_in_the_sample_alone_is_coded() {
        let mut weights = [0x38; 5 * 4096 * 4];
        let plan = |weights: &[u8]| {
            let forms = forms(weights);
            let mut counts = TensorCounts::new(forms, 20);
            for chunk in weights.chunks(4096) {
                counts.push(counted(&forms, chunk));
            }
            let plan = counts.plan();
            let of_last = counts.of_chunk(19, &plan)[0].map(|counts| counts.iter().sum());
            (plan.forms().bits(), of_last)
        };
        assert_eq!(plan(&weights), (0x33, None));
        weights[300] = 0x39;
        assert_eq!(plan(&weights), (0x13, Some(4096)));
        weights[40_000] = 0x40;
        assert_eq!(plan(&weights), (0x11, Some(4096)));
    }

    #[test]
    fn plans_for_other_forms_if_their_fields_were_counted() {
        let constant = [0x38; 40_000];
        let mut narrow = constant;
        narrow
            .iter_mut()
            .step_by(3)
            .for_each(|weight| *weight = 0x30);
        let plan = |weights: &[u8], counted_for: &[u8], planned_for: &[u8]| {
            let counted_for = forms(counted_for);
            let mut counts = TensorCounts::new(counted_for, 10);
            for chunk in weights.chunks(4096) {
                counts.push(counted(&counted_for, chunk));
            }
            let plan = counts.plan_for(&forms(planned_for));
            plan.map(|plan| plan.forms().bits())
        };
        assert_eq!(plan(&narrow, &narrow, &narrow), Some(0x31));
        // The exponents may be constant according to the sample, but were not compared.
        assert_eq!(plan(&constant, &narrow, &constant), None);
        assert_eq!(plan(&narrow, &constant, &narrow), Some(0x31));
        let noise: Vec<u8> = (0..40_000u32)
            .map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8)
            .collect();
        assert_eq!(plan(&narrow, &constant, &noise), Some(0));
        assert_eq!(plan(&narrow, &noise, &narrow), None);
    }
}
