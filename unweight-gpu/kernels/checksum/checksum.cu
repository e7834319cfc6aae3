// CRC-32 of chunks (specification, section 8): of what a record covers with its sign-mantissa bytes, and of weights, which stand in one piece or in two planes,
// or of a raw tensor's bytes.
//
//   one warp = one chunk, read in rows of 512 bytes as crc32.cuh draws them
//
// Shared memory: none.
// Preconditions: as decode.cu; `constants` is what src/crc_constants.rs makes; output buffers hold 2 bytes a weight, for checksum_planes 1.
//
// The tail: crc32.cuh's.
#include "checksum/crc32.cuh"
#include "record/record.cuh"

// Holds every chunk to its checksum.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    check_chunks(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants, unsigned long long* status) {
  const uint32_t number = blockIdx.x * CHECKSUM_WARPS + threadIdx.x / WARP;
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = find_chunk(jobs, job_count, number);
  // A checksum begins with all ones, which is the same as adding them to the first four bytes.
  uint32_t sum = remainder_of(constants, lane, PlainBytes{chunk.record}, chunk.record_bytes, RECORD_CHECKED_FROM, ~0u);
  sum = advance_bytes(constants->power, sum, chunk.weights, lane);
  sum ^= remainder_of(constants, lane, PlainBytes{chunk.sign_mantissa}, chunk.weights, 0, 0);
  const uint32_t stated = *reinterpret_cast<const uint32_t*>(chunk.record);
  if (~sum != stated && lane == 0) report(status, number, RECORD_CRC);
}

// The CRC-32 of a message.
template <class Bytes>
__device__ __forceinline__ uint32_t checksum_of(const CrcConstants* constants, uint32_t lane, const Bytes& message, uint32_t length) {
  uint32_t sum = remainder_of(constants, lane, message, length, 0, 0);
  // Even one weight has only two bytes to add the ones to: they are added as a message of their own.
  sum ^= advance_bytes(constants->power, ~0u, length, lane);
  return ~sum;
}

// Of every chunk's output: weights, or bytes as they are. Records are not looked at.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    checksum_weights(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants, uint32_t* checksums) {
  const uint32_t number = blockIdx.x * CHECKSUM_WARPS + threadIdx.x / WARP;
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const TensorJob* job = find_job(jobs, job_count, number);
  const uint64_t own = number - job->first_chunk;
  const uint32_t bytes_each = job->kind == KIND_BYTES ? 1 : 2;
  const uint64_t left = job->weights - ((own + job->skipped_chunks) << job->chunk_size_log2);
  const uint32_t whole = 1u << job->chunk_size_log2;
  const uint32_t count = left < whole ? static_cast<uint32_t>(left) : whole;
  const PlainBytes output{job->output + (own << job->chunk_size_log2) * bytes_each};
  const uint32_t sum = checksum_of(constants, lane, output, count * bytes_each);
  if (lane == 0) checksums[number] = sum;
}

// Of every chunk's weights, whose exponents are the output, and the rest of them the sign-mantissa plane.
extern "C" __global__ void __launch_bounds__(CHECKSUM_WARPS* WARP)
    checksum_planes(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants, uint32_t* checksums) {
  const uint32_t number = blockIdx.x * CHECKSUM_WARPS + threadIdx.x / WARP;
  if (number >= chunk_count) return;
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = find_chunk(jobs, job_count, number);
  const JoinedBytes joined{chunk.job->output + chunk.output_start, chunk.sign_mantissa};
  const uint32_t sum = checksum_of(constants, lane, joined, 2 * chunk.weights);
  if (lane == 0) checksums[number] = sum;
}
