// A matrix in fragment form (`src/matmul/layout.rs` says what stands where): what a thread reads are the 32 weights of a unit
// that it gives to the tensor cores.
#pragma once
#include "weights.cuh"

// Of a unit.
constexpr uint32_t UNIT_ROWS = 16;
constexpr uint32_t UNIT_COLUMNS = 64;
// It is two blocks, side by side.
constexpr uint32_t UNIT_BLOCKS = 2;
constexpr uint32_t BLOCK_COLUMNS = UNIT_COLUMNS / UNIT_BLOCKS;
// Lane 4g + t has, of both blocks, columns 8t to 8t + 7 of rows g and g + 8.
constexpr uint32_t LANE_COLUMNS = 8;
// Sign-mantissa bytes of both blocks, then indices of both: 16 bytes for each lane, three times.
constexpr uint32_t UNIT_PARTS = 3;
constexpr uint32_t UNIT_BYTES = UNIT_PARTS * 16 * WARP;
constexpr uint32_t PALETTE_WORDS = 4;

// Where a lane's weight is among its 16 of a block, and where its index in the row's word: weight `i` of a row's eight (of row g + 8, if `lower`).
__device__ __forceinline__ uint32_t place_of(uint32_t lower, uint32_t i) { return i / 2 * 4 + lower * 2 + i % 2; }
__device__ __forceinline__ uint32_t index_shift(uint32_t i) { return i / 2 * 4 + i % 2 * 16; }

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

// The bits of `a` where the mask has ones, of `b` elsewhere: one instruction if the mask is in a register, where the compiler makes two of a constant one.
__device__ __forceinline__ uint32_t select_bits(uint32_t mask, uint32_t a, uint32_t b) {
#ifdef UNWEIGHT_HOST
  return (a & mask) | (b & ~mask);
#else
  uint32_t selected;
  asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(selected) : "r"(mask), "r"(a), "r"(b));
  return selected;
#endif
}

// Exponents of a palette of consecutive ones: an index is added to the first.
struct ConsecutivePalette {
  uint32_t first;  // in both halves, in place

  __device__ explicit ConsecutivePalette(const uint32_t* palette) : first(opaque((palette[0] & 0xff) << 7 | (palette[0] & 0xff) << 23)) {}

  // Four pairs' exponents in place (other bits are anything) from eight indices: of pair j, at bits 4j and 4j + 16.
  __device__ __forceinline__ void exponents(uint32_t indices, uint32_t (&pairs)[4]) const {
    constexpr uint32_t INDEX_BITS = 0x07800780u;
    pairs[0] = (indices << 7 & INDEX_BITS) + first;
    pairs[1] = (indices << 3 & INDEX_BITS) + first;
    pairs[2] = (indices >> 1 & INDEX_BITS) + first;
    pairs[3] = (indices >> 5 & INDEX_BITS) + first;
  }
};

// Any palette: two byte permutations of its halves, and the index's upper bit chooses.
struct AnyPalette {
  uint32_t low[2], high[2];

  __device__ explicit AnyPalette(const uint32_t* palette) : low{palette[0], palette[1]}, high{palette[2], palette[3]} {}

  __device__ __forceinline__ void exponents(uint32_t indices, uint32_t (&pairs)[4]) const {
    const uint32_t within = indices & 0x77777777u;
    const uint32_t upper = indices >> 3 & 0x11111111u;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      // Byte j is the exponent of pair j's weight of this half.
      const uint32_t selector = within >> 16 * half;
      // 0xff where the index is 8 or more.
      const uint32_t is_upper = __byte_perm(0x0000ff00u, 0, upper >> 16 * half);
      const uint32_t four = select_bits(is_upper, __byte_perm(high[0], high[1], selector), __byte_perm(low[0], low[1], selector));
#pragma unroll
      for (uint32_t j = 0; j < 4; j++) {
        const uint32_t placed = (four >> 8 * j & 0xff) << (7 + 16 * half);
        pairs[j] = half == 0 ? placed : pairs[j] | placed;
      }
    }
  }
};

// `sign_mantissa`: of row g in x (columns 0 to 3) and y, of row g + 8 in z and w. `indices`: of row g, and of row g + 8.
template <typename Palette>
__device__ __forceinline__ void rebuild_block(const Palette& palette, const uint4& sign_mantissa, uint32_t upper_indices, uint32_t lower_indices, uint32_t* pairs) {
  const uint32_t exponent_bits = opaque(EXPONENT_BITS);
  uint32_t upper[4], lower[4];
  palette.exponents(upper_indices, upper);
  palette.exponents(lower_indices, lower);
  const uint32_t of_upper[2] = {sign_mantissa.x, sign_mantissa.y}, of_lower[2] = {sign_mantissa.z, sign_mantissa.w};
#pragma unroll
  for (uint32_t j = 0; j < 4; j++) {
    // Each byte twice: its sign ends on top of the upper one, its mantissa below in the lower one.
    const uint32_t twice = j % 2 == 0 ? 0x1100u : 0x3322u;
    // A product takes pairs of both rows in turn: columns 0 and 1 of row g, of row g + 8, columns 2 and 3 of row g, of row g + 8.
    pairs[2 * j] = select_bits(exponent_bits, upper[j], __byte_perm(of_upper[j / 2], 0, twice));
    pairs[2 * j + 1] = select_bits(exponent_bits, lower[j], __byte_perm(of_lower[j / 2], 0, twice));
  }
}

template <typename Palette>
__device__ __forceinline__ UnitWeights rebuild(const Palette& palette, uint4 first, uint4 second, uint4 indices) {
  UnitWeights weights;
  rebuild_block(palette, first, indices.x, indices.y, weights.pairs);
  rebuild_block(palette, second, indices.z, indices.w, weights.pairs + LANE_WEIGHTS / 4);
  return weights;
}

// Gives weight `place` of the lane's (pair place / 2) another exponent.
__device__ __forceinline__ void patch_weight(UnitWeights& weights, uint32_t place, uint32_t exponent) {
  const uint32_t shift = place % 2 * 16;
#pragma unroll
  for (uint32_t pair = 0; pair < LANE_WEIGHTS / 2; pair++) {
    // A choice of masks, not of pairs: the compiler would put those into memory to index them.
    const uint32_t bits = pair == place / 2 ? 0x7f80u << shift : 0;
    weights.pairs[pair] = select_bits(bits, exponent << (7 + shift), weights.pairs[pair]);
  }
}
