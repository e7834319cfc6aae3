//! The encoder's kernels on fibers of the CPU, compared with the reference byte for byte, for many
//! sizes, distributions and orders of threads, both encodings and both kinds of inputs.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod host_encoder;

use half::bf16;
use unweight_cpu::reference::{ExponentCounts, TensorPlan, choose_code, encode_weights};
use unweight_format::Encoding;
use unweight_format::layout::PALETTE_ENTRIES;
use unweight_gpu::host::{EncodeJob, TOTAL_BYTES};
use unweight_gpu_host::{DeviceMemory, POISON};
use unweight_testkit::{DISTRIBUTIONS, Random, bytes_of};

use host_encoder::{encode, unweight_host_choose_codes, unweight_host_write_record_ends};

fn little_endian(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A tensor, and the reference's encoding of it.
struct Case {
    name: String,
    job: EncodeJob,
    weights: Vec<u8>,
    exponents: Vec<u8>,
    palette: [u8; PALETTE_ENTRIES],
    /// Expected content of each of `OUTPUTS`.
    expected: [Vec<u8>; 7],
}

const OUTPUTS: [&str; 7] = [
    "counts",
    "totals",
    "palette counts",
    "code lengths",
    "sign-mantissa plane",
    "record ends",
    "records",
];

impl Case {
    fn new(name: &str, weights: &[bf16], encoding: Encoding, chunk_size_log2: u8) -> Case {
        let counts_of = |weights: &[bf16]| {
            let mut counts = ExponentCounts::default();
            counts.add_weights(weights);
            counts
        };
        let total = counts_of(weights);
        let plan = TensorPlan::new(&total, encoding);
        let palette = plan.palette().exponents();
        let chunks = weights.chunks(1 << chunk_size_log2);
        let (mut sign_mantissa, mut records, mut code_lengths) = (vec![], vec![], vec![]);
        let (mut counts, mut palette_counts, mut ends) = (vec![], vec![], vec![]);
        for chunk in chunks {
            let chunk_counts = counts_of(chunk);
            counts.extend(chunk_counts.as_array().map(|count| count as u32));
            palette_counts.extend(palette.map(|exponent| match encoding {
                Encoding::Huffman => chunk_counts.of(exponent) as u32,
                // A palette tensor has no codes, so these outputs stay unwritten.
                _ => u32::from_le_bytes([POISON; 4]),
            }));
            code_lengths.extend(match encoding {
                Encoding::Huffman => choose_code(&chunk_counts, plan.palette()).to_bytes(),
                _ => [POISON; 8],
            });
            encode_weights(&plan, chunk, &mut sign_mantissa, &mut records);
            ends.push(records.len() as u32 / 16);
        }
        let padded_ends = ends.iter().copied().chain([0; 3]);
        let padded_ends = padded_ends.take(ends.len().next_multiple_of(4));
        sign_mantissa.resize(weights.len().next_multiple_of(256), 0);
        Case {
            name: format!(
                "{name}, {} weights, {encoding:?}, chunks of 2^{chunk_size_log2}",
                weights.len()
            ),
            weights: bytes_of(weights),
            exponents: weights
                .iter()
                .map(|weight| (weight.to_bits() >> 7) as u8)
                .collect(),
            expected: [
                little_endian(counts),
                total
                    .as_array()
                    .iter()
                    .flat_map(|count| count.to_le_bytes())
                    .collect(),
                little_endian(palette_counts),
                code_lengths,
                sign_mantissa,
                little_endian(padded_ends),
                records,
            ],
            palette: *palette,
            job: EncodeJob::new(encoding, weights.len() as u64, chunk_size_log2, 0),
        }
    }
}

/// Memory with these bytes, followed by other bytes up to a multiple of 256.
fn plane(bytes: &[u8]) -> DeviceMemory {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(256), POISON);
    DeviceMemory::of(&padded)
}

/// Runs all cases in one launch of each kernel.
fn hold_to_the_reference(cases: &[Case], of_planes: bool, seed: u64) {
    let (mut jobs, mut memories, mut chunk_count) = (vec![], vec![], 0);
    for case in cases {
        let sign_mantissa = &case.expected[4][..case.exponents.len()];
        let sources = match of_planes {
            true => vec![plane(&case.exponents), plane(sign_mantissa)],
            false => vec![DeviceMemory::of(&case.weights)],
        };
        let mut outputs = case
            .expected
            .each_ref()
            .map(|bytes| DeviceMemory::poisoned(bytes.len()));
        outputs[1] = DeviceMemory::poisoned(TOTAL_BYTES as usize);
        // SAFETY: the memory was allocated with this length.
        unsafe { outputs[1].as_mut_ptr().write_bytes(0, TOTAL_BYTES as usize) };
        let look_back = DeviceMemory::of(&vec![0; 8 * case.job.chunk_count as usize]);
        let [weights, exponents, input_sign_mantissa] = match &sources[..] {
            [exponents, sign_mantissa] => [0, exponents.address(), sign_mantissa.address()],
            weights => [weights[0].address(), 0, 0],
        };
        jobs.push(EncodeJob {
            weights,
            exponents,
            input_sign_mantissa,
            counts: outputs[0].address(),
            totals: outputs[1].address(),
            palette_counts: outputs[2].address(),
            code_lengths: outputs[3].address(),
            sign_mantissa: outputs[4].address(),
            look_back: look_back.address(),
            record_ends: outputs[5].address(),
            records: outputs[6].address(),
            first_chunk: chunk_count,
            ..case.job
        });
        chunk_count += case.job.chunk_count;
        memories.push((sources, look_back, outputs));
    }
    // SAFETY: the jobs meet the conditions in `kernels/abi/encode_job.cuh`, and chunks are numbered
    // across jobs.
    unsafe { encode(&mut jobs, of_planes, seed) };
    for ((case, job), (.., outputs)) in cases.iter().zip(&jobs).zip(&memories) {
        assert_eq!(job.palette, case.palette, "palette, {}", case.name);
        for ((name, output), expected) in OUTPUTS.iter().zip(outputs).zip(&case.expected) {
            assert!(
                output.bytes().starts_with(expected),
                "{name} differ: {}, of planes {of_planes}, seed {seed}",
                case.name
            );
        }
    }
}

