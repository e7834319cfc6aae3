// What differs between a GPU and the CPU on which tests run the same kernels (host_kernels/, UNWEIGHT_HOST).
#pragma once

#ifdef UNWEIGHT_HOST
#include "emulator/fibers.hpp"
#define __grid_constant__
#else
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
// A block's dynamic shared memory.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(256) uint4 name[]

// Written once and not read again by the kernel: it need not stay in the caches.
__device__ __forceinline__ void store_streaming(uint4* at, uint4 value) { __stcs(at, value); }
__device__ __forceinline__ void store_streaming(uint2* at, uint2 value) { __stcs(at, value); }
// Copies 16 bytes to shared memory on the way past the registers; `copies_done` waits for all of this thread's.
__device__ __forceinline__ void copy_async(uint4* to_shared, const uint4* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to_shared))), "l"(from) : "memory");
}
__device__ __forceinline__ void copies_done() { asm volatile("cp.async.wait_all;" ::: "memory"); }
// A word that blocks give one another within a launch.
__device__ __forceinline__ void publish(unsigned long long* at, unsigned long long value) { *static_cast<volatile unsigned long long*>(at) = value; }
__device__ __forceinline__ unsigned long long observed(const unsigned long long* at) { return *static_cast<const volatile unsigned long long*>(at); }
__device__ __forceinline__ uint4 observed(const uint4* at) { return __ldcg(at); }
// In device memory, and nobody waits for it.
__device__ __forceinline__ void add_to_global(unsigned long long* at, unsigned long long value) {
  asm volatile("red.global.add.u64 [%0], %1;" ::"l"(__cvta_generic_to_global(at)), "l"(value) : "memory");
}
// Bytes of shared memory by its own addresses.
__device__ __forceinline__ uint32_t place_in_shared(const void* at) { return static_cast<uint32_t>(__cvta_generic_to_shared(at)); }
__device__ __forceinline__ uint32_t load_shared_byte(uint32_t address) {
  uint32_t byte;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(byte) : "r"(address) : "memory");
  return byte;
}
__device__ __forceinline__ uint32_t load_shared_word(uint32_t address) {
  uint32_t word;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address) : "memory");
  return word;
}
__device__ __forceinline__ void store_shared_word(uint32_t address, uint32_t word) { asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(word) : "memory"); }
// Four bytes of eight, by the lowest four of eight selectors of 4 bits each. From 8 on a selector gives zeros, if no byte has its highest bit.
__device__ __forceinline__ uint32_t select_bytes(uint32_t low, uint32_t high, uint32_t selectors) {
  uint32_t chosen;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(chosen) : "r"(low), "r"(high), "r"(selectors));
  return chosen;
}
__device__ __forceinline__ uint32_t lowest_bits(uint32_t word, uint32_t count) {
  uint32_t lowest;
  asm("szext.clamp.u32 %0, %1, %2;" : "=r"(lowest) : "r"(word), "r"(count));
  return lowest;
}
// The bits of `a` where the mask has ones, of `b` elsewhere: one instruction, where the compiler makes two of a constant mask.
__device__ __forceinline__ uint32_t select_bits(uint32_t mask, uint32_t a, uint32_t b) {
  uint32_t selected;
  asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(selected) : "r"(mask), "r"(a), "r"(b));
  return selected;
}
// A product of bits by tensor cores: counts[i] becomes how many bits a row and a column have in common. 16 rows and 8 columns have 256 bits each. Lane 4g + t has
// of rows g and g + 8 words t (in rows[0], rows[1]) and 4 + t (in rows[2], rows[3]), of column g words t and 4 + t; and gets the counts of row g with columns 2t
// and 2t + 1, then those of row g + 8.
__device__ __forceinline__ void count_common_bits(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  const uint32_t none = 0;
  asm volatile("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
               : "=r"(counts[0]), "=r"(counts[1]), "=r"(counts[2]), "=r"(counts[3])
               : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(columns.x), "r"(columns.y), "r"(none));
}
// The same, added to the counts.
__device__ __forceinline__ void add_common_bits(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  asm volatile("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+r"(counts[0]), "+r"(counts[1]), "+r"(counts[2]), "+r"(counts[3])
               : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(columns.x), "r"(columns.y));
}
// What nobody writes while the kernel runs.
__device__ __forceinline__ uint2 load_read_only(const uint2* at) { return __ldg(at); }
__device__ __forceinline__ uint4 load_read_only(const uint4* at) { return __ldg(at); }
// Read once, and the first to leave the caches. That is as good for what is copied; where weights are made or read, the above took 3 % less on an H200.
__device__ __forceinline__ uint2 load_streaming(const uint2* at) { return __ldcs(at); }
__device__ __forceinline__ uint4 load_streaming(const uint4* at) { return __ldcs(at); }
#endif

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL_LANES = 0xffffffffu;
