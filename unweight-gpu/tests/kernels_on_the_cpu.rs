//! Decoding by the kernels' own source on fibers of the CPU. It needs no GPU, and AddressSanitizer
//! can check it.

#![cfg(target_arch = "x86_64")]

mod host_decoder;
mod restore;

use host_decoder::{OnTheCpu, Stages};
use restore::{Kernels, hold_to_the_corpus, restore};
use unweight_format::{Dtype, Forms, Rule};
use unweight_gpu::host::{PLAIN_SLACK_BYTES, TensorJob, crc_constants};
use unweight_testkit::forms::{differing_forms, file_of, forms_of, weights};
use unweight_testkit::{
    ENCODINGS, Form, Random, Records, Tensor, any_weights, container, repair_checksums, restored,
};

impl Kernels for OnTheCpu {
    fn decode(
        &self,
        tensor: &unweight_format::Tensor<'_>,
        payload: &[u8],
    ) -> Result<Vec<u8>, Rule> {
        OnTheCpu::decode(self, tensor, payload)
    }
}

#[test]
fn kernels_and_format_have_the_same_numbers() {
    use unweight_format::layout::*;
    let expected = [
        STEP_WEIGHTS,
        LANES,
        LANE_STEP_WEIGHTS,
        FIELDS,
        PALETTE_ENTRIES,
        BLOCK_BYTES as usize,
        RECORD_ALIGNMENT as usize,
        RECORD_HEADER_BYTES,
        RECORD_CHECKED_FROM,
        LANE_STREAMS_OFFSET,
        STEP_INDEX_BYTES,
        PATCH_BYTES,
        KIND_VERBATIM.into(),
        KIND_HUFFMAN.into(),
        KIND_PALETTE.into(),
        LONGEST_CODE_BITS.into(),
        NO_CODE.into(),
        PLAIN_SLACK_BYTES as usize,
        size_of::<TensorJob>(),
        TensorJob::FIELDS_OFFSET,
        size_of_val(&crc_constants()[..]),
    ];
    assert_eq!(
        unweight_gpu_host::layout(),
        expected.map(|number| number as u32)
    );
}

/// The number of runs of ones.
fn runs(mask: u64) -> u32 {
    (mask & !(mask << 1)).count_ones()
}

#[test]
fn kernels_have_the_runs_of_every_plain_mask() {
    for weight_bytes in [1, 2, 4, 8] {
        let dtypes = Dtype::ALL.iter();
        let most = dtypes
            .filter(|dtype| dtype.weight_bytes() == weight_bytes)
            .flat_map(|dtype| {
                let fields = dtype.fields();
                (1u32..1 << fields.len()).map(move |chosen| {
                    let plain = fields.iter().enumerate();
                    let plain = plain.filter(|(number, _)| chosen >> number & 1 != 0);
                    runs(plain.fold(dtype.weight_mask(), |mask, (_, field)| mask & !field.mask()))
                })
            })
            .max();
        assert_eq!(
            Some(unweight_gpu_host::most_runs(weight_bytes as u32)),
            most
        );
    }
}

#[test]
fn kernels_give_the_corpus_and_the_reference_s_errors() {
    hold_to_the_corpus(&OnTheCpu::new(0, Stages::AsInABatch));
}

#[test]
fn the_order_of_threads_changes_nothing() {
    hold_to_the_corpus(&OnTheCpu::new(1, Stages::AsInABatch));
}

#[test]
fn records_that_do_not_fit_shared_memory_decode_where_they_stand() {
    hold_to_the_corpus(&OnTheCpu::new(0, Stages::None));
}

#[test]
fn few_blocks_of_many_warps_decode_every_chunk() {
    // Each in another order of threads.
    for (seed, (blocks, warps)) in (2..).zip([(1, 1), (2, 3), (5, 16)]) {
        hold_to_the_corpus(&OnTheCpu::new(seed, Stages::AsInABatch).in_few_blocks(blocks, warps));
    }
}

/// Compares what kernels make of a valid file with these bytes. `number` varies how they are launched.
fn require_restored(number: u64, file: &[u8], bytes: &[u8], what: impl std::fmt::Debug) {
    let stages = match number % 3 {
        0 => Stages::None,
        _ => Stages::AsInABatch,
    };
    let restored = restore(&OnTheCpu::new(number, stages), file);
    let restored = restored.unwrap_or_else(|error| panic!("{what:?}: {error:?}"));
    assert!(restored == bytes, "{what:?}");
}

