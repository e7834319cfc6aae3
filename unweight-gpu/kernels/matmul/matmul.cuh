// y = x * W^T with W in fragment form or in planes: what its kernels share.
#pragma once
#include "matmul/patches.cuh"

// `src/matmul/job.rs` has its twin.
struct MatmulJob {
  const uint8_t* weights;       // units, by strip, then by columns; 16-byte aligned
  const uint32_t* patches;      // of all strips
  const uint32_t* patch_ends;   // of each strip
  const uint16_t* x;            // `batch` rows of `columns`; 16-byte aligned
  uint16_t* y;                  // `batch` rows of `rows`
  float* partials;              // two slots for each block
  uint32_t* arrived;            // for each group, blocks that have their part of it done: zero between launches
  uint32_t rows;                // of W
  uint32_t columns;             // of W: `units` * UNIT_COLUMNS
  uint32_t batch;               // rows of x
  uint32_t units;               // of a strip
  uint32_t part, longer_parts;  // of the line, in units: every block has `part`, the first `longer_parts` blocks one more
  uint32_t palette[PALETTE_WORDS];
};

// Of a row of x, in shared memory: a unit's columns.
constexpr uint32_t X_ROW_BYTES = UNIT_COLUMNS * 2;

// Shared memory by address: one register, which the compiler does not make anew at each use.
__device__ __forceinline__ uint32_t shared_address(const void* at) { return opaque(static_cast<uint32_t>(__cvta_generic_to_shared(at))); }
__device__ __forceinline__ void copy_async(uint32_t to_shared, const uint4* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to_shared), "l"(from) : "memory");
}
// All copies of this thread since the last call are one group.
__device__ __forceinline__ void copies_together() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all groups but the last `PENDING`.
template <uint32_t PENDING>
__device__ __forceinline__ void copies_done_but() { asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory"); }
__device__ __forceinline__ uint4 load_shared(uint32_t from) {
  uint4 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "r"(from) : "memory");
  return value;
}
__device__ __forceinline__ uint2 load_shared_pair(uint32_t from) {
  uint2 value;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "r"(from) : "memory");
  return value;
}
// Four 8 x 8 matrices, whose rows of 16 bytes lanes 0 to 7, 8 to 15, 16 to 23 and 24 to 31 name; lane 4g + t gets columns 2t and 2t + 1 of row g of each.
__device__ __forceinline__ uint4 load_matrices(uint32_t row) {
  uint4 value;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "r"(row) : "memory");
  return value;
}

// Where a launch may begin before the one in front of it on the stream has ended: the next may begin; and this one goes on once that one is done.
__device__ __forceinline__ void let_next_launch_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_launch_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// `sums` += 16 rows of W * 8 rows of x, over 16 columns.
__device__ __forceinline__ void multiply(float (&sums)[4], const uint32_t* weights, uint32_t x_first, uint32_t x_second) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(x_first), "r"(x_second));
}

__device__ __forceinline__ uint16_t to_bf16(float value) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ __forceinline__ void add(float4& sum, const float4& more) {
  sum.x += more.x;
  sum.y += more.y;
  sum.z += more.z;
  sum.w += more.w;
}
