// The palette of a tensor, from the counts of its exponents (specification, section 11.2).
//
// All chunks of a tensor add to the same totals. There are TOTAL_COPIES copies of them, so that additions wait less for
// each other. The last block of a tensor to add its counts chooses the palette:
//
//   keys, shared       total << 8 | 255 - exponent, of exponents that occur, in any order
//
// A key is chosen if fewer than 16 keys are greater. If fewer than 16 exponents occur, one thread completes the
// palette.
//
// Shared memory: 2,112 bytes: 256 keys and 16 words.
// Preconditions: those of EncodeJob's totals, palette and chunk_count; every chunk has a block of 32 to 256 threads,
// which calls is_last_of_tensor once.
#pragma once
#include "encode/input_chunk.cuh"
#include "ptx/memory.cuh"

namespace unweight::encode {

struct PaletteShared {
  uint64_t keys[EXPONENTS];
  uint32_t chosen[EXPONENTS / 32];  // a bit for each exponent
  uint32_t key_count;
  uint32_t is_last;  // whether this block is the last of its tensor
  uint32_t unused[6];
};
static_assert(sizeof(PaletteShared) % 16 == 0, "shared memory is divided in units of 16 bytes");

// Returns whether all other blocks of the tensor have added their counts to the totals. All threads of a block call it
// after the block has added its own.
__device__ inline bool is_last_of_tensor(const EncodeJob* job, PaletteShared* shared) {
  // This block's additions are visible before it counts as done.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) shared->is_last = atomicAdd(&job->done()->counted, 1u) == job->chunk_count - 1;
  __syncthreads();
  const bool is_last = shared->is_last;
  if (is_last) __threadfence();
  return is_last;
}

__device__ __forceinline__ bool is_chosen(const uint32_t* chosen, uint32_t exponent) {
  return chosen[exponent / 32] >> exponent % 32 & 1;
}

// Completes a palette of `count` entries: downwards from the greatest exponent that occurs, then upwards.
__device__ inline void complete_palette(uint32_t* chosen, uint32_t count) {
  uint32_t greatest = 0;
  for (uint32_t e = 0; e < EXPONENTS; e++)
    if (is_chosen(chosen, e)) greatest = e;
  for (uint32_t tried = 0; count < PALETTE_ENTRIES; tried++) {
    const uint32_t e = tried < greatest ? greatest - 1 - tried : tried;
    if (is_chosen(chosen, e)) continue;
    chosen[e / 32] |= 1u << e % 32;
    count++;
  }
}

// Chooses the palette, by all threads of the last block.
__device__ inline void choose_palette(EncodeJob* job, PaletteShared* shared) {
  constexpr uint32_t MOST_OWN = EXPONENTS / WARP;
  if (threadIdx.x < EXPONENTS / 32) shared->chosen[threadIdx.x] = 0;
  if (threadIdx.x == 0) shared->key_count = 0;
  __syncthreads();
  // All loads are in flight together.
  uint64_t totals[MOST_OWN];
#pragma unroll
  for (uint32_t i = 0; i < MOST_OWN; i++) {
    const uint32_t exponent = threadIdx.x + i * blockDim.x;
    totals[i] = 0;
    if (exponent >= EXPONENTS) continue;
#pragma unroll
    for (uint32_t copy = 0; copy < TOTAL_COPIES; copy++)
      totals[i] += ptx::load_volatile(&job->totals[copy * EXPONENTS + exponent]);
  }
#pragma unroll
  for (uint32_t i = 0; i < MOST_OWN; i++) {
    const uint32_t exponent = threadIdx.x + i * blockDim.x;
    if (exponent >= EXPONENTS) continue;
    job->totals[exponent] = totals[i];
    // The lower of two exponents with equal totals has the greater key.
    if (totals[i] != 0) shared->keys[atomicAdd(&shared->key_count, 1u)] = totals[i] << 8 | (EXPONENTS - 1 - exponent);
  }
  __syncthreads();
  const uint32_t key_count = shared->key_count;
  for (uint32_t i = threadIdx.x; i < key_count; i += blockDim.x) {
    const uint64_t own = shared->keys[i];
    uint32_t greater = 0;
#pragma unroll 8
    for (uint32_t other = 0; other < key_count; other++) greater += shared->keys[other] > own;
    const uint32_t exponent = EXPONENTS - 1 - (static_cast<uint32_t>(own) & 0xff);
    if (greater < PALETTE_ENTRIES) atomicOr(&shared->chosen[exponent / 32], 1u << exponent % 32);
  }
  __syncthreads();
  if (key_count < PALETTE_ENTRIES) {
    if (threadIdx.x == 0) complete_palette(shared->chosen, key_count);
    __syncthreads();
  }
  for (uint32_t exponent = threadIdx.x; exponent < EXPONENTS; exponent += blockDim.x) {
    if (!is_chosen(shared->chosen, exponent)) continue;
    uint32_t smaller = static_cast<uint32_t>(__popc(shared->chosen[exponent / 32] & ((1u << exponent % 32) - 1)));
    for (uint32_t word = 0; word < exponent / 32; word++)
      smaller += static_cast<uint32_t>(__popc(shared->chosen[word]));
    job->palette[smaller] = static_cast<uint8_t>(exponent);
  }
}

}  // namespace unweight::encode
