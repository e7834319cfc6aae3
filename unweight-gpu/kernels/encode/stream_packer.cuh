// Codes packed into a record (specification, section 5.2): each warp of a block packs its own piece of every lane's stream, two codes
// at a time.
//
// Two pieces may share a word, of one lane or of two. A piece stores a word as soon as it is complete, the first with zeros in front of its own bits. When all have
// done so they add what they have left to the word that another has stored, or that has been zeroed.
#pragma once
#include "encode/lane_indices.cuh"

// A piece of a lane's stream on its way to the record.
struct PiecePacker {
  uint32_t word;       // the address of the next to be completed, in shared memory
  uint32_t bits;       // what there is of it, with zeros in front of the piece's first
  uint32_t bit_count;  // of all words, and in front of them; its lowest six bits

  // At most 32 bits, and their number, its lowest six bits.
  __device__ __forceinline__ void push(uint32_t more, uint32_t count) {
    const uint32_t complete = bits | more << (bit_count & 31), rest = __funnelshift_l(more, 0, bit_count);
    const uint32_t before = bit_count;
    bit_count += count;
    bits = complete;
    if (((before ^ bit_count) & 32) == 0) return;
    store_shared_word(word, complete);
    word += 4;
    bits = rest;
  }

  __device__ __forceinline__ void push_step(const uint32_t (&pairs)[4]) {
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      const uint32_t first = pairs[2 * half], second = pairs[2 * half + 1];
      // A pair takes at most 16 bits.
      push(first >> CODE_BITS_FROM | second >> CODE_BITS_FROM << (first & 31), first + second);
    }
  }

  // `pairs` in shared memory.
  template <uint32_t STEPS>
  __device__ __forceinline__ void pack(const LaneIndices<STEPS>& indices, uint32_t steps, uint32_t pairs) {
    const auto look_up = [&](uint32_t step, uint32_t (&found)[4]) {
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) found[i] = load_shared_word(__dp4a(indices.words[step], 4u << 8 * i, pairs));
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
    // A step's are on their way while those before it are packed.
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