/// Requires that a tensor of these forms is decoded.
fn require_forms(number: u64, forms: Forms) {
    // A multiple of 12 fills the bytes of every type.
    let weights = weights(forms, 4096 + 884, u64::from(forms.bits()));
    require_restored(number, &file_of(forms, 12, &weights), &weights, forms);
}

#[test]
fn forms_that_kernels_tell_apart_decode() {
    let differing = differing_forms();
    assert!(differing.len() > 50, "{}", differing.len());
    for (number, forms) in (0..).zip(differing) {
        require_forms(number, forms);
    }
}

#[test]
fn every_type_decodes_in_all_of_its_forms() {
    for &dtype in Dtype::ALL {
        for (number, forms) in (0..).zip(forms_of(dtype)) {
            require_forms(number, forms);
        }
    }
}

#[test]
fn every_length_around_a_step_and_a_group_decodes() {
    let forms = [
        (Dtype::F8E4M3, 0x01),
        (Dtype::F8E5M2, 0x11),
        (Dtype::Bf16, 0x11),
        (Dtype::F32, 0x33_3002),
        (Dtype::F64, 0x1000_0031),
        (Dtype::F16, 0x003),
    ];
    for (dtype, bits) in forms {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        for count in [
            1, 7, 8, 9, 255, 256, 257, 2_047, 2_048, 2_049, 4_095, 4_096, 4_097,
        ] {
            let weights = weights(forms, count, 9);
            let file = file_of(forms, 12, &weights);
            require_restored(count as u64, &file, &weights, (forms, count));
        }
    }
}

/// A file of a tensor of this type with records that no canonical encoder writes, and its bytes.
fn odd(dtype: Dtype, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    // A multiple of 12 fills the bytes of every type.
    let count = 12 * (1 + random.below(500));
    let data = any_weights(dtype, count as usize, random);
    let tensor = Tensor {
        name: "w".to_owned(),
        dtype,
        shape: vec![data.len() as u64 * 8 / dtype.bits()],
        data,
        form: Form {
            encoding: ENCODINGS[random.below(2) as usize],
            chunk_size_log2: 12,
            records: Records::Odd {
                seed: random.bits(),
            },
        },
    };
    (container(std::slice::from_ref(&tensor), false), tensor.data)
}

#[test]
fn odd_records_of_every_type_decode() {
    let mut random = Random::new(20);
    for &dtype in Dtype::ALL {
        for number in 0..8 {
            let (file, data) = odd(dtype, &mut random);
            require_restored(number, &file, &data, dtype);
        }
    }
}

#[test]
fn damaged_tensors_of_every_type_break_the_rule_that_the_cpu_finds() {
    let mut random = Random::new(21);
    let mut rejected = std::collections::BTreeMap::<&str, u32>::new();
    for &dtype in Dtype::ALL {
        for _ in 0..3 {
            let (file, _) = odd(dtype, &mut random);
            for _ in 0..8 {
                let mut damaged = file.clone();
                let payload = unweight_testkit::coded_payloads(&file).pop();
                let at = match payload.map(|payload| payload.records()) {
                    // Headers, lane ends and codes are at the beginning.
                    Some(records) if random.below(4) != 0 => {
                        records.offset + random.below(records.length.min(100))
                    }
                    Some(records) => records.offset + random.below(records.length),
                    None => file.len() as u64 / 2 + random.below(file.len() as u64 / 2),
                };
                damaged[at as usize] ^= 1 << random.below(8);
                if random.below(10) != 0 {
                    repair_checksums(&mut damaged);
                }
                let by_kernels =
                    restore(&OnTheCpu::new(random.bits(), Stages::AsInABatch), &damaged);
                match restored(&damaged[..]) {
                    Ok(bytes) => assert!(by_kernels.ok() == Some(bytes), "{dtype}"),
                    Err(error) => {
                        let rule = error.rule().expect("memory does not fail").id();
                        let found = by_kernels.err().and_then(|rejection| rejection.rule);
                        assert_eq!(found.as_deref(), Some(rule), "{dtype}");
                        *rejected.entry(rule).or_default() += 1;
                    }
                }
            }
        }
    }
    println!("{rejected:?}");
    assert!(rejected.len() > 10, "{rejected:?}");
}
