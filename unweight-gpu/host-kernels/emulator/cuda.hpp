// CUDA's keywords and built-ins that the emulated kernels use, on fibers of the CPU.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>

#include "emulator/fibers.hpp"

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
// The threads of a block run on one thread of the system.
#define __shared__ static thread_local
#define DYNAMIC_SHARED(name) uint4* name = reinterpret_cast<uint4*>(fibers::shared_memory())

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float4 __ldcg(const float4* from) { return *from; }

#define threadIdx (fibers::current().index)
#define blockIdx (fibers::block->index)
#define blockDim (fibers::Index{static_cast<unsigned>(fibers::block->threads.size()), 1, 1})

// Synchronization. Blocks run one after the other, so fences have nothing to do.
inline void __syncthreads() { fibers::barrier(); }
inline bool __syncthreads_or(bool vote) { return fibers::vote(vote); }
inline void __threadfence() {}
inline void __syncwarp() { fibers::exchange(~0u, 0); }

// Shuffles and votes.
inline uint32_t __shfl_sync(uint32_t mask, uint32_t value, int from) {
  return static_cast<uint32_t>(fibers::exchange(mask, value)[from & 31]);
}
inline uint32_t __shfl_up_sync(uint32_t mask, uint32_t value, unsigned by) {
  const unsigned lane = fibers::lane();
  const uint64_t* all = fibers::exchange(mask, value);
  return static_cast<uint32_t>(lane >= by ? all[lane - by] : value);
}
inline uint32_t __shfl_xor_sync(uint32_t mask, uint32_t value, int with) {
  const unsigned lane = fibers::lane();
  return static_cast<uint32_t>(fibers::exchange(mask, value)[lane ^ with]);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote) {
  const uint64_t* all = fibers::exchange(mask, vote);
  uint32_t votes = 0;
  for (unsigned lane = 0; lane < 32; lane++) votes |= static_cast<uint32_t>(all[lane]) << lane;
  return votes;
}
inline bool __any_sync(uint32_t mask, bool vote) { return __ballot_sync(mask, vote) != 0; }

// Reductions.
template <class Join>
inline uint32_t reduce_over_lanes(uint32_t mask, uint32_t value, const Join& join) {
  const uint64_t* all = fibers::exchange(mask, value);
  return static_cast<uint32_t>(std::accumulate(all + 1, all + 32, all[0], join));
}
inline uint32_t __reduce_add_sync(uint32_t mask, uint32_t value) {
  return reduce_over_lanes(mask, value, std::plus<uint64_t>());
}
inline uint32_t __reduce_or_sync(uint32_t mask, uint32_t value) {
  return reduce_over_lanes(mask, value, std::bit_or<uint64_t>());
}
inline uint32_t __reduce_xor_sync(uint32_t mask, uint32_t value) {
  return reduce_over_lanes(mask, value, std::bit_xor<uint64_t>());
}
inline uint32_t __reduce_min_sync(uint32_t mask, uint32_t value) {
  return reduce_over_lanes(mask, value, [](uint64_t a, uint64_t b) { return std::min(a, b); });
}
inline uint32_t __reduce_max_sync(uint32_t mask, uint32_t value) {
  return reduce_over_lanes(mask, value, [](uint64_t a, uint64_t b) { return std::max(a, b); });
}

// Atomics. A launch runs on one thread of the system.
inline void atomicMin(unsigned long long* at, unsigned long long value) { *at = std::min(*at, value); }
inline uint32_t atomicAdd(uint32_t* at, uint32_t value) { return (*at += value) - value; }
inline void atomicAdd(unsigned long long* at, unsigned long long value) { *at += value; }
inline void atomicOr(uint32_t* at, uint32_t value) { *at |= value; }

// Arithmetic.
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline int __ffs(uint32_t bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline int __clz(uint32_t bits) { return bits == 0 ? 32 : __builtin_clz(bits); }
inline uint32_t min(uint32_t a, uint32_t b) { return std::min(a, b); }
inline uint32_t max(uint32_t a, uint32_t b) { return std::max(a, b); }
inline uint32_t __brev(uint32_t bits) {
  uint32_t reversed = 0;
  for (int i = 0; i < 32; i++) reversed |= (bits >> i & 1) << (31 - i);
  return reversed;
}
inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t by) {
  return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> (by % 32));
}
inline uint32_t __funnelshift_l(uint32_t low, uint32_t high, uint32_t by) {
  return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) << (by % 32) >> 32);
}
inline uint32_t __funnelshift_rc(uint32_t low, uint32_t high, uint32_t by) {
  return by >= 32 ? high : __funnelshift_r(low, high, by);
}
inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  uint32_t chosen = 0;
  for (int i = 0; i < 4; i++) chosen |= static_cast<uint32_t>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return chosen;
}
inline uint32_t __dp4a(uint32_t a, uint32_t b, uint32_t sum) {
  for (int i = 0; i < 4; i++) sum += (a >> 8 * i & 0xff) * (b >> 8 * i & 0xff);
  return sum;
}
