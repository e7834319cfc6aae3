// CRC-32 over a warp (specification, section 8).
//
//   a row is 512 bytes, 16 for each lane, one load
//
//   row 0   | lane 0: words 0..3 | lane 1: words 0..3 | ... | lane 31 |
//   row 1   |                                                         |   state <- state * x^(8*512) + word, for each of 128 columns
//
// A CRC is a remainder of polynomials over GF(2), so every column of words can be reduced alone, and the columns added at the end, each times the
// power of x that its distance from the end gives. Advancing a state by a row is four look-ups in tables of 256 words. A sum that all lanes have is advanced
// further by all together: lane l adds x^l times the power if the sum has x^l.
//
// Shared memory: 4 tables to advance by a row and 4 to advance by a word, 8 KB a block of 8 warps.
// Preconditions: `constants` is what src/crc_constants.rs makes; the data starts on a multiple of 16.
//
// The tail: rows are counted from the end. A short first row is completed in front with zeros, which change nothing where the state is zero. So is what
// stands in front of the data. The last 16 bytes may be short: they are completed with zeros, which the inverse powers of x take back.
#pragma once
#include "layout.cuh"
#include "weights.cuh"

constexpr uint32_t CHECKSUM_WARPS = 8;
constexpr uint32_t ROW_BYTES = 512;
constexpr uint32_t POLYNOMIAL = 0xedb88320u;

struct CrcConstants {
  uint32_t by_row[4][256];
  uint32_t by_word[4][256];
  uint32_t to_end[WARP];       // x^(8*(4 + 16*(31 - lane)))
  uint32_t power[20][WARP];    // x^(8*2^k + lane)
  uint32_t inverse[4][WARP];   // x^(-8*2^k + lane)
};

typedef uint32_t Tables[4][256];

__device__ __forceinline__ uint32_t advance(const Tables& tables, uint32_t state) {
  return tables[0][state & 0xff] ^ tables[1][state >> 8 & 0xff] ^ tables[2][state >> 16 & 0xff] ^ tables[3][state >> 24];
}

// The product of two polynomials, reduced. Bit 31 is x^0.
__device__ inline uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
#pragma unroll
  for (uint32_t bit = 0; bit < 32; bit++) {
    if (a >> (31 - bit) & 1) product ^= b;
    b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
  }
  return product;
}

// `state`, which all lanes have, times x^(8*count), or its inverse, from powers of two.
__device__ inline uint32_t advance_bytes(const uint32_t (*powers)[WARP], uint32_t state, uint32_t count, uint32_t lane) {
  for (uint32_t k = 0; count >> k; k++)
    if (count >> k & 1) state = __reduce_xor_sync(ALL_LANES, state >> (31 - lane) & 1 ? powers[k][lane] : 0);
  return state;
}

