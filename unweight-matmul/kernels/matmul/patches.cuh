// Patches of a matrix in fragment form: exponents that the palette does not hold.
#pragma once
#include "matmul/fragments.cuh"

namespace unweight::matmul {

// Cursor over a row panel's patches in order of its K tiles, by one warp. The lanes hold a window of 32 patches in a
// register, and load the next 32 ahead. A job has the patches of all row panels, and the end of each panel's. Whatever
// these hold, nothing outside of them is read, and the cursor moves on.
template <typename Job>
struct Patches {
  const Job& job;
  uint32_t next, end;  // in the job's patches; `next` is what this lane loads after `ahead`
  uint32_t window, ahead;
  uint32_t current;  // the next patch of the window; all lanes hold it, so a K tile without one costs a comparison

  __device__ explicit Patches(const Job& of) : job(of) {}

  // Begins to move to a row panel.
  __device__ __forceinline__ void open(uint32_t panel) {
    next = panel == 0 ? 0 : job.patch_ends[panel - 1];
    end = job.patch_ends[panel];
  }
  // Moves to the first patch of K tile `k_tile`, or to some before it. `begin` completes the move.
  __device__ __forceinline__ void seek(uint32_t k_tile, uint32_t lane) {
    end = min(end, job.patch_count);
    uint32_t low = min(next, end);
    // Search with 32 probes at a time. Probes before the K tile are the lower ones.
    uint32_t count = end - low;
    while (count > WARP) {
      const uint32_t step = (count + WARP - 1) / WARP;
      const uint32_t at = min(low + lane * step, end - 1);
      const uint32_t is_before = __ballot_sync(ALL_LANES, job.patches[at] >> PATCH_K_TILE_SHIFT < k_tile);
      const uint32_t below = static_cast<uint32_t>(__popc(is_before));
      if (below == 0) break;
      low += (below - 1) * step;
      count = min(step, end - low);
    }
    next = low + lane;
    window = take();
    ahead = take();
  }
  __device__ __forceinline__ void seek(uint32_t panel, uint32_t k_tile, uint32_t lane) {
    open(panel);
    seek(k_tile, lane);
  }
  // Waits for the window, and skips patches before the K tile.
  __device__ __forceinline__ void begin(uint32_t k_tile) {
    const uint32_t is_before = __ballot_sync(ALL_LANES, window >> PATCH_K_TILE_SHIFT < k_tile);
    move_to(static_cast<uint32_t>(__popc(is_before)));
  }

  // Applies the patches of a K tile. K tiles come in order.
  __device__ __forceinline__ void apply(uint32_t k_tile, uint32_t lane, TileWeights& weights) {
    apply(k_tile, lane, weights, patch_weight);
  }
  template <typename Replace>
  __device__ __forceinline__ void apply(uint32_t k_tile, uint32_t lane, TileWeights& weights, Replace&& replace) {
    while (current >> PATCH_K_TILE_SHIFT == k_tile) {
      const bool own = (current >> PATCH_LANE_SHIFT) % WARP == lane;
      replace(weights, (current >> PATCH_WEIGHT_SHIFT) % LANE_WEIGHTS, current & 0xff, own);
      // All patches differ, so the window holds the current one once. If they do not, those between are skipped.
      move_to(WARP - static_cast<uint32_t>(__clz(static_cast<int>(__ballot_sync(ALL_LANES, window == current)))));
    }
  }

 private:
  // After the last patch, a patch of no K tile.
  __device__ __forceinline__ uint32_t take() {
    const uint32_t patch = next < end ? job.patches[next] : ~0u;
    next += WARP;
    return patch;
  }
  // Moves to patch `number` of the window; 32 is the first of the next window.
  __device__ __forceinline__ void move_to(uint32_t number) {
    if (number == WARP) {
      window = ahead;
      ahead = take();
      number = 0;
    }
    current = __shfl_sync(ALL_LANES, window, number);
  }
};

}  // namespace unweight::matmul
