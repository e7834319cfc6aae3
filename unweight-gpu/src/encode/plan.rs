//! Layout of the encoder's planes and scratch: pure functions, tested without a GPU.

use unweight_format::layout::{
    PLANE_ALIGNMENT, RECORD_ALIGNMENT, RECORD_END_BYTES, longest_record_bytes,
};
use unweight_format::{Extent, limits};

use super::job::EncodeJob;
use crate::kernels::WARP;

/// Shared memory and threads of the kernels, as stated at the heads of their files.
pub(crate) const COUNT_SHARED_BYTES: u32 = 256 * 8 + 256 * 4 + 16 * 4;
pub(crate) const CODE_WARPS: u32 = 8;
pub(crate) const CODE_SHARED_BYTES: u32 = 8 * CODE_WARPS * (16 + 16 + WARP);

/// Shared memory of `encode_chunks` without the record.
const ENCODE_TABLES_BYTES: u32 = 4 * (256 + 16 + 32 * WARP + 40 + 256) + 256 + 16 + 16 + 32;
/// Binary logarithm of the weights of one warp of `encode_chunks`.
const WARP_WEIGHTS_LOG2: u32 = 11;

/// Shared memory of a block of `encode_chunks` for chunks of at most this size.
pub(crate) const fn encode_shared_bytes(chunk_size_log2: u32) -> u32 {
    ENCODE_TABLES_BYTES + longest_record_bytes(1 << chunk_size_log2) as u32
}

/// Threads of a block of `encode_chunks` for chunks of at most this size.
pub(crate) const fn encode_threads(chunk_size_log2: u32) -> u32 {
    WARP << (chunk_size_log2 - WARP_WEIGHTS_LOG2)
}

/// The most warps of a block of `count_exponents`, and the most weights of one of its warps (as a
/// binary logarithm).
const MOST_COUNT_WARPS: u32 = 8;
const MOST_COUNT_WEIGHTS_LOG2: u32 = 14;
/// Number of these warps that keeps a multiprocessor's memory busy.
const COUNT_WARPS_OF_MULTIPROCESSOR: u64 = 24;

/// Threads of a block of `count_exponents` for chunks of at most this size. The start and end of a
/// warp take constant time, so no more warps share a chunk than needed.
pub const fn count_threads(chunk_size_log2: u32, chunk_count: u32, multiprocessors: u32) -> u32 {
    let enough = COUNT_WARPS_OF_MULTIPROCESSOR * multiprocessors as u64;
    let mut warps = 1 << chunk_size_log2.saturating_sub(MOST_COUNT_WEIGHTS_LOG2);
    while warps < MOST_COUNT_WARPS && warps as u64 * (chunk_count as u64) < enough {
        warps *= 2;
    }
    WARP * warps
}

/// The planes of a coded tensor, consecutive as in a file. Offsets count from the start of the
/// first plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planes {
    pub(crate) chunk_size_log2: u8,
    pub(crate) sign_mantissa: Extent,
    pub(crate) record_ends: Extent,
    /// The offset of the records.
    pub(crate) records: u64,
    /// Greatest total length of the records: all of them verbatim.
    pub(crate) longest_records_bytes: u64,
}

impl Planes {
    pub(crate) fn new(weights: u64, chunk_size_log2: u8) -> Planes {
        let whole = weights >> chunk_size_log2;
        let rest = (weights - (whole << chunk_size_log2)) as u32;
        let chunks = weights.div_ceil(1 << chunk_size_log2);
        let sign_mantissa = Extent {
            offset: 0,
            length: weights,
        };
        let record_ends = Extent {
            offset: weights.next_multiple_of(PLANE_ALIGNMENT),
            length: RECORD_END_BYTES * chunks,
        };
        let of_rest = if rest == 0 {
            0
        } else {
            longest_record_bytes(rest)
        };
        Planes {
            chunk_size_log2,
            sign_mantissa,
            record_ends,
            records: record_ends.end().next_multiple_of(RECORD_ALIGNMENT),
            longest_records_bytes: whole * longest_record_bytes(1 << chunk_size_log2) + of_rest,
        }
    }

    /// Greatest total size of the planes in memory.
    pub(crate) const fn longest_bytes(&self) -> u64 {
        self.records + self.longest_records_bytes
    }
}

/// Greatest size of an encoded tensor in device memory, in bytes. The output of an
/// [`EncodeBatch`](crate::EncodeBatch) must have this size.
///
/// # Panics
/// If the chunk size is not 12 to 16.
pub fn longest_payload_bytes(weights: u64, chunk_size_log2: u8) -> u64 {
    assert!(limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2));
    Planes::new(weights, chunk_size_log2).longest_bytes()
}

/// Assigns a job its scratch after the `used` bytes that are taken, and advances `used`. Counts,
/// totals and positions are not part of the scratch. Totals and positions are zeroed before each
/// launch.
pub(crate) const fn place_scratch(job: &mut EncodeJob, scratch: u64, used: &mut u64) {
    let chunks = job.chunk_count as u64;
    job.palette_counts = take(scratch, used, 16 * 4 * chunks);
    job.code_lengths = take(scratch, used, 8 * chunks);
    job.record_lengths = take(scratch, used, 4 * chunks);
}

const fn take(scratch: u64, used: &mut u64, bytes: u64) -> u64 {
    let at = scratch + *used;
    *used += bytes.next_multiple_of(PLANE_ALIGNMENT);
    at
}

#[cfg(test)]
mod tests {
    use unweight_format::Encoding;

    use super::*;

    #[test]
    fn planes_stand_as_in_a_file_and_have_room_for_verbatim_records() {
        for weights in [1, 255, 256, 4_095, 4_096, 4_097, 100_000, 1 << 35] {
            for log2 in limits::CHUNK_SIZE_LOG2 {
                let planes = Planes::new(weights, log2);
                assert_eq!(planes.record_ends.offset % 256, 0);
                assert!(planes.record_ends.offset >= weights);
                assert_eq!(planes.records % 16, 0);
                let mut longest = 0;
                if weights <= 100_000 {
                    let mut left = weights;
                    while left > 0 {
                        let chunk = left.min(1 << log2);
                        longest += longest_record_bytes(chunk as u32);
                        left -= chunk;
                    }
                    assert_eq!(planes.longest_records_bytes, longest);
                }
            }
        }
    }

    #[test]
    fn chunks_are_counted_by_as_many_warps_as_a_device_has_room_for() {
        assert_eq!(count_threads(12, 1, 132), 8 * WARP);
        assert_eq!(count_threads(15, 1_792, 132), 2 * WARP);
        assert_eq!(count_threads(16, 1_000_000, 132), 4 * WARP);
        assert_eq!(count_threads(13, u32::MAX, 132), WARP);
    }

    #[test]
    fn scratch_of_jobs_does_not_overlap() {
        let mut used = 512;
        let mut ends = vec![];
        for weights in [1, 40_000, 5_000_000] {
            let mut job = EncodeJob::new(Encoding::Huffman, weights, 12, 0);
            place_scratch(&mut job, 1 << 20, &mut used);
            let chunks = u64::from(job.chunk_count);
            for (start, bytes) in [
                (job.palette_counts, 64 * chunks),
                (job.code_lengths, 8 * chunks),
                (job.record_lengths, 4 * chunks),
            ] {
                assert_eq!(start % 256, 0);
                assert!(start >= ends.last().copied().unwrap_or((1 << 20) + 512));
                ends.push(start + bytes);
            }
        }
        assert!(ends.last() <= Some(&((1 << 20) + used)));
    }
}
