// CRC-32 over a warp by binary MMA (specification, section 8).
//
// Data layout: a row is 512 bytes, 16 for each lane, one load.
//
//   row 0   | lane 0: words x y z w | lane 1: x y z w | ... | lane 31 |
//   row 1   |                                                         |
//
// A CRC is a remainder of polynomials over GF(2): the sum of all bits of the message, each times a power of x. So parts
// of a message can be reduced separately and added.
//
// One row. Words x and z of lanes 4g to 4g + 3 are 256 bits, words y and w 256 more. They are rows g and g + 8 of a
// binary MMA (ptx/binary_mma.cuh). Each column of the MMA selects the bits that one bit of the remainder depends on:
// that bit is set if the count of common bits is odd.
//
// Next row. The remainder is advanced by a row and added to the next row. Its 32 bits are scattered over four lanes,
// eight in each, and an exchange between lanes would be slow. But any 32 linearly independent powers of x can express a
// remainder. So the columns give the remainder, already advanced, as a sum of powers that lie in each lane's own words
// x and y of the next row, at the eight bits where the counts, put side by side, have their lowest bits. A lane adds
// them to its own words: there is no table, no shared memory and no exchange. After the last row each lane multiplies
// its bits by their powers of x.
//
// A remainder that all lanes hold is advanced by all lanes together: lane l adds x^l times the power if the remainder
// has the term x^l.
//
// Shared memory: none. Registers: 8 for columns, 2 for the state, 4 for each row in flight.
// Preconditions: `constants` is what `src/checksum/constants.rs` makes; the data is 16-byte aligned; the warp is
// complete.
//
// Tail: rows are counted from the end. A short first row is completed with zeros in front, which change nothing while
// the state is zero. The last 16 bytes may be incomplete: they are completed with zeros, which inverse powers of x
// undo.
#pragma once
#include "abi/crc_constants.cuh"
#include "ptx/binary_mma.cuh"
#include "record/weights.cuh"

namespace unweight::checksum {

constexpr uint32_t CHECKSUM_WARPS = 8;
constexpr uint32_t ROW_BYTES = 512;

// `state`, which all lanes hold, times x^(8*count) or its inverse, from powers of two.
__device__ inline uint32_t advance_bytes(const uint32_t (*powers)[WARP], uint32_t state, uint32_t count,
                                         uint32_t lane) {
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

// The first 16 bytes of a message without the first `skip`. `initial` is added to the four bytes after them.
__device__ __forceinline__ uint4 with_start(uint4 row, uint32_t skip, uint32_t initial) {
  if (skip != 0) row = without_first(row, skip);
  (skip == 0 ? row.x : row.y) ^= initial;
  return row;
}

// A message has
//   sixteen(at)        its 16 bytes from `at` on, a multiple of 16
//   byte(at)           one byte
//   visit(at, words)   sees 16 bytes at a time; all are unchanged but the first 16, and bytes after the last multiple
//                      of 16 are left out

// Message of consecutive bytes.
struct PlainBytes {
  const uint8_t* data;  // 16-byte aligned

  __device__ __forceinline__ uint4 sixteen(uint32_t at) const { return *reinterpret_cast<const uint4*>(data + at); }
  __device__ __forceinline__ uint32_t byte(uint32_t at) const { return data[at]; }
  __device__ __forceinline__ void visit(uint32_t, uint4) const {}
};

// Lowest bits of four counts side by side, which have nine bits each because they are at most 256. Four more counts are
// shifted after they are put together.
constexpr uint32_t FIRST_BITS = 1u | 1u << 9 | 1u << 18 | 1u << 27;

// LANE_BYTES is 16 if a lane's bytes of a row are consecutive, 8 if they are two times 8 bytes, half a row apart.
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

// Remainder of the rows so far.
template <uint32_t LANE_BYTES>
struct CrcState {
  // Chosen so that the powers are linearly independent.
  static constexpr uint32_t SECOND_SHIFT = LANE_BYTES == 16 ? 2 : 4;
  uint32_t x = 0, y = 0;  // to be added to words x and y of the next row

  __device__ __forceinline__ void add(const CrcColumns<LANE_BYTES>& by, uint4 row) {
    const uint32_t rows[4] = {row.x ^ x, row.y ^ y, row.z, row.w};
    uint32_t sums[4] = {0, 0, 0, 0};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      uint32_t counts[4];
      ptx::binary_mma(counts, rows, by.columns[i]);
#pragma unroll
      for (uint32_t of = 0; of < 4; of++) sums[of] += counts[of] << 9 * i;
    }
    x = (sums[0] & FIRST_BITS) | (sums[1] & FIRST_BITS) << SECOND_SHIFT;
    y = (sums[2] & FIRST_BITS) | (sums[3] & FIRST_BITS) << SECOND_SHIFT;
  }

  // The remainder of all lanes' words, with the 32 zeros that a CRC appends. All lanes return it.
  __device__ __forceinline__ uint32_t remainder(const CrcConstants* constants, uint32_t lane) const {
    const CrcLayout& layout = layout_of<LANE_BYTES>(constants);
    uint32_t sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t bits = (i < 2 ? x : y) >> SECOND_SHIFT * (i % 2);
      const uint4 powers = reinterpret_cast<const uint4*>(layout.last[lane])[i];
      sum ^= (bits & 1 ? powers.x : 0) ^ (bits >> 9 & 1 ? powers.y : 0) ^ (bits >> 18 & 1 ? powers.z : 0) ^
             (bits >> 27 & 1 ? powers.w : 0);
    }
    return __reduce_xor_sync(ALL_LANES, sum);
  }
};

