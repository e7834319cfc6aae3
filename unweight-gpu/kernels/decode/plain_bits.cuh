// Plain bits of a lane's eight weights of a step, put in their places (specification, section 4.2).
//
// Data layout: eight numbers of W bits take W bytes, so those of lane l of step t begin at byte (32 t + l) * W of a
// chunk. They are read as windows of 64 bits, one for each 8 bytes of weights. A window begins at any bit, so it lies
// in up to three words. A step has 8 W words, so its bits have the same place in a word in every step.
//
//   SIZE, bytes of a weight             1       2        4        8
//   windows of a lane's step            1       2        4        8
//   numbers in a window                 8       4        2        1
//
// The ones of the plain mask are runs. A run of a number's bits moves up together: a mask and a product.
#pragma once
#include "ptx/bits.cuh"
#include "ptx/memory.cuh"
#include "record/chunk.cuh"

namespace unweight::decode {

// Eight weights of SIZE bytes, as they are in memory.
template <uint32_t SIZE>
struct Eight {
  uint32_t words[2 * SIZE];
};

// Four numbers of `bits` bits, at most 8, as bytes. Bits of a byte above its number are undefined.
__device__ __forceinline__ uint32_t spread_to_bytes(uint32_t window, uint32_t bits) {
  const uint32_t pairs = __byte_perm(window, window >> 2 * bits, 0x5410);
  return ptx::select_bits(0x00ff00ff, pairs, pairs << (8 - bits));
}

// Two numbers of `bits` bits, at most 16, as half words. Bits above a number are undefined.
__device__ __forceinline__ uint32_t spread_to_halves(uint32_t window, uint32_t bits) {
  return __byte_perm(window, window >> bits, 0x5410);
}

// The most runs of ones that a plain mask has. A test compares them with the types of the format.
template <uint32_t SIZE>
constexpr uint32_t MOST_RUNS = SIZE == 1   ? 2
                               : SIZE == 2 ? 3
                                           : 5;

// Runs of a plain mask, and the constants. Numbers of weights that share a word are put in their places together.
template <uint32_t SIZE>
struct PlainPlaces {
  uint32_t masks[MOST_RUNS<SIZE>], factors[MOST_RUNS<SIZE>];
  uint32_t constants;

  __device__ __forceinline__ explicit PlainPlaces(const TensorJob* job) {
    // One for each weight in a word.
    constexpr uint32_t EACH = SIZE == 1 ? 0x01010101 : SIZE == 2 ? 0x00010001 : 1;
    uint32_t left = static_cast<uint32_t>(job->plain_mask), taken = 0;
#pragma unroll
    for (uint32_t i = 0; i < MOST_RUNS<SIZE>; i++) {
      // The sum carries over the lowest run.
      const uint32_t run = left & ~(left + (left & (0 - left)));
      const uint32_t up = left == 0 ? 0 : static_cast<uint32_t>(__ffs(left)) - 1 - taken;
      masks[i] = (run >> up) * EACH;
      factors[i] = 1u << up;
      taken += static_cast<uint32_t>(__popc(run));
      left &= ~run;
    }
    constants = static_cast<uint32_t>(job->constants) * EACH;
  }

  // Plain bits of the numbers in a word, one in each weight of it.
  __device__ __forceinline__ uint32_t place_numbers(uint32_t numbers) const {
    uint32_t word = constants;
#pragma unroll
    for (uint32_t run = 0; run < MOST_RUNS<SIZE>; run++) word += (numbers & masks[run]) * factors[run];
    return word;
  }

  // The words of a window of 64 bits. The second half of its numbers begins at bit `half`.
  __device__ __forceinline__ void place(uint32_t low, uint32_t high, uint32_t half, uint32_t bits,
                                        uint32_t (&words)[2]) const {
    const uint32_t windows[2] = {low, __funnelshift_r(low, high, half)};
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
      const uint32_t numbers = SIZE == 1   ? spread_to_bytes(windows[i], bits)
                               : SIZE == 2 ? spread_to_halves(windows[i], bits)
                                           : windows[i];
      words[i] = place_numbers(numbers);
    }
  }
};

template <>
struct PlainPlaces<8> {
  uint64_t masks[MOST_RUNS<8>];
  uint32_t shifts[MOST_RUNS<8>];
  uint64_t constants;

  __device__ __forceinline__ explicit PlainPlaces(const TensorJob* job) : constants(job->constants) {
    uint64_t left = job->plain_mask;
    uint32_t taken = 0;
#pragma unroll
    for (uint32_t i = 0; i < MOST_RUNS<8>; i++) {
      const uint64_t lowest = left & (0 - left);
      const uint64_t run = left & ~(left + lowest);
      shifts[i] = left == 0 ? 0 : bits_of(lowest - 1) - taken;
      masks[i] = run >> shifts[i];
      taken += bits_of(run);
      left &= ~run;
    }
  }

