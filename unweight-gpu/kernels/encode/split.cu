// Weights of any type to a plain plane and to the values of the coded fields (specification, section 4.2).
//
// Data layout:
//
//   weights   | lane 0: 8 weights | lane 1: 8 weights | ... | lane 31 |   a step
//   values    | lane 0: 8 bytes   | lane 1: 8 bytes   | ... | lane 31 |   a step of one field, one store a lane
//   plain     | lane 0: W bytes   | lane 1: W bytes   | ... | lane 31 |   a step: 32 W bytes, through shared memory
//
// Threads: one block = one chunk; its warps take steps in turn.
// Shared memory: 2,048 bytes for each of 8 warps, which a step of 63 plain bits a weight needs, and 8 words.
// Memory traffic for n weights of B bytes, W plain bits and q coded fields: n B read, n W / 8 + n q written, and the
// plain plane read again, from caches, for the remainders.
// Preconditions: those of SplitJob; a block for each chunk; `constants` is what `src/checksum/constants.rs` makes.
// Tail: missing weights of the last step are zeros. Zeros complete the plain plane to its limit.
#include "checksum/crc32.cuh"
#include "encode/eight_weights.cuh"

namespace unweight::encode {

using checksum::PlainBytes;
using checksum::remainder_of;
using checksum::Share;

constexpr uint32_t SPLIT_WARPS = 8;
constexpr uint32_t STAGE_BYTES = WARP * 64;

struct SplitShared {
  uint8_t stages[SPLIT_WARPS][STAGE_BYTES];
  uint32_t remainders[SPLIT_WARPS];
};

// A chunk of a tensor to be split.
struct SplitChunk {
  const SplitJob* job;
  uint32_t own;  // its number in the tensor
  uint32_t weight_count;
  uint32_t steps;
  uint64_t first_weight;
  uint64_t plain_start;  // its first byte of the plain plane
};

__device__ __forceinline__ SplitChunk find_split_chunk(const SplitJob* jobs, uint32_t job_count, uint32_t number) {
  SplitChunk chunk;
  chunk.job = record::find_job(jobs, job_count, number);
  chunk.own = number - chunk.job->first_chunk;
  const uint32_t log2 = chunk.job->chunk_size_log2, whole = 1u << log2;
  chunk.first_weight = static_cast<uint64_t>(chunk.own) << log2;
  const uint64_t left = chunk.job->weight_count - chunk.first_weight;
  chunk.weight_count = left < whole ? static_cast<uint32_t>(left) : whole;
  chunk.steps = (chunk.weight_count + STEP_WEIGHTS - 1) / STEP_WEIGHTS;
  chunk.plain_start = chunk.first_weight / 8 * chunk.job->plain_bits;
  return chunk;
}

// Bits packed into bytes of shared memory, in units that divide their alignment.
struct PlainPacker {
  uint8_t* to;
  uint32_t unit_bits;  // 8, 16 or 32
  uint64_t bits;
  uint32_t bit_count;

