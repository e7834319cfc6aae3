// A matrix in fragment form (`src/matmul/layout.rs` says what stands where): what a thread reads are the 32 weights of a unit
// that it gives to the tensor cores.
#pragma once
#include "record/weights.cuh"

// Of a unit.
constexpr uint32_t UNIT_ROWS = 16;
constexpr uint32_t UNIT_COLUMNS = 64;
// It is four steps, side by side: what one product of the tensor cores takes.
constexpr uint32_t UNIT_STEPS = 4;
// Lane 4g + t has, of a step, columns 2t, 2t + 1 of row g, of row g + 8, columns 2t + 8, 2t + 9 of row g, of row g + 8: four pairs, in three words.
constexpr uint32_t STEP_PAIRS = 4;
constexpr uint32_t STEP_WORDS = 3;
// The first words of all steps, the second ones, the third ones: 16 bytes for each lane, three times.
constexpr uint32_t UNIT_PARTS = STEP_WORDS;
constexpr uint32_t UNIT_BYTES = UNIT_PARTS * 16 * WARP;
constexpr uint32_t PALETTE_WORDS = 4;

// A patch: unit << 18 | lane << 13 | place of the weight among the lane's 32 << 8 | exponent. Those of a strip (16 rows) stand in order of units.
constexpr uint32_t PATCH_UNIT_SHIFT = 18;
constexpr uint32_t PATCH_LANE_SHIFT = 13;
constexpr uint32_t PATCH_PLACE_SHIFT = 8;
constexpr uint32_t LANE_WEIGHTS = 32;

// A lane's weights of a unit, in pairs, as `mma.sync.m16n8k16` takes them: four for each product.
struct UnitWeights {
  uint32_t pairs[LANE_WEIGHTS / 2];
};

// A value that the compiler keeps in a register, as it cannot tell how to make it anew.
__device__ __forceinline__ uint32_t opaque(uint32_t value) {
#ifndef UNWEIGHT_HOST
  asm("mov.b32 %0, %0;" : "+r"(value));
#endif
  return value;
}

// Four pairs out of three words: signs and mantissas in place, and indices where the lowest bits of exponents belong. The first three pairs stand in their
// words as they are; the bits that these leave hold the fourth, a third in each.
constexpr uint32_t PAIR_BITS = 0x87ff87ff;
constexpr uint32_t INDEX_BITS = 0x07800780;
constexpr uint32_t UPPER_MANTISSA_BITS = 0x00780078;
constexpr uint32_t SIGN_AND_LOWER_MANTISSA_BITS = 0x80078007;
constexpr uint32_t INDEX_SHIFT = 4;
constexpr uint32_t UPPER_MANTISSA_SHIFT = 8;
// Signs come round to the other half.
constexpr uint32_t ROTATION = 12;

__device__ __forceinline__ void unpack(const uint32_t (&words)[STEP_WORDS], uint32_t* pairs) {
  pairs[0] = words[0] & PAIR_BITS;
  pairs[1] = words[1] & PAIR_BITS;
  pairs[2] = words[2] & PAIR_BITS;
  pairs[3] = (words[0] >> INDEX_SHIFT & INDEX_BITS) | (words[1] >> UPPER_MANTISSA_SHIFT & UPPER_MANTISSA_BITS) |
             ((words[2] >> ROTATION | words[2] << (32 - ROTATION)) & SIGN_AND_LOWER_MANTISSA_BITS);
}
__device__ __forceinline__ void pack(const uint32_t* pairs, uint32_t (&words)[STEP_WORDS]) {
  const uint32_t last = pairs[3] & SIGN_AND_LOWER_MANTISSA_BITS;
  words[0] = pairs[0] | (pairs[3] & INDEX_BITS) << INDEX_SHIFT;
  words[1] = pairs[1] | (pairs[3] & UPPER_MANTISSA_BITS) << UPPER_MANTISSA_SHIFT;
  words[2] = pairs[2] | last << ROTATION | last >> (32 - ROTATION);
}

// Exponents of a palette of consecutive ones: an index is added to the first.
struct ConsecutivePalette {
  uint32_t first;  // in both halves, in place
  uint32_t one;

