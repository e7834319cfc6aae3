// RMS norm of the rows of x by the blocks of a matmul's launch, before they read x.
//
//   sum = input + residual
//   normalized = bf16(bf16(sum / sqrt(mean(sum^2) + epsilon)) * weight)
//
// `sum` is stored as BF16, and not rounded for the norm.
//
// Threads: block b has the rows b, b + blocks and so on; a thread has every THREADS-th piece of 16 bytes. `sync()` is a
// barrier of these threads. All blocks wait for all rows.
// Preconditions: those of NormJob. All blocks of the launch are resident together, or begin in the order of their
// numbers: a block waits for those with lower numbers.
#pragma once
#include "abi/matmul_jobs.cuh"
#include "matmul/gate.cuh"
#include "ptx/memory.cuh"
#include "ptx/mma.cuh"

namespace unweight::matmul {

using namespace abi;

constexpr uint32_t NORM_PIECE = 8;  // values of 16 bytes

// Values of a piece.
struct NormValues {
  float at[NORM_PIECE];
};

__device__ __forceinline__ NormValues unpacked(uint4 piece) {
  const uint32_t words[] = {piece.x, piece.y, piece.z, piece.w};
  NormValues values;
#pragma unroll
  for (uint32_t i = 0; i < NORM_PIECE; i++)
    values.at[i] = ptx::from_bf16(static_cast<uint16_t>(words[i / 2] >> i % 2 * 16));
  return values;
}

__device__ __forceinline__ uint4 packed(const NormValues& values) {
  const auto pair = [&](uint32_t i) { return bf16_pair(values.at[i], values.at[i + 1]); };
  return {pair(0), pair(2), pair(4), pair(6)};
}

// A piece of input + residual. From the second-level cache, because the previous launch has written it.
__device__ __forceinline__ NormValues load_sum(const NormJob& job, uint64_t piece) {
  NormValues values = unpacked(ptx::load_l2(reinterpret_cast<const uint4*>(job.input) + piece));
  if (job.residual != nullptr) {
    const NormValues residual = unpacked(ptx::load_l2(reinterpret_cast<const uint4*>(job.residual) + piece));
#pragma unroll
    for (uint32_t i = 0; i < NORM_PIECE; i++) values.at[i] += residual.at[i];
  }
  return values;
}

// The sum of all threads' values, on all threads. `warp_sums` has a float for each warp.
template <uint32_t THREADS, typename Sync>
__device__ __forceinline__ float sum_of_threads(float value, float* warp_sums, const Sync& sync) {
#pragma unroll
  for (uint32_t other = WARP / 2; other > 0; other /= 2) value += __shfl_xor_sync(ALL_LANES, value, other);
  if (threadIdx.x % WARP == 0) warp_sums[threadIdx.x / WARP] = value;
  sync();
  float sum = 0;
#pragma unroll
  for (uint32_t warp = 0; warp < THREADS / WARP; warp++) sum += warp_sums[warp];
  return sum;
}

// Writes one row of `sum` and `normalized`.
template <uint32_t THREADS, typename Sync>
__device__ __forceinline__ void normalize_row(const NormJob& job, uint32_t row, uint32_t columns, float* warp_sums,
                                              const Sync& sync) {
  const uint32_t pieces = columns / NORM_PIECE;
  const uint64_t first = static_cast<uint64_t>(row) * pieces;
  const auto load_weight = [&](uint32_t piece) {
    return ptx::load_read_only(reinterpret_cast<const uint4*>(job.weight) + piece);
  };
  // The thread's first piece stays in registers. Its weight is loaded together with it.
  NormValues kept;
  uint4 kept_weight;
  if (threadIdx.x < pieces) kept_weight = load_weight(threadIdx.x);
  float squares = 0;
#pragma unroll 1
  for (uint32_t piece = threadIdx.x; piece < pieces; piece += THREADS) {
    const NormValues values = load_sum(job, first + piece);
    if (job.residual != nullptr) reinterpret_cast<uint4*>(job.sum)[first + piece] = packed(values);
#pragma unroll
    for (uint32_t i = 0; i < NORM_PIECE; i++) squares += values.at[i] * values.at[i];
    if (piece == threadIdx.x) kept = values;
  }
  const float scale = rsqrtf(sum_of_threads<THREADS>(squares, warp_sums, sync) / columns + job.epsilon);
#pragma unroll 1
  for (uint32_t piece = threadIdx.x; piece < pieces; piece += THREADS) {
    const bool is_kept = piece == threadIdx.x;
    NormValues values = is_kept ? kept : load_sum(job, first + piece);
    const NormValues weight = unpacked(is_kept ? kept_weight : load_weight(piece));
#pragma unroll
    for (uint32_t i = 0; i < NORM_PIECE; i++)
      values.at[i] = ptx::from_bf16(ptx::to_bf16(values.at[i] * scale)) * weight.at[i];
    reinterpret_cast<uint4*>(job.normalized)[first + piece] = packed(values);
  }
}

// Normalizes the block's rows. `warp_sums` is shared memory.
template <uint32_t THREADS, typename Sync>
__device__ __forceinline__ void normalize_rows(const NormJob& job, uint32_t batch, uint32_t columns, float* warp_sums,
                                               const Sync& sync) {
#pragma unroll 1
  for (uint32_t row = blockIdx.x; row < batch; row += job.blocks) {
    normalize_row<THREADS>(job, row, columns, warp_sums, sync);
    ptx::fence_async_proxy();
    sync();
    if (threadIdx.x == 0) ptx::reduce_add_release(job.ready, 1);
  }
}

// Waits for all rows, on one thread. The copy engine may read them then.
__device__ __forceinline__ void await_rows(const NormJob& job, uint32_t batch) {
  while (ptx::load_acquire(job.ready) < batch) {}
  ptx::fence_async_proxy();
}

// Resets the counters, in the last block that ends. One thread calls it after await_rows.
__device__ __forceinline__ void end_norm(const NormJob& job) {
  if (atomicAdd(job.ready + 1, 1) == job.blocks - 1) {
    job.ready[0] = 0;
    job.ready[1] = 0;
  }
}

}  // namespace unweight::matmul
