// Loads, stores and asynchronous copies with a cache policy or a memory order that C++ has no form for.
#pragma once
#include "ptx/platform.cuh"

#ifndef UNWEIGHT_HOST
namespace unweight::ptx {

// Store of data that the kernel does not read again: the first to leave the caches.
__device__ __forceinline__ void store_streaming(uint4* to, uint4 value) { __stcs(to, value); }
__device__ __forceinline__ void store_streaming(uint2* to, uint2 value) { __stcs(to, value); }

// Load of data that nobody writes while the kernel runs.
__device__ __forceinline__ uint32_t load_read_only(const uint32_t* from) { return __ldg(from); }
__device__ __forceinline__ uint2 load_read_only(const uint2* from) { return __ldg(from); }
__device__ __forceinline__ uint4 load_read_only(const uint4* from) { return __ldg(from); }

// Load of data that is read once: the first to leave the caches. It equals `load_read_only` for plain copies; where
// weights are made or read, `load_read_only` took 3 % less time on an H200.
__device__ __forceinline__ uint2 load_streaming(const uint2* from) { return __ldcs(from); }
__device__ __forceinline__ uint4 load_streaming(const uint4* from) { return __ldcs(from); }

// Words that blocks of one launch exchange.
__device__ __forceinline__ void store_volatile(unsigned long long* to, unsigned long long value) {
  *static_cast<volatile unsigned long long*>(to) = value;
}
__device__ __forceinline__ unsigned long long load_volatile(const unsigned long long* from) {
  return *static_cast<const volatile unsigned long long*>(from);
}
__device__ __forceinline__ uint2 load_l2(const uint2* from) { return __ldcg(from); }
__device__ __forceinline__ uint4 load_l2(const uint4* from) { return __ldcg(from); }

// Addition in device memory without a result.
__device__ __forceinline__ void reduce_add(unsigned long long* to, unsigned long long value) {
  asm volatile("red.global.add.u64 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), "l"(value) : "memory");
}

// Counters in device memory. A thread that sees the addition sees what was written before it.
__device__ __forceinline__ void reduce_add_release(uint32_t* counter, uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(counter), "r"(value) : "memory");
}
__device__ __forceinline__ uint32_t load_acquire(const uint32_t* counter) {
  uint32_t count;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(counter) : "memory");
  return count;
}

// Shared memory by 32-bit address.
__device__ __forceinline__ uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}
__device__ __forceinline__ uint32_t load_shared_byte(uint32_t from) {
  uint32_t byte;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(byte) : "r"(from) : "memory");
  return byte;
}
__device__ __forceinline__ uint32_t load_shared_word(uint32_t from) {
  uint32_t word;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(from) : "memory");
  return word;
}
__device__ __forceinline__ uint2 load_shared_pair(uint32_t from) {
  uint2 value;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "r"(from) : "memory");
  return value;
}
__device__ __forceinline__ uint4 load_shared_quad(uint32_t from) {
  uint4 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(from)
               : "memory");
  return value;
}
__device__ __forceinline__ void store_shared_word(uint32_t to, uint32_t word) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(word) : "memory");
}
__device__ __forceinline__ void store_shared_quad(uint32_t to, uint4 value) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
}

// Asynchronous copy of 16 bytes from device memory to shared memory, past the registers and the L1 cache.
__device__ __forceinline__ void copy_async(uint32_t to_shared, const uint4* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to_shared), "l"(from) : "memory");
}
__device__ __forceinline__ void copy_async(uint4* to_shared, const uint4* from) {
  copy_async(shared_address(to_shared), from);
}
// Waits for all copies of this thread.
__device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
// Groups the copies of this thread since the last group.
__device__ __forceinline__ void commit_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all copy groups of this thread but the last `PENDING`.
template <uint32_t PENDING>
__device__ __forceinline__ void wait_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

}  // namespace unweight::ptx
#endif
