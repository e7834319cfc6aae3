//! Ranges of chunks, and checksums of raw bytes, by the kernels on fibers of the CPU.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod host_decoder;

use unweight::container::OpenFile;
use unweight_format::{Dtype, Forms, Rule};
use unweight_gpu::host::{
    FIELD_BYTES, GOOD, TABLE_BYTES, TensorJob, crc_constants, read, stage_bytes,
};
use unweight_gpu_host::{DeviceMemory, FieldsMemory, Launch};
use unweight_testkit::forms::{file_of, weights};

use host_decoder::Uploaded;

const LOG2: u8 = 12;
/// Number of weights of five whole chunks and a short one.
const WEIGHTS: usize = (5 << LOG2) + 777;
const RANGES: [(usize, usize); 6] = [(0, 2), (2, 2), (1, 6), (5, 6), (3, 4), (6, 6)];
/// Forms of several types, and the bytes of a weight.
const FORMS: [(Dtype, u32, usize); 4] = [
    (Dtype::Bf16, 0x001, 2),
    (Dtype::Bf16, 0x302, 2),
    (Dtype::F8E4M3, 0x01, 1),
    (Dtype::F32, 0x33_3011, 4),
];

/// What a launch of all ranges made.
struct Decoded {
    outputs: Vec<DeviceMemory>,
    checksums: Vec<u32>,
    status: u64,
}

/// Decodes all ranges in one launch, to memory of exactly the needed size.
fn decode(file: &[u8], exponents: bool) -> Decoded {
    let open = OpenFile::read(file).unwrap();
    let tensor = open.container().directory().tensor(0).unwrap();
    let payload = tensor.payload();
    let uploaded = Uploaded::new(&tensor, payload.extent().of(file).unwrap()).unwrap();
    let weight_bytes = payload.forms().dtype().weight_bytes();
    let element_bytes = if exponents { 1 } else { weight_bytes };
    let (mut outputs, mut jobs, mut chunk_count) = (vec![], vec![], 0);
    for (from, to) in RANGES {
        let weights = (to << LOG2).min(WEIGHTS) - (from << LOG2).min(WEIGHTS);
        let output = DeviceMemory::poisoned(element_bytes * weights);
        let (palettes, address) = (&uploaded.palettes, output.address());
        let skipped = from as u32;
        let job = TensorJob::new(
            payload,
            palettes,
            uploaded.at,
            address,
            chunk_count,
            skipped,
        );
        jobs.push(job);
        chunk_count += (to - from) as u32;
        outputs.push(output);
    }
    let launch = Launch {
        jobs: jobs.as_ptr().cast(),
        job_count: jobs.len() as u32,
        chunk_count,
        seed: 3,
    };
    let constants = crc_constants();
    let (mut status, mut checksums) = (GOOD, vec![0; chunk_count as usize]);
    let stage = |table_bytes| stage_bytes(uploaded.longest_records_bytes, 1 << LOG2, table_bytes);
    // SAFETY: palettes and record ends are valid, plain plane and outputs are aligned and long
    // enough, and chunks are numbered across jobs.
    unsafe {
        launch.check_chunks(constants.as_ptr().cast(), &mut status);
        if exponents || payload.forms().is_bf16_exponent() {
            launch.decode(stage(TABLE_BYTES), exponents, &mut status);
        } else {
            let most_fields = payload.forms().coded_count() as u32;
            let memory = FieldsMemory {
                stage_bytes: stage(most_fields * FIELD_BYTES),
                most_fields,
            };
            launch.decode_fields(weight_bytes as u32, memory, &mut status);
        }
        if !exponents {
            launch.checksum_weights(constants.as_ptr().cast(), &mut checksums);
        }
    }
    Decoded {
        outputs,
        checksums,
        status,
    }
}

/// The weights of each range.
fn parts(bytes: &[u8], weight_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let place = move |chunk: usize| (chunk << LOG2).min(WEIGHTS) * weight_bytes;
    RANGES
        .map(|(from, to)| &bytes[place(from)..place(to)])
        .into_iter()
}

