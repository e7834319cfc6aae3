//! Decoding by the kernels' own source on fibers of the CPU. It needs no GPU, and AddressSanitizer
//! can check it.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod restore;

use std::ffi::c_void;
use std::mem::offset_of;

use restore::{Kernels, hold_to_the_corpus};
use unweight_format::{CodedPlanes, RecordEnds, Rule, Tensor};
use unweight_gpu::host::{
    Addresses, EncodeJob, GOOD, KIND_BYTES, TOTAL_BYTES, TensorJob, crc_constants,
    longest_record_bytes, read, stage_bytes,
};
use unweight_gpu_host::{DeviceMemory, Launch};

/// Kernels whose threads run in the order of `seed`. If `stages` is false, no record fits shared
/// memory.
struct OnTheCpu {
    seed: u64,
    stages: bool,
    /// Number of blocks that share all chunks, and of warps in each. None means one block a chunk.
    few_blocks: Option<(u32, u32)>,
    constants: Vec<u32>,
}

impl OnTheCpu {
    fn new(seed: u64, stages: bool) -> OnTheCpu {
        let constants = crc_constants();
        OnTheCpu {
            seed,
            stages,
            few_blocks: None,
            constants,
        }
    }

    /// Decodes to weights or to exponents. Returns the output and the checksum of the weights, or
    /// the rule that the first bad chunk breaks.
    fn run(
        &self,
        planes: &CodedPlanes,
        payload: &[u8],
        exponents: bool,
    ) -> Result<(DeviceMemory, u32), Rule> {
        let start = planes.sign_mantissa().offset;
        let skip = (planes.record_ends().offset - start) as usize;
        let ends = RecordEnds::parse(planes, &payload[skip..]).map_err(|error| error.rule)?;
        let stage = match self.stages {
            true => stage_bytes(longest_record_bytes(planes, &ends), planes.weights()),
            false => 0,
        };
        let uploaded = DeviceMemory::of(payload);
        let bytes_per_weight = if exponents { 1 } else { 2 };
        let output = DeviceMemory::poisoned(planes.weights() as usize * bytes_per_weight);
        let address = |offset: u64| uploaded.address() + (offset - start);
        let addresses = Addresses {
            sign_mantissa: address(start),
            record_ends: address(planes.record_ends().offset),
            records: address(planes.records().offset),
        };
        let job = TensorJob::new(planes, addresses, output.address(), 0, 0);
        let launch = Launch {
            jobs: (&raw const job).cast(),
            job_count: 1,
            chunk_count: planes.chunk_count() as u32,
            seed: self.seed,
        };
        let constants: *const c_void = self.constants.as_ptr().cast();
        let mut status = GOOD;
        let mut of_chunks = vec![0; planes.chunk_count() as usize];
        // SAFETY: the record ends are valid; planes and output are aligned and long enough.
        unsafe {
            launch.check_chunks(constants, &mut status);
            match self.few_blocks {
                Some(few) => launch.decode_in_few_blocks(few, stage, exponents, &mut status),
                None => launch.decode(stage, exponents, &mut status),
            }
            if !exponents {
                launch.checksum_weights(constants, false, &mut of_chunks);
            }
        }
        if let Some(bad) = read(status) {
            return Err(bad.rule);
        }
        let mut whole = crc32fast::Hasher::new();
        for (number, &checksum) in of_chunks.iter().enumerate() {
            let bytes = 2 * u64::from(planes.chunk(number as u64).weights);
            whole.combine(&crc32fast::Hasher::new_with_initial_len(checksum, bytes));
        }
        Ok((output, whole.finalize()))
    }
}

impl Kernels for OnTheCpu {
    fn decode(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, Rule> {
        let (weights, checksum) = self.run(planes, payload, false)?;
        let weights = weights.bytes();
        tensor
            .require_checksum(checksum)
            .map_err(|error| error.rule)?;
        let (exponents, _) = self.run(planes, payload, true)?;
        let of_weights = weights.as_chunks().0.iter().map(|&pair| {
            let [low, high] = pair;
            high << 1 | low >> 7
        });
        assert!(of_weights.eq(exponents.bytes().iter().copied()));
        Ok(weights.to_vec())
    }
}

#[test]
fn kernels_and_format_have_the_same_numbers() {
    use unweight_format::layout::*;
    let expected = [
        STEP_WEIGHTS,
        LANES,
        LANE_STEP_WEIGHTS,
        PALETTE_ENTRIES,
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
        KIND_BYTES as usize,
        size_of::<TensorJob>(),
        TensorJob::PALETTE_OFFSET,
        size_of::<EncodeJob>(),
        offset_of!(EncodeJob, palette),
        TOTAL_BYTES as usize,
        size_of_val(&crc_constants()[..]),
    ];
    assert_eq!(
        unweight_gpu_host::layout(),
        expected.map(|number| number as u32)
    );
}

#[test]
fn kernels_give_the_corpus_and_the_reference_s_errors() {
    hold_to_the_corpus(&OnTheCpu::new(0, true));
}

#[test]
fn the_order_of_threads_changes_nothing() {
    for seed in 1..4 {
        hold_to_the_corpus(&OnTheCpu::new(seed, true));
    }
}

#[test]
fn records_that_do_not_fit_shared_memory_decode_where_they_stand() {
    hold_to_the_corpus(&OnTheCpu::new(0, false));
}

#[test]
fn few_blocks_of_many_warps_decode_every_chunk() {
    for few in [(1, 1), (2, 3), (5, 16)] {
        let few_blocks = Some(few);
        hold_to_the_corpus(&OnTheCpu {
            few_blocks,
            ..OnTheCpu::new(7, true)
        });
    }
}
