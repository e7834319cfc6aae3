//! Launches of the encoder's kernels on fibers of the CPU, in the order of a batch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use unweight_format::Encoding;
use unweight_gpu::host::{EncodeJob, count_threads, crc_constants};
// The library of this crate holds the kernels.
use unweight_gpu_host::DeviceMemory;

#[rustfmt::skip]
unsafe extern "C" {
    fn unweight_host_count_exponents(jobs: *mut EncodeJob, job_count: u32, chunk_count: u32, threads: u32, of_planes: bool, seed: u64);
    pub(crate) fn unweight_host_choose_codes(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, tensor_codes: *mut u8, gathers: u32, seed: u64);
    fn unweight_host_encode_chunks(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, tensor_codes: *const u8, constants: *const u32, source: u32, seed: u64);
    #[allow(dead_code)]
    pub(crate) fn unweight_host_write_record_ends(job: *const EncodeJob, seed: u64);
    fn unweight_host_palette_record_ends(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, needs_fallback: *mut u32, seed: u64);
    fn unweight_host_huffman_to_palette(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, stage_bytes: u32, constants: *const u32, seed: u64, status: *mut u64, needs_fallback: *mut u32);
    fn unweight_host_count_indices(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, constants: *const u32, seed: u64, status: *mut u64, needs_fallback: *mut u32);
}

/// Encodes all jobs.
///
/// # Safety
/// Every job meets the conditions in `kernels/abi/encode_job.cuh`, and chunks are numbered across
/// jobs. The inputs are weights, or planes if `of_planes` is set.
pub(crate) unsafe fn encode(jobs: &mut [EncodeJob], of_planes: bool, seed: u64) {
    let chunk_count = jobs.iter().map(|job| job.chunk_count).sum();
    let largest = jobs.iter().map(|job| job.chunk_size_log2).max();
    // The seed selects the size of the device.
    let threads = count_threads(largest.unwrap(), chunk_count, seed as u32 % 5);
    let (start, job_count) = (jobs.as_mut_ptr(), jobs.len() as u32);
    let constants = crc_constants();
    let codes = DeviceMemory::poisoned(8 * jobs.len());
    // SAFETY: the caller meets the conditions of `# Safety`.
    unsafe {
        unweight_host_count_exponents(start, job_count, chunk_count, threads, of_planes, seed);
        let codes = codes.as_mut_ptr();
        unweight_host_choose_codes(start, job_count, chunk_count, codes, 1, seed);
        unweight_host_encode_chunks(
            start,
            job_count,
            chunk_count,
            codes,
            constants.as_ptr(),
            of_planes.into(),
            seed,
        );
    }
}

/// Transcodes records, all of the other encoding, to records. Returns whether they need the
/// fallback through planes.
///
/// # Safety
/// The conditions of [`encode`]. The inputs are records of at most `stage_bytes` bytes; longer ones
/// are read from device memory.
#[allow(dead_code)]
pub(crate) unsafe fn encode_records(
    jobs: &mut [EncodeJob],
    to: Encoding,
    stage_bytes: u32,
    seed: u64,
    status: &mut u64,
) -> bool {
    let chunk_count = jobs.iter().map(|job| job.chunk_count).sum();
    let (start, job_count) = (jobs.as_mut_ptr(), jobs.len() as u32);
    let constants = crc_constants();
    let constants = constants.as_ptr();
    let codes = DeviceMemory::poisoned(8 * jobs.len());
    let codes = codes.as_mut_ptr();
    let mut needs_fallback = 0;
    // SAFETY: the caller's.
    unsafe {
        if to == Encoding::Palette {
            unweight_host_palette_record_ends(
                start,
                job_count,
                chunk_count,
                &mut needs_fallback,
                seed,
            );
            unweight_host_huffman_to_palette(
                start,
                job_count,
                chunk_count,
                stage_bytes,
                constants,
                seed,
                status,
                &mut needs_fallback,
            );
        } else {
            unweight_host_count_indices(
                start,
                job_count,
                chunk_count,
                constants,
                seed,
                status,
                &mut needs_fallback,
            );
        }
        if to == Encoding::Huffman {
            unweight_host_choose_codes(start, job_count, chunk_count, codes, 0, seed);
            unweight_host_encode_chunks(start, job_count, chunk_count, codes, constants, 2, seed);
        }
    }
    needs_fallback != 0
}
