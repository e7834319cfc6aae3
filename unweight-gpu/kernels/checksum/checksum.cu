// CRC-32 of chunks (specification, section 8): of records with their plain bytes, of weights, and of blocks.
//
// Data layout: rows of 512 bytes (checksum/crc32.cuh).
// Threads: one warp = one chunk, or one block of a plain plane; blocks of 8 warps.
// Shared memory: none.
// Preconditions: those of TensorJob; `constants` is what `src/checksum/constants.rs` makes; outputs hold all weights.
// Chunks of a launch are numbered from `first_chunk` on.
// Tail: that of crc32.cuh. Warps after the last chunk do nothing.
#include "abi/status.cuh"
#include "checksum/crc32.cuh"
#include "record/chunk.cuh"

namespace unweight::checksum {

using record::Chunk;
using record::find_chunk;

__device__ __forceinline__ uint32_t chunk_of_warp() { return blockIdx.x * CHECKSUM_WARPS + threadIdx.x / WARP; }

// Compares the checksum in each chunk's record of coded field `field` with that of the record and, for the first coded
// field, the chunk's plain bytes. Chunks without that field are left out. A launch for each field keeps registers for
// four blocks a multiprocessor; a loop over the fields did not.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    check_chunks(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t chunk_count, uint32_t field,
                 const CrcConstants* constants, unsigned long long* status) {
  if (chunk_of_warp() >= chunk_count) return;
  const uint32_t number = first_chunk + chunk_of_warp();
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = find_chunk(jobs, job_count, number);
  if (field >= chunk.job->coded_count) return;
  const record::FieldRecord record = record::find_record(chunk, field);
  // A CRC begins with 32 ones, which equals adding them to the first four bytes.
  uint32_t sum = remainder_of(constants, lane, PlainBytes{record.bytes}, record.length, RECORD_CHECKED_FROM, ~0u);
  if (field == 0) {
    const uint32_t bytes = record::plain_bytes(chunk);
    sum = advance_bytes(constants->power, sum, bytes, lane);
    sum ^= remainder_of(constants, lane, PlainBytes{chunk.plain}, bytes, 0, 0);
  }
  const uint32_t stated = *reinterpret_cast<const uint32_t*>(record.bytes);
  if (~sum != stated && lane == 0) report(status, number, field, RECORD_CRC);
}

// Bytes of the output of a job's chunk, whose number in the job is `own`.
__device__ __forceinline__ uint32_t output_bytes(const TensorJob* job, uint64_t own) {
  const uint64_t left = job->weights - ((own + job->skipped_chunks) << job->chunk_size_log2);
  const uint32_t whole = 1u << job->chunk_size_log2;
  return (left < whole ? static_cast<uint32_t>(left) : whole) * job->weight_bytes;
}

__device__ __forceinline__ PlainBytes output_of(const TensorJob* job, uint64_t own) {
  return PlainBytes{job->output + (own << job->chunk_size_log2) * job->weight_bytes};
}

// Writes the checksum of each chunk's output. Reads no record.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    checksum_weights(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                     uint32_t* checksums) {
  const uint32_t number = chunk_of_warp();
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const TensorJob* job = record::find_job(jobs, job_count, number);
  const uint64_t own = number - job->first_chunk;
  const uint32_t sum = checksum_of(constants, lane, output_of(job, own), output_bytes(job, own));
  if (lane == 0) checksums[number] = sum;
}

// Compares the checksum of each block with the stated one. A job's output is a plain plane, its record ends are the
// block checksums, and its chunks are blocks.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    check_blocks(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t chunk_count,
                 const CrcConstants* constants, unsigned long long* status) {
  if (chunk_of_warp() >= chunk_count) return;
  const uint32_t number = first_chunk + chunk_of_warp();
  const uint32_t lane = threadIdx.x % WARP;
  const TensorJob* job = record::find_job(jobs, job_count, number);
  const uint64_t own = number - job->first_chunk;
  const uint32_t sum = checksum_of(constants, lane, output_of(job, own), output_bytes(job, own));
  if (lane == 0 && sum != job->record_ends[own]) report(status, number, 0, BLOCK_CRC);
}

}  // namespace unweight::checksum
