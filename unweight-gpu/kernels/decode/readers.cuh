// Readers of a record's body, one for each kind of record (specification, sections 5.2 to 5.4).
//
// A reader returns the values of a lane's eight weights of a step, as bytes:
//   step(in_group)    the next step, in groups of AHEAD steps
//   tail_step(step)   step `step`, after the last group
#pragma once
#include "decode/code_table.cuh"

namespace unweight::decode {

// Steps whose bytes are loaded ahead: enough to hide the latency of memory beside 13 other warps.
constexpr uint32_t AHEAD = 8;

// Four values of BITS bits in one word. Multiplications, because shifts and permutations are the instructions that
// these kernels have most of.
template <uint32_t BITS = 8>
__device__ __forceinline__ uint32_t concatenate(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return (d * (1u << BITS) + c) * (1u << 2 * BITS) + (b * (1u << BITS) + a);
}

// Section 5.2. Returns 0, or the rule that the end of a lane's stream breaks whose codes end before bit `bit` of the
// record.
__device__ inline uint32_t check_lane_end(uint32_t bit, const uint8_t* record, uint32_t lane_end) {
  const uint32_t end = 8 * (LANE_STREAMS_OFFSET + lane_end);
  if (bit > end) return LANE_OVERRUN;
  const uint32_t unused = end - bit;
  if (unused >= 8) return LANE_UNDERRUN;
  return unused != 0 && record[end / 8 - 1] >> (8 - unused) != 0 ? LANE_PADDING : 0;
}

// Huffman codes of a lane's stream.
//
// `window` and `behind` are the next 64 bits, of which four codes use at most 32. `behind` is rebuilt meanwhile from
// words that were loaded ahead. So there are only a shift, an index and a look-up between one code and the next.
struct LaneReader {
  CodeTable table;
  const uint32_t* words;  // the record
  uint32_t last;          // index of its last word
  uint32_t bit;           // position of the next bit in the record
  uint32_t window, behind;
  uint32_t second, third, fourth;  // words after that of `bit`

  // Reads are clamped to the record.
  __device__ __forceinline__ uint32_t word(uint32_t behind) const { return words[min((bit >> 5) + behind, last)]; }

  __device__ __forceinline__ LaneReader(const CodeTable& table, const uint32_t* record, uint32_t last, uint32_t bit)
      : table(table), words(record), last(last), bit(bit) {
    const uint32_t first = word(0);
    second = word(1);
    third = word(2);
    fourth = word(3);
    window = __funnelshift_r(first, second, bit);
    behind = __funnelshift_r(second, third, bit);
  }

  // Decodes four codes to the table's entries, BITS bits each.
  template <uint32_t BITS = 8>
  __device__ __forceinline__ uint32_t four() {
    uint32_t windows[4], lengths[4], now = window;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      windows[i] = now;
      lengths[i] = table.length(now);
      now = __funnelshift_r(now, 0, lengths[i]);
    }
    // At most 32. A shift by 32 is right with a clamped shift; another one would wrap.
    const uint32_t bits = lengths[0] + lengths[1] + lengths[2] + lengths[3];
    window = __funnelshift_rc(window, behind, bits);
    const uint32_t before = bit;
    bit += bits;
    if ((bit ^ before) & 32) {
      second = third;
      third = fourth;
      fourth = word(3);
    }
    behind = __funnelshift_r(second, third, bit);
    uint32_t entries[4];
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) entries[i] = table.value(windows[i], lengths[i]);
    return concatenate<BITS>(entries[0], entries[1], entries[2], entries[3]);
  }

  __device__ __forceinline__ uint2 step(uint32_t) {
    const uint32_t first = four();
    return make_uint2(first, four());
  }
  __device__ __forceinline__ uint2 tail_step(uint32_t in_group) { return step(in_group); }

  __device__ __forceinline__ uint32_t check_end(const uint8_t* record, uint32_t lane_end) const {
    return check_lane_end(bit, record, lane_end);
  }
};

// The rule that the first lane with a broken rule breaks, as the reference finds it, or 0. All lanes return it.
__device__ inline uint32_t first_broken(uint32_t broken) {
  const uint32_t lanes = __ballot_sync(ALL_LANES, broken != 0);
  return lanes == 0 ? 0 : __shfl_sync(ALL_LANES, broken, __ffs(lanes) - 1);
}

// The values of eight 4-bit palette indices.
__device__ __forceinline__ uint2 palette_values(const uint8_t* palette, uint32_t indices) {
  const auto value = [&](uint32_t i) -> uint32_t { return palette[indices >> 4 * i & 15]; };
  return make_uint2(concatenate(value(0), value(1), value(2), value(3)),
                    concatenate(value(4), value(5), value(6), value(7)));
}

// 4-bit palette indices.
struct PaletteReader {
  const uint8_t* values;    // the palette
  const uint32_t* indices;  // this lane's, one word in each step
  uint32_t last_step, next_step;
  uint32_t ahead[AHEAD];

  __device__ __forceinline__ PaletteReader(const uint8_t* palette, const uint8_t* body, uint32_t lane, uint32_t steps)
      : values(palette),
        indices(reinterpret_cast<const uint32_t*>(body) + lane),
        last_step(steps - 1),
        next_step(AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load(d);
  }

  // After the chunk's end, the word of its last step again.
  __device__ __forceinline__ uint32_t load(uint32_t step) const { return indices[min(step, last_step) * WARP]; }

  __device__ __forceinline__ uint2 step(uint32_t in_group) {
    const uint2 eight = palette_values(values, ahead[in_group]);
    ahead[in_group] = load(next_step++);
    return eight;
  }
  __device__ __forceinline__ uint2 tail_step(uint32_t step) const { return palette_values(values, load(step)); }
};

// Values of 8 bits. The tail does not read after the last one.
struct VerbatimReader {
  const uint8_t* bytes;
  uint32_t at, count;

  __device__ __forceinline__ uint2 step(uint32_t) {
    const uint2 eight = *reinterpret_cast<const uint2*>(bytes + at);
    at += STEP_WEIGHTS;
    return eight;
  }
  __device__ __forceinline__ uint2 tail_step(uint32_t) {
    uint2 eight = make_uint2(0, 0);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t byte = at + i < count ? bytes[at + i] : 0;
      if (i < 4)
        eight.x |= byte << 8 * i;
      else
        eight.y |= byte << (8 * i - 32);
    }
    at += STEP_WEIGHTS;
    return eight;
  }
};

// Sign-mantissa bytes, the plain bytes of BF16, of a lane's next steps, if the output needs them.
template <bool NEEDED>
struct SignMantissa {
  const uint2* eights;
  uint32_t last_step;
  uint2 ahead[AHEAD];

  __device__ __forceinline__ SignMantissa(const record::Chunk& chunk, uint32_t lane)
      : eights(reinterpret_cast<const uint2*>(chunk.plain) + lane), last_step(chunk.steps - 1) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load(d);
  }
  // After the chunk's end, the bytes of its last step again.
  __device__ __forceinline__ uint2 load(uint32_t step) const {
    return NEEDED ? ptx::load_read_only(eights + min(step, last_step) * WARP) : make_uint2(0, 0);
  }
};

}  // namespace unweight::decode
