// CRC-32 over a warp (specification, section 8), by tensor cores.
//
//   a row is 512 bytes, 16 for each lane, one load
//
//   row 0   | lane 0: words x y z w | lane 1: x y z w | ... | lane 31 |
//   row 1   |                                                         |
//
// A CRC is a remainder of polynomials over GF(2): a sum of bits, each times a power of x. So parts can be reduced alone, and added at the end. Words x and z of
// lanes 4g to 4g + 3 are 256 bits, words y and w 256 more: these are the two rows g and g + 8 of a product of bits (platform.cuh), and its columns pick those
// of their bits that a bit of their remainder depends on. The count of common bits is odd if that bit is set.
//
// Then a remainder is to be advanced by a row, and added to the next. Its 32 bits are scattered: each of four lanes has eight, and nothing that it could say to
// the others quickly. But a remainder can be written as a sum of any 32 powers of x that are independent. So columns give the remainder, advanced already, as a
// sum of powers that each lane's words x, and y, have at eight of their bits: where counts, put side by side, have their lowest. A lane adds what it has to its
// own words of the next row, and that is all: no table, no shared memory, no word between lanes. At the end every lane's bits are multiplied by their powers.
//
// A sum that all lanes have is advanced further by all together: lane l adds x^l times the power if the sum has x^l.
//
// Preconditions: `constants` is what src/crc_constants.rs makes; the data starts on a multiple of 16; the warp is whole.
//
// The tail: rows are counted from the end. A short first row is completed in front with zeros, which change nothing where the state is zero. So is what
// stands in front of the data. The last 16 bytes may be short: they are completed with zeros, which the inverse powers of x take back.
#pragma once
#include "abi/layout.cuh"
#include "record/weights.cuh"

constexpr uint32_t CHECKSUM_WARPS = 8;
constexpr uint32_t ROW_BYTES = 512;

// Of one way to lay words out over lanes.
struct CrcLayout {
  uint4 columns[2][WARP];       // of the products that advance by a row: two and two, a uint2 each
  uint32_t last[WARP][4][4];    // what a lane's bits of a last row stand for: those of x in the order of FIRST_BITS, then those shifted; then those of y
};

struct CrcConstants {
  CrcLayout by_sixteen;         // see layout_of
  CrcLayout by_eight;
  uint32_t power[20][WARP];     // x^(8*2^k + lane)
  uint32_t inverse[9][WARP];    // x^(-8*2^k + lane)
};

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

// Where four counts of at most 256, which have nine bits each, have their lowest; and four more, which are shifted once they are put together.
constexpr uint32_t FIRST_BITS = 1u | 1u << 9 | 1u << 18 | 1u << 27;

// A lane's 16 bytes of a row stand together, as drawn above; or 8 of them do, and the other 8 half a row behind.
template <uint32_t LANE_BYTES>
__device__ __forceinline__ const CrcLayout& layout_of(const CrcConstants* constants) {
  return LANE_BYTES == 16 ? constants->by_sixteen : constants->by_eight;
}

template <uint32_t LANE_BYTES>
struct CrcColumns {
  uint2 columns[4];

  __device__ __forceinline__ CrcColumns(const CrcConstants* constants, uint32_t lane) {
    const CrcLayout& layout = layout_of<LANE_BYTES>(constants);
    const uint4 first = layout.columns[0][lane], second = layout.columns[1][lane];
    columns[0] = make_uint2(first.x, first.y);
    columns[1] = make_uint2(first.z, first.w);
    columns[2] = make_uint2(second.x, second.y);
    columns[3] = make_uint2(second.z, second.w);
  }
};

// Rows of a message, on their way to its remainder.
template <uint32_t LANE_BYTES>
struct CrcState {
  // Another would not do: powers have to be independent.
  static constexpr uint32_t SECOND_SHIFT = LANE_BYTES == 16 ? 2 : 4;
  uint32_t x = 0, y = 0;  // what is to be added to those words of the next row

