// The palette of a tensor, from how often each exponent occurs (specification, section 11.2).
//
// All chunks of a tensor add to the same few totals, and would wait for each other: so there are copies of these. The block that is the last of its tensor to
// have done so chooses the palette:
//
//   keys, shared       total << 8 | 255 - exponent, of those that occur; in any order
//
// A key that fewer than 16 are greater than is chosen. Where fewer than 16 exponents occur, one thread then fills up.
//
// Shared memory: 2,112 bytes: 256 keys, 16 words besides.
// Preconditions: what encode_layout.cuh says of EncodeJob's totals, palette and chunk_count; every chunk has a block, of 32 to 256 threads, which asks once.
#pragma once
#include "encode/inputs.cuh"

struct PaletteShared {
  uint64_t keys[EXPONENTS];
  uint32_t chosen[EXPONENTS / 32];  // a bit for each
  uint32_t key_count;
  uint32_t is_last;                 // of its tensor's blocks
  uint32_t unused[6];
};
static_assert(sizeof(PaletteShared) % 16 == 0, "shared memory is given out so");

// By all threads of a block, when it has added its chunk's counts to the totals, if it has any: whether all others of its tensor have.
__device__ inline bool is_last_of_tensor(const EncodeJob* job, PaletteShared* shared) {
  // What this block has added is there before it is counted among those that are done.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) shared->is_last = atomicAdd(&job->done()->counted, 1u) == job->chunk_count - 1;
  __syncthreads();
  const bool is_last = shared->is_last;
  if (is_last) __threadfence();
  return is_last;
}

__device__ __forceinline__ bool is_chosen(const uint32_t* chosen, uint32_t exponent) { return chosen[exponent / 32] >> exponent % 32 & 1; }

// Completes a palette of `count`: downwards from the greatest that occurs, then upwards.
__device__ inline void fill_up(uint32_t* chosen, uint32_t count) {
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

// By all threads of the last block.
__device__ inline void choose_palette(EncodeJob* job, PaletteShared* shared) {
  constexpr uint32_t MOST_OWN = EXPONENTS / WARP;
  if (threadIdx.x < EXPONENTS / 32) shared->chosen[threadIdx.x] = 0;
  if (threadIdx.x == 0) shared->key_count = 0;
  __syncthreads();
  // All of them on their way at once.
  uint64_t totals[MOST_OWN];
#pragma unroll
  for (uint32_t i = 0; i < MOST_OWN; i++) {
    const uint32_t exponent = threadIdx.x + i * blockDim.x;
    totals[i] = 0;
    if (exponent >= EXPONENTS) continue;
#pragma unroll
    for (uint32_t copy = 0; copy < TOTAL_COPIES; copy++) totals[i] += observed(&job->totals[copy * EXPONENTS + exponent]);
  }
#pragma unroll
  for (uint32_t i = 0; i < MOST_OWN; i++) {
    const uint32_t exponent = threadIdx.x + i * blockDim.x;
    if (exponent >= EXPONENTS) continue;
    job->totals[exponent] = totals[i];
    // Of equal totals the lower exponent comes first.
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
    if (threadIdx.x == 0) fill_up(shared->chosen, key_count);
    __syncthreads();
  }
  for (uint32_t exponent = threadIdx.x; exponent < EXPONENTS; exponent += blockDim.x) {
    if (!is_chosen(shared->chosen, exponent)) continue;
    uint32_t smaller = static_cast<uint32_t>(__popc(shared->chosen[exponent / 32] & ((1u << exponent % 32) - 1)));
    for (uint32_t word = 0; word < exponent / 32; word++) smaller += static_cast<uint32_t>(__popc(shared->chosen[word]));
    job->palette[smaller] = static_cast<uint8_t>(exponent);
  }
}
