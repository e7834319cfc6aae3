// Palette records as an input of the encoder (specification, sections 5.3 to 5.5).
//
//   body       | step 0: lane 0: 4 bytes | lane 1: 4 bytes | ... | lane 31 | step 1: ...
//
// A lane's eight indices of a step are one word, one load. An index selects a byte of the palette, which a lane holds
// in four registers. Patches are few: the weights that they change are read again and corrected.
//
// Preconditions: those of the TensorJob that EncodeJob names as its input, whose kind is KIND_PALETTE; the chunk's
// record keeps all rules.
#pragma once
#include "encode/inputs.cuh"
#include "record/record.cuh"

namespace unweight::encode {

using record::Chunk;
using record::FieldRecord;
using record::patch_position;

// The chunk that a chunk is made from.
__device__ __forceinline__ Chunk input_of(const InputChunk& chunk) {
  return record::chunk_of(chunk.job->input, chunk.job->first_chunk + chunk.own);
}

// The record of the only coded field.
__device__ __forceinline__ FieldRecord only_record(const Chunk& chunk) { return record::find_record(chunk, 0); }

// The palette of the only coded field, which is the only palette.
__device__ __forceinline__ const uint8_t* palette_of(const TensorJob* job) { return job->palettes; }

// The exponents of four indices, in bits 0..15.
__device__ __forceinline__ uint32_t exponents_of_four(const uint4& palette, uint32_t indices) {
  const uint32_t low = indices & 0x7777;
  const uint32_t is_upper = __byte_perm(0xff00, 0, indices >> 3 & 0x1111);
  return (__byte_perm(palette.x, palette.y, low) & ~is_upper) | (__byte_perm(palette.z, palette.w, low) & is_upper);
}

__device__ __forceinline__ uint2 exponents_of_indices(const uint4& palette, uint32_t indices) {
  return make_uint2(exponents_of_four(palette, indices), exponents_of_four(palette, indices >> 16));
}

struct RecordInput {
  struct Eight {
    uint2 values, sign_mantissa;
  };
  typedef RecordInput Values;
  static constexpr bool IS_ONLY_FIELD = true;
  static constexpr bool HAS_PLAIN = true;
  const uint8_t* body;
  uint32_t is_verbatim;
  uint32_t patch_count;
  const uint8_t* patches;
  const uint8_t* sign_mantissa;  // 256-byte aligned, readable up to a multiple of 256
  uint32_t first;                // position of the first weight in the record's chunk
  uint4 palette;

  __device__ static __forceinline__ RecordInput of(const InputChunk& chunk) {
    const Chunk from = input_of(chunk);
    const FieldRecord record = only_record(from);
    const uint32_t fields = reinterpret_cast<const uint32_t*>(record.bytes)[1];
    RecordInput input;
    input.body = record.bytes + RECORD_HEADER_BYTES;
    input.is_verbatim = (fields & 0xff) == KIND_VERBATIM;
    input.patch_count = fields >> 16;
    input.patches = input.body + from.steps * STEP_INDEX_BYTES;
    input.first = static_cast<uint32_t>(chunk.first_weight) & ((1u << chunk.job->chunk_size_log2) - 1);
    input.sign_mantissa = from.plain + input.first;
    input.palette = *reinterpret_cast<const uint4*>(palette_of(from.job));
    return input;
  }

  // Indices of a lane and step, without patches.
  __device__ __forceinline__ uint32_t indices(uint32_t position) const {
    return reinterpret_cast<const uint32_t*>(body)[(first + position) / LANE_STEP_WEIGHTS];
  }

  // Exponents of a lane and step, with patches.
  __device__ __forceinline__ uint2 patched_exponents(uint32_t position) const {
    const uint32_t from = first + position;
    if (is_verbatim) return *reinterpret_cast<const uint2*>(body + from);
    uint2 eight = exponents_of_indices(palette, indices(position));
    uint32_t low = 0, high = patch_count;  // the first patch that is not before these weights
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (patch_position(patches + PATCH_BYTES * middle) < from)
        low = middle + 1;
      else
        high = middle;
    }
    for (; low < patch_count; low++) {
      const uint32_t at = patch_position(patches + PATCH_BYTES * low) - from;
      if (at >= LANE_STEP_WEIGHTS) break;
      const uint32_t shift = at % 4 * 8, exponent = patches[PATCH_BYTES * low + 2];
      const auto replaced = [&](uint32_t four) { return (four & ~(0xffu << shift)) | exponent << shift; };
      if (at < 4)
        eight.x = replaced(eight.x);
      else
        eight.y = replaced(eight.y);
    }
    return eight;
  }

  // Calls `visit(position, patch)` for the lane's share of the patches of the first `steps` steps.
  template <class Visit>
  __device__ __forceinline__ void for_patches(uint32_t steps, uint32_t lane, const Visit& visit) const {
#pragma unroll 1
    for (uint32_t i = lane; i < patch_count; i += WARP) {
      const uint8_t* patch = patches + PATCH_BYTES * i;
      const uint32_t position = patch_position(patch) - first;
      if (position < steps * STEP_WEIGHTS) visit(position, patch);
    }
  }

  // A bit for each of the first `steps` steps that has a patch, on all lanes.
  __device__ __forceinline__ uint32_t patched_steps(uint32_t steps, uint32_t lane) const {
    uint32_t bits = 0;
    for_patches(steps, lane, [&](uint32_t position, const uint8_t*) { bits |= 1u << position / STEP_WEIGHTS; });
    return __reduce_or_sync(ALL_LANES, bits);
  }

  __device__ __forceinline__ uint2 rest(uint32_t position) const {
    return ptx::load_streaming(reinterpret_cast<const uint2*>(sign_mantissa + position));
  }
  __device__ __forceinline__ Eight whole(uint32_t position) const {
    return Eight{patched_exponents(position), rest(position)};
  }
  __device__ __forceinline__ Eight part(uint32_t position, uint32_t count) const {
    if (count == 0) return Eight{make_uint2(0, 0), make_uint2(0, 0)};
    const Eight eight = whole(position);
    return Eight{record::first_bytes(eight.values, count), record::first_bytes(eight.sign_mantissa, count)};
  }
  __device__ static __forceinline__ uint32_t value_of(const Eight& eight, uint32_t i) {
    return ValueInput::value_of(eight.values, i);
  }
  __device__ static __forceinline__ uint2 value_bytes(const Eight& eight) { return eight.values; }
  __device__ static __forceinline__ uint2 sign_mantissa_bytes(const Eight& eight) { return eight.sign_mantissa; }
};

}  // namespace unweight::encode
