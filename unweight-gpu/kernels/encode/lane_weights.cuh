// A warp's weights, and their palette indices: a word of eight for each lane and step, in registers.
//
// Where a palette's values are consecutive, an index is a difference, of four values at once. With one gap
// between them there are two differences. Other palettes, and steps with values outside the palette, are read again
// (index_weights.cuh).
#pragma once
#include "checksum/crc32.cuh"
#include "encode/patches.cuh"
#include "encode/record_input.cuh"

namespace unweight::encode {

using checksum::CrcColumns;
using checksum::CrcState;

// Steps of a warp, at most `steps`, as a chunk of their own. A warp after the chunk's end has none.
__device__ inline InputChunk warp_part(const InputChunk& chunk, uint32_t warp, uint32_t steps, uint32_t& first_step) {
  first_step = min(warp * steps, chunk.steps);
  InputChunk part = chunk;
  part.steps = min(steps, chunk.steps - first_step);
  const uint32_t start = first_step * STEP_WEIGHTS;
  part.weight_count = min(part.steps * STEP_WEIGHTS, chunk.weight_count - min(start, chunk.weight_count));
  part.first_weight = chunk.first_weight + start;
  return part;
}

// Indices of a lane for a warp's steps.
template <uint32_t STEPS>
struct LaneIndices {
  uint32_t words[STEPS];  // eight palette indices each
  uint32_t sum;           // bits of their codes, and the number of their patches << 16
};

// Eight indices, from a byte each to a word.
__device__ __forceinline__ uint32_t word_of_indices(uint2 bytes) {
  return __byte_perm(bytes.x * 0x110, bytes.y * 0x110, 0x7531);
}

// A palette of consecutive values with at most one gap. Those of exponents of trained weights are of this form: where
// some weights are zero, exponent 0 is often a run of its own below the others.
struct PaletteRuns {
  uint32_t packed;  // one register for three fields

  // The first value.
  __device__ __forceinline__ uint32_t first() const { return packed & 0xff; }
  // Entries of the lower run; all entries if there is no gap.
  __device__ __forceinline__ uint32_t lower() const { return packed >> 8 & 0xff; }
  // Difference between the first value of the upper run and the first of all.
  __device__ __forceinline__ uint32_t to_upper() const { return packed >> 16; }

  // Finds the runs. This lane holds entry `lane` modulo 16. Returns false if the palette has another form.
  __device__ __forceinline__ bool find(uint32_t value, uint32_t lane) {
    const uint32_t before = __shfl_up_sync(ALL_LANES, value, 1);
    const uint32_t gaps = __ballot_sync(ALL_LANES, value != before + 1) >> 1 & ((1u << (PALETTE_ENTRIES - 1)) - 1);
    const uint32_t first = __shfl_sync(ALL_LANES, value, 0);
    const uint32_t lower = gaps == 0 ? PALETTE_ENTRIES : static_cast<uint32_t>(__ffs(static_cast<int>(gaps)));
    const uint32_t to_upper = __shfl_sync(ALL_LANES, value, static_cast<int>(lower % PALETTE_ENTRIES)) - first;
    packed = first | lower << 8 | to_upper << 16;
    // Among 128 + `lower` values the highest bit of a sum tells the runs apart.
    return (gaps & (gaps - 1)) == 0 && to_upper + PALETTE_ENTRIES <= 0x80 + 2 * lower;
  }
};

// Weights of a lane for a warp's steps and their indices, if the warp has all steps and the palette has runs. Otherwise
// index_weights.cuh reads weights one by one.
template <class Input>
struct LaneWeights {
  static constexpr uint32_t STEPS = WARP_STEPS;
  static constexpr bool OF_RECORDS = false;
  typename Input::Eight steps[STEPS];
  PaletteRuns runs;
  uint32_t words[STEPS];  // palette indices
  uint32_t others;        // a bit for each step whose word is not right, on all lanes

