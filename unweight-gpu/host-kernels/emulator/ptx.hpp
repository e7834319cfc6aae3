// The wrappers of kernels/ptx that the emulated kernels call, on fibers of the CPU.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "emulator/cuda.hpp"

namespace unweight::ptx {

// memory.cuh. Cache policies have no meaning here.
inline void store_streaming(uint4* to, uint4 value) { *to = value; }
inline void store_streaming(uint2* to, uint2 value) { *to = value; }
inline uint32_t load_read_only(const uint32_t* from) { return *from; }
inline uint2 load_read_only(const uint2* from) { return *from; }
inline uint4 load_read_only(const uint4* from) { return *from; }
inline uint2 load_streaming(const uint2* from) { return *from; }
inline uint4 load_streaming(const uint4* from) { return *from; }

// memory.cuh. Blocks run one after the other, so no order of memory is needed.
inline void store_volatile(unsigned long long* to, unsigned long long value) { *to = value; }
inline unsigned long long load_volatile(const unsigned long long* from) { return *from; }
inline uint4 load_l2(const uint4* from) { return *from; }
inline void reduce_add(unsigned long long* to, unsigned long long value) { *to += value; }

// memory.cuh. A copy is complete at once; kernels wait before they read.
inline void copy_async(uint4* to_shared, const uint4* from) { *to_shared = *from; }
inline void wait_copies() {}

// memory.cuh. An address of shared memory is an offset in it.
inline uint32_t shared_address(const void* at) {
  const auto* start = reinterpret_cast<const uint8_t*>(fibers::shared_memory());
  return static_cast<uint32_t>(static_cast<const uint8_t*>(at) - start);
}
inline uint32_t load_shared_byte(uint32_t from) {
  return reinterpret_cast<const uint8_t*>(fibers::shared_memory())[from];
}
inline uint32_t load_shared_word(uint32_t from) {
  return reinterpret_cast<const uint32_t*>(fibers::shared_memory())[from / 4];
}
inline void store_shared_word(uint32_t to, uint32_t word) {
  reinterpret_cast<uint32_t*>(fibers::shared_memory())[to / 4] = word;
}

// bits.cuh
inline uint32_t select_bytes(uint32_t low, uint32_t high, uint32_t selectors) {
  return __byte_perm(low, high, selectors) & ~__byte_perm(0xff00, 0, selectors >> 3 & 0x1111);
}
inline uint32_t lowest_bits(uint32_t word, uint32_t count) { return count >= 32 ? word : word & ((1u << count) - 1); }
inline uint32_t select_bits(uint32_t mask, uint32_t a, uint32_t b) { return (a & mask) | (b & ~mask); }
inline uint32_t opaque(uint32_t value) { return value; }

// binary_mma.cuh
inline void binary_mma_accumulate(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  // Both words of each lane.
  const auto pairs_of = [](uint32_t first, uint32_t second) {
    const uint64_t* all = fibers::exchange(~0u, static_cast<uint64_t>(second) << 32 | first);
    std::array<uint64_t, 32> copy;
    std::copy(all, all + 32, copy.begin());
    return copy;
  };
  const std::array<uint64_t, 32> row_pairs[2] = {pairs_of(rows[0], rows[2]), pairs_of(rows[1], rows[3])};
  const std::array<uint64_t, 32> column_pairs = pairs_of(columns.x, columns.y);
  const unsigned lane = fibers::lane();
  for (unsigned i = 0; i < 4; i++) {
    const unsigned row = lane / 4, column = lane % 4 * 2 + i % 2;
    for (unsigned t = 0; t < 4; t++) {
      const uint64_t common = row_pairs[i / 2][4 * row + t] & column_pairs[4 * column + t];
      counts[i] += static_cast<uint32_t>(__builtin_popcountll(common));
    }
  }
}
inline void binary_mma(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  std::fill(counts, counts + 4, 0);
  binary_mma_accumulate(counts, rows, columns);
}

}  // namespace unweight::ptx
