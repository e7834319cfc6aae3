// y = x * W^T for batches of at most 64 rows of x, W as two row-major planes: exponents, which were decoded before, and
// sign-mantissa bytes, which are resident.
//
// Data layout. A K tile in shared memory, for each of the two planes:
//
//   | row 0: 64 columns, four pieces of 16 | row 1 | ... | row 15 |   piece c of row r is at c ^ r / 2 % 4
//
// The swizzle puts the same piece of eight rows into all banks. Lane 4g + t reads columns 4t to 4t + 3 of an MMA step
// of rows g and g + 8. The tensor cores take them for columns 2t, 2t + 1, 2t + 8, 2t + 9: a sum over all columns of a
// step does not depend on their order if x has the same order.
//
// Threads, schedule, shared memory, registers, tail: small_batch.cuh.
// Preconditions: those of small_batch.cuh, without weights, patches and palette; planes of rows * columns bytes,
// 16-byte aligned.
#include "matmul/small_batch.cuh"

namespace unweight::matmul {

constexpr uint32_t PLANE_BYTES = PANEL_ROWS * K_TILE_COLUMNS;
constexpr uint32_t ROW_PIECES = K_TILE_COLUMNS / 16;

// K tiles in two planes. There are no patches.
struct PlaneTiles {
  static constexpr uint32_t BYTES = 2 * PLANE_BYTES;
  static constexpr bool FUSES = false;
  const PlanesMatmulJob& job;
  const uint32_t exponent_bits;
  uint64_t upper, lower;  // positions in a plane of the lane's 16 columns, of its row and of the row 8 below

  __device__ explicit PlaneTiles(const PlanesMatmulJob& of) : job(of), exponent_bits(ptx::opaque(EXPONENT_BITS)) {}

  __device__ static __forceinline__ uint32_t ring_lane(uint32_t lane) {
    const uint32_t row = lane / ROW_PIECES;
    return row * K_TILE_COLUMNS + (lane % ROW_PIECES ^ row / 2 % ROW_PIECES) * 16;
  }
  // Rows after the last are the last one again.
  __device__ __forceinline__ void enter(uint32_t panel, uint32_t k_tile, uint32_t lane) {
    const uint32_t row = panel * PANEL_ROWS + lane / ROW_PIECES, last = job.matmul.rows - 1;
    const uint64_t column = k_tile * K_TILE_COLUMNS + lane % ROW_PIECES * 16;
    upper = static_cast<uint64_t>(min(row, last)) * job.matmul.columns + column;
    lower = static_cast<uint64_t>(min(row + PANEL_ROWS / 2, last)) * job.matmul.columns + column;
  }
  __device__ __forceinline__ void copy(uint32_t to) const {
    ptx::copy_async(to, reinterpret_cast<const uint4*>(job.exponents + upper));
    ptx::copy_async(to + PLANE_BYTES / 2, reinterpret_cast<const uint4*>(job.exponents + lower));
    ptx::copy_async(to + PLANE_BYTES, reinterpret_cast<const uint4*>(job.sign_mantissa + upper));
    ptx::copy_async(to + PLANE_BYTES * 3 / 2, reinterpret_cast<const uint4*>(job.sign_mantissa + lower));
  }
  __device__ __forceinline__ void next() {
    upper += K_TILE_COLUMNS;
    lower += K_TILE_COLUMNS;
  }

  __device__ __forceinline__ void load_palette() {}
  __device__ __forceinline__ void seek(uint32_t, uint32_t, uint32_t) {}
  __device__ __forceinline__ void begin(uint32_t) {}
  // Two weights from four bytes of both planes: the lower two, or the upper two if SECOND.
  template <uint32_t SECOND>
  __device__ __forceinline__ uint32_t pair(uint32_t exponents, uint32_t sign_mantissa) const {
    const uint32_t exponent_pair = __byte_perm(exponents, 0, SECOND ? 0x4342 : 0x4140) << 7;
    // Each sign-mantissa byte twice: the sign at the top of the upper copy, the mantissa in the lower copy.
    return ptx::select_bits(exponent_bits, exponent_pair, __byte_perm(sign_mantissa, 0, SECOND ? 0x3322 : 0x1100));
  }
  __device__ __forceinline__ TileWeights rebuild(uint32_t at, uint32_t, uint32_t lane) const {
    // Lanes 0 to 15 pass the rows of exponents, the others those of sign-mantissa bytes.
    const uint32_t row = lane % PANEL_ROWS;
    const uint32_t own = at - ring_lane(lane) + lane / PANEL_ROWS * PLANE_BYTES + row * K_TILE_COLUMNS;
    TileWeights weights;
#pragma unroll
    for (uint32_t step = 0; step < MMA_STEPS; step++) {
      const uint4 bytes = ptx::load_matrices(own + (step ^ row / 2 % ROW_PIECES) * 16);
      uint32_t* pairs = weights.pairs + step * STEP_PAIRS;
      pairs[0] = pair<0>(bytes.x, bytes.z);
      pairs[1] = pair<0>(bytes.y, bytes.w);
      pairs[2] = pair<1>(bytes.x, bytes.z);
      pairs[3] = pair<1>(bytes.y, bytes.w);
    }
    return weights;
  }

  // A lane reads four columns of row g, so half a warp reads two pieces of four rows.
  __device__ static __forceinline__ uint32_t x_swizzle(uint32_t row) { return row % 4 * 2; }
  // Offset of the first step.
  __device__ static __forceinline__ uint32_t x_lane(uint32_t lane) {
    return lane / 4 * X_ROW_BYTES + (lane % 4 / 2 ^ x_swizzle(lane / 4)) * 16 + lane % 2 * 8;
  }
  __device__ static __forceinline__ uint4 load_x(uint32_t tile, uint32_t x_lane, uint32_t half) {
    constexpr uint32_t STEP_BYTES = X_ROW_BYTES / MMA_STEPS;
    const uint2 first = ptx::load_shared_pair(tile + (x_lane ^ half * 2 * STEP_BYTES));
    const uint2 second = ptx::load_shared_pair(tile + (x_lane ^ (half * 2 + 1) * STEP_BYTES));
    return make_uint4(first.x, first.y, second.x, second.y);
  }
};

#define PLANES(rows, stages)                                              \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, 1)          \
      matmul_planes_##rows(const __grid_constant__ PlanesMatmulJob job) { \
    matmul<PlaneTiles, rows / 8, stages>(job.matmul, PlaneTiles(job));    \
  }
PLANES(8, 3)
PLANES(16, 3)
PLANES(32, 3)
PLANES(64, 2)

}  // namespace unweight::matmul
