// y = x * W^T for at most 64 rows of x, W as two planes: exponents, which were decoded before, and sign-mantissa bytes, which stand in device memory all the
// time, both row-major.
//
// A unit in shared memory, of both planes:
//
//   | row 0: 64 columns, four times 16 | row 1 | ... | row 15 |   16 columns c of row r stand at c ^ r / 2 % 4, so that eight rows are in all banks
//
// Lane 4g + t gets four columns of rows g and g + 8 at once, 4t to 4t + 3 of a step. The tensor cores take them for columns 2t, 2t + 1, 2t + 8, 2t + 9: sums
// go over all columns of a step, whatever their order, if x has the same.
//
// Preconditions: those of small_batch.cuh, but that no weights, patches and palette are read; planes of rows * columns bytes, 16-byte aligned.
#include "matmul/small_batch.cuh"

// `src/matmul/job.rs` has its twin.
struct PlanesMatmulJob {
  const uint8_t* exponents;
  const uint8_t* sign_mantissa;
  MatmulJob product;
};

constexpr uint32_t PLANE_BYTES = UNIT_ROWS * UNIT_COLUMNS;
constexpr uint32_t ROW_PIECES = UNIT_COLUMNS / 16;

struct PlaneUnits {
  static constexpr uint32_t BYTES = 2 * PLANE_BYTES;
  const PlanesMatmulJob& job;
  const uint32_t exponent_bits;
  uint64_t upper, lower;  // where the lane's 16 columns stand in a plane, of its row and of the one 8 below

  __device__ explicit PlaneUnits(const PlanesMatmulJob& of) : job(of), exponent_bits(opaque(EXPONENT_BITS)) {}

  // Where the lane copies to.
  __device__ static __forceinline__ uint32_t ring_lane(uint32_t lane) {
    const uint32_t row = lane / ROW_PIECES;
    return row * UNIT_COLUMNS + (lane % ROW_PIECES ^ row / 2 % ROW_PIECES) * 16;
  }
  // What is copied next. Rows behind the last are the last one again.
  __device__ __forceinline__ void enter(uint32_t strip, uint32_t unit, uint32_t lane) {
    const uint32_t row = strip * UNIT_ROWS + lane / ROW_PIECES, last = job.product.rows - 1;
    const uint64_t column = unit * UNIT_COLUMNS + lane % ROW_PIECES * 16;
    upper = static_cast<uint64_t>(min(row, last)) * job.product.columns + column;
    lower = static_cast<uint64_t>(min(row + UNIT_ROWS / 2, last)) * job.product.columns + column;
  }
  __device__ __forceinline__ void copy(uint32_t to) const {
    copy_async(to, reinterpret_cast<const uint4*>(job.exponents + upper));
    copy_async(to + PLANE_BYTES / 2, reinterpret_cast<const uint4*>(job.exponents + lower));
    copy_async(to + PLANE_BYTES, reinterpret_cast<const uint4*>(job.sign_mantissa + upper));
    copy_async(to + PLANE_BYTES * 3 / 2, reinterpret_cast<const uint4*>(job.sign_mantissa + lower));
  }
  __device__ __forceinline__ void next() {
    upper += UNIT_COLUMNS;
    lower += UNIT_COLUMNS;
  }

  __device__ __forceinline__ void seek(uint32_t, uint32_t, uint32_t) {}
  __device__ __forceinline__ void begin(uint32_t) {}
  // Two weights of four bytes of both planes.
  template <uint32_t SECOND>
  __device__ __forceinline__ uint32_t pair(uint32_t exponents, uint32_t sign_mantissa) const {
    // Each sign-mantissa byte twice: its sign ends on top of the upper one, its mantissa below in the lower one.
    const uint32_t exponent_pair = __byte_perm(exponents, 0, SECOND ? 0x4342 : 0x4140) << 7;
    return select_bits(exponent_bits, exponent_pair, __byte_perm(sign_mantissa, 0, SECOND ? 0x3322 : 0x1100));
  }
  __device__ __forceinline__ UnitWeights rebuilt(uint32_t at, uint32_t, uint32_t lane) const {
    // Lanes 0 to 7 and 8 to 15 name the rows of exponents, the others those of sign-mantissa bytes.
    const uint32_t row = lane % UNIT_ROWS;
    const uint32_t own = at - ring_lane(lane) + lane / UNIT_ROWS * PLANE_BYTES + row * UNIT_COLUMNS;
    UnitWeights weights;
#pragma unroll
    for (uint32_t step = 0; step < UNIT_STEPS; step++) {
      const uint4 bytes = load_matrices(own + (step ^ row / 2 % ROW_PIECES) * 16);
      uint32_t* pairs = weights.pairs + step * STEP_PAIRS;
      pairs[0] = pair<0>(bytes.x, bytes.z);
      pairs[1] = pair<0>(bytes.y, bytes.w);
      pairs[2] = pair<1>(bytes.x, bytes.z);
      pairs[3] = pair<1>(bytes.y, bytes.w);
    }
    return weights;
  }

  // A lane reads four columns of row g, so half a warp two pieces of four rows.
  __device__ static __forceinline__ uint32_t x_swizzle(uint32_t row) { return row % 4 * 2; }
  // Of the first step.
  __device__ static __forceinline__ uint32_t x_lane(uint32_t lane) {
    return lane / 4 * X_ROW_BYTES + (lane % 4 / 2 ^ x_swizzle(lane / 4)) * 16 + lane % 2 * 8;
  }
  __device__ static __forceinline__ uint4 load_x(uint32_t tile, uint32_t x_lane, uint32_t half) {
    constexpr uint32_t STEP_BYTES = X_ROW_BYTES / UNIT_STEPS;
    const uint2 first = load_shared_pair(tile + (x_lane ^ half * 2 * STEP_BYTES));
    const uint2 second = load_shared_pair(tile + (x_lane ^ (half * 2 + 1) * STEP_BYTES));
    return make_uint4(first.x, first.y, second.x, second.y);
  }
};

#define PLANES(rows, stages) \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, 1) matmul_planes_##rows(const __grid_constant__ PlanesMatmulJob job) { \
    matmul<PlaneUnits, rows / 8, stages>(job.product, PlaneUnits(job)); \
  }
PLANES(8, 3)
PLANES(16, 3)
PLANES(32, 3)
PLANES(64, 2)
