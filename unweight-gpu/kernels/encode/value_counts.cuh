// Counts of 4-bit values by binary MMA: palette indices, or exponents minus the first of a window of 16.
//
//   word               | 7 | 6 | 5 | 4 | 3 | 2 | 1 | 0 |    eight values of a lane, each of bits 3 2 1 0
//   adjacent           bits 0 3 | 3 2 | 2 1 | 1 0           common bits of each pair of bits
//   three              bits 1 0 3 | 0 3 2 | 3 2 1 | 2 1 0
//   others             nothing | bits 3 2 1 0 | 3 1 | 2 0
//
// These four words have one bit for every set of bits of a value. The bit is set if the value has all bits of the set.
// A binary MMA (ptx/binary_mma.cuh) adds up the ones: the four words are rows. A column has ones at one bit of every
// value; the first four columns are for two of the words, the other four for the other two. So one instruction counts
// 256 values into four registers of a lane. At the end, inclusion and exclusion gives the count of each value: values
// that have all its bits, minus those that have more. The count of value 0 is the rest.
#pragma once
#include "ptx/binary_mma.cuh"
#include "ptx/bits.cuh"

namespace unweight::encode {

constexpr uint32_t VALUES = 16;

// Counts of the values in a warp's words. All lanes of the warp call its functions together.
struct ValueCounts {
  uint2 columns;
  // Lane 4g + t holds the common bits of the lanes of group g with columns 2t and 2t + 1: two for one word, two for
  // another.
  uint32_t sums[4];

  __device__ __forceinline__ ValueCounts() {
    const uint32_t column = threadIdx.x % WARP / 4, ones = 0x11111111u << column % 4;
    columns = make_uint2(column < 4 ? ones : 0, column < 4 ? 0 : ones);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) sums[i] = 0;
  }

  // Counts the eight values of a word.
  __device__ __forceinline__ void add(uint32_t word) {
    // Values rotated by one bit, and by two.
    const uint32_t by_one = ptx::select_bits(0x77777777, word >> 1, word << 3);
    const uint32_t by_two = ptx::select_bits(0x33333333, word >> 2, word << 2);
    const uint32_t adjacent = word & by_one, opposite = word & by_two;
    ptx::binary_mma_accumulate(sums, {word, adjacent, adjacent & by_two, opposite & (opposite >> 1 | 0x33333333)},
                               columns);
  }

  // The count of value `lane`, if `total` values were counted. Lanes from 16 on return 0.
  __device__ __forceinline__ uint32_t of_value(uint32_t lane, uint32_t total) const {
    const auto exchanged = [&](uint32_t value, uint32_t with) {
      return __shfl_xor_sync(ALL_LANES, value, static_cast<int>(with));
    };
    // Sums over the groups. In each exchange a lane gives away what its partner adds up.
    const bool second_word = lane & 4, second_column = lane & 8;
    const uint32_t first = (second_word ? sums[2] : sums[0]) + exchanged(second_word ? sums[0] : sums[2], 4);
    const uint32_t second = (second_word ? sums[3] : sums[1]) + exchanged(second_word ? sums[1] : sums[3], 4);
    uint32_t count = (second_column ? second : first) + exchanged(second_column ? first : second, 8);
    count += exchanged(count, 16);
    // Lane l receives the count of the set whose bits l has. WHERE has four bits for each lane, which name the lane
    // that holds this count: bits 0 and 1 the pair of columns, bit 2 the word, bit 3 the column of the pair.
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

}  // namespace unweight::encode
