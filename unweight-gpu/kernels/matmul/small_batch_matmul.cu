// y = x * W^T for at most 64 rows of x, W in fragment form.
//
// Preconditions: those of small_batch.cuh.
#include "matmul/small_batch.cuh"

// Units in their own order, and patches.
template <typename Palette>
struct FragmentUnits {
  static constexpr uint32_t BYTES = UNIT_BYTES;
  const MatmulJob& job;
  const Palette palette;
  Patches<MatmulJob> patches;
  const uint4* from;

  __device__ explicit FragmentUnits(const MatmulJob& of) : job(of), palette(of.palette), patches(of) {}

  // Where the lane copies to and reads from.
  __device__ static __forceinline__ uint32_t ring_lane(uint32_t lane) { return lane * 16; }
  // What is copied next.
  __device__ __forceinline__ void enter(uint32_t strip, uint32_t unit, uint32_t lane) {
    from = reinterpret_cast<const uint4*>(job.weights + (static_cast<uint64_t>(strip) * job.units + unit) * UNIT_BYTES) + lane;
  }
  __device__ __forceinline__ void copy(uint32_t to) const {
#pragma unroll
    for (uint32_t i = 0; i < UNIT_PARTS; i++) copy_async(to + i * WARP * 16, from + i * WARP);
  }
  __device__ __forceinline__ void next() { from += UNIT_PARTS * WARP; }

  // What is rebuilt next.
  __device__ __forceinline__ void seek(uint32_t strip, uint32_t unit, uint32_t lane) { patches.seek(strip, unit, lane); }
  __device__ __forceinline__ void begin(uint32_t unit) { patches.begin(unit); }
  __device__ __forceinline__ UnitWeights rebuilt(uint32_t at, uint32_t unit, uint32_t lane) {
    UnitWeights weights = rebuild(palette, load_shared(at), load_shared(at + 16 * WARP), load_shared(at + 32 * WARP));
    patches.apply(unit, lane, weights);
    return weights;
  }

  // Lane 8i + j reads row j of a tile's i-th piece of half a unit.
  __device__ static __forceinline__ uint32_t x_swizzle(uint32_t row) { return row % 8; }
  __device__ static __forceinline__ uint32_t x_lane(uint32_t lane) { return lane % 8 * X_ROW_BYTES + (lane / 8 ^ x_swizzle(lane)) * 16; }
  __device__ static __forceinline__ uint4 load_x(uint32_t tile, uint32_t x_lane, uint32_t half) {
    return load_matrices(tile + (x_lane ^ half * (X_ROW_BYTES / 2)));
  }
};

#define SMALL_BATCH(rows, stages, blocks) \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, blocks) matmul_##rows##_consecutive(const __grid_constant__ MatmulJob job) { \
    matmul<FragmentUnits<ConsecutivePalette>, rows / 8, stages>(job, FragmentUnits<ConsecutivePalette>(job)); \
  } \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, blocks) matmul_##rows##_any(const __grid_constant__ MatmulJob job) { \
    matmul<FragmentUnits<AnyPalette>, rows / 8, stages>(job, FragmentUnits<AnyPalette>(job)); \
  }
SMALL_BATCH(8, 3, 2)
SMALL_BATCH(16, 3, 1)
SMALL_BATCH(32, 3, 1)
SMALL_BATCH(64, 2, 1)
