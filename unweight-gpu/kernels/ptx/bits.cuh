// Bit instructions of one word.
#pragma once
#include "ptx/platform.cuh"

#ifndef UNWEIGHT_HOST
namespace unweight::ptx {

// Four bytes of eight, by the lowest four of eight selectors of 4 bits each. A selector of 8 and above gives zeros if
// no byte has its highest bit set.
__device__ __forceinline__ uint32_t select_bytes(uint32_t low, uint32_t high, uint32_t selectors) {
  uint32_t chosen;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(chosen) : "r"(low), "r"(high), "r"(selectors));
  return chosen;
}

// The lowest `count` bits of `word`, and zeros; all of it from 32 on.
__device__ __forceinline__ uint32_t lowest_bits(uint32_t word, uint32_t count) {
  uint32_t lowest;
  asm("szext.clamp.u32 %0, %1, %2;" : "=r"(lowest) : "r"(word), "r"(count));
  return lowest;
}

// Bits of `a` where the mask has ones, bits of `b` elsewhere. One instruction; for a constant mask the compiler makes
// two.
__device__ __forceinline__ uint32_t select_bits(uint32_t mask, uint32_t a, uint32_t b) {
  uint32_t selected;
  asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(selected) : "r"(mask), "r"(a), "r"(b));
  return selected;
}

// Optimization barrier: the compiler keeps the result in a register, because it cannot recompute it.
__device__ __forceinline__ uint32_t opaque(uint32_t value) {
  asm("mov.b32 %0, %0;" : "+r"(value));
  return value;
}

}  // namespace unweight::ptx
#endif
