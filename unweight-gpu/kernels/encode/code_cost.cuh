// The cost of a code (specification, section 11.4), and sums over the lanes of a warp.
#pragma once
#include "record/code.cuh"

namespace unweight::encode {

using record::length_of_lane;

constexpr uint32_t PATCH_BITS = 8 * PATCH_BYTES;

// The value that a lane holds.
__device__ __forceinline__ uint64_t of_lane(uint64_t value, uint32_t lane) {
  const int from = static_cast<int>(lane);
  const uint32_t low = __shfl_sync(ALL_LANES, static_cast<uint32_t>(value), from);
  return static_cast<uint64_t>(__shfl_sync(ALL_LANES, static_cast<uint32_t>(value >> 32), from)) << 32 | low;
}

__device__ __forceinline__ uint32_t sum_over_lanes(uint32_t value) { return __reduce_add_sync(ALL_LANES, value); }

__device__ __forceinline__ uint64_t sum_over_lanes(uint64_t value) {
#pragma unroll 1
  for (int with = 1; with < static_cast<int>(WARP); with *= 2) {
    const uint32_t low = __shfl_xor_sync(ALL_LANES, static_cast<uint32_t>(value), with);
    value += static_cast<uint64_t>(__shfl_xor_sync(ALL_LANES, static_cast<uint32_t>(value >> 32), with)) << 32 | low;
  }
  return value;
}

// Bits of `total` weights with this code. Lane l holds the count of palette entry l; lanes from 16 on hold 0. Count has
// 32 bits for a chunk, and 64 for a tensor.
template <class Count>
__device__ __forceinline__ Count cost_of_code(uint2 code_lengths, uint32_t lane, Count count, Count total) {
  const uint32_t length = length_of_lane(code_lengths, lane);
  const uint32_t shortest = __reduce_min_sync(ALL_LANES, length);
  const Count coded = sum_over_lanes(length == NO_CODE ? 0 : count);
  return sum_over_lanes(length == NO_CODE ? 0 : count * length) + (total - coded) * (shortest + PATCH_BITS);
}

}  // namespace unweight::encode
