//! Codes that the encoder's kernels choose on fibers of the CPU, compared with the reference's, for
//! many counts.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod host_encoder;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use unweight_cpu::reference::{TensorPlan, ValueCounts, choose_code};
use unweight_format::layout::PALETTE_ENTRIES;
use unweight_format::{Dtype, Form, Forms, Palette, limits};
use unweight_gpu::host::{EncodeJob, Sources};
use unweight_gpu_host::DeviceMemory;
use unweight_testkit::{Random, bytes_of, weight};

use host_encoder::{HostTensor, forms_of, little_endian, placed, unweight_host_choose_codes};

#[test]
fn codes_are_those_of_the_reference() {
    codes_are_as_of_tensors_with_each_chunk_so_often(1);
    // The total exceeds 2^27 weights.
    codes_are_as_of_tensors_with_each_chunk_so_often(10);
}

fn codes_are_as_of_tensors_with_each_chunk_so_often(times: u32) {
    const CHUNKS: u32 = 400;
    const CHUNK_WEIGHTS: u64 = 1 << 16;
    let mut random = Random::new(11);
    let mut next = |bound| random.below(bound);
    let palette: [u8; PALETTE_ENTRIES] = std::array::from_fn(|entry| 100 + entry as u8);
    let mut total = ValueCounts::default();
    let mut chunks = vec![];
    for _ in 0..CHUNKS {
        let (shape, shift, mut left) = (next(8), next(16), CHUNK_WEIGHTS);
        let (mut fibonacci, mut counts) = ((1, 1), ValueCounts::default());
        for place in 0..=next(16) {
            let wanted = match shape {
                0 => next(8_192),
                // A Huffman code of these counts would be longer than 8 bits.
                1 => 16 * fibonacci.0,
                2 => 1 << next(15),
                3 => 512,
                // These counts are about the limit below which a value has no code.
                4 => next(40),
                // These are about the limit of frequent values.
                5 => 1_000 + next(60),
                6 => next(1_200),
                _ => 50 << next(4),
            };
            fibonacci = (fibonacci.1, fibonacci.0 + fibonacci.1);
            let count = left.min(wanted);
            let value = palette[(place * 7 + shift) as usize % PALETTE_ENTRIES];
            counts.add_values(&vec![value; count as usize]);
            left -= count;
        }
        let outside = left.min(next(3) * next(900));
        counts.add_values(&vec![1; outside as usize]);
        left -= outside;
        let rest = match next(4) {
            0 => 1,
            _ => palette[next(16) as usize],
        };
        counts.add_values(&vec![rest; left as usize]);
        for _ in 0..times {
            total.merge(&counts);
        }
        chunks.push(counts);
    }
    let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman).unwrap();
    let plan = TensorPlan::new(forms, 0, &[total.clone()]);
    let plan = plan.field(0).unwrap();
    let palette: [u8; PALETTE_ENTRIES] = plan.palette().values().try_into().unwrap();
    let of_palette = |counts: &ValueCounts| palette.map(|value| counts.of(value) as u32);
    let palette_counts = DeviceMemory::of(&little_endian(chunks.iter().flat_map(of_palette)));
    let totals: Vec<u8> = total
        .as_array()
        .iter()
        .flat_map(|count| count.to_le_bytes())
        .collect();
    let totals = DeviceMemory::of(&totals);
    let tensor_codes = DeviceMemory::poisoned(8);
    let code_lengths = DeviceMemory::poisoned(8 * CHUNKS as usize);
    let job = EncodeJob {
        weight_count: u64::from(times * CHUNKS) * CHUNK_WEIGHTS,
        totals: totals.address(),
        palette_counts: palette_counts.address(),
        code_lengths: code_lengths.address(),
        palette,
        chunk_count: times * CHUNKS,
        chunk_size_log2: 16,
        kind: 1,
        field_count: 1,
        value_bits: 8,
        ..EncodeJob::default()
    };
    // SAFETY: the job has totals, palette counts and code lengths.
    unsafe {
        unweight_host_choose_codes(&job, 1, CHUNKS, tensor_codes.as_mut_ptr(), 0, 5);
    }
    assert_eq!(tensor_codes.bytes(), plan.code().to_bytes());
    let code = |counts: &ValueCounts| choose_code(counts, CHUNK_WEIGHTS, plan.palette());
    let expected = chunks.iter().flat_map(|counts| code(counts).to_bytes());
    assert_eq!(code_lengths.bytes(), expected.collect::<Vec<u8>>());
}

/// Counts of the values of a palette and of values that it lacks. Many values of it do not occur,
/// and many are as frequent as another.
#[derive(Clone, Debug)]
struct Counts {
    palette: Vec<u8>,
    of_palette: Vec<u64>,
    others: Vec<(u8, u64)>,
}

impl Counts {
    /// The counts of all values. Values after the first `most` weights are not counted.
    fn of_values(&self, most: u64) -> ValueCounts {
        let (mut counts, mut left) = (ValueCounts::default(), most);
        let of_palette = self.palette.iter().copied().zip(self.of_palette.clone());
        let others = self.others.iter().copied();
        for (value, count) in of_palette.chain(others) {
            let count = count.min(left);
            left -= count;
            counts.merge(&counts_of_one(value, count));
        }
        counts
    }
}

