// CRC-32 of chunks (specification, section 8): of records with their sign-mantissa bytes, of weights in one matrix or
// in two planes, and of a raw tensor's bytes.
//
// Data layout: rows of 512 bytes (checksum/crc32.cuh).
// Threads: one warp = one chunk; blocks of 8 warps.
// Shared memory: none.
// Preconditions: those of decode.cu; `constants` is what `src/checksum/constants.rs` makes; outputs hold 2 bytes for
// each weight, for checksum_planes 1 byte.
// Tail: that of crc32.cuh. Warps after the last chunk do nothing.
#include "abi/status.cuh"
#include "checksum/crc32.cuh"
#include "record/chunk.cuh"

namespace unweight::checksum {

using record::Chunk;
using record::find_chunk;

__device__ __forceinline__ uint32_t chunk_of_warp() { return blockIdx.x * CHECKSUM_WARPS + threadIdx.x / WARP; }

// Compares the checksum in each record with that of its chunk.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    check_chunks(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                 unsigned long long* status) {
  const uint32_t number = chunk_of_warp();
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = find_chunk(jobs, job_count, number);
  // A CRC begins with 32 ones, which equals adding them to the first four bytes.
  uint32_t sum = remainder_of(constants, lane, PlainBytes{chunk.record}, chunk.record_bytes, RECORD_CHECKED_FROM, ~0u);
  sum = advance_bytes(constants->power, sum, chunk.weights, lane);
  sum ^= remainder_of(constants, lane, PlainBytes{chunk.sign_mantissa}, chunk.weights, 0, 0);
  const uint32_t stated = *reinterpret_cast<const uint32_t*>(chunk.record);
  if (~sum != stated && lane == 0) report(status, number, RECORD_CRC);
}

// Writes the checksum of each chunk's output: weights, or for KIND_BYTES bytes. Reads no record.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    checksum_weights(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                     uint32_t* checksums) {
  const uint32_t number = chunk_of_warp();
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const TensorJob* job = record::find_job(jobs, job_count, number);
  const uint64_t own = number - job->first_chunk;
  const uint32_t weight_bytes = job->kind == KIND_BYTES ? 1 : 2;
  const uint64_t left = job->weights - ((own + job->skipped_chunks) << job->chunk_size_log2);
  const uint32_t whole = 1u << job->chunk_size_log2;
  const uint32_t count = left < whole ? static_cast<uint32_t>(left) : whole;
  const PlainBytes output{job->output + (own << job->chunk_size_log2) * weight_bytes};
  const uint32_t sum = checksum_of(constants, lane, output, count * weight_bytes);
  if (lane == 0) checksums[number] = sum;
}

// Writes the checksum of each chunk's weights. The output holds their exponents; the sign-mantissa plane the rest.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    checksum_planes(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                    uint32_t* checksums) {
  const uint32_t number = chunk_of_warp();
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = find_chunk(jobs, job_count, number);
  const JoinedBytes joined{chunk.job->output + chunk.output_start, chunk.sign_mantissa};
  const uint32_t sum = checksum_of(constants, lane, joined, 2 * chunk.weights);
  if (lane == 0) checksums[number] = sum;
}

}  // namespace unweight::checksum
