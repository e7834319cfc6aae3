//! The encoder's kernels on fibers of the CPU, compared with the reference byte for byte, for all
//! types, and many sizes, distributions and orders of threads, and both encodings.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod field_values;
mod host_encoder;

use std::collections::BTreeSet;

use unweight_cpu::reference::TensorPlan;
use unweight_format::{Dtype, Encoding};
use unweight_gpu::host::{EncodeJob, Sources};
use unweight_gpu_host::DeviceMemory;
use unweight_testkit::{DISTRIBUTIONS, Distribution, ENCODINGS, bytes_of};

use field_values::{DISTRIBUTIONS_OF_FIELDS, weights_of_fields};
use host_encoder::{
    HostTensor, choose_forms, chunk_sizes, forms_of, little_endian, placed,
    unweight_host_write_record_ends,
};

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
fn what_kernels_tell_apart_is_encoded_as_by_the_reference() {
    // One type of each size and number of fields, and sizes of less and more than a step and a
    // chunk.
    let mut cases = BTreeSet::new();
    let of_case = |dtype: &&Dtype| cases.insert((dtype.weight_bytes(), dtype.fields().len()));
    let dtypes: Vec<Dtype> = Dtype::ALL.iter().filter(of_case).copied().collect();
    assert!(dtypes.len() > 4);
    for (number, &dtype) in dtypes.iter().enumerate() {
        for encoding in ENCODINGS {
            let sizes = [1, 255, 257, 4_097, 8_449].into_iter().enumerate();
            let tensors: Vec<HostTensor> = sizes
                .map(|(first, size)| tensor(dtype, size, first + number, 12))
                .collect();
            hold_to_the_reference(&tensors, encoding, number as u64);
        }
    }
    // BF16 of which the exponent alone is coded has kernels of its own.
    for (seed, distribution) in (0..).zip(DISTRIBUTIONS) {
        for encoding in ENCODINGS {
            let tensor = |size| bf16_tensor(&distribution, size, 12 + (seed % 5) as u8);
            hold_to_the_reference(&[tensor(257), tensor(8_449)], encoding, seed);
        }
    }
}

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

fn bf16_tensor(distribution: &Distribution, size: usize, chunk_size_log2: u8) -> HostTensor {
    HostTensor {
        name: format!("{}, {size} weights", distribution.name),
        dtype: Dtype::Bf16,
        data: bytes_of(&distribution.weights(size, size as u64)),
        chunk_size_log2,
    }
}

#[test]
fn bf16_of_all_distributions_is_encoded_as_by_the_reference() {
    for (seed, distribution) in (0..).zip(DISTRIBUTIONS) {
        for encoding in ENCODINGS {
            let sizes = SIZES.into_iter().zip(chunk_sizes());
            let tensors: Vec<HostTensor> = sizes
                .map(|(size, log2)| bf16_tensor(&distribution, size, log2))
                .collect();
            hold_to_the_reference(&tensors, encoding, seed);
        }
    }
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