/// The counts of a value that occurs so often, which may be more often than memory has bytes.
fn counts_of_one(value: u8, count: u64) -> ValueCounts {
    let mut counts = ValueCounts::default();
    for bit in (0..u64::BITS - count.leading_zeros()).rev() {
        counts.merge(&counts.clone());
        if count >> bit & 1 != 0 {
            counts.add_values(&[value]);
        }
    }
    counts
}

/// Counts whose sum may be as great as this.
fn any_counts(most: u64) -> impl Strategy<Value = Counts> {
    let one = prop_oneof![
        Just(0),
        Just(most / 64),
        0..=most / 4096 + 1,
        0..=most / 64 + 1,
        0..=most,
        // Half as frequent as another.
        (0..u64::BITS - most.leading_zeros()).prop_map(|shift| 1 << shift),
    ];
    let values: Vec<u8> = (0..=u8::MAX).collect();
    let palette = subsequence(values, PALETTE_ENTRIES);
    let others = vec((any::<u8>(), 0..=most / 40), 0..8);
    (palette, vec(one, PALETTE_ENTRIES), others).prop_map(|(palette, of_palette, others)| Counts {
        others: (others.into_iter())
            .filter(|(value, _)| !palette.contains(value))
            .collect(),
        palette,
        of_palette,
    })
}

/// The codes of a tensor and of its only chunk that the kernel chooses for these counts. There is
/// no code of the chunk if it cannot have so many weights.
fn codes_by_the_kernel(counts: &ValueCounts, palette: &Palette, seed: u64) -> Vec<Vec<u8>> {
    let totals = counts
        .as_array()
        .iter()
        .flat_map(|count| count.to_le_bytes());
    let totals = DeviceMemory::of(&totals.collect::<Vec<u8>>());
    let has_chunk = counts.total() <= 1 << limits::CHUNK_SIZE_LOG2.end();
    let palette: [u8; PALETTE_ENTRIES] = palette.values().try_into().unwrap();
    let palette_counts = little_endian(palette.map(|value| counts.of(value) as u32));
    let palette_counts = DeviceMemory::of(&palette_counts);
    let (tensor_code, chunk_code) = (DeviceMemory::poisoned(8), DeviceMemory::poisoned(8));
    let job = EncodeJob {
        weight_count: counts.total(),
        totals: totals.address(),
        palette_counts: palette_counts.address(),
        code_lengths: chunk_code.address(),
        palette,
        chunk_count: 1,
        chunk_size_log2: 16,
        kind: 1,
        field_count: 1,
        value_bits: 8,
        ..EncodeJob::default()
    };
    let chunks = u32::from(has_chunk);
    // SAFETY: the job has totals, and palette counts and code lengths of its only chunk.
    unsafe {
        unweight_host_choose_codes(&job, 1, chunks, tensor_code.as_mut_ptr(), 0, seed);
    }
    let mut codes = vec![tensor_code.bytes().to_vec()];
    codes.extend(has_chunk.then(|| chunk_code.bytes().to_vec()));
    codes
}

/// BF16 weights whose exponents occur so often, in any order.
fn weights_of(counts: &ValueCounts, random: &mut Random) -> Vec<u8> {
    let values = (0..=u8::MAX).flat_map(|value| (0..counts.of(value)).map(move |_| value));
    let mut exponents: Vec<u8> = values.collect();
    for last in (1..exponents.len()).rev() {
        exponents.swap(last, random.below(last as u64 + 1) as usize);
    }
    let weights = exponents.into_iter();
    let weights: Vec<_> = weights
        .map(|exponent| weight(random.bits() as u8, exponent))
        .collect();
    bytes_of(&weights)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_counts_choose_the_same_code(
        counts in prop_oneof![any_counts(1 << 12), any_counts(1 << 16), any_counts(1 << 36)],
        is_chunk: bool,
        seed: u64,
    ) {
        let most = if is_chunk { 1 << 16 } else { limits::CODED_BYTES / 2 };
        let values = counts.of_values(most);
        prop_assume!(values.total() > 0);
        let palette = Palette::new(8, counts.palette.clone().try_into().unwrap()).unwrap();
        let expected = choose_code(&values, values.total(), &palette).to_bytes();
        for code in codes_by_the_kernel(&values, &palette, seed) {
            prop_assert_eq!(&code[..], &expected[..]);
        }
    }

    #[test]
    fn any_counts_choose_between_the_same_codes(
        of_chunks in vec(any_counts(1 << 12), 1..4),
        of_encoding: bool,
        seed: u64,
    ) {
        // The code of a chunk, that of the tensor, and the choice between them, show in the record.
        let mut random = Random::new(seed);
        let mut data = vec![];
        for counts in of_chunks {
            data.extend(weights_of(&counts.of_values(1 << 12), &mut random));
        }
        prop_assume!(!data.is_empty());
        let form = if of_encoding { Form::Huffman } else { Form::Palette };
        let tensor = HostTensor {
            name: "any counts".to_owned(),
            dtype: Dtype::Bf16,
            data,
            chunk_size_log2: 12,
        };
        let forms = Forms::raw(Dtype::Bf16).with(0, form).unwrap();
        let mut counts = ValueCounts::default();
        counts.add_weights(Dtype::Bf16.fields()[0], 2, &tensor.data);
        let plan = TensorPlan::new(forms, 0, &[counts]);
        let source = DeviceMemory::of(&tensor.data);
        let (tensors, address) = ([tensor], [source.address()]);
        let mut placed = placed(&tensors, &[forms_of(&plan)], &address, Sources::Weights);
        placed.encode(seed);
        placed.hold_to(&tensors, &[plan], "any counts");
    }
}
