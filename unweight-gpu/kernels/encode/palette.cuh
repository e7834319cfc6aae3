// The palette of a field, from the counts of its values (specification, section 11.3).
//
// All chunks of a field add to the same totals. There are TOTAL_COPIES copies of them, so that additions wait less for
// each other. The last block of a field to add its counts chooses the palette:
//
//   keys, shared       total << 8 | 255 - value, of values that occur, in any order
//
// A key is chosen if fewer than 16 keys are greater. If fewer than 16 values occur, one thread completes the palette.
//
// Shared memory: 2,112 bytes: 256 keys and 16 words.
// Preconditions: those of EncodeJob's totals, palettes and chunk_count; every chunk has a block of 32 to 256 threads,
// which calls is_last_of_field once.
#pragma once
#include "encode/input_chunk.cuh"
#include "ptx/memory.cuh"

namespace unweight::encode {

struct PaletteShared {
  uint64_t keys[FIELD_VALUES];
  uint32_t chosen[FIELD_VALUES / 32];  // a bit for each value
  uint32_t key_count;
  uint32_t is_last;  // whether this block is the last of its field
  uint32_t unused[6];
};
static_assert(sizeof(PaletteShared) % 16 == 0, "shared memory is divided in units of 16 bytes");

// Returns whether all other blocks of the field have added their counts to the totals. All threads of a block call it
// after the block has added its own.
__device__ inline bool is_last_of_field(const EncodeJob* job, PaletteShared* shared) {
  // This block's additions are visible before it counts as done.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) shared->is_last = atomicAdd(&job->done()->counted, 1u) == job->chunk_count - 1;
  __syncthreads();
  const bool is_last = shared->is_last;
  if (is_last) __threadfence();
  return is_last;
}

__device__ __forceinline__ bool is_chosen(const uint32_t* chosen, uint32_t value) {
  return chosen[value / 32] >> value % 32 & 1;
}

// Completes a palette of `count` entries: downwards from the greatest value that occurs, then upwards.
__device__ inline void complete_palette(uint32_t* chosen, uint32_t count) {
  uint32_t greatest = 0;
  for (uint32_t value = 0; value < FIELD_VALUES; value++)
    if (is_chosen(chosen, value)) greatest = value;
  for (uint32_t tried = 0; count < PALETTE_ENTRIES; tried++) {
    const uint32_t value = tried < greatest ? greatest - 1 - tried : tried;
    if (is_chosen(chosen, value)) continue;
    chosen[value / 32] |= 1u << value % 32;
    count++;
  }
}

// Chooses the palette of a field with these counts, by all threads of a block. `count_of(value)` loads the count of a
// value, `keep(value, count)` takes it, and `place(index, value)` takes a palette entry.
//
// A field of at most 4 bits gets 0 to 15, which section 11.3 asks for as far as the field has these values: those that
// occur are at most 16, and all that are less than 16 complete them.
template <class CountOf, class Keep, class Place>
__device__ inline void choose_palette(PaletteShared* shared, const CountOf& count_of, const Keep& keep,
                                      const Place& place) {
  constexpr uint32_t MOST_OWN = FIELD_VALUES / WARP;
  if (threadIdx.x < FIELD_VALUES / 32) shared->chosen[threadIdx.x] = 0;
  if (threadIdx.x == 0) shared->key_count = 0;
  __syncthreads();
  // All loads are in flight together.
  uint64_t counts[MOST_OWN];
#pragma unroll
  for (uint32_t i = 0; i < MOST_OWN; i++) {
    const uint32_t value = threadIdx.x + i * blockDim.x;
    counts[i] = value < FIELD_VALUES ? count_of(value) : 0;
  }
#pragma unroll
  for (uint32_t i = 0; i < MOST_OWN; i++) {
    const uint32_t value = threadIdx.x + i * blockDim.x;
    if (value >= FIELD_VALUES) continue;
    keep(value, counts[i]);
    // The lower of two values with equal counts has the greater key.
    if (counts[i] != 0) shared->keys[atomicAdd(&shared->key_count, 1u)] = counts[i] << 8 | (FIELD_VALUES - 1 - value);
  }
  __syncthreads();
  const uint32_t key_count = shared->key_count;
  for (uint32_t i = threadIdx.x; i < key_count; i += blockDim.x) {
    const uint64_t own = shared->keys[i];
    uint32_t greater = 0;
#pragma unroll 8
    for (uint32_t other = 0; other < key_count; other++) greater += shared->keys[other] > own;
    const uint32_t value = FIELD_VALUES - 1 - (static_cast<uint32_t>(own) & 0xff);
    if (greater < PALETTE_ENTRIES) atomicOr(&shared->chosen[value / 32], 1u << value % 32);
  }
  __syncthreads();
  if (key_count < PALETTE_ENTRIES) {
    if (threadIdx.x == 0) complete_palette(shared->chosen, key_count);
    __syncthreads();
  }
  for (uint32_t value = threadIdx.x; value < FIELD_VALUES; value += blockDim.x) {
    if (!is_chosen(shared->chosen, value)) continue;
    uint32_t smaller = static_cast<uint32_t>(__popc(shared->chosen[value / 32] & ((1u << value % 32) - 1)));
    for (uint32_t word = 0; word < value / 32; word++) smaller += static_cast<uint32_t>(__popc(shared->chosen[word]));
    place(smaller, static_cast<uint8_t>(value));
  }
}

// Chooses the palette of a job from its totals, by all threads of the last block, and stores it in the payload.
__device__ inline void choose_palette_of(EncodeJob* job, PaletteShared* shared) {
  const auto count_of = [&](uint32_t value) {
    uint64_t total = 0;
#pragma unroll
    for (uint32_t copy = 0; copy < TOTAL_COPIES; copy++)
      total += ptx::load_volatile(&job->totals[copy * FIELD_VALUES + value]);
    return total;
  };
  const auto keep = [&](uint32_t value, uint64_t total) { job->totals[value] = total; };
  const auto place = [&](uint32_t index, uint8_t value) {
    job->palette[index] = value;
    job->stored_palette[index] = index < 1u << job->value_bits ? value : 0;
  };
  choose_palette(shared, count_of, keep, place);
}

}  // namespace unweight::encode