  // Appends at most 32 bits.
  __device__ __forceinline__ void push(uint32_t more, uint32_t count) {
    bits |= static_cast<uint64_t>(more) << bit_count;
    bit_count += count;
    while (bit_count >= unit_bits) {
      if (unit_bits == 32)
        *reinterpret_cast<uint32_t*>(to) = static_cast<uint32_t>(bits);
      else if (unit_bits == 16)
        *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(bits);
      else
        *to = static_cast<uint8_t>(bits);
      to += unit_bits / 8;
      bits >>= unit_bits;
      bit_count -= unit_bits;
    }
  }
};

// Splits a step by one warp.
template <uint32_t BYTES>
__device__ __forceinline__ void split_step(const SplitChunk& chunk, uint32_t step, uint32_t lane, uint8_t* stage) {
  const SplitJob* job = chunk.job;
  const uint32_t position = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS, width = job->plain_bits;
  const uint32_t count = lane_step_count(chunk.weight_count, position);
  const uint64_t first = chunk.first_weight + position;
  const EightOf<BYTES> eight(job->weights + first * BYTES, count);
  if (count != 0) {
#pragma unroll 1
    for (uint32_t i = 0; i < job->coded_count; i++)
      *reinterpret_cast<uint2*>(job->values[i] + first) = eight.values(job->fields[i]);
  }
  PlainPacker packer{stage + lane * width, width % 4 == 0 ? 32u : width % 2 == 0 ? 16u : 8u, 0, 0};
  eight.for_plain(job, [&](uint32_t bits, uint32_t bit_count) { packer.push(bits, bit_count); });
  __syncwarp();
  const uint64_t start = chunk.plain_start + step * WARP * width;
  for (uint32_t at = lane * 16; at < WARP * width; at += WARP * 16)
    if (start + at < job->plain_limit)
      *reinterpret_cast<uint4*>(job->plain + start + at) = *reinterpret_cast<const uint4*>(stage + at);
  __syncwarp();
}

// Splits the steps of a warp.
template <uint32_t BYTES>
__device__ __forceinline__ void split_steps(const SplitChunk& chunk, uint32_t warp, uint32_t lane, uint8_t* stage) {
#pragma unroll 1
  for (uint32_t step = warp; step < chunk.steps; step += SPLIT_WARPS) split_step<BYTES>(chunk, step, lane, stage);
}

// Writes zeros behind the last step of a tensor, up to the plane's limit, by one warp.
__device__ __forceinline__ void complete_plane(const SplitChunk& chunk, uint32_t lane) {
  const SplitJob* job = chunk.job;
  const uint64_t end = chunk.plain_start + chunk.steps * WARP * job->plain_bits;
  for (uint64_t at = end + lane * 16; at < job->plain_limit; at += WARP * 16)
    *reinterpret_cast<uint4*>(job->plain + at) = make_uint4(0, 0, 0, 0);
}

extern "C" __global__ void __launch_bounds__(SPLIT_WARPS* WARP)
    split(const SplitJob* jobs, uint32_t job_count, const CrcConstants* constants) {
  DYNAMIC_SHARED(memory);
  SplitShared* shared = reinterpret_cast<SplitShared*>(memory);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const SplitChunk chunk = find_split_chunk(jobs, job_count, blockIdx.x);
  const SplitJob* job = chunk.job;
  if (chunk.own == 0 && threadIdx.x < FIELDS && job->constant_palettes >> threadIdx.x & 1)
    reinterpret_cast<uint4*>(job->palettes)[threadIdx.x] =
        make_uint4(static_cast<uint32_t>(job->constants >> 8 * threadIdx.x & 0xff), 0, 0, 0);
  uint8_t* stage = shared->stages[warp];
  switch (job->weight_bytes) {
    case 1:
      split_steps<1>(chunk, warp, lane, stage);
      break;
    case 2:
      split_steps<2>(chunk, warp, lane, stage);
      break;
    case 4:
      split_steps<4>(chunk, warp, lane, stage);
      break;
    default:
      split_steps<8>(chunk, warp, lane, stage);
      break;
  }
  if (warp == 0 && chunk.own + 1 == job->chunk_count) complete_plane(chunk, lane);
  if (job->plain_remainders == nullptr) return;
  __syncthreads();
  const uint32_t bytes = (chunk.weight_count * job->plain_bits + 7) / 8;
  const uint32_t of_share = remainder_of<2>(constants, lane, PlainBytes{job->plain + chunk.plain_start}, bytes, 0, 0,
                                            Share{warp, SPLIT_WARPS});
  if (lane == 0) shared->remainders[warp] = of_share;
  __syncthreads();
  if (threadIdx.x != 0) return;
  uint32_t sum = ~0u;
  for (uint32_t i = 0; i < SPLIT_WARPS; i++) sum ^= shared->remainders[i];
  job->plain_remainders[chunk.own] = sum;
}

}  // namespace unweight::encode
