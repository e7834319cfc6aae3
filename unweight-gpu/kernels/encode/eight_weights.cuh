// Eight consecutive weights of any type, their values and their plain bits.
#pragma once
#include "abi/split_job.cuh"
#include "ptx/memory.cuh"
#include "record/chunk.cuh"

namespace unweight::encode {

using record::lane_step_count;

template <uint32_t BYTES>
struct EightOf {
  static constexpr uint32_t WORDS = 2 * BYTES;
  uint32_t words[WORDS];

  // Loads the first `count` of eight weights, and zeros. Reads nothing after them.
  __device__ __forceinline__ EightOf(const uint8_t* from, uint32_t count) {
    if (count < LANE_STEP_WEIGHTS) {
#pragma unroll
      for (uint32_t i = 0; i < WORDS; i++) words[i] = 0;
#pragma unroll
      for (uint32_t i = 0; i < 4 * WORDS; i++)
        if (i < count * BYTES) words[i / 4] |= static_cast<uint32_t>(from[i]) << 8 * (i % 4);
    } else if constexpr (BYTES == 1) {
      const uint2 two = ptx::load_read_only(reinterpret_cast<const uint2*>(from));
      words[0] = two.x;
      words[1] = two.y;
    } else {
#pragma unroll
      for (uint32_t i = 0; i < WORDS / 4; i++) {
        const uint4 four = ptx::load_read_only(reinterpret_cast<const uint4*>(from) + i);
        words[4 * i] = four.x;
        words[4 * i + 1] = four.y;
        words[4 * i + 2] = four.z;
        words[4 * i + 3] = four.w;
      }
    }
  }

  // The values of a field, a byte each. No field has bits of both words of a weight.
  __device__ __forceinline__ uint2 values(CodedField field) const {
    const uint32_t mask = (1u << field.width) - 1, low = field.low % 32;
    if constexpr (BYTES == 1) {
      const uint32_t masks = mask * 0x01010101;
      return make_uint2(words[0] >> low & masks, words[1] >> low & masks);
    } else if constexpr (BYTES == 2) {
      const uint32_t masks = mask * 0x00010001;
      const auto four = [&](uint32_t first, uint32_t second) {
        return __byte_perm(first >> low & masks, second >> low & masks, 0x6420);
      };
      return make_uint2(four(words[0], words[1]), four(words[2], words[3]));
    } else {
      const auto value = [&](uint32_t i) {
        if constexpr (BYTES == 4) return words[i] >> low & mask;
        return (field.low < 32 ? words[2 * i] : words[2 * i + 1]) >> low & mask;
      };
      const auto four = [&](uint32_t i) {
        return value(i) | value(i + 1) << 8 | value(i + 2) << 16 | value(i + 3) << 24;
      };
      return make_uint2(four(0), four(4));
    }
  }

  // Calls `push(bits, count)` for the plain values of all weights, packed, from the first one on; at most 32 bits each.
  template <class Push>
  __device__ __forceinline__ void for_plain(const SplitJob* job, const Push& push) const {
    const uint32_t bits = job->plain_bits, run_count = job->run_count;
    if constexpr (BYTES == 8) {
#pragma unroll 1
      for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
        uint64_t weight = 0, value = 0;
#pragma unroll
        for (uint32_t of = 0; of < LANE_STEP_WEIGHTS; of++)
          if (of == i) weight = static_cast<uint64_t>(words[2 * of + 1]) << 32 | words[2 * of];
#pragma unroll 1
        for (uint32_t r = 0; r < run_count; r++) {
          const PlainRun run = job->runs[r];
          value |= (weight >> run.low & ((1ull << run.width) - 1)) << run.to;
        }
        push(static_cast<uint32_t>(value), min(bits, 32));
        if (bits > 32) push(static_cast<uint32_t>(value >> 32), bits - 32);
      }
    } else {
      // Words hold 4 / BYTES weights, whose runs are taken together.
      constexpr uint32_t EACH = BYTES == 1 ? 0x01010101 : BYTES == 2 ? 0x00010001 : 1;
      uint32_t plain[WORDS];
#pragma unroll
      for (uint32_t i = 0; i < WORDS; i++) plain[i] = 0;
#pragma unroll 1
      for (uint32_t r = 0; r < run_count; r++) {
        const PlainRun run = job->runs[r];
        const uint32_t mask = ((1u << run.width) - 1) * EACH;
#pragma unroll
        for (uint32_t i = 0; i < WORDS; i++) plain[i] |= (words[i] >> run.low & mask) << run.to;
      }
#pragma unroll
      for (uint32_t i = 0; i < WORDS; i++) {
        uint32_t packed = plain[i];
        if constexpr (BYTES == 1) packed = (packed & 0x00ff00ff) | (packed & 0xff00ff00) >> (8 - bits);
        if constexpr (BYTES <= 2) packed = (packed & 0xffff) | packed >> 16 << bits * (2 / BYTES);
        push(packed, bits * (4 / BYTES));
      }
    }
  }
};

}  // namespace unweight::encode