  __device__ static __forceinline__ uint32_t bits_of(uint64_t word) {
    return static_cast<uint32_t>(__popc(static_cast<uint32_t>(word)) + __popc(static_cast<uint32_t>(word >> 32)));
  }

  __device__ __forceinline__ void place(uint32_t low, uint32_t high, uint32_t, uint32_t, uint32_t (&words)[2]) const {
    const uint64_t number = static_cast<uint64_t>(high) << 32 | low;
    uint64_t weight = constants;
#pragma unroll
    for (uint32_t run = 0; run < MOST_RUNS<8>; run++) weight |= (number & masks[run]) << shifts[run];
    words[0] = static_cast<uint32_t>(weight);
    words[1] = static_cast<uint32_t>(weight >> 32);
  }
};

// Windows of a lane's step as they are in memory.
template <uint32_t SIZE>
struct PlainWords {
  uint32_t words[SIZE][3];
};

// Plain bits of a lane.
template <uint32_t SIZE>
struct PlainReader {
  PlainPlaces<SIZE> places;
  const uint32_t* step_words;  // the chunk's
  uint32_t lane_bit;           // of a step
  uint32_t bits;               // of a number
  uint32_t last_step;
  uint32_t window_words;  // 1 to 3 words that a window may lie in

  __device__ __forceinline__ PlainReader(const record::Chunk& chunk, uint32_t lane)
      : places(chunk.job),
        step_words(reinterpret_cast<const uint32_t*>(chunk.plain)),
        bits(chunk.job->plain_bits),
        last_step(chunk.steps - 1) {
    lane_bit = lane * LANE_STEP_WEIGHTS * bits;
    // A window begins at a multiple of the greatest power of two in its length.
    const uint32_t length = window_bits();
    const uint32_t multiple = min(length & (0 - length), 32u);
    window_words = (32 - multiple + length + 31) / 32;
  }

  __device__ __forceinline__ uint32_t window_bits() const { return LANE_STEP_WEIGHTS / SIZE * bits; }

  // The word of a step that the window at this bit of the step begins in. After the chunk's end, of its last step.
  __device__ __forceinline__ const uint32_t* word_of(uint32_t step, uint32_t bit) const {
    return step_words + min(step, last_step) * LANE_STEP_WEIGHTS * bits + bit / 32;
  }

  __device__ __forceinline__ PlainWords<SIZE> load(uint32_t step) const {
    PlainWords<SIZE> loaded;
#pragma unroll
    for (uint32_t i = 0; i < SIZE; i++) {
      const uint32_t* window = word_of(step, lane_bit + i * window_bits());
      loaded.words[i][0] = ptx::load_read_only(window);
      loaded.words[i][1] = window_words > 1 ? ptx::load_read_only(window + 1) : 0;
      loaded.words[i][2] = window_words > 2 ? ptx::load_read_only(window + 2) : 0;
    }
    return loaded;
  }

  // Weights whose coded fields are still zero.
  __device__ __forceinline__ Eight<SIZE> place(const PlainWords<SIZE>& loaded) const {
    Eight<SIZE> eight;
#pragma unroll
    for (uint32_t i = 0; i < SIZE; i++) {
      const uint32_t shift = lane_bit + i * window_bits();
      const uint32_t low = __funnelshift_r(loaded.words[i][0], loaded.words[i][1], shift);
      const uint32_t high = __funnelshift_r(loaded.words[i][1], loaded.words[i][2], shift);
      uint32_t words[2];
      places.place(low, high, window_bits() / 2, bits, words);
      eight.words[2 * i] = words[0];
      eight.words[2 * i + 1] = words[1];
    }
    return eight;
  }

  // The same for weights of one byte with 4 plain bits, as those of F8_E4M3 with a coded exponent: even and odd numbers
  // are put in their places apart.
  __device__ __forceinline__ Eight<SIZE> place_nibbles(uint32_t numbers) const {
    const uint32_t even = places.place_numbers(numbers), odd = places.place_numbers(numbers >> 4);
    return Eight<SIZE>{{__byte_perm(even, odd, 0x5140), __byte_perm(even, odd, 0x7362)}};
  }

  // Weights of STEPS steps from what was loaded for them. Loads the steps from `next` on.
  template <uint32_t STEPS>
  __device__ __forceinline__ void place_steps(Eight<SIZE> (&eights)[STEPS], PlainWords<SIZE> (&loaded)[STEPS],
                                              uint32_t next) const {
    if constexpr (SIZE == 1) {
      if (bits == 4) {
#pragma unroll
        for (uint32_t d = 0; d < STEPS; d++) {
          eights[d] = place_nibbles(loaded[d].words[0][0]);
          loaded[d].words[0][0] = ptx::load_read_only(word_of(next + d, lane_bit));
        }
        return;
      }
    }
#pragma unroll
    for (uint32_t d = 0; d < STEPS; d++) {
      eights[d] = place(loaded[d]);
      loaded[d] = load(next + d);
    }
  }
};

}  // namespace unweight::decode
