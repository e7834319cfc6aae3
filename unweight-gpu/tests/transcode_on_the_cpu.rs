//! Transcoding of records by the kernels on fibers of the CPU. The results for the corpus are
//! compared with the cases, and others with the reference's bytes.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod host_encoder;
mod restore;
#[allow(dead_code)]
#[path = "on_a_gpu/tensors.rs"]
mod tensors;

use std::sync::atomic::{AtomicU32, Ordering};

use half::bf16;
use restore::{Kernels, hold_to_the_corpus, restore};
use tensors::{file_with, many_tensors};
use unweight_cpu::reference::{ExponentCounts, TensorPlan, encode_weights};
use unweight_format::layout::{PLANE_ALIGNMENT, RECORD_ALIGNMENT};
use unweight_format::{CodedPlanes, Encoding, RecordEnds, Rule, Tensor, weight};
use unweight_gpu::host::{
    Addresses, EncodeJob, GOOD, TOTAL_BYTES, TensorJob, crc_constants, longest_record_bytes, read,
    stage_bytes,
};
use unweight_gpu::longest_payload_bytes;
use unweight_gpu_host::{DeviceMemory, Launch};
use unweight_testkit::{bytes_of, coded_planes};

/// A decoder that transcodes each tensor and returns the weights of the result.
#[derive(Debug, Default)]
struct Transcoding {
    seed: u64,
    /// Numbers of tensors that were transcoded directly, and of those that needed the fallback.
    direct: AtomicU32,
    fallbacks: AtomicU32,
}

fn other(encoding: Encoding) -> Encoding {
    match encoding {
        Encoding::Huffman => Encoding::Palette,
        _ => Encoding::Huffman,
    }
}