  // Returns false if the warp does not have all steps.
  __device__ __forceinline__ bool load(const InputChunk& part, uint4*, uint32_t lane) {
    if (part.weight_count != STEPS * STEP_WEIGHTS) return false;
    const Input input = Input::of(part);
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      steps[step] = input.whole(step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    return true;
  }
  // Returns false if the palette does not have runs.
  __device__ __forceinline__ bool fit(const InputChunk& part, uint32_t lane) {
    return runs.find(part.job->palette[lane % PALETTE_ENTRIES], lane);
  }
  // Makes words of indices, and `rest`, the plain bytes. `indices_of(values, any)` returns the indices of
  // four values, and sets a byte of `any` above 15 if an value of the four is not in the palette.
  template <class IndicesOf>
  __device__ __forceinline__ void make_words(uint2 (&rest)[STEPS], const IndicesOf& indices_of) {
    others = 0;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) {
      const uint2 values = Input::value_bytes(steps[step]);
      rest[step] = Input::sign_mantissa_bytes(steps[step]);
      uint32_t any = 0;
      const uint2 indices = make_uint2(indices_of(values.x, any), indices_of(values.y, any));
      if ((any & 0xf0f0f0f0) != 0) others |= 1u << step;
      words[step] = word_of_indices(indices);
    }
    // Here, and not once for both callers: otherwise the compiler runs out of registers.
    others = __reduce_or_sync(ALL_LANES, others);
  }
  // Makes the words. Stores the plain bytes, if the input has them, and adds them to `crc`.
  __device__ __forceinline__ void make_words_and_plain(const InputChunk& part, const uint4*,
                                                       const CrcConstants* constants, uint32_t lane, CrcState<8>& crc) {
    uint2 rest[STEPS];
    const uint32_t first_of_all = runs.first() * 0x01010101;
    if (runs.lower() == PALETTE_ENTRIES) {
      make_words(rest, [&](uint32_t values, uint32_t& any) {
        const uint32_t indices = values - first_of_all;
        any |= indices;
        return indices;
      });
    } else {
      const uint32_t lower = runs.lower(), to_upper = runs.to_upper();
      const uint32_t to_tops = (0x80 - lower) * 0x01010101;
      // `in_run` is the difference to the first value of the run. An value in no run is too large for one or for
      // the other, and the lowest of four bytes has lost nothing to a neighbour.
      make_words(rest, [&](uint32_t values, uint32_t& any) {
        const uint32_t above = values - first_of_all;
        const uint32_t are_upper = (above + to_tops) >> 7 & 0x01010101;
        const uint32_t in_run = above - are_upper * to_upper;
        const uint32_t indices = in_run + are_upper * lower;
        any |= in_run | indices;
        return indices;
      });
    }
    if constexpr (Input::HAS_PLAIN) {
      const CrcColumns<8> columns(constants, lane);
      uint2* to = reinterpret_cast<uint2*>(part.sign_mantissa()) + lane;
#pragma unroll
      for (uint32_t step = 0; step < STEPS; step += 2) {
        ptx::store_streaming(to + step * WARP, rest[step]);
        ptx::store_streaming(to + (step + 1) * WARP, rest[step + 1]);
        crc.add(columns, make_uint4(rest[step].x, rest[step].y, rest[step + 1].x, rest[step + 1].y));
      }
    }
  }
};

// Records have indices already, which patches change.
template <>
struct LaneWeights<RecordInput> {
  static constexpr uint32_t STEPS = RECORD_WARP_STEPS;
  static constexpr bool OF_RECORDS = true;
  uint32_t words[STEPS];
  uint32_t others;  // a bit for each step that has patches, on all lanes
  RecordInput input;
  uint4 half[STEPS / 4];  // the first half of the plain bytes, 16 for each lane and two steps

  // `buffer` is the warp's shared memory for the second half of the plain bytes. Returns false if the warp does
  // not have all steps, or if the record is verbatim.
  __device__ __forceinline__ bool load(const InputChunk& part, uint4* buffer, uint32_t lane) {
    if (part.weight_count != STEPS * STEP_WEIGHTS) return false;
    const uint4* from = reinterpret_cast<const uint4*>(part.job->input->plain + part.first_weight) + lane;
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) half[i] = ptx::load_streaming(from + i * WARP);
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) ptx::copy_async(buffer + i * WARP + lane, from + (STEPS / 4 + i) * WARP);
    input = RecordInput::of(part);
    // A verbatim record is longer than indices, so its bytes can be read as such before its kind is known.
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      words[step] = input.indices(step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    if (input.is_verbatim) ptx::wait_copies();
    return !input.is_verbatim;
  }
  __device__ __forceinline__ bool fit(const InputChunk&, uint32_t) const { return true; }
  __device__ __forceinline__ void make_words_and_plain(const InputChunk& part, const uint4* buffer, const CrcConstants*,
                                                       uint32_t lane, CrcState<8>&) {
    uint4* to = reinterpret_cast<uint4*>(part.sign_mantissa()) + lane;
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) ptx::store_streaming(to + i * WARP, half[i]);
    others = input.patched_steps(STEPS, lane);
    ptx::wait_copies();
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) ptx::store_streaming(to + (STEPS / 4 + i) * WARP, buffer[i * WARP + lane]);
  }
};

}  // namespace unweight::encode
