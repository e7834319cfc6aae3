// CRC-32 over a warp (specification, section 8).
//
//   a row is 512 bytes, 16 for each lane, one load
//
//   row 0   | lane 0: words 0..3 | lane 1: words 0..3 | ... | lane 31 |
//   row 1   |                                                         |   state <- state * x^(8*512) + word, for each of 128 columns
//
// A CRC is a remainder of polynomials over GF(2), so every column of words can be reduced alone, and the columns added at the end, each times the
// power of x that its distance from the end gives. Advancing a state by a row is four look-ups in tables of 256 words.
//
// Shared memory: 4 tables to advance by a row and 4 to advance by a word, 8 KB a block of 8 warps.
// Preconditions: `constants` is what src/crc_constants.rs makes; the data starts on a multiple of 16.
//
// The tail: a short last row is completed with zeros, which the inverse powers of x take back. A short first row cannot be: what
// stands in front of the data is masked, and zeros in front of a message change nothing where the state begins as zero.
#pragma once
#include "layout.cuh"
#include "weights.cuh"

constexpr uint32_t CHECKSUM_WARPS = 8;
constexpr uint32_t ROW_BYTES = 512;
constexpr uint32_t POLYNOMIAL = 0xedb88320u;

struct CrcConstants {
  uint32_t by_row[4][256];
  uint32_t by_word[4][256];
  uint32_t to_end[WARP];  // x^(8*(4 + 16*(31 - lane)))
  uint32_t power[20];     // x^(8*2^k)
  uint32_t inverse[9];    // x^(-8*2^k)
};

typedef uint32_t Tables[4][256];

__device__ __forceinline__ uint32_t advance(const Tables& tables, uint32_t state) {
  return tables[0][state & 0xff] ^ tables[1][state >> 8 & 0xff] ^ tables[2][state >> 16 & 0xff] ^ tables[3][state >> 24];
}

// The product of two polynomials, reduced. Bit 31 is x^0.
__device__ inline uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0; bit < 32; bit++) {
    if (a >> (31 - bit) & 1) product ^= b;
    b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
  }
  return product;
}

// `state` times x^(8*count), or its inverse, from powers of two.
__device__ inline uint32_t advance_bytes(const uint32_t* powers, uint32_t state, uint32_t count) {
  for (uint32_t k = 0; count >> k; k++)
    if (count >> k & 1) state = multiply(powers[k], state);
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

// A message has sixteen(at), its 16 bytes from a multiple of 16 on, and byte(at). It may keep what passes(at, words), 16 bytes at a time, all but
// the first of which are as they stand.

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

// The remainder of the first `length` bytes of a message, without its first `skip` (at most 15), over all lanes.
// `first` is added to the four bytes behind those skipped.
template <class Bytes>
__device__ inline uint32_t remainder_of(const CrcConstants* constants, const Tables& by_row, const Tables& by_word, uint32_t lane,
                                        const Bytes& message, uint32_t length, uint32_t skip, uint32_t first) {
  uint32_t state[4] = {0, 0, 0, 0};
  const auto add = [&](uint4 words) {
    state[0] = advance(by_row, state[0]) ^ words.x;
    state[1] = advance(by_row, state[1]) ^ words.y;
    state[2] = advance(by_row, state[2]) ^ words.z;
    state[3] = advance(by_row, state[3]) ^ words.w;
  };
  const uint32_t whole_rows = length / ROW_BYTES;
  const uint32_t rows = (length + ROW_BYTES - 1) / ROW_BYTES;
  if (whole_rows != 0) {
    const auto pass = [&](uint32_t row, uint4 words) {
      message.passes(row * ROW_BYTES + lane * 16, words);
      add(words);
    };
    const auto load = [&](uint32_t row) { return message.sixteen(min(row, whole_rows - 1) * ROW_BYTES + lane * 16); };
    uint4 ahead[ROWS_AHEAD];
#pragma unroll
    for (uint32_t d = 0; d < ROWS_AHEAD; d++) ahead[d] = load(d);
    if (lane == 0) ahead[0] = with_start(ahead[0], skip, first);
    uint32_t row = 0;
    for (; row + ROWS_AHEAD <= whole_rows; row += ROWS_AHEAD) {
#pragma unroll
      for (uint32_t d = 0; d < ROWS_AHEAD; d++) {
        pass(row + d, ahead[d]);
        ahead[d] = load(row + d + ROWS_AHEAD);
      }
    }
#pragma unroll
    for (uint32_t d = 0; d < ROWS_AHEAD; d++)
      if (row + d < whole_rows) pass(row + d, ahead[d]);
  }
  if (rows != whole_rows) {
    const uint32_t at = whole_rows * ROW_BYTES + lane * 16;
    uint32_t bytes[4] = {0, 0, 0, 0};
#pragma unroll
    for (uint32_t i = 0; i < 16; i++)
      if (at + i < length) bytes[i / 4] |= message.byte(at + i) << 8 * (i % 4);
    const uint4 words = make_uint4(bytes[0], bytes[1], bytes[2], bytes[3]);
    if (at < length) message.passes(at, words);
    add(at == 0 ? with_start(words, skip, first) : words);
  }
  uint32_t sum = state[0];
  for (uint32_t i = 1; i < 4; i++) sum = advance(by_word, sum) ^ state[i];
  sum = multiply(constants->to_end[lane], sum);
  for (uint32_t distance = WARP / 2; distance > 0; distance /= 2) sum ^= __shfl_xor_sync(ALL_LANES, sum, distance);
  return advance_bytes(constants->inverse, sum, rows * ROW_BYTES - length);
}

// Copies the tables to shared memory, and gives the warp its chunk; false if there is none for it.
__device__ __forceinline__ bool begin(const CrcConstants* constants, Tables* tables, uint32_t chunk_count, uint32_t& number) {
  uint32_t* to = &tables[0][0][0];
  const uint32_t* from = &constants->by_row[0][0];
  for (uint32_t i = threadIdx.x; i < 2 * 4 * 256; i += blockDim.x) to[i] = from[i];
  __syncthreads();
  number = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  return number < chunk_count;
}
