// Codes packed into a record (specification, section 5.2): each warp of a block packs its section of every lane's
// stream, two codes at a time.
//
// Two sections may share a word, of one lane or of two. A section stores a word as soon as it is complete; its first
// word has zeros before its own bits. After all warps have packed, each adds the bits that are left to the word that
// another section has stored, or that is still zero.
#pragma once
#include "encode/lane_weights.cuh"

namespace unweight::encode {

// Section of a lane's stream.
struct StreamPacker {
  uint32_t word;       // address in shared memory of the next word to be completed
  uint32_t bits;       // its bits so far, with zeros before the section's first
  uint32_t bit_count;  // bits so far of all words, and zeros before them; only the lowest six bits count

  // Appends at most 32 bits, and their count, of which only the lowest six bits count.
  __device__ __forceinline__ void push(uint32_t more, uint32_t count) {
    const uint32_t complete = bits | more << (bit_count & 31), rest = __funnelshift_l(more, 0, bit_count);
    const uint32_t before = bit_count;
    bit_count += count;
    bits = complete;
    if (((before ^ bit_count) & 32) == 0) return;
    ptx::store_shared_word(word, complete);
    word += 4;
    bits = rest;
  }

  // Appends the codes of a step, in pairs of at most 16 bits.
  __device__ __forceinline__ void push_step(const uint32_t (&pairs)[4]) {
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      const uint32_t first = pairs[2 * half], second = pairs[2 * half + 1];
      push(first >> CODE_BITS_FROM | second >> CODE_BITS_FROM << (first & 31), first + second);
    }
  }

  // Packs the first `steps` steps. `pairs` is the address of the table of pairs in shared memory.
  template <uint32_t STEPS>
  __device__ __forceinline__ void pack(const LaneIndices<STEPS>& indices, uint32_t steps, uint32_t pairs) {
    const auto look_up = [&](uint32_t step, uint32_t (&found)[4]) {
#pragma unroll
      for (uint32_t i = 0; i < 4; i++)
        found[i] = ptx::load_shared_word(__dp4a(indices.words[step], 4u << 8 * i, pairs));
    };
    uint32_t found[4];
    if (steps < STEPS) {
#pragma unroll
      for (uint32_t step = 0; step < STEPS; step++) {
        if (step >= steps) break;
        look_up(step, found);
        push_step(found);
      }
      return;
    }
    // The look-ups of a step are in flight while the step before it is packed.
    look_up(0, found);
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) {
      uint32_t next[4];
      if (step + 1 < STEPS) look_up(step + 1, next);
      push_step(found);
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) found[i] = next[i];
    }
  }
};

}  // namespace unweight::encode
