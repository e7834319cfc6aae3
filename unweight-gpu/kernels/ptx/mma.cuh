// BF16 MMA, matrix loads, conversions and barriers of the matmul kernels (compute capability 8.0 and newer).
#pragma once
#include "ptx/platform.cuh"

#ifndef UNWEIGHT_HOST
namespace unweight::ptx {

// sums += w x x^T over 16 columns: 16 rows of W and 8 rows of x. Sums are FP32.
__device__ __forceinline__ void mma_bf16(float (&sums)[4], const uint32_t* w, uint32_t x_low, uint32_t x_high) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x_low), "r"(x_high));
}

// Four 8 x 8 matrices of 16-bit elements. Lanes 0-7, 8-15, 16-23 and 24-31 hold the addresses of the rows, 16 bytes
// each. Lane 4g + t receives columns 2t and 2t + 1 of row g of each matrix.
__device__ __forceinline__ uint4 load_matrices(uint32_t row) {
  uint4 value;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(row)
               : "memory");
  return value;
}

__device__ __forceinline__ uint16_t to_bf16(float value) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ __forceinline__ float from_bf16(uint16_t bits) { return __uint_as_float(static_cast<uint32_t>(bits) << 16); }

__device__ __forceinline__ float from_bits(uint32_t bits) { return __uint_as_float(bits); }

// Waits for `THREADS` threads of the block at named barrier `number`. Barrier 0 is __syncthreads().
template <uint32_t THREADS>
__device__ __forceinline__ void sync_named_barrier(uint32_t number) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "n"(THREADS) : "memory");
}

// Programmatic dependent launch: lets the next launch of the stream begin before this one ends. To be called after
// `wait_for_previous_launch`: then the next launch, which may read before it waits, begins when all launches before
// this one have ended. torch.compile's kernels rely on that.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Programmatic dependent launch: waits until the launch before this one has ended.
__device__ __forceinline__ void wait_for_previous_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace unweight::ptx
#endif