const SIZES: [usize; 14] = [
    1, 2, 7, 15, 17, 255, 256, 257, 1_023, 4_095, 4_096, 4_097, 65_535, 65_537,
];

#[test]
fn planes_are_those_of_the_reference() {
    for (seed, distribution) in (0..).zip(DISTRIBUTIONS) {
        let mut cases = vec![];
        for encoding in [Encoding::Huffman, Encoding::Palette] {
            for (size, chunk_size_log2) in SIZES.into_iter().zip((12..=16).cycle()) {
                cases.push((size, encoding, chunk_size_log2));
                cases.push((size, encoding, 12));
            }
        }
        let case = |(size, encoding, chunk_size_log2)| {
            let weights = distribution.weights(size, size as u64);
            Case::new(distribution.name, &weights, encoding, chunk_size_log2)
        };
        let cases: Vec<_> = cases.into_iter().map(case).collect();
        hold_to_the_reference(&cases, false, seed);
        hold_to_the_reference(&cases, true, seed + 100);
    }
}

#[test]
fn codes_are_those_of_the_reference() {
    codes_are_as_of_tensors_with_each_chunk_so_often(1);
    // The total exceeds 2^27 weights.
    codes_are_as_of_tensors_with_each_chunk_so_often(10);
}

fn codes_are_as_of_tensors_with_each_chunk_so_often(times: u32) {
    const CHUNKS: u32 = 300;
    const CHUNK_WEIGHTS: u64 = 1 << 16;
    let mut random = Random::new(11);
    let mut next = |bound| random.below(bound);
    let palette: [u8; PALETTE_ENTRIES] = std::array::from_fn(|entry| 100 + entry as u8);
    let mut total = ExponentCounts::default();
    let mut chunks = vec![];
    for _ in 0..CHUNKS {
        let (shape, shift, mut left) = (next(6), next(16), CHUNK_WEIGHTS);
        let (mut fibonacci, mut counts) = ((1, 1), ExponentCounts::default());
        for place in 0..=next(16) {
            let wanted = match shape {
                0 => next(8_192),
                // A Huffman code of these counts would be longer than 8 bits.
                1 => 16 * fibonacci.0,
                2 => 1 << next(15),
                3 => 512,
                // These counts are about the limit below which an exponent has no code.
                4 => next(40),
                _ => 50 << next(4),
            };
            fibonacci = (fibonacci.1, fibonacci.0 + fibonacci.1);
            let count = left.min(wanted);
            let exponent = palette[(place * 7 + shift) as usize % PALETTE_ENTRIES];
            counts.add_exponents(&vec![exponent; count as usize]);
            left -= count;
        }
        let rest = if next(2) == 0 {
            1
        } else {
            palette[next(16) as usize]
        };
        counts.add_exponents(&vec![rest; left as usize]);
        for _ in 0..times {
            total.merge(&counts);
        }
        chunks.push(counts);
    }
    let plan = TensorPlan::new(&total, Encoding::Huffman);
    let palette = plan.palette().exponents();
    let of_palette = |counts: &ExponentCounts| palette.map(|exponent| counts.of(exponent) as u32);
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
        totals: totals.address(),
        palette_counts: palette_counts.address(),
        code_lengths: code_lengths.address(),
        palette: *palette,
        ..EncodeJob::new(
            Encoding::Huffman,
            u64::from(times * CHUNKS) * CHUNK_WEIGHTS,
            16,
            0,
        )
    };
    // SAFETY: the job has totals, palette counts and code lengths.
    unsafe {
        unweight_host_choose_codes(&job, 1, CHUNKS, tensor_codes.as_mut_ptr(), 0, 5);
    }
    assert_eq!(tensor_codes.bytes(), plan.code().to_bytes());
    let expected: Vec<u8> = chunks
        .iter()
        .flat_map(|counts| choose_code(counts, plan.palette()).to_bytes())
        .collect();
    assert_eq!(code_lengths.bytes(), expected);
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
        ..EncodeJob::new(Encoding::Huffman, (lengths.len() as u64) << 12, 12, 0)
    };
    // SAFETY: the job's lengths and ends have a word for each chunk.
    unsafe { unweight_host_write_record_ends(&job, 3) };
    assert_eq!(output.bytes(), little_endian(sums));
}
