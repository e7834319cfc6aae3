// Inputs of the encoder: BF16 weights whose exponent alone is coded, or values of a field. record_input.cuh has the
// third, palette records of such weights.
//
// An input has
//   IS_ONLY_FIELD                      whether its tensors have one coded field, and 8 plain bits a weight
//   HAS_PLAIN                          whether the plain plane is made from it, and not before (encode/split.cu)
//   Eight                              what it loads for a lane's eight weights of a step
//   whole(position)                    loads them; `position` is that of the first one in the chunk
//   part(position, count)              loads the first `count` of them, and zeros
//   value_of(eight, i)                 the value of one weight
//   value_bytes(eight)                 the values of all
//   sign_mantissa_bytes(eight)         the plain bits of all, if it has them
//   from(position)                     an input that begins there; not for records
//   Values                             an input of the values only
#pragma once
#include "encode/input_chunk.cuh"
#include "ptx/memory.cuh"
#include "record/weights.cuh"

namespace unweight::encode {

using record::EightWeights;
using record::lane_step_count;

struct WeightInput {
  typedef EightWeights Eight;
  typedef WeightInput Values;
  static constexpr bool IS_ONLY_FIELD = true;
  static constexpr bool HAS_PLAIN = true;
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
  __device__ static __forceinline__ uint32_t value_of(const Eight& eight, uint32_t i) {
    return record::exponent_of_weight(eight, i);
  }
  __device__ static __forceinline__ uint2 value_bytes(const Eight& eight) { return record::exponents_of(eight); }
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

// Value plane.
struct ValueInput {
  typedef uint2 Eight;
  typedef ValueInput Values;
  static constexpr bool IS_ONLY_FIELD = false;
  static constexpr bool HAS_PLAIN = false;
  const uint8_t* values;  // 256-byte aligned, readable up to a multiple of 256

  __device__ static __forceinline__ ValueInput of(const InputChunk& chunk) {
    return ValueInput{chunk.job->values + chunk.first_weight};
  }
  __device__ __forceinline__ ValueInput from(uint32_t position) const { return ValueInput{values + position}; }
  __device__ __forceinline__ Eight whole(uint32_t position) const {
    return ptx::load_read_only(reinterpret_cast<const uint2*>(values + position));
  }
  __device__ __forceinline__ Eight part(uint32_t position, uint32_t count) const {
    return first_plane_bytes(values + position, count);
  }
  __device__ static __forceinline__ uint32_t value_of(Eight eight, uint32_t i) {
    return (i < 4 ? eight.x : eight.y) >> 8 * (i % 4) & 0xff;
  }
  __device__ static __forceinline__ uint2 value_bytes(Eight eight) { return eight; }
  __device__ static __forceinline__ uint2 sign_mantissa_bytes(Eight) { return make_uint2(0, 0); }
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