  __device__ explicit ConsecutivePalette(const uint32_t* palette)
      : first(opaque((palette[0] & 0xff) << 7 | (palette[0] & 0xff) << 23)), one(opaque(1)) {}

  // Puts exponents where the pairs of a step have indices. By a multiplication, as units that add are busy unpacking, and these have their own.
  __device__ __forceinline__ void place(uint32_t* pairs) const {
#pragma unroll
    for (uint32_t j = 0; j < STEP_PAIRS; j++) pairs[j] = pairs[j] * one + first;
  }
};

// Any palette: two byte permutations of its halves, and the index's upper bit chooses.
struct AnyPalette {
  uint32_t low[2], high[2];

  __device__ explicit AnyPalette(const uint32_t* palette) : low{palette[0], palette[1]}, high{palette[2], palette[3]} {}

  __device__ __forceinline__ void place(uint32_t* pairs) const {
    // Of pair j at bits 4j and 4j + 16.
    const uint32_t indices = (pairs[0] >> 7 & 0x000f000fu) | (pairs[1] >> 3 & 0x00f000f0u) | (pairs[2] << 1 & 0x0f000f00u) | (pairs[3] << 5 & 0xf000f000u);
    const uint32_t within = indices & 0x77777777u;
    const uint32_t upper = indices >> 3 & 0x11111111u;
    const uint32_t exponent_bits = opaque(EXPONENT_BITS);
    uint32_t of_half[2];
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      // Byte j is the exponent of pair j's weight of this half.
      const uint32_t selector = within >> 16 * half;
      // 0xff where the index is 8 or more.
      const uint32_t is_upper = __byte_perm(0x0000ff00u, 0, upper >> 16 * half);
      of_half[half] = select_bits(is_upper, __byte_perm(high[0], high[1], selector), __byte_perm(low[0], low[1], selector));
    }
#pragma unroll
    for (uint32_t j = 0; j < STEP_PAIRS; j++) {
      // Byte j of both, each into the lower byte of its half: what else is there falls out.
      pairs[j] = select_bits(exponent_bits, __byte_perm(of_half[0], of_half[1], j | j << 4 | (j + 4) << 8 | (j + 4) << 12) << 7, pairs[j]);
    }
  }
};

// A lane's parts of a unit.
template <typename Palette>
__device__ __forceinline__ UnitWeights rebuild(const Palette& palette, const uint4& first, const uint4& second, const uint4& third) {
  const uint32_t words[UNIT_STEPS][STEP_WORDS] = {
      {first.x, second.x, third.x}, {first.y, second.y, third.y}, {first.z, second.z, third.z}, {first.w, second.w, third.w}};
  UnitWeights weights;
#pragma unroll
  for (uint32_t step = 0; step < UNIT_STEPS; step++) {
    unpack(words[step], weights.pairs + step * STEP_PAIRS);
    palette.place(weights.pairs + step * STEP_PAIRS);
  }
  return weights;
}

// Gives weight `place` (pair place / 2) another exponent, if it is this lane's: all lanes name the same one, so that none waits for others.
__device__ __forceinline__ void patch_weight(UnitWeights& weights, uint32_t place, uint32_t exponent, bool own) {
  const uint32_t shift = place % 2 * 16;
  const uint32_t bits = own ? 0x7f80u << shift : 0, exponents = exponent << (7 + shift);
  // Each case by itself: the compiler would put pairs into memory to index them.
  switch (place / 2) {
#define PATCH_PAIR(pair) \
  case pair: \
    weights.pairs[pair] = select_bits(bits, exponents, weights.pairs[pair]); \
    break;
    PATCH_PAIR(0) PATCH_PAIR(1) PATCH_PAIR(2) PATCH_PAIR(3) PATCH_PAIR(4) PATCH_PAIR(5) PATCH_PAIR(6) PATCH_PAIR(7)
    PATCH_PAIR(8) PATCH_PAIR(9) PATCH_PAIR(10) PATCH_PAIR(11) PATCH_PAIR(12) PATCH_PAIR(13) PATCH_PAIR(14) PATCH_PAIR(15)
#undef PATCH_PAIR
  }
}