  __device__ __forceinline__ void add(const CrcColumns<LANE_BYTES>& by, uint4 row) {
    const uint32_t rows[4] = {row.x ^ x, row.y ^ y, row.z, row.w};
    uint32_t sums[4] = {0, 0, 0, 0};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      uint32_t counts[4];
      count_common_bits(counts, rows, by.columns[i]);
#pragma unroll
      for (uint32_t of = 0; of < 4; of++) sums[of] += counts[of] << 9 * i;
    }
    x = (sums[0] & FIRST_BITS) | (sums[1] & FIRST_BITS) << SECOND_SHIFT;
    y = (sums[2] & FIRST_BITS) | (sums[3] & FIRST_BITS) << SECOND_SHIFT;
  }

  // The remainder, over all lanes, with the 32 zeros that a CRC appends.
  __device__ __forceinline__ uint32_t remainder(const CrcConstants* constants, uint32_t lane) const {
    const CrcLayout& layout = layout_of<LANE_BYTES>(constants);
    uint32_t sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t bits = (i < 2 ? x : y) >> SECOND_SHIFT * (i % 2);
      const uint4 powers = reinterpret_cast<const uint4*>(layout.last[lane])[i];
      sum ^= (bits & 1 ? powers.x : 0) ^ (bits >> 9 & 1 ? powers.y : 0) ^ (bits >> 18 & 1 ? powers.z : 0) ^ (bits >> 27 & 1 ? powers.w : 0);
    }
    return __reduce_xor_sync(ALL_LANES, sum);
  }
};

// Enough for the memory; shared memory asks for less.
constexpr uint32_t ROWS_AHEAD = 4;

// One of some warps that share a message's rows.
struct Share {
  uint32_t number, of;
};

// The remainder of the first `length` bytes of a message, without its first `skip` (at most 15), over all lanes; of a share, what is to be added to those
// of the others. `first` is added to the four bytes behind those skipped.
template <uint32_t AHEAD = ROWS_AHEAD, class Bytes>
__device__ __forceinline__ uint32_t remainder_of(const CrcConstants* constants, uint32_t lane, const Bytes& message, uint32_t length, uint32_t skip,
                                                 uint32_t first, Share share = Share{0, 1}) {
  const CrcColumns<16> columns(constants, lane);
  CrcState<16> state;
  const uint32_t pieces = (length + 15) / 16, whole_pieces = length / 16;
  const uint32_t row_count = (pieces + WARP - 1) / WARP;
  const uint32_t missing = row_count * WARP - pieces;  // in front of the first
  const uint32_t first_row = row_count * share.number / share.of, end_row = row_count * (share.number + 1) / share.of;
  const auto load = [&](uint32_t row, uint4& words) {
    // Instead of one that is short, the one before: see below.
    if (row < end_row) words = message.sixteen(min(row * WARP + lane - missing, whole_pieces - 1) * 16);
  };
  const auto pass = [&](uint32_t row, uint4 words) {
    message.passes((row * WARP + lane - missing) * 16, words);
    state.add(columns, words);
  };
  uint4 ahead[AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++) {
    ahead[d] = make_uint4(0, 0, 0, 0);
    if (first_row + d != 0) load(first_row + d, ahead[d]);
  }
  if (first_row == 0 && lane - missing < whole_pieces) ahead[0] = message.sixteen((lane - missing) * 16);
  if (first_row == 0 && lane == missing) ahead[0] = with_start(ahead[0], skip, first);
  uint32_t row = first_row;
#pragma unroll 1
  for (; row + AHEAD <= end_row; row += AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      pass(row + d, ahead[d]);
      load(row + d + AHEAD, ahead[d]);
    }
  }
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++)
    if (row + d < end_row) pass(row + d, ahead[d]);
  const uint32_t rest = length % 16;
  if (rest != 0 && end_row == row_count) {
    // As if the last lane had had them in the last row: sums of their own are the same, and take back what it had instead.
    uint32_t words[4] = {0, 0, 0, 0};
    if (lane == WARP - 1) {
      if (row_count > 1) {
        const uint4 instead = message.sixteen((whole_pieces - 1) * 16);
        words[0] = instead.x;
        words[1] = instead.y;
        words[2] = instead.z;
        words[3] = instead.w;
      }
#pragma unroll
      for (uint32_t i = 0; i < 15; i++)
        if (i < rest) words[i / 4] ^= message.byte(whole_pieces * 16 + i) << 8 * (i % 4);
    }
    CrcState<16> last;
    last.add(columns, make_uint4(words[0], words[1], words[2], words[3]));
    state.x ^= last.x;
    state.y ^= last.y;
  }
  uint32_t sum = state.remainder(constants, lane);
  sum = advance_bytes(constants->power, sum, (row_count - end_row) * ROW_BYTES, lane);
  return advance_bytes(constants->inverse, sum, rest == 0 ? 0 : 16 - rest, lane);
}
