// Fragment form of a matrix (`src/layout.rs` defines it): a thread reads the 32 weights of a K tile that it
// passes to the tensor cores.
//
// A row panel is 16 rows. A K tile is 64 columns of a row panel: four MMA steps of 16 columns, side by side. Of an MMA
// step, lane 4g + t holds four pairs: columns 2t, 2t + 1 of row g, of row g + 8, then columns 2t + 8, 2t + 9 of row g,
// of row g + 8. They are packed into three words:
//
//   word 0, 1, 2      pairs 0, 1, 2: sign and mantissa in place, palette index in the lowest bits of the exponent
//   other bits        pair 3, a third in each word
//
//   K tile            | word 0 of all steps, 16 bytes for each lane | word 1 of all steps | word 2 of all steps |
//   patch             | K tile: 14 bits | lane: 5 | weight of the lane: 5 | exponent: 8 |   by row panel, by K tile
#pragma once
#include "abi/matmul_jobs.cuh"
#include "ptx/bits.cuh"
#include "record/weights.cuh"

namespace unweight::matmul {

using record::EXPONENT_BITS;

constexpr uint32_t PANEL_ROWS = 16;
constexpr uint32_t K_TILE_COLUMNS = 64;
// MMA steps of a K tile.
constexpr uint32_t MMA_STEPS = 4;
constexpr uint32_t STEP_PAIRS = 4;
constexpr uint32_t STEP_WORDS = 3;
// 16-byte pieces of a lane in a K tile.
constexpr uint32_t K_TILE_PIECES = STEP_WORDS;
constexpr uint32_t K_TILE_BYTES = K_TILE_PIECES * 16 * WARP;

// Exponents of a palette.
constexpr uint32_t PALETTE_EXPONENTS = 16;

constexpr uint32_t PATCH_K_TILE_SHIFT = 18;
constexpr uint32_t PATCH_LANE_SHIFT = 13;
constexpr uint32_t PATCH_WEIGHT_SHIFT = 8;
constexpr uint32_t LANE_WEIGHTS = 32;

// A lane's weights of a K tile in pairs, four for each MMA step, as `mma.sync.m16n8k16` takes them.
struct TileWeights {
  uint32_t pairs[LANE_WEIGHTS / 2];
};

// Bits of a pair in place: all but the upper four of each exponent.
constexpr uint32_t PAIR_BITS = 0x87ff87ff;
constexpr uint32_t INDEX_BITS = 0x07800780;
constexpr uint32_t UPPER_MANTISSA_BITS = 0x00780078;
constexpr uint32_t SIGN_AND_LOWER_MANTISSA_BITS = 0x80078007;
constexpr uint32_t INDEX_SHIFT = 4;
constexpr uint32_t UPPER_MANTISSA_SHIFT = 8;
// A rotation, so that signs move to the other half.
constexpr uint32_t ROTATION = 12;

// Three words to four pairs.
__device__ __forceinline__ void unpack(const uint32_t (&words)[STEP_WORDS], uint32_t* pairs) {
  pairs[0] = words[0] & PAIR_BITS;
  pairs[1] = words[1] & PAIR_BITS;
  pairs[2] = words[2] & PAIR_BITS;
  pairs[3] = (words[0] >> INDEX_SHIFT & INDEX_BITS) | (words[1] >> UPPER_MANTISSA_SHIFT & UPPER_MANTISSA_BITS) |
             ((words[2] >> ROTATION | words[2] << (32 - ROTATION)) & SIGN_AND_LOWER_MANTISSA_BITS);
}
// Four pairs to three words.
__device__ __forceinline__ void pack(const uint32_t* pairs, uint32_t (&words)[STEP_WORDS]) {
  const uint32_t last = pairs[3] & SIGN_AND_LOWER_MANTISSA_BITS;
  words[0] = pairs[0] | (pairs[3] & INDEX_BITS) << INDEX_SHIFT;
  words[1] = pairs[1] | (pairs[3] & UPPER_MANTISSA_BITS) << UPPER_MANTISSA_SHIFT;
  words[2] = pairs[2] | last << ROTATION | last >> (32 - ROTATION);
}

// Palette of consecutive exponents: the exponent is the first one plus the index.
struct ConsecutivePalette {
  uint32_t first;  // in both halves, in place
  uint32_t one;

  // Loads the palette from its first exponent in device memory.
  __device__ static __forceinline__ ConsecutivePalette load(const uint8_t* exponents) {
    const uint32_t first = *exponents;
    return {ptx::opaque(first << 7 | first << 23), ptx::opaque(1)};
  }

  // Replaces the indices of a step's pairs by exponents. A multiply-add, because the units that add are busy unpacking.
  __device__ __forceinline__ void place(uint32_t* pairs) const {
#pragma unroll
    for (uint32_t j = 0; j < STEP_PAIRS; j++) pairs[j] = pairs[j] * one + first;
  }
};

// Any palette: a byte permutation of each half of it, and a selection by the highest bit of the index.
struct AnyPalette {
  uint32_t low[2], high[2];

