// The wrappers of kernels/ptx that the emulated kernels call, on fibers of the CPU.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

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
inline uint2 load_l2(const uint2* from) { return *from; }
inline uint4 load_l2(const uint4* from) { return *from; }
inline void reduce_add(unsigned long long* to, unsigned long long value) { *to += value; }

// memory.cuh. A copy is complete at once; kernels wait before they read.
inline void copy_async(uint4* to_shared, const uint4* from) { *to_shared = *from; }
inline void copy_async(uint32_t to_shared, const uint4* from) {
  reinterpret_cast<uint4*>(fibers::shared_memory())[to_shared / 16] = *from;
}
inline void wait_copies() {}
inline void commit_copy_group() {}
template <uint32_t PENDING>
inline void wait_copy_groups() {}

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
inline uint4 load_shared_quad(uint32_t from) {
  return reinterpret_cast<const uint4*>(fibers::shared_memory())[from / 16];
}
inline void store_shared_word(uint32_t to, uint32_t word) {
  reinterpret_cast<uint32_t*>(fibers::shared_memory())[to / 4] = word;
}

// mma.cuh
inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
inline uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline std::array<uint64_t, 32> values_of_lanes(uint64_t value) {
  const uint64_t* all = fibers::exchange(~0u, value);
  std::array<uint64_t, 32> copy;
  std::copy(all, all + 32, copy.begin());
  return copy;
}
// Lane 4g + t holds, of four columns 2t, 2t + 1, 2t + 8, 2t + 9, those of row g in 64 bits.
inline void mma_bf16(float (&sums)[4], const uint32_t* w, uint32_t x_low, uint32_t x_high) {
  const auto pair = [](uint32_t low, uint32_t high) { return static_cast<uint64_t>(high) << 32 | low; };
  const std::array<uint64_t, 32> w_rows[2] = {values_of_lanes(pair(w[0], w[2])), values_of_lanes(pair(w[1], w[3]))};
  const std::array<uint64_t, 32> x_rows = values_of_lanes(pair(x_low, x_high));
  const unsigned lane = fibers::lane();
  for (unsigned i = 0; i < 4; i++)
    for (unsigned t = 0; t < 4; t++)
      for (unsigned column = 0; column < 4; column++) {
        const uint64_t of_w = w_rows[i / 2][lane / 4 * 4 + t], of_x = x_rows[(lane % 4 * 2 + i % 2) * 4 + t];
        sums[i] += from_bf16(static_cast<uint16_t>(of_w >> 16 * column)) *
                   from_bf16(static_cast<uint16_t>(of_x >> 16 * column));
      }
}
inline uint4 load_matrices(uint32_t row) {
  const std::array<uint64_t, 32> rows = values_of_lanes(row);
  const unsigned lane = fibers::lane();
  const auto word = [&](unsigned matrix) {
    return load_shared_word(static_cast<uint32_t>(rows[matrix * 8 + lane / 4]) + lane % 4 * 4);
  };
  return {word(0), word(1), word(2), word(3)};
}
template <uint32_t THREADS>
inline void sync_named_barrier(uint32_t number) {
  fibers::named_barrier(number, THREADS);
}
inline void launch_dependents() {}
inline void wait_for_previous_launch() {}

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