#[test]
fn a_range_of_chunks_is_that_part_of_the_tensor() {
    for (dtype, bits, weight_bytes) in FORMS {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let weights = weights(forms, WEIGHTS, 1);
        let file = file_of(forms, LOG2, &weights);
        let decoded = decode(&file, false);
        assert_eq!(decoded.status, GOOD);
        let mut checksums = decoded.checksums.into_iter();
        for (output, part) in decoded.outputs.iter().zip(parts(&weights, weight_bytes)) {
            for chunk in part.chunks(weight_bytes << LOG2) {
                assert_eq!(checksums.next(), Some(crc32fast::hash(chunk)));
            }
            assert!(part.is_empty() || output.bytes() == part, "{forms:?}");
        }
        if dtype != Dtype::Bf16 {
            continue;
        }
        let decoded = decode(&file, true);
        assert_eq!(decoded.status, GOOD);
        for (output, part) in decoded.outputs.iter().zip(parts(&weights, weight_bytes)) {
            let exponents = part
                .as_chunks()
                .0
                .iter()
                .map(|&[low, high]| high << 1 | low >> 7);
            let exponents: Vec<u8> = exponents.collect();
            assert!(part.is_empty() || output.bytes() == exponents, "{forms:?}");
        }
    }
}

#[test]
fn a_bad_chunk_is_found_in_the_first_range_that_has_it() {
    for (dtype, bits, _) in FORMS {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let mut file = file_of(forms, LOG2, &weights(forms, WEIGHTS, 1));
        let payload = unweight_testkit::coded_payloads(&file)[0];
        // A plain byte of chunk 3, which the second of the ranges that are not empty is the first
        // to have: as its third chunk.
        file[payload.chunk(3).plain.offset as usize] ^= 1;
        let bad = read(decode(&file, false).status).unwrap();
        assert_eq!(
            (bad.chunk_in_launch, bad.coded_field, bad.rule),
            (2 + 2, 0, Rule::RecordCrc)
        );
        // The checksum of the last coded field's record in chunk 0.
        let last = payload.forms().coded_count() - 1;
        let records = unweight_testkit::records(&file, &payload);
        file[records[last].extent.offset as usize] ^= 1;
        let bad = read(decode(&file, false).status).unwrap();
        assert_eq!(
            (bad.chunk_in_launch, bad.coded_field, bad.rule),
            (0, last, Rule::RecordCrc)
        );
    }
}

#[test]
fn checksums_are_of_bytes_too() {
    const PIECE: usize = 1 << 16;
    let sizes = [
        1,
        2,
        3,
        511,
        512,
        513,
        4_095,
        PIECE - 1,
        PIECE,
        3 * PIECE + 5,
    ];
    let bytes = |size: usize| -> Vec<u8> {
        (0..size)
            .map(|place| ((place * place) >> 3) as u8)
            .collect()
    };
    let memories: Vec<_> = sizes
        .iter()
        .map(|&size| DeviceMemory::of(&bytes(size)))
        .collect();
    let (mut jobs, mut chunk_count) = (vec![], 0);
    for (memory, size) in memories.iter().zip(sizes) {
        jobs.push(TensorJob::of_bytes(
            memory.address(),
            size as u64,
            chunk_count,
        ));
        chunk_count += size.div_ceil(PIECE) as u32;
    }
    let launch = Launch {
        jobs: jobs.as_ptr().cast(),
        job_count: jobs.len() as u32,
        chunk_count,
        seed: 1,
    };
    let constants = crc_constants();
    let mut checksums = vec![0; chunk_count as usize];
    // SAFETY: outputs are aligned and as long as the jobs state, and pieces are numbered across
    // jobs.
    unsafe { launch.checksum_weights(constants.as_ptr().cast(), &mut checksums) };
    let expected = sizes.iter().flat_map(|&size| {
        let bytes = bytes(size);
        bytes.chunks(PIECE).map(crc32fast::hash).collect::<Vec<_>>()
    });
    assert!(expected.eq(checksums));
}
