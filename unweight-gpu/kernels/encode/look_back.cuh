// Where a record begins in its plane, which follows from the lengths of those before it. Their blocks publish these as soon as they know them, and blocks begin in
// the order of their numbers: so what one waits for has begun.
#pragma once
#include "encode/inputs.cuh"

// What a chunk's place holds: first its record's length, then its record's end, in units of 16 bytes, in bits 0..31.
constexpr unsigned long long HAS_LENGTH = 1ull << 32;
constexpr unsigned long long HAS_END = 1ull << 33;

// Where a record begins, for which its block waits for those before it, which began earlier: looked back at 128 at a time, up to one whose end is known.
// Publishes its own end, and writes it.
__device__ inline void find_place(const SourceChunk& chunk, uint32_t length, uint32_t lane, uint32_t* start_of_record) {
  constexpr uint32_t AT_ONCE = 4;
  const EncodeJob* job = chunk.job;
  uint32_t start = 0;
  bool found = false;
  for (uint32_t behind = chunk.own; !found; behind -= AT_ONCE * WARP) {
    unsigned long long places[AT_ONCE];
    bool missing;
    do {
      missing = false;
#pragma unroll
      for (uint32_t i = 0; i < AT_ONCE; i++) {
        const uint32_t before = i * WARP + lane;
        places[i] = before < behind ? observed(&job->places[behind - 1 - before]) : HAS_END;
        missing |= places[i] == 0;
      }
    } while (__any_sync(ALL_LANES, missing));
#pragma unroll
    for (uint32_t i = 0; i < AT_ONCE; i++) {
      if (found) break;
      const uint32_t ends = __ballot_sync(ALL_LANES, (places[i] & HAS_END) != 0);
      const uint32_t nearest = ends == 0 ? WARP : static_cast<uint32_t>(__ffs(static_cast<int>(ends))) - 1;
      if (lane <= nearest) start += static_cast<uint32_t>(places[i]);
      found = ends != 0;
    }
  }
  start = __reduce_add_sync(ALL_LANES, start);
  write_of_chunk(job->record_ends, chunk, lane, start + length);
  if (lane != 0) return;
  publish(&job->places[chunk.own], HAS_END | (start + length));
  *start_of_record = start;
}
