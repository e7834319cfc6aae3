// RMS norm between two matmuls, in the epilogue of the first and of the second.
//
//   sum = y + residual                     by the first matmul, as are
//   scaled = bf16(sum * weight)
//   squares = sums of sum^2 over 16 columns
//   scale = 1 / sqrt(sum of squares / columns + epsilon), for each row, by the second matmul, whose x is `scaled`:
//   its sums times scale are those of the normalized rows
//
// y is rounded to BF16 first. `sum` is stored as BF16, and not rounded for the others.
#pragma once
#include "abi/matmul_jobs.cuh"
#include "matmul/fragments.cuh"
#include "matmul/gate.cuh"
#include "ptx/memory.cuh"
#include "ptx/mma.cuh"

namespace unweight::matmul {

using namespace abi;

// Adds a residual to two values of y, and stores the sums and the scaled sums. Returns the sum of the squares.
__device__ __forceinline__ float add_residual(uint32_t& y, uint32_t residual, uint32_t weight, uint32_t& sum) {
  const float first = bf16_first(y) + bf16_first(residual), second = bf16_second(y) + bf16_second(residual);
  sum = bf16_pair(first, second);
  y = bf16_pair(first * bf16_first(weight), second * bf16_second(weight));
  return first * first + second * second;
}

// Threads that add up the squares of a row.
constexpr uint32_t SCALE_THREADS = 8;

// Computes the scales of all rows of x. The threads of a block, or the first of them, call it with their number in
// `THREADS`, and wait for one another before they read scales.
template <uint32_t THREADS>
__device__ __forceinline__ void load_scales(const ScaleJob& job, uint32_t batch, uint32_t columns, float* scales) {
  // Four panels of 16 columns each in a float4.
  const uint32_t fours = columns / (4 * PANEL_ROWS), part = threadIdx.x % SCALE_THREADS;
#pragma unroll 1
  for (uint32_t first = 0; first < batch; first += THREADS / SCALE_THREADS) {
    const uint32_t row = first + threadIdx.x / SCALE_THREADS;
    float sum = 0;
    if (row < batch) {
      const uint4* from = reinterpret_cast<const uint4*>(job.squares) + static_cast<uint64_t>(row) * fours;
#pragma unroll 8
      for (uint32_t i = part; i < fours; i += SCALE_THREADS) {
        // The previous launch has written it, so it is loaded from the second-level cache.
        const uint4 four = ptx::load_l2(from + i);
        sum += ptx::from_bits(four.x) + ptx::from_bits(four.y) + ptx::from_bits(four.z) + ptx::from_bits(four.w);
      }
    }
#pragma unroll
    for (uint32_t other = 1; other < SCALE_THREADS; other *= 2) sum += __shfl_xor_sync(ALL_LANES, sum, other);
    if (row < batch && part == 0) scales[row] = 1 / sqrtf(sum / columns + job.epsilon);
  }
}

}  // namespace unweight::matmul
