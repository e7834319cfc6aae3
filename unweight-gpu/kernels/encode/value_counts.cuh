// How often each value of four bits occurs: palette indices, or exponents less the first of a window of 16.
//
//   word               | 7 | 6 | 5 | 4 | 3 | 2 | 1 | 0 |    eight values of a lane, of bits 3 2 1 0
//   adjacent           bits 0 3 | 3 2 | 2 1 | 1 0           of each value what both bits have in common
//   three              bits 1 0 3 | 0 3 2 | 3 2 1 | 2 1 0
//   others             nothing | bits 3 2 1 0 | 3 1 | 2 0
//
// These four words have a bit for every set of bits of a value: a one if the value has all of them. A product of bits (platform.cuh) adds up how many ones there
// are: the four are rows, and columns have a one at the same bit of all values, the first four columns for two of the words, the others for the other two. So
// one instruction counts 256 values, into four registers of a lane. How often a value occurs follows at the end: those that have all its bits, without those
// that have more. The value 0 is what is left.
#pragma once
#include "abi/layout.cuh"

constexpr uint32_t VALUES = 16;

// How often each value of four bits occurs in the words of a warp. All its lanes take part in whatever is done with it.
struct ValueCounts {
  uint2 columns;
  // Lane 4g + t has what the lanes of group g have in common with columns 2t and 2t + 1: the first two of the one word, the others of another.
  uint32_t sums[4];

  __device__ __forceinline__ ValueCounts() {
    const uint32_t column = threadIdx.x % WARP / 4, ones = 0x11111111u << column % 4;
    columns = make_uint2(column < 4 ? ones : 0, column < 4 ? 0 : ones);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) sums[i] = 0;
  }

  // Eight values.
  __device__ __forceinline__ void add(uint32_t word) {
    // Values turned by one bit, and by two.
    const uint32_t by_one = select_bits(0x77777777, word >> 1, word << 3);
    const uint32_t by_two = select_bits(0x33333333, word >> 2, word << 2);
    const uint32_t adjacent = word & by_one, opposite = word & by_two;
    add_common_bits(sums, {word, adjacent, adjacent & by_two, opposite & (opposite >> 1 | 0x33333333)}, columns);
  }

  // Of the value `lane`, where there are `total` values; the value 0 has what others leave. Lanes from 16 on get 0.
  __device__ __forceinline__ uint32_t of_value(uint32_t lane, uint32_t total) const {
    const auto exchanged = [&](uint32_t value, uint32_t with) { return __shfl_xor_sync(ALL_LANES, value, static_cast<int>(with)); };
    // Over the groups. On the way a lane gives away what another adds up for it.
    const bool second_word = lane & 4, second_column = lane & 8;
    const uint32_t first = (second_word ? sums[2] : sums[0]) + exchanged(second_word ? sums[0] : sums[2], 4);
    const uint32_t second = (second_word ? sums[3] : sums[1]) + exchanged(second_word ? sums[1] : sums[3], 4);
    uint32_t count = (second_column ? second : first) + exchanged(second_column ? first : second, 8);
    count += exchanged(count, 16);
    // To lane l, of the set whose bits l has. In bits 0 and 1 of where it stands is which two columns, then which of the two words, then which column.
    constexpr uint64_t WHERE = 0x7a35bed92c614800;
    count = __shfl_sync(ALL_LANES, count, static_cast<int>(WHERE >> lane % VALUES * 4 & 15));
#pragma unroll
    for (uint32_t bit = 1; bit < VALUES; bit *= 2) {
      const uint32_t with_bit = exchanged(count, bit);
      if ((lane & bit) == 0) count -= with_bit;
    }
    const uint32_t own = lane != 0 && lane < VALUES ? count : 0, others = __reduce_add_sync(ALL_LANES, own);
    return lane == 0 ? total - others : own;
  }
};
