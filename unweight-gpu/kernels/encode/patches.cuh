// The patches of a chunk that is encoded (specification, section 5.5).
//
// A weight whose value has no code takes a patch, and is packed as the placeholder. Patches are listed in shared
// memory as they are found. Each finds its index in the record by counting those before it.
#pragma once
#include "encode/inputs.cuh"
#include "encode/tables.cuh"

namespace unweight::encode {

__device__ __forceinline__ void list_patch(EncodeTables& tables, uint32_t position, uint32_t value) {
  const uint32_t number = atomicAdd(&tables.listed, 1);
  if (number < LISTED_PATCHES) tables.patches[number] = position | value << 16;
}

__device__ __forceinline__ void write_patch(uint8_t* patch, uint32_t position, uint32_t value) {
  patch[0] = static_cast<uint8_t>(position);
  patch[1] = static_cast<uint8_t>(position >> 8);
  patch[2] = static_cast<uint8_t>(value);
}

// Writes the `count` listed patches in order of position, by all threads of the block. No two have the same position.
__device__ inline void write_listed_patches(const EncodeTables& tables, uint32_t count, uint8_t* patches) {
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
    const uint32_t patch = tables.patches[i], position = patch & 0xffff;
    uint32_t before = 0;
    for (uint32_t other = 0; other < count; other++) before += (tables.patches[other] & 0xffff) < position;
    write_patch(patches + PATCH_BYTES * before, position, patch >> 16);
  }
}

// Finds and writes the patches of a warp's steps, but none from `end` on: a record whose palette is not the tensor's,
// and which is not kept, may have more patches than were counted.
template <class Input>
__device__ inline void write_found_patches(const InputChunk& chunk, const Input& input, uint32_t lane,
                                           const uint8_t* entries, uint32_t first_step, uint32_t steps,
                                           uint8_t* patches, const uint8_t* end) {
  uint32_t written = 0;
#pragma unroll 1
  for (uint32_t step = first_step; step < first_step + steps; step++) {
    const uint32_t position = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    const uint32_t count = lane_step_count(chunk.weight_count, position);
    const typename Input::Eight eight = input.part(position, count);
    uint32_t own = 0;  // a bit for each weight that takes a patch
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count && entries[Input::value_of(eight, i)] >= TAKES_PATCH) own |= 1u << i;
    const uint32_t own_count = static_cast<uint32_t>(__popc(own));
    const uint32_t up_to = inclusive_sum(own_count, lane);
    uint8_t* patch = patches + PATCH_BYTES * (written + up_to - own_count);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      if (!(own >> i & 1) || patch >= end) continue;
      write_patch(patch, position + i, Input::value_of(eight, i));
      patch += PATCH_BYTES;
    }
    written += __shfl_sync(ALL_LANES, up_to, WARP - 1);
  }
}

}  // namespace unweight::encode
