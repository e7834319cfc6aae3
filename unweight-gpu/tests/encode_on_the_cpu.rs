//! The encoder's kernels on fibers of the CPU, compared with the reference byte for byte, for all
//! types, and many sizes, distributions and orders of threads, and both encodings.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod field_values;
mod host_encoder;

use unweight_cpu::reference::{TensorPlan, ValueCounts, choose_code};
use unweight_format::layout::PALETTE_ENTRIES;
use unweight_format::{Dtype, Encoding, Form, Forms};
use unweight_gpu::host::{EncodeJob, Sources};
use unweight_gpu_host::DeviceMemory;
use unweight_testkit::{DISTRIBUTIONS, ENCODINGS, Random, bytes_of};

use field_values::{DISTRIBUTIONS_OF_FIELDS, weights_of_fields};
use host_encoder::{
    HostTensor, choose_forms, chunk_sizes, forms_of, placed, unweight_host_choose_codes,
    unweight_host_write_record_ends,
};

fn little_endian(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Chooses forms and encodes in one launch of each kernel, and compares both with the reference.
fn hold_to_the_reference(tensors: &[HostTensor], encoding: Encoding, seed: u64) -> Vec<TensorPlan> {
    let plans: Vec<TensorPlan> = tensors.iter().map(|tensor| tensor.plan(encoding)).collect();
    let sources: Vec<DeviceMemory> = tensors
        .iter()
        .map(|tensor| DeviceMemory::of(&tensor.data))
        .collect();
    let forms = choose_forms(tensors, &sources, encoding, seed);
    for ((tensor, plan), forms) in tensors.iter().zip(&plans).zip(&forms) {
        assert_eq!(*forms, forms_of(plan), "{}, {encoding}", tensor.name);
    }
    let addresses: Vec<u64> = sources.iter().map(DeviceMemory::address).collect();
    let mut placed = placed(tensors, &forms, &addresses, Sources::Weights);
    placed.encode(seed);
    placed.hold_to(tensors, &plans, encoding.name());
    plans
}

/// A tensor whose fields have all distributions in turn.
fn tensor(dtype: Dtype, weights: usize, first: usize, chunk_size_log2: u8) -> HostTensor {
    HostTensor {
        name: format!("{dtype}, {weights} weights of {first}, chunks of 2^{chunk_size_log2}"),
        dtype,
        data: weights_of_fields(dtype, weights, first),
        chunk_size_log2,
    }
}

const SIZES: [usize; 17] = [
    1, 2, 7, 16, 17, 129, 255, 256, 257, 1_023, 4_095, 4_096, 4_097, 32_768, 32_769, 65_535, 65_537,
];

#[test]
fn every_type_is_encoded_as_by_the_reference() {
    for (number, &dtype) in Dtype::ALL.iter().enumerate() {
        for encoding in ENCODINGS {
            let sizes = SIZES.into_iter().zip(chunk_sizes()).enumerate();
            let tensors: Vec<HostTensor> = sizes
                .map(|(first, (size, log2))| tensor(dtype, size, first + number, log2))
                .collect();
            hold_to_the_reference(&tensors, encoding, number as u64);
        }
    }
}

#[test]
fn every_choice_of_distributions_is_encoded_as_by_the_reference() {
    let (mut of_forms, mut verbatim_of_widths) = ([0; 4], [0; 9]);
    for dtype in [Dtype::Bf16, Dtype::F8E4M3, Dtype::F16, Dtype::F32] {
        for encoding in ENCODINGS {
            let chunk_size = |first: usize| 12 + (first % 2 * (first / 2 % 5)) as u8;
            let tensors: Vec<HostTensor> = (0..DISTRIBUTIONS_OF_FIELDS * 6)
                .map(|first| tensor(dtype, 13_001, first, chunk_size(first)))
                .collect();
            let plans = hold_to_the_reference(&tensors, encoding, 3);
            for (plan, tensor) in plans.iter().zip(&tensors) {
                for (_, form) in plan.forms().iter() {
                    of_forms[usize::from(form.code())] += 1;
                }
                for width in tensor.verbatim_widths(plan) {
                    verbatim_of_widths[width as usize] += 1;
                }
            }
        }
    }
    assert!(of_forms.iter().all(|&count| count > 20), "{of_forms:?}");
    for width in [3, 4, 5, 8] {
        assert!(verbatim_of_widths[width] > 2, "{verbatim_of_widths:?}");
    }
}

#[test]
fn bf16_of_all_distributions_is_encoded_as_by_the_reference() {
    for (seed, distribution) in (0..).zip(DISTRIBUTIONS) {
        for encoding in ENCODINGS {
            let sizes = SIZES.into_iter().zip(chunk_sizes());
            let tensors: Vec<HostTensor> = sizes
                .map(|(size, chunk_size_log2)| HostTensor {
                    name: format!("{}, {size} weights", distribution.name),
                    dtype: Dtype::Bf16,
                    data: bytes_of(&distribution.weights(size, size as u64)),
                    chunk_size_log2,
                })
                .collect();
            hold_to_the_reference(&tensors, encoding, seed);
        }
    }
}

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

#[test]
fn record_ends_are_sums_of_lengths_over_many_rounds() {
    let lengths: Vec<u32> = (0..5_000).map(|chunk| 1 + chunk * 7_919 % 4_097).collect();
    let sums = lengths.iter().scan(0, |sum, length| {
        *sum += length;
        Some(*sum)
    });
    let input = DeviceMemory::of(&little_endian(lengths.iter().copied()));
    let output = DeviceMemory::poisoned(input.bytes().len());
    let job = EncodeJob {
        record_lengths: input.address(),
        record_ends: output.address(),
        chunk_count: lengths.len() as u32,
        ..EncodeJob::default()
    };
    // SAFETY: the job's lengths and ends have a word for each chunk.
    unsafe { unweight_host_write_record_ends(&job, 3) };
    assert_eq!(output.bytes(), little_endian(sums));
}