impl Kernels for Transcoding {
    fn decode(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, Rule> {
        let uploaded = DeviceMemory::of(payload);
        let (addresses, stage) = located(planes, payload, &uploaded)?;
        let weights = planes.weights();
        let exponents = DeviceMemory::poisoned(weights.next_multiple_of(PLANE_ALIGNMENT) as usize);
        let source = TensorJob::new(planes, addresses, exponents.address(), 0, 0);
        let launch = Launch {
            jobs: (&raw const source).cast(),
            job_count: 1,
            chunk_count: planes.chunk_count() as u32,
            seed: self.seed,
        };
        let constants = crc_constants();
        let mut status = GOOD;
        let mut of_chunks = vec![0; planes.chunk_count() as usize];
        // SAFETY: the record ends are valid; planes and output are aligned and long enough.
        unsafe {
            launch.check_chunks(constants.as_ptr().cast(), &mut status);
            launch.decode(stage, true, &mut status);
            launch.checksum_weights(constants.as_ptr().cast(), true, &mut of_chunks);
        }
        let outputs = Outputs::new(weights, planes.chunk_size_log2());
        let encoding = other(planes.encoding());
        let mut job = EncodeJob {
            exponents: exponents.address(),
            input_sign_mantissa: addresses.sign_mantissa,
            ..EncodeJob::new(encoding, weights, planes.chunk_size_log2(), 0)
        };
        outputs.give_to(&mut job);
        let direct = Direct::of(planes, &source, stage, self.seed);
        // SAFETY: the outputs are aligned and have the greatest possible length. Exponents of a bad
        // input are any bytes.
        unsafe {
            host_encoder::encode(std::slice::from_mut(&mut job), true, self.seed);
        }
        // What checks chunk checksums has the last word in the first launch alone.
        let direct_rule = read(direct.status).map(|bad| bad.rule);
        if let Some(bad) = read(status) {
            assert!(direct_rule == Some(bad.rule) || bad.rule == Rule::RecordCrc);
            return Err(bad.rule);
        }
        assert_eq!(direct_rule, None);
        let mut whole = crc32fast::Hasher::new();
        for (number, &checksum) in of_chunks.iter().enumerate() {
            let bytes = 2 * u64::from(planes.chunk(number as u64).weights);
            whole.combine(&crc32fast::Hasher::new_with_initial_len(checksum, bytes));
        }
        tensor
            .require_checksum(whole.finalize())
            .map_err(|error| error.rule)?;
        let exponents = &exponents.bytes()[..weights as usize];
        let pairs = exponents.iter().zip(payload);
        let joined: Vec<bf16> = pairs
            .map(|(&exponent, &sign_mantissa)| weight(sign_mantissa, exponent))
            .collect();
        outputs.hold_to_the_reference(&job, &joined, encoding);
        match direct.needs_fallback {
            true => self.fallbacks.fetch_add(1, Ordering::Relaxed),
            false => {
                (direct.outputs).hold_to_the_reference(&direct.job, &joined, encoding);
                self.direct.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(bytes_of(&joined))
    }
}

/// Addresses of a tensor's planes, and the stage that its records need.
fn located(
    planes: &CodedPlanes,
    payload: &[u8],
    uploaded: &DeviceMemory,
) -> Result<(Addresses, u32), Rule> {
    let start = planes.sign_mantissa().offset;
    let skip = (planes.record_ends().offset - start) as usize;
    let ends = RecordEnds::parse(planes, &payload[skip..]).map_err(|error| error.rule)?;
    let address = |offset: u64| uploaded.address() + (offset - start);
    let addresses = Addresses {
        sign_mantissa: address(start),
        record_ends: address(planes.record_ends().offset),
        records: address(planes.records().offset),
    };
    let stage = stage_bytes(longest_record_bytes(planes, &ends), planes.weights());
    Ok((addresses, stage))
}

/// Output of direct transcoding.
struct Direct {
    outputs: Outputs,
    job: EncodeJob,
    needs_fallback: bool,
    status: u64,
}

impl Direct {
    /// Transcodes the planes of the job `source`, whose record ends are valid.
    fn of(planes: &CodedPlanes, source: &TensorJob, stage: u32, seed: u64) -> Direct {
        let encoding = other(planes.encoding());
        let outputs = Outputs::new(planes.weights(), planes.chunk_size_log2());
        let mut job = EncodeJob {
            input: (&raw const *source) as u64,
            ..EncodeJob::new(encoding, planes.weights(), planes.chunk_size_log2(), 0)
        };
        outputs.give_to(&mut job);
        let mut status = GOOD;
        // There is no stage for other seeds, so that records are read from device memory.
        let stage = if seed == 0 { stage } else { 0 };
        let jobs = std::slice::from_mut(&mut job);
        // SAFETY: the outputs are aligned and long enough for anything, and so is what the source names.
        let needs_fallback =
            unsafe { host_encoder::encode_records(jobs, encoding, stage, seed, &mut status) };
        Direct {
            outputs,
            job,
            needs_fallback,
            status,
        }
    }
}

/// Outputs and scratch memory of the encoder.
struct Outputs {
    counts: DeviceMemory,
    totals: DeviceMemory,
    sign_mantissa: DeviceMemory,
    record_ends: DeviceMemory,
    records: DeviceMemory,
    palette_counts: DeviceMemory,
    code_lengths: DeviceMemory,
    look_back: DeviceMemory,
    record_lengths: DeviceMemory,
}

impl Outputs {
    fn new(weights: u64, chunk_size_log2: u8) -> Outputs {
        let allocate = |bytes: u64| DeviceMemory::poisoned(bytes as usize);
        let zeros = |bytes: u64| DeviceMemory::of(&vec![0; bytes as usize]);
        let chunks = weights.div_ceil(1 << chunk_size_log2);
        let sign_mantissa = weights.next_multiple_of(PLANE_ALIGNMENT);
        let record_ends = (4 * chunks).next_multiple_of(RECORD_ALIGNMENT);
        let records = longest_payload_bytes(weights, chunk_size_log2) - sign_mantissa - record_ends;
        Outputs {
            counts: allocate(1024 * chunks),
            totals: zeros(TOTAL_BYTES),
            sign_mantissa: allocate(sign_mantissa),
            record_ends: allocate(record_ends),
            records: allocate(records),
            palette_counts: allocate(64 * chunks),
            code_lengths: allocate(8 * chunks),
            look_back: zeros(8 * chunks),
            record_lengths: allocate(4 * chunks.next_multiple_of(4)),
        }
    }

    fn give_to(&self, job: &mut EncodeJob) {
        job.counts = self.counts.address();
        job.totals = self.totals.address();
        job.sign_mantissa = self.sign_mantissa.address();
        job.record_ends = self.record_ends.address();
        job.records = self.records.address();
        job.palette_counts = self.palette_counts.address();
        job.code_lengths = self.code_lengths.address();
        job.look_back = self.look_back.address();
        job.record_lengths = self.record_lengths.address();
    }

    /// Checks that palette and planes are those of the canonical encoding of these weights.
    fn hold_to_the_reference(&self, job: &EncodeJob, weights: &[bf16], encoding: Encoding) {
        let mut counts = ExponentCounts::default();
        counts.add_weights(weights);
        let plan = TensorPlan::new(&counts, encoding);
        assert_eq!(&job.palette, plan.palette().exponents());
        let (mut sign_mantissa, mut records, mut ends) = (vec![], vec![], vec![]);
        for chunk in weights.chunks(1 << job.chunk_size_log2) {
            encode_weights(&plan, chunk, &mut sign_mantissa, &mut records);
            ends.extend((records.len() as u32 / 16).to_le_bytes());
        }
        ends.resize(ends.len().next_multiple_of(16), 0);
        sign_mantissa.resize(sign_mantissa.len().next_multiple_of(256), 0);
        assert!(self.sign_mantissa.bytes() == sign_mantissa);
        assert!(self.record_ends.bytes() == ends);
        assert!(self.records.bytes()[..records.len()] == records);
    }
}

#[test]
fn transcoding_gives_the_reference_s_bytes_and_errors() {
    let transcoding = Transcoding::default();
    hold_to_the_corpus(&transcoding);
    // Some files of the corpus are not from a canonical encoder.
    assert!(transcoding.direct.into_inner() > 0);
    assert!(transcoding.fallbacks.into_inner() > 0);
}

#[test]
fn the_order_of_threads_changes_nothing() {
    hold_to_the_corpus(&Transcoding {
        seed: 7,
        ..Transcoding::default()
    });
}

#[test]
fn records_of_a_canonical_encoder_are_made_of_records() {
    let chunk_size = |number: usize| 12 + (number % 5) as u8;
    let mut tensors = many_tensors(chunk_size);
    // Few weights, because fibers are slow.
    tensors
        .iter_mut()
        .for_each(|tensor| tensor.truncate(70_000));
    let original: Vec<u8> = tensors.iter().flat_map(|tensor| bytes_of(tensor)).collect();
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        let transcoding = Transcoding {
            seed: encoding as u64,
            ..Transcoding::default()
        };
        let file = file_with(&tensors, encoding, chunk_size);
        assert!(restore(&transcoding, &file).unwrap() == original);
        assert!(transcoding.direct.into_inner() > 0);
        assert_eq!(transcoding.fallbacks.into_inner(), 0, "{encoding:?}");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let tensors = [tensors::weights(100_000, 5)];
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        let file = file_with(&tensors, encoding, |_| 15);
        let planes = &coded_planes(&file)[0];
        let start = planes.sign_mantissa().offset as usize;
        let payload = &file[start..planes.records().end() as usize];
        let first_record = planes.records().offset as usize - start;
        let transcoded = |payload: &[u8]| {
            let uploaded = DeviceMemory::of(payload);
            let (addresses, stage) = located(planes, payload, &uploaded).unwrap();
            let source = TensorJob::new(planes, addresses, 0, 0, 0);
            let direct = Direct::of(planes, &source, stage, 0);
            assert_eq!((direct.status, direct.needs_fallback), (GOOD, false));
            direct.outputs.records.bytes().to_vec()
        };
        let mut damaged = payload.to_vec();
        damaged[first_record] ^= 0x40;
        let mut expected = transcoded(payload);
        expected[0] ^= 0x40;
        assert!(transcoded(&damaged) == expected);
    }
}
