// Instructions of Hopper (sm_90a): mbarriers, the copy engine, register allocation, WGMMA's fences, matrix stores.
#pragma once
#include "ptx/platform.cuh"

#ifndef UNWEIGHT_HOST
namespace unweight::ptx {

// A CUtensorMap of the driver: where the copy engine finds a matrix.
struct alignas(128) TensorMap {
  uint64_t opaque[16];
};

// mbarriers in shared memory, by address.
__device__ __forceinline__ void init_mbarrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialized barriers visible to the copy engine.
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Waits for the end of the phase of this parity. The waiting thread then sees what threads of the block wrote before
// they arrived.
__device__ __forceinline__ void wait_mbarrier(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
        "selp.b32 %0, 1, 0, done;\n"
        "}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (!done);
}
__device__ __forceinline__ void arrive_mbarrier(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and has the phase wait for `bytes` of the copy engine.
__device__ __forceinline__ void arrive_mbarrier_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Copies `bytes` consecutive bytes to shared memory, and counts them at the barrier.
__device__ __forceinline__ void copy_bulk(uint32_t to_shared, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to_shared),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}
// Copies a box of a matrix to shared memory, and counts its bytes at the barrier.
__device__ __forceinline__ void copy_box(uint32_t to_shared, const TensorMap& from, uint32_t column, uint32_t row,
                                         uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];" ::"r"(to_shared),
      "l"(&from), "r"(column), "r"(row), "r"(barrier)
      : "memory");
}

// Registers of each thread of a warp group.
template <uint32_t REGISTERS>
__device__ __forceinline__ void decrease_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <uint32_t REGISTERS>
__device__ __forceinline__ void increase_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

// WGMMA: orders register writes before it, groups the instructions since the last group, waits for all groups but the
// last `PENDING`.
__device__ __forceinline__ void fence_wgmma() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit_wgmma() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <uint32_t PENDING>
__device__ __forceinline__ void wait_wgmma() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ uint32_t to_bf16_pair(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
// Four 8 x 8 matrices of 16-bit elements, transposed. Lanes hold the addresses of rows as in `load_matrices`.
__device__ __forceinline__ void store_matrices_transposed(uint32_t row, uint32_t a, uint32_t b, uint32_t c,
                                                          uint32_t d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(a), "r"(b),
               "r"(c), "r"(d)
               : "memory");
}

}  // namespace unweight::ptx
#endif