// Rows in flight: enough to hide the latency of device memory. Shared memory needs fewer.
constexpr uint32_t ROWS_AHEAD = 4;

// Share of a warp, if several warps divide the rows of a message.
struct Share {
  uint32_t number, of;
};

// The remainder of the first `length` bytes of a message without its first `skip`, which are at most 15. All lanes
// return it. `initial` is added to the four bytes after those skipped. With shares, the remainder of the message is the
// sum of what all shares return.
template <uint32_t AHEAD = ROWS_AHEAD, class Bytes>
__device__ __forceinline__ uint32_t remainder_of(const CrcConstants* constants, uint32_t lane, const Bytes& message,
                                                 uint32_t length, uint32_t skip, uint32_t initial,
                                                 Share share = Share{0, 1}) {
  const CrcColumns<16> columns(constants, lane);
  CrcState<16> state;
  const uint32_t pieces = (length + 15) / 16, whole_pieces = length / 16;  // of 16 bytes
  const uint32_t row_count = (pieces + WARP - 1) / WARP;
  const uint32_t missing = row_count * WARP - pieces;  // pieces in front of the first one
  const uint32_t first_row = row_count * share.number / share.of;
  const uint32_t end_row = row_count * (share.number + 1) / share.of;
  const auto load = [&](uint32_t row, uint4& words) {
    // The piece before an incomplete one stands in for it; the end of this function takes it back.
    if (row < end_row) words = message.sixteen(min(row * WARP + lane - missing, whole_pieces - 1) * 16);
  };
  const auto add = [&](uint32_t row, uint4 words) {
    message.visit((row * WARP + lane - missing) * 16, words);
    state.add(columns, words);
  };
  uint4 ahead[AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++) {
    ahead[d] = make_uint4(0, 0, 0, 0);
    if (first_row + d != 0) load(first_row + d, ahead[d]);
  }
  if (first_row == 0 && lane - missing < whole_pieces) ahead[0] = message.sixteen((lane - missing) * 16);
  if (first_row == 0 && lane == missing) ahead[0] = with_start(ahead[0], skip, initial);
  uint32_t row = first_row;
#pragma unroll 1
  for (; row + AHEAD <= end_row; row += AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      add(row + d, ahead[d]);
      load(row + d + AHEAD, ahead[d]);
    }
  }
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++)
    if (row + d < end_row) add(row + d, ahead[d]);
  const uint32_t rest = length % 16;
  if (rest != 0 && end_row == row_count) {
    // The incomplete piece as if the last lane had had it in the last row, plus the piece that the lane had instead.
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

// The CRC-32 of a message of at least two bytes.
template <class Bytes>
__device__ __forceinline__ uint32_t checksum_of(const CrcConstants* constants, uint32_t lane, const Bytes& message,
                                                uint32_t length) {
  uint32_t sum = remainder_of(constants, lane, message, length, 0, 0);
  // A CRC begins with 32 ones. A message may have only two bytes to add them to, so they are a message of their own.
  sum ^= advance_bytes(constants->power, ~0u, length, lane);
  return ~sum;
}

}  // namespace unweight::checksum
