// Inputs of the encoder: weights, or two planes. record_input.cuh has the third, palette records.
//
// An input has
//   Eight                              what it loads for a lane's eight weights of a step
//   whole(position)                    loads them; `position` is that of the first one in the chunk
//   part(position, count)              loads the first `count` of them, and zeros
//   exponent_of(eight, i)              exponent of one weight
//   exponent_bytes(eight)              exponents of all
//   sign_mantissa_bytes(eight)         sign-mantissa bytes of all
//   from(position)                     an input that begins there; inputs of exponents only
//   Exponents                          an input of the exponents only
#pragma once
#include "encode/input_chunk.cuh"
#include "ptx/memory.cuh"
#include "record/weights.cuh"

namespace unweight::encode {

using record::EightWeights;
using record::lane_step_count;

struct WeightInput {
  typedef EightWeights Eight;
  typedef WeightInput Exponents;
  const uint16_t* weights;  // 16-byte aligned

  __device__ static __forceinline__ WeightInput of(const InputChunk& chunk) {
    return WeightInput{chunk.job->weights + chunk.first_weight};
  }
  __device__ __forceinline__ WeightInput from(uint32_t position) const { return WeightInput{weights + position}; }
  __device__ __forceinline__ Eight whole(uint32_t position) const {
    const uint4 words = ptx::load_read_only(reinterpret_cast<const uint4*>(weights + position));
    return Eight{{words.x, words.y, words.z, words.w}};
  }
  // Reads nothing after them.
  __device__ __forceinline__ Eight part(uint32_t position, uint32_t count) const {
    if (count >= LANE_STEP_WEIGHTS) return whole(position);
    Eight eight = {{0, 0, 0, 0}};
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count) eight.pairs[i / 2] |= static_cast<uint32_t>(weights[position + i]) << 16 * (i % 2);
    return eight;
  }
  __device__ static __forceinline__ uint32_t exponent_of(const Eight& eight, uint32_t i) {
    return record::exponent_of_weight(eight, i);
  }
  __device__ static __forceinline__ uint2 exponent_bytes(const Eight& eight) { return record::exponents_of(eight); }
  __device__ static __forceinline__ uint2 sign_mantissa_bytes(const Eight& eight) {
    return record::sign_mantissa_of(eight);
  }
};

// The first `count` of the eight bytes of a plane at `bytes`, and zeros. Bytes after them are not read: they may never
// have been written.
__device__ __forceinline__ uint2 first_plane_bytes(const uint8_t* bytes, uint32_t count) {
  if (count >= LANE_STEP_WEIGHTS) return ptx::load_read_only(reinterpret_cast<const uint2*>(bytes));
  uint2 eight = make_uint2(0, 0);
#pragma unroll 1
  for (uint32_t i = count; i-- > 0;) {
    // Moves all bytes up by one; the last byte comes first.
    eight.y = eight.y << 8 | eight.x >> 24;
    eight.x = eight.x << 8 | bytes[i];
  }
  return eight;
}

// Exponent plane, for kernels that do not read the sign-mantissa plane.
struct ExponentInput {
  typedef uint2 Eight;
  const uint8_t* exponents;  // 256-byte aligned, readable up to a multiple of 256

  __device__ static __forceinline__ ExponentInput of(const InputChunk& chunk) {
    return ExponentInput{chunk.job->exponents + chunk.first_weight};
  }
  __device__ __forceinline__ ExponentInput from(uint32_t position) const { return ExponentInput{exponents + position}; }
  __device__ __forceinline__ Eight whole(uint32_t position) const {
    return ptx::load_read_only(reinterpret_cast<const uint2*>(exponents + position));
  }
  __device__ __forceinline__ Eight part(uint32_t position, uint32_t count) const {
    return first_plane_bytes(exponents + position, count);
  }
  __device__ static __forceinline__ uint32_t exponent_of(Eight eight, uint32_t i) {
    return (i < 4 ? eight.x : eight.y) >> 8 * (i % 4) & 0xff;
  }
  __device__ static __forceinline__ uint2 exponent_bytes(Eight eight) { return eight; }
};

// Exponent plane and sign-mantissa plane.
struct PlaneInput {
  struct Eight {
    uint2 exponents, sign_mantissa;
  };
  typedef ExponentInput Exponents;
  ExponentInput exponents;
  const uint8_t* sign_mantissa;  // 256-byte aligned, readable up to a multiple of 256

  __device__ static __forceinline__ PlaneInput of(const InputChunk& chunk) {
    return PlaneInput{ExponentInput::of(chunk), chunk.job->input_sign_mantissa + chunk.first_weight};
  }
  __device__ __forceinline__ Eight whole(uint32_t position) const {
    return Eight{exponents.whole(position),
                 ptx::load_read_only(reinterpret_cast<const uint2*>(sign_mantissa + position))};
  }
  __device__ __forceinline__ Eight part(uint32_t position, uint32_t count) const {
    return Eight{exponents.part(position, count), first_plane_bytes(sign_mantissa + position, count)};
  }
  __device__ static __forceinline__ uint32_t exponent_of(const Eight& eight, uint32_t i) {
    return ExponentInput::exponent_of(eight.exponents, i);
  }
  __device__ static __forceinline__ uint2 exponent_bytes(const Eight& eight) { return eight.exponents; }
  __device__ static __forceinline__ uint2 sign_mantissa_bytes(const Eight& eight) { return eight.sign_mantissa; }
};

// Calls `visit(position, eight)` for every whole step of `weight_count` weights, with loads AHEAD steps ahead;
// `position` is that of the lane's first weight. Returns the lane's position in the short last step, which is left to
// the caller.
template <uint32_t AHEAD, class Input, class Visit>
__device__ __forceinline__ uint32_t for_whole_steps(const Input& input, uint32_t weight_count, uint32_t lane,
                                                    const Visit& visit) {
  const uint32_t whole_steps = weight_count / STEP_WEIGHTS;
  const uint32_t own = lane * LANE_STEP_WEIGHTS;
  if (whole_steps == 0) return own;
  const auto load = [&](uint32_t step) { return input.whole(min(step, whole_steps - 1) * STEP_WEIGHTS + own); };
  typename Input::Eight ahead[AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load(d);
  uint32_t step = 0;
  for (; step + AHEAD <= whole_steps; step += AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      visit((step + d) * STEP_WEIGHTS + own, ahead[d]);
      // After the visit. Before it, the load would need registers of its own, and a wait to move them.
      ahead[d] = load(step + d + AHEAD);
    }
  }
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++)
    if (step + d < whole_steps) visit((step + d) * STEP_WEIGHTS + own, ahead[d]);
  return whole_steps * STEP_WEIGHTS + own;
}

}  // namespace unweight::encode
