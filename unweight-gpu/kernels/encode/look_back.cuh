// Start of a record among those of its tensor by decoupled look-back over the lengths of the records before it.
//
// A block publishes its record's length as soon as it knows it. Blocks begin in the order of their numbers, so a block
// waits only for blocks that have begun. (Decoupled look-back: Merrill and Garland, "Single-pass Parallel Prefix Scan
// with Decoupled Look-back", 2016.)
#pragma once
#include "encode/input_chunk.cuh"
#include "ptx/memory.cuh"

namespace unweight::encode {

// State of a record's look-back word. Bits 0..31 are first the record's length, then its end, in units of 16 bytes.
constexpr unsigned long long HAS_LENGTH = 1ull << 32;
constexpr unsigned long long HAS_END = 1ull << 33;

// Publishes the length of the chunk's record, by one thread.
__device__ __forceinline__ void publish_length(const InputChunk& chunk, uint32_t length) {
  ptx::store_volatile(&chunk.job->look_back[chunk.record], HAS_LENGTH | length);
}

// Finds the start of the chunk's record, by one warp: adds up the lengths before it, 128 at a time, back to a record
// whose end is known. Publishes and writes the record's own end.
__device__ inline void look_back(const InputChunk& chunk, uint32_t length, uint32_t lane, uint32_t* start_of_record) {
  constexpr uint32_t AT_ONCE = 4;
  const EncodeJob* job = chunk.job;
  uint32_t start = 0;
  bool found = false;
  for (uint32_t behind = chunk.record; !found; behind -= AT_ONCE * WARP) {
    unsigned long long words[AT_ONCE];
    bool missing;
    do {
      missing = false;
#pragma unroll
      for (uint32_t i = 0; i < AT_ONCE; i++) {
        const uint32_t before = i * WARP + lane;
        words[i] = before < behind ? ptx::load_volatile(&job->look_back[behind - 1 - before]) : HAS_END;
        missing |= words[i] == 0;
      }
    } while (__any_sync(ALL_LANES, missing));
#pragma unroll
    for (uint32_t i = 0; i < AT_ONCE; i++) {
      if (found) break;
      const uint32_t ends = __ballot_sync(ALL_LANES, (words[i] & HAS_END) != 0);
      const uint32_t nearest = ends == 0 ? WARP : static_cast<uint32_t>(__ffs(static_cast<int>(ends))) - 1;
      if (lane <= nearest) start += static_cast<uint32_t>(words[i]);
      found = ends != 0;
    }
  }
  start = __reduce_add_sync(ALL_LANES, start);
  write_record_word(job->record_ends, chunk, lane, start + length);
  if (lane != 0) return;
  ptx::store_volatile(&job->look_back[chunk.record], HAS_END | (start + length));
  *start_of_record = start;
}

}  // namespace unweight::encode