__device__ __forceinline__ uint4 without_first(uint4 row, uint32_t skip) {
  uint32_t words[4] = {row.x, row.y, row.z, row.w};
#pragma unroll
  for (uint32_t i = 0; i < 16; i++)
    if (i < skip) words[i / 4] &= ~(0xffu << 8 * (i % 4));
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// A message's first 16 bytes without the first `skip`; `first` is added to the four bytes behind these.
__device__ __forceinline__ uint4 with_start(uint4 row, uint32_t skip, uint32_t first) {
  if (skip != 0) row = without_first(row, skip);
  (skip == 0 ? row.x : row.y) ^= first;
  return row;
}

// A message has sixteen(at), its 16 bytes from a multiple of 16 on, and byte(at). It may look at what passes(at, words), 16 bytes at a time, all but
// the first of which are as they stand, and but for those behind its last multiple of 16.

// Bytes as they stand.
struct PlainBytes {
  const uint8_t* data;  // 16-byte aligned

  __device__ __forceinline__ uint4 sixteen(uint32_t at) const { return *reinterpret_cast<const uint4*>(data + at); }
  __device__ __forceinline__ uint32_t byte(uint32_t at) const { return data[at]; }
  __device__ __forceinline__ void passes(uint32_t, uint4) const {}
};

// Those of the weights that two planes make.
struct JoinedBytes {
  const uint8_t* exponents;      // 8-byte aligned
  const uint8_t* sign_mantissa;  // likewise

  __device__ __forceinline__ uint4 sixteen(uint32_t at) const {
    const uint2 eight = *reinterpret_cast<const uint2*>(exponents + at / 2);
    const EightWeights joined = join(widened(eight), *reinterpret_cast<const uint2*>(sign_mantissa + at / 2));
    return make_uint4(joined.pairs[0], joined.pairs[1], joined.pairs[2], joined.pairs[3]);
  }
  __device__ __forceinline__ uint32_t byte(uint32_t at) const {
    const uint32_t exponent = exponents[at / 2], rest = sign_mantissa[at / 2];
    return at % 2 == 0 ? (exponent << 7 & 0x80) | (rest & 0x7f) : exponent >> 1 | (rest & 0x80);
  }
  __device__ __forceinline__ void passes(uint32_t, uint4) const {}
};

constexpr uint32_t ROWS_AHEAD = 4;

// One of some warps that share a message's rows.
struct Share {
  uint32_t number, of;
};

// The remainder of the first `length` bytes of a message, without its first `skip` (at most 15), over all lanes; of a share, what is to be added to those
// of the others. `first` is added to the four bytes behind those skipped.
template <class Bytes>
__device__ __forceinline__ uint32_t remainder_of(const CrcConstants* constants, const Tables& by_row, const Tables& by_word, uint32_t lane,
                                                 const Bytes& message, uint32_t length, uint32_t skip, uint32_t first, Share share = Share{0, 1}) {
  uint32_t state[4] = {0, 0, 0, 0};
  const uint32_t pieces = (length + 15) / 16, whole_pieces = length / 16;
  const uint32_t rows = (pieces + WARP - 1) / WARP;
  const uint32_t missing = rows * WARP - pieces;  // in front of the first
  const uint32_t first_row = rows * share.number / share.of, end_row = rows * (share.number + 1) / share.of;
  const auto load = [&](uint32_t row) {
    // Wraps for what is missing in front.
    const uint32_t piece = row * WARP + lane - missing;
    return row < end_row && piece < whole_pieces ? message.sixteen(piece * 16) : make_uint4(0, 0, 0, 0);
  };
  const auto pass = [&](uint32_t row, uint4 words) {
    message.passes((row * WARP + lane - missing) * 16, words);
    state[0] = advance(by_row, state[0]) ^ words.x;
    state[1] = advance(by_row, state[1]) ^ words.y;
    state[2] = advance(by_row, state[2]) ^ words.z;
    state[3] = advance(by_row, state[3]) ^ words.w;
  };
  uint4 ahead[ROWS_AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < ROWS_AHEAD; d++) ahead[d] = load(first_row + d);
  if (first_row == 0 && lane == missing) ahead[0] = with_start(ahead[0], skip, first);
  uint32_t row = first_row;
#pragma unroll 1
  for (; row + ROWS_AHEAD <= end_row; row += ROWS_AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < ROWS_AHEAD; d++) {
      pass(row + d, ahead[d]);
      ahead[d] = load(row + d + ROWS_AHEAD);
    }
  }
#pragma unroll
  for (uint32_t d = 0; d < ROWS_AHEAD; d++)
    if (row + d < end_row) pass(row + d, ahead[d]);
  const uint32_t rest = length % 16;
  if (rest != 0 && end_row == rows && lane == WARP - 1) {
    uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
    for (uint32_t i = 0; i < 15; i++)
      if (i < rest) words[i / 4] |= message.byte(whole_pieces * 16 + i) << 8 * (i % 4);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) state[i] ^= words[i];
  }
  uint32_t sum = state[0];
  for (uint32_t i = 1; i < 4; i++) sum = advance(by_word, sum) ^ state[i];
  sum = __reduce_xor_sync(ALL_LANES, multiply(constants->to_end[lane], sum));
  sum = advance_bytes(constants->power, sum, (rows - end_row) * ROW_BYTES, lane);
  return advance_bytes(constants->inverse, sum, rest == 0 ? 0 : 16 - rest, lane);
}

// Copies the tables to shared memory; a barrier must follow.
__device__ __forceinline__ void copy_tables(const CrcConstants* constants, Tables* tables) {
  uint32_t* to = &tables[0][0][0];
  const uint32_t* from = &constants->by_row[0][0];
  for (uint32_t i = threadIdx.x; i < 2 * 4 * 256; i += blockDim.x) to[i] = from[i];
}

// Copies the tables, and gives the warp its chunk; false if there is none for it.
__device__ __forceinline__ bool begin(const CrcConstants* constants, Tables* tables, uint32_t chunk_count, uint32_t& number) {
  copy_tables(constants, tables);
  __syncthreads();
  number = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  return number < chunk_count;
}
