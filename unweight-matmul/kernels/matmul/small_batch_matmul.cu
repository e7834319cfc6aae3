// y = x * W^T for batches of at most 64 rows of x, W in fragment form.
//
// Data layout: K tiles of fragments.cuh, in the ring as in device memory. x: rows of 128 bytes; piece p of row r is at
// p ^ r % 8.
// Threads, schedule, shared memory, registers, preconditions, tail: small_batch.cuh.
#include "matmul/fragment_tiles.cuh"

namespace unweight::matmul {

#define SMALL_BATCH(rows, stages, blocks)                                                         \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, blocks)                             \
      matmul_##rows##_rows_##stages##_stages_consecutive(const __grid_constant__ MatmulJob job) { \
    typedef FragmentTiles<ConsecutivePalette, MatmulJob, patch_weight> Weights;                   \
    matmul<Weights, rows / 8, stages>(job, Weights(job));                                         \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, blocks)                             \
      matmul_##rows##_rows_##stages##_stages_any(const __grid_constant__ MatmulJob job) {         \
    typedef FragmentTiles<AnyPalette, MatmulJob, patch_weight> Weights;                           \
    matmul<Weights, rows / 8, stages>(job, Weights(job));                                         \
  }
SMALL_BATCH(8, 4, 1)
SMALL_BATCH(8, 3, 2)
SMALL_BATCH(16, 4, 1)
SMALL_BATCH(32, 3, 1)
SMALL_BATCH(64, 2, 1)

}  // namespace unweight::matmul
