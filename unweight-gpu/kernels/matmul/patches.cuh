// Exponents that a palette does not hold, brought to the weights that have them.
#pragma once
#include "matmul/fragments.cuh"

// A strip's patches in the order of its units (a job has those of all strips, and where each strip's end): 32 of them in a register of the warp's lanes, and
// the next 32 on their way.
template <typename Job>
struct Patches {
  const Job& job;
  uint32_t next, end;       // of all: `next` is this lane's, behind `ahead`
  uint32_t window, ahead;
  uint32_t current;         // of the window, to be applied next: all lanes have it, so that a unit without one costs a comparison

  __device__ explicit Patches(const Job& of) : job(of) {}

  // From the first of unit `unit` on, or some before it.
  __device__ __forceinline__ void seek(uint32_t strip, uint32_t unit, uint32_t lane) {
    uint32_t low = strip == 0 ? 0 : job.patch_ends[strip - 1];
    end = job.patch_ends[strip];
    // 32 places at once: those that are not below the unit are the upper ones.
    uint32_t count = end - low;
    while (count > WARP) {
      const uint32_t step = (count + WARP - 1) / WARP;
      const uint32_t at = min(low + lane * step, end - 1);
      const uint32_t below = static_cast<uint32_t>(__popc(__ballot_sync(ALL_LANES, job.patches[at] >> PATCH_UNIT_SHIFT < unit)));
      if (below == 0) break;
      low += (below - 1) * step;
      count = min(step, end - low);
    }
    next = low + lane;
    window = take();
    ahead = take();
  }
  // Waits for the window, and leaves out what is before the unit.
  __device__ __forceinline__ void begin(uint32_t unit) {
    go_on_behind(static_cast<uint32_t>(__popc(__ballot_sync(ALL_LANES, window >> PATCH_UNIT_SHIFT < unit))));
  }

  // Units must come in order.
  __device__ __forceinline__ void apply(uint32_t unit, uint32_t lane, UnitWeights& weights) {
    while (current >> PATCH_UNIT_SHIFT == unit) {
      const bool own = (current >> PATCH_LANE_SHIFT) % WARP == lane;
      patch_weight(weights, (current >> PATCH_PLACE_SHIFT) % LANE_WEIGHTS, current & 0xff, own);
      // No two are alike.
      go_on_behind(static_cast<uint32_t>(__ffs(static_cast<int>(__ballot_sync(ALL_LANES, window == current)))));
    }
  }

 private:
  // Behind the last, a patch of no unit.
  __device__ __forceinline__ uint32_t take() {
    const uint32_t patch = next < end ? job.patches[next] : ~0u;
    next += WARP;
    return patch;
  }
  // `passed` patches of the window.
  __device__ __forceinline__ void go_on_behind(uint32_t passed) {
    if (passed == WARP) {
      window = ahead;
      ahead = take();
      passed = 0;
    }
    current = __shfl_sync(ALL_LANES, window, passed);
  }
};
