//! Ranges of chunks, and checksums of raw bytes, by the kernels on fibers of the CPU.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

use half::bf16;
use unweight_format::{Encoding, RecordEnds, Rule};
use unweight_gpu::host::{
    Addresses, GOOD, TensorJob, crc_constants, longest_record_bytes, read, stage_bytes,
};
use unweight_gpu_host::{DeviceMemory, Launch};
use unweight_testkit::{Random, bytes_of, coded_planes, container_of};

const LOG2: u8 = 12;
/// Number of weights of five whole chunks and a short one.
const WEIGHTS: usize = (5 << LOG2) + 777;
const RANGES: [(usize, usize); 6] = [(0, 2), (2, 2), (1, 6), (5, 6), (3, 4), (6, 6)];

fn file() -> (Vec<bf16>, Vec<u8>) {
    let weights = Random::new(1).trained_weights(WEIGHTS);
    let file = container_of(&weights, Encoding::Huffman, LOG2);
    (weights, file)
}

/// Decodes all ranges in one launch, to memory of exactly the needed size. Returns the memory, the
/// checksums and the status.
fn decode(file: &[u8], exponents: bool) -> (Vec<DeviceMemory>, Vec<u32>, u64) {
    let planes = coded_planes(file)[0];
    let start = planes.sign_mantissa().offset;
    let payload = &file[start as usize..planes.records().end() as usize];
    let skip = (planes.record_ends().offset - start) as usize;
    let ends = RecordEnds::parse(&planes, &payload[skip..]).unwrap();
    let stage = stage_bytes(longest_record_bytes(&planes, &ends), 1 << LOG2);
    let uploaded = DeviceMemory::of(payload);
    let addresses = Addresses {
        sign_mantissa: uploaded.address(),
        record_ends: uploaded.address() + skip as u64,
        records: uploaded.address() + (planes.records().offset - start),
    };
    let bytes_per_weight = if exponents { 1 } else { 2 };
    let (mut outputs, mut jobs, mut chunk_count) = (vec![], vec![], 0);
    for (from, to) in RANGES {
        let weights = (to << LOG2).min(WEIGHTS) - (from << LOG2).min(WEIGHTS);
        let output = DeviceMemory::poisoned(bytes_per_weight * weights);
        let address = output.address();
        jobs.push(TensorJob::new(
            &planes,
            addresses,
            address,
            chunk_count,
            from as u32,
        ));
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
    // SAFETY: the record ends are valid, planes and outputs are aligned and long enough, and chunks
    // are numbered across jobs.
    unsafe {
        launch.check_chunks(constants.as_ptr().cast(), &mut status);
        launch.decode(stage, exponents, &mut status);
        if !exponents {
            launch.checksum_weights(constants.as_ptr().cast(), false, &mut checksums);
        }
    }
    (outputs, checksums, status)
}

#[test]
fn a_range_of_chunks_is_that_part_of_the_tensor() {
    let (weights, file) = file();
    let (outputs, checksums, status) = decode(&file, false);
    assert_eq!(status, GOOD);
    let (planes, _, status) = decode(&file, true);
    assert_eq!(status, GOOD);
    let mut checksums = checksums.into_iter();
    for ((output, exponents), (from, to)) in outputs.iter().zip(&planes).zip(RANGES) {
        let part = &weights[(from << LOG2).min(WEIGHTS)..(to << LOG2).min(WEIGHTS)];
        let bytes = bytes_of(part);
        for chunk in bytes.chunks(2 << LOG2) {
            assert_eq!(checksums.next(), Some(crc32fast::hash(chunk)));
        }
        if part.is_empty() {
            continue;
        }
        assert!(output.bytes() == bytes, "{from}..{to}");
        let plane = part.iter().map(|weight| (weight.to_bits() >> 7) as u8);
        assert!(plane.eq(exponents.bytes().iter().copied()), "{from}..{to}");
    }
}

#[test]
fn a_bad_chunk_is_found_in_the_first_range_that_has_it() {
    let (_, mut file) = file();
    let planes = coded_planes(&file)[0];
    // A sign-mantissa byte of chunk 3, which the second of the ranges that are not empty is the first to have: as its third chunk.
    file[planes.chunk(3).sign_mantissa.offset as usize] ^= 1;
    let (_, _, status) = decode(&file, false);
    let bad = read(status).unwrap();
    assert_eq!((bad.chunk_in_launch, bad.rule), (2 + 2, Rule::RecordCrc));
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
    unsafe { launch.checksum_weights(constants.as_ptr().cast(), false, &mut checksums) };
    let expected = sizes.iter().flat_map(|&size| {
        let bytes = bytes(size);
        bytes.chunks(PIECE).map(crc32fast::hash).collect::<Vec<_>>()
    });
    assert!(expected.eq(checksums));
}
