// K tiles in fragment form for the kernels that take them through a ring in shared memory.
#pragma once
#include "matmul/small_batch.cuh"

namespace unweight::matmul {

// K tiles in fragment form, and patches: a `Weights` type of small_batch.cuh. A job has `weights`, `k_tiles`, a palette
// and patches. REPLACE is the function that patches a weight.
template <typename Palette, typename Job, void (*REPLACE)(TileWeights&, uint32_t, uint32_t, bool)>
struct FragmentTiles {
  static constexpr uint32_t BYTES = K_TILE_BYTES;
  static constexpr bool FUSES = true;
  const Job& job;
  Palette palette;
  Patches<Job> patches;
  const uint4* from;

  __device__ explicit FragmentTiles(const Job& of) : job(of), patches(of) {}

  // The lane copies and reads the same bytes.
  __device__ static __forceinline__ uint32_t ring_lane(uint32_t lane) { return lane * 16; }
  __device__ __forceinline__ void enter(uint32_t panel, uint32_t k_tile, uint32_t lane) {
    const uint8_t* const tile = job.weights + (static_cast<uint64_t>(panel) * job.k_tiles + k_tile) * K_TILE_BYTES;
    from = reinterpret_cast<const uint4*>(tile) + lane;
  }
  __device__ __forceinline__ void copy(uint32_t to) const {
#pragma unroll
    for (uint32_t i = 0; i < K_TILE_PIECES; i++) ptx::copy_async(to + i * WARP * 16, from + i * WARP);
  }
  __device__ __forceinline__ void next() { from += K_TILE_PIECES * WARP; }
  __device__ __forceinline__ void load_palette() { palette = Palette::load(job.palette); }

  __device__ __forceinline__ void seek(uint32_t panel, uint32_t k_tile, uint32_t lane) {
    patches.seek(panel, k_tile, lane);
  }
  __device__ __forceinline__ void begin(uint32_t k_tile) { patches.begin(k_tile); }
  __device__ __forceinline__ TileWeights rebuild(uint32_t at, uint32_t k_tile, uint32_t lane) {
    TileWeights weights = matmul::rebuild(palette, ptx::load_shared_quad(at), ptx::load_shared_quad(at + 16 * WARP),
                                          ptx::load_shared_quad(at + 32 * WARP));
    patches.apply(k_tile, lane, weights, REPLACE);
    return weights;
  }

  // Lane 8i + j reads row j of piece i of half a K tile.
  __device__ static __forceinline__ uint32_t x_swizzle(uint32_t row) { return row % 8; }
  __device__ static __forceinline__ uint32_t x_lane(uint32_t lane) {
    return lane % 8 * X_ROW_BYTES + (lane / 8 ^ x_swizzle(lane)) * 16;
  }
  __device__ static __forceinline__ uint4 load_x(uint32_t tile, uint32_t x_lane, uint32_t half) {
    return ptx::load_matrices(tile + (x_lane ^ half * (X_ROW_BYTES / 2)));
  }
};

}  // namespace unweight::matmul