  // Loads the palette from its 16 exponents in device memory.
  __device__ static __forceinline__ AnyPalette load(const uint8_t* exponents) {
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(exponents);
    return {{words[0], words[1]}, {words[2], words[3]}};
  }
  // Loads the palette from its 16 exponents, or from the first of consecutive ones, as `count` says.
  __device__ static __forceinline__ AnyPalette load(const uint8_t* exponents, uint32_t count) {
    if (count == PALETTE_EXPONENTS) return load(exponents);
    const uint32_t first = *exponents * 0x01010101u;
    return {{first + 0x03020100u, first + 0x07060504u}, {first + 0x0b0a0908u, first + 0x0f0e0d0cu}};
  }
  // Four exponents of it.
  __device__ __forceinline__ uint32_t word(uint32_t number) const {
    return number == 0 ? low[0] : number == 1 ? low[1] : number == 2 ? high[0] : high[1];
  }

  // Replaces the indices of a step's pairs by exponents.
  __device__ __forceinline__ void place(uint32_t* pairs) const {
    // Indices of pair j at bits 4j and 4j + 16.
    const uint32_t indices = (pairs[0] >> 7 & 0x000f000fu) | (pairs[1] >> 3 & 0x00f000f0u) |
                             (pairs[2] << 1 & 0x0f000f00u) | (pairs[3] << 5 & 0xf000f000u);
    const uint32_t within = indices & 0x77777777u;
    const uint32_t upper = indices >> 3 & 0x11111111u;
    const uint32_t exponent_bits = ptx::opaque(EXPONENT_BITS);
    uint32_t of_half[2];
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      // Byte j is the exponent of this half of pair j.
      const uint32_t selector = within >> 16 * half;
      // Byte j is 0xff where the index is 8 or more.
      const uint32_t is_upper = __byte_perm(0x0000ff00u, 0, upper >> 16 * half);
      of_half[half] =
          ptx::select_bits(is_upper, __byte_perm(high[0], high[1], selector), __byte_perm(low[0], low[1], selector));
    }
#pragma unroll
    for (uint32_t j = 0; j < STEP_PAIRS; j++) {
      // Byte j of both halves, each in the lower byte of its half. The shift moves other bits out, or select_bits
      // drops them.
      const uint32_t both = __byte_perm(of_half[0], of_half[1], j | j << 4 | (j + 4) << 8 | (j + 4) << 12);
      pairs[j] = ptx::select_bits(exponent_bits, both << 7, pairs[j]);
    }
  }
};

// A lane's weights from its three pieces of a K tile.
template <typename Palette>
__device__ __forceinline__ TileWeights rebuild(const Palette& palette, const uint4& first, const uint4& second,
                                               const uint4& third) {
  const uint32_t words[MMA_STEPS][STEP_WORDS] = {{first.x, second.x, third.x},
                                                 {first.y, second.y, third.y},
                                                 {first.z, second.z, third.z},
                                                 {first.w, second.w, third.w}};
  TileWeights weights;
#pragma unroll
  for (uint32_t step = 0; step < MMA_STEPS; step++) {
    unpack(words[step], weights.pairs + step * STEP_PAIRS);
    palette.place(weights.pairs + step * STEP_PAIRS);
  }
  return weights;
}

// Replaces the exponent of weight `number` of the lane, if it is this lane's. All lanes pass the same number, so that
// no lane waits for others.
__device__ __forceinline__ void patch_weight(TileWeights& weights, uint32_t number, uint32_t exponent, bool own) {
  const uint32_t shift = number % 2 * 16;
  const uint32_t bits = own ? 0x7f80u << shift : 0, exponents = exponent << (7 + shift);
  // One case for each pair: with an index the compiler would keep the pairs in memory.
  switch (number / 2) {
#define PATCH_PAIR(pair)                                                          \
  case pair:                                                                      \
    weights.pairs[pair] = ptx::select_bits(bits, exponents, weights.pairs[pair]); \
    break;
    PATCH_PAIR(0)
    PATCH_PAIR(1)
    PATCH_PAIR(2)
    PATCH_PAIR(3)
    PATCH_PAIR(4)
    PATCH_PAIR(5)
    PATCH_PAIR(6)
    PATCH_PAIR(7)
    PATCH_PAIR(8)
    PATCH_PAIR(9)
    PATCH_PAIR(10)
    PATCH_PAIR(11)
    PATCH_PAIR(12)
    PATCH_PAIR(13)
    PATCH_PAIR(14)
    PATCH_PAIR(15)
#undef PATCH_PAIR
  }
}

}  // namespace unweight::matmul
