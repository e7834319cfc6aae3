// y = x * W^T for batches of at most 64 rows of x. Weights go from device memory through a ring in shared memory to
// registers, are rebuilt there, and are multiplied by tensor cores.
//
// Data layout, shared memory:
//
//   rings of weights    16 warps | STAGES stages | a K tile, or its bytes in two planes
//   rings of x          4 splits | STAGES stages | BATCH rows of 128 bytes, swizzled
//   sums                4 splits | BATCH rows of x | 64 rows of the group and 4 more, against bank conflicts
//   scales              BATCH
//
// Threads: 16 warps = 4 splits of 4 warps. A warp of a split has one row panel of the panel group. The lanes of a warp
// hold sums as `mma.sync.m16n8k16` does: lane 4g + t has rows g and g + 8 of W, and rows 2t and 2t + 1 of x.
//
// Schedule: stream-K over blocks, split-K inside a block (stream_k.cuh). Products are exact, sums are FP32, in this
// order: in a warp as tensor cores add 16 columns at a time, from the first on; then over the splits; then over the
// blocks in order of columns, by the block that comes last. The order depends on the shape and the number of blocks
// only.
//
// In a gated matmul, two of a group's row panels are of gate and two of up, so that a block has both factors of a value
// of y. norm.cuh has the norm between two matmuls.
//
// Phases:
//   load             K tiles of W and x to the rings, ahead of use by STAGES - 1 K tiles, from work unit to work unit
//                    (`enter` and `load_k_tile` in the kernel)
//   multiply         multiply_work_unit: wait for a stage, load a free one, rebuild weights, MMA
//   epilogue         store_split_sums, then Epilogue::finish: add up the splits and the blocks, store y
//
// Shared memory: the above, as in `src/schedule.rs`. Registers: at most 128, or 64 for two blocks on a
// multiprocessor.
// Preconditions: those of MatmulJob; SMALL_THREADS threads; `gridDim.x` ranges, none empty; `partials` as in
// `src/schedule.rs`.
// Tail: row panels after the last are computed like it, and not stored. Rows of x after the batch are not loaded, and
// their sums not stored.
//
// A `Weights` type copies a warp's part of a K tile, and rebuilds the lane's weights (fragment_tiles.cuh,
// planes_matmul.cu). It has
//   BYTES                              bytes of a K tile in the ring
//   FUSES                              whether jobs may have a residual, a norm or a gate
//   ring_lane(lane)                    offset in a stage that the lane copies to
//   enter(panel, k_tile, lane)         begins a work unit's loads
//   copy(to), next()                   copies a K tile, moves to the next
//   load_palette()                     begins the load of what all work units need
//   seek(panel, k_tile, lane)          begins a work unit's patches
//   begin(k_tile)                      waits for the patches
//   rebuild(at, k_tile, lane)          the lane's weights from the ring
//   x_swizzle(row), x_lane(lane), load_x(tile, x_lane, half)   order of x in shared memory
#pragma once
#include "matmul/gate.cuh"
#include "matmul/norm.cuh"
#include "matmul/patches.cuh"
#include "matmul/stream_k.cuh"
#include "ptx/memory.cuh"
#include "ptx/mma.cuh"

namespace unweight::matmul {

constexpr uint32_t SMALL_WARPS = 16;
constexpr uint32_t SMALL_THREADS = SMALL_WARPS * WARP;
// Warps of a split, each with a row panel of the group.
constexpr uint32_t GROUP_PANELS = SMALL_WARPS / SPLITS;
constexpr uint32_t GROUP_ROWS = GROUP_PANELS * PANEL_ROWS;
constexpr uint32_t SPLIT_THREADS = GROUP_PANELS * WARP;
// Bytes of a row of x in a K tile, in shared memory.
constexpr uint32_t X_ROW_BYTES = K_TILE_COLUMNS * 2;

// Shared memory by address, in a register of its own: the compiler does not compute it again at each use.
__device__ __forceinline__ uint32_t opaque_shared_address(const void* at) {
  return ptx::opaque(ptx::shared_address(at));
}

__device__ __forceinline__ void add(float4& sum, const float4& more) {
  sum.x += more.x;
  sum.y += more.y;
  sum.z += more.z;
  sum.w += more.w;
}

// Shared memory of a block, in bytes, and the pitch of sums, in floats.
template <typename Weights, uint32_t TILES, uint32_t RING_STAGES>
struct SmallBatchShape {
  static constexpr uint32_t STAGES = RING_STAGES;
  static constexpr bool FUSES = Weights::FUSES;
  static constexpr uint32_t BATCH = TILES * 8;
  static constexpr uint32_t RING_BYTES = STAGES * Weights::BYTES;
  static constexpr uint32_t X_STAGE_BYTES = X_ROW_BYTES * BATCH;
  static constexpr uint32_t X_RINGS_AT = SMALL_WARPS * RING_BYTES;
  static constexpr uint32_t SUMS_AT = X_RINGS_AT + SPLITS * STAGES * X_STAGE_BYTES;
  static constexpr uint32_t PITCH = GROUP_ROWS + 4;
  static constexpr uint32_t SCALES_AT = SUMS_AT + SPLITS * BATCH * PITCH * 4;
};

// Stage of the rings that is multiplied next.
template <uint32_t STAGES>
struct PipelineState {
  uint32_t stage = 0;

  // The stage that was multiplied last, which is loaded next.
  __device__ __forceinline__ uint32_t released() const { return stage == 0 ? STAGES - 1 : stage - 1; }
  __device__ __forceinline__ void advance() { stage = stage + 1 == STAGES ? 0 : stage + 1; }
};

// Multiply: adds the MMAs of a K tile to `sums`.
template <typename Weights, uint32_t TILES>
__device__ __forceinline__ void multiply_k_tile(float (&sums)[TILES][4], const TileWeights& weights, uint32_t x_stage,
                                                uint32_t x_lane) {
#pragma unroll
  for (uint32_t half = 0; half < 2; half++)
#pragma unroll
    for (uint32_t tile = 0; tile < TILES; tile++) {
      const uint4 x = Weights::load_x(x_stage + tile * 8 * X_ROW_BYTES, x_lane, half);
      ptx::mma_bf16(sums[tile], weights.pairs + half * 2 * STEP_PAIRS, x.x, x.y);
      ptx::mma_bf16(sums[tile], weights.pairs + (half * 2 + 1) * STEP_PAIRS, x.z, x.w);
    }
}

// Addresses of a thread in shared memory.
struct SharedAddresses {
  uint32_t weights;  // the lane's, in the warp's ring of weights
  uint32_t x;        // the split's ring of x
  uint32_t x_lane;   // offset in a stage of x that the lane reads from
};

// Multiply: the sums of a work unit. For each K tile: wait for its stage, load the stage that is free, rebuild the
// lane's weights, MMA. `load_stage(stage)` begins the copies of a stage.
template <typename Shape, typename Weights, uint32_t TILES, typename LoadStage>
__device__ __forceinline__ void multiply_work_unit(float (&sums)[TILES][4], const WorkUnit& unit, uint32_t split,
                                                   uint32_t lane, const SharedAddresses& at, Weights& weights,
                                                   PipelineState<Shape::STAGES>& state, const LoadStage& load_stage) {
  weights.begin(unit.k_tile);
  const uint32_t end = ptx::opaque(unit.end);
#pragma unroll 1
  for (uint32_t k_tile = unit.k_tile; k_tile < end; k_tile++) {
    ptx::wait_copy_groups<Shape::STAGES - 2>();
    ptx::sync_named_barrier<SPLIT_THREADS>(split + 1);
    // All warps of the split have used the K tile of this stage.
    load_stage(state.released());
    ptx::commit_copy_group();
    const TileWeights tile = weights.rebuild(at.weights + state.stage * Weights::BYTES, k_tile, lane);
    multiply_k_tile<Weights>(sums, tile, at.x + state.stage * Shape::X_STAGE_BYTES, at.x_lane);
    state.advance();
  }
}

// Epilogue: stores the sums of a warp in shared memory.
template <typename Shape, uint32_t TILES>
__device__ __forceinline__ void store_split_sums(const float (&sums)[TILES][4], float* split_sums, uint32_t split,
                                                 uint32_t panel, uint32_t g, uint32_t t) {
#pragma unroll
  for (uint32_t tile = 0; tile < TILES; tile++)
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
      split_sums[(split * Shape::BATCH + tile * 8 + 2 * t + i % 2) * Shape::PITCH + panel * PANEL_ROWS + g +
                 i / 2 * 8] = sums[tile][i];
}

// Epilogue: adds up the splits, and the blocks that share a group, and stores y. A number `i` stands for four rows of
// the group and one row of x.
template <typename Shape>
struct Epilogue {
  static constexpr uint32_t FOURS = GROUP_ROWS / 4;  // of one row of x
  const MatmulJob& job;
  const StreamK& schedule;
  float* const split_sums;
  const uint32_t group;

  __device__ static __forceinline__ uint32_t at_four(uint32_t i) { return i / FOURS * Shape::PITCH + i % FOURS * 4; }

  __device__ __forceinline__ float4 sum_of_splits(uint32_t i) const {
    float4 sum = *reinterpret_cast<const float4*>(split_sums + at_four(i));
#pragma unroll
    for (uint32_t other = 1; other < SPLITS; other++)
      add(sum, *reinterpret_cast<const float4*>(split_sums + other * Shape::BATCH * Shape::PITCH + at_four(i)));
    return sum;
  }

  // The scales of the rows of x, behind the sums.
  __device__ __forceinline__ bool has_scales() const { return Shape::FUSES && job.scale.squares != nullptr; }
  __device__ __forceinline__ float4 scaled(float4 sum, uint32_t x_row) const {
    if (!has_scales()) return sum;
    const float scale = split_sums[SPLITS * Shape::BATCH * Shape::PITCH + x_row];
    return make_float4(sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale);
  }

  __device__ __forceinline__ void store(uint32_t i, float4 sum) const {
    const uint32_t row = group * GROUP_ROWS + i % FOURS * 4;
    sum = scaled(sum, i / FOURS);
    if (job.bias != nullptr) {
      // Rows after the last are not stored.
      const auto bias = [&](uint32_t next) { return ptx::from_bf16(job.bias[min(row + next, job.rows - 1)]); };
      add(sum, make_float4(bias(0), bias(1), bias(2), bias(3)));
    }
    uint16_t* to = job.y + static_cast<uint64_t>(i / FOURS) * job.rows + row;
    if (row < job.rows) to[0] = ptx::to_bf16(sum.x);
    if (row + 1 < job.rows) to[1] = ptx::to_bf16(sum.y);
    if (row + 2 < job.rows) to[2] = ptx::to_bf16(sum.z);
    if (row + 3 < job.rows) to[3] = ptx::to_bf16(sum.w);
  }

  // Stores silu(gate) * up. A number `i` stands for four rows of each half and one row of x.
  __device__ __forceinline__ void store_gated(uint32_t i, float4 gate, float4 up) const {
    gate = scaled(gate, i / (FOURS / 2));
    up = scaled(up, i / (FOURS / 2));
    const uint32_t row = group * (GROUP_ROWS / 2) + i % (FOURS / 2) * 4;
    uint16_t* to = job.y + static_cast<uint64_t>(i / (FOURS / 2)) * (job.rows / 2) + row;
    const uint2 values = {gated_pair(gate.x, gate.y, up.x, up.y), gated_pair(gate.z, gate.w, up.z, up.w)};
    *reinterpret_cast<uint2*>(to) = values;
  }

  // Both factors are rounded, as they are where a kernel of its own reads them.
  __device__ static __forceinline__ uint32_t gated_pair(float gate0, float gate1, float up0, float up1) {
    return silu_mul(bf16_pair(gate0, gate1), bf16_pair(up0, up1));
  }

  // Adds the residual, and stores the sum, the scaled sum as y, and the squares. Four lanes have a row panel, and the
  // matrix ends with one.
  template <typename SumOf>
  __device__ __forceinline__ void store_with_residual(const SumOf& sum_of) const {
    const ResidualJob& with = job.residual;
    constexpr uint32_t PANEL_FOURS = PANEL_ROWS / 4;
    for (uint32_t i = threadIdx.x; i < job.batch * FOURS; i += SMALL_THREADS) {
      const uint32_t row = group * GROUP_ROWS + i % FOURS * 4, x_row = i / FOURS;
      if (row >= job.rows) continue;
      const uint64_t at = static_cast<uint64_t>(x_row) * job.rows + row;
      // These loads are in flight while partial sums are loaded.
      const uint2 residual = ptx::load_l2(reinterpret_cast<const uint2*>(with.residual + at));
      const uint2 weight = ptx::load_read_only(reinterpret_cast<const uint2*>(with.weight + row));
      const float4 sum = scaled(sum_of(i), x_row);
      uint2 y = {bf16_pair(sum.x, sum.y), bf16_pair(sum.z, sum.w)}, total;
      float squares = add_residual(y.x, residual.x, weight.x, total.x);
      squares += add_residual(y.y, residual.y, weight.y, total.y);
      *reinterpret_cast<uint2*>(with.sum + at) = total;
      *reinterpret_cast<uint2*>(job.y + at) = y;
      const uint32_t panel_lanes = 0xfu << threadIdx.x % WARP / PANEL_FOURS * PANEL_FOURS;
#pragma unroll
      for (uint32_t other = 1; other < PANEL_FOURS; other *= 2) squares += __shfl_xor_sync(panel_lanes, squares, other);
      if (i % PANEL_FOURS == 0)
        with.squares[static_cast<uint64_t>(x_row) * (job.rows / PANEL_ROWS) + row / PANEL_ROWS] = squares;
    }
  }

  // Stores y. `sum_of(i)` returns the sum of four rows of the group and one row of x.
  template <typename SumOf>
  __device__ __forceinline__ void store_all(const SumOf& sum_of) const {
    if (Shape::FUSES && job.residual.sum != nullptr) {
      store_with_residual(sum_of);
    } else if (!Shape::FUSES || job.gated == 0) {
      for (uint32_t i = threadIdx.x; i < job.batch * FOURS; i += SMALL_THREADS) store(i, sum_of(i));
    } else {
      for (uint32_t i = threadIdx.x; i < job.batch * (FOURS / 2); i += SMALL_THREADS) {
        const uint32_t gate = i / (FOURS / 2) * FOURS + i % (FOURS / 2);
        store_gated(i, sum_of(gate), sum_of(gate + FOURS / 2));
      }
    }
  }

  // Partial sums of a block in this group. A block shares at most two groups: its first and its last.
  __device__ __forceinline__ float4* slot_of(uint32_t block) const {
    const bool first = group * schedule.k_tiles <= schedule.start(block);
    return reinterpret_cast<float4*>(job.partials) +
           static_cast<uint64_t>(2 * block + (first ? 0 : 1)) * Shape::BATCH * FOURS;
  }

  // Stores y, by the block itself or by the last block that shares the group. All threads call it after
  // store_split_sums and a barrier.
  __device__ __forceinline__ void finish() const {
    const uint32_t first_block = schedule.block_at(group * schedule.k_tiles);
    const uint32_t last_block = schedule.block_at((group + 1) * schedule.k_tiles - 1);
    if (first_block == last_block) {
      store_all([&](uint32_t i) { return sum_of_splits(i); });
    } else {
      const bool last = store_partials(last_block - first_block);
      if (__syncthreads_or(last)) add_partials(first_block, last_block);
    }
  }

  // Stores the partial sums of this block. Returns, on one thread, whether all other blocks have stored theirs.
  __device__ __forceinline__ bool store_partials(uint32_t other_blocks) const {
    float4* own_slot = slot_of(blockIdx.x);
    for (uint32_t i = threadIdx.x; i < job.batch * FOURS; i += SMALL_THREADS) own_slot[i] = sum_of_splits(i);
    __threadfence();
    __syncthreads();
    bool last = false;
    if (threadIdx.x == 0) {
      last = atomicAdd(job.arrived + group, 1) == other_blocks;
      if (last) job.arrived[group] = 0;
    }
    return last;
  }

  // Adds up the partial sums of all blocks in order, and stores y.
  __device__ __forceinline__ void add_partials(uint32_t first_block, uint32_t last_block) const {
    __threadfence();
    store_all([&](uint32_t i) {
      float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 4
      for (uint32_t block = first_block; block <= last_block; block++) add(sum, __ldcg(slot_of(block) + i));
      return sum;
    });
  }
};

// The kernel. TILES of 8 rows of x; the ring holds STAGES K tiles of a warp, and the same columns of x.
template <typename Weights, uint32_t TILES, uint32_t STAGES>
__device__ __forceinline__ void matmul(const MatmulJob& job, Weights loader) {
  typedef SmallBatchShape<Weights, TILES, STAGES> Shape;
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const uint32_t panel = ptx::opaque(warp % GROUP_PANELS), split = ptx::opaque(warp / GROUP_PANELS);
  const uint32_t g = lane / 4, t = lane % 4;
  uint8_t* const bytes = reinterpret_cast<uint8_t*>(shared);
  const uint32_t ring = opaque_shared_address(bytes + warp * Shape::RING_BYTES + Weights::ring_lane(lane));
  const uint32_t x_ring = opaque_shared_address(bytes + Shape::X_RINGS_AT + split * STAGES * Shape::X_STAGE_BYTES);
  float* split_sums = reinterpret_cast<float*>(bytes + Shape::SUMS_AT);
  const uint32_t x_lane = ptx::opaque(Weights::x_lane(lane));

  const uint32_t k_tiles = job.k_tiles;
  const StreamK schedule(job);
  const uint32_t range_start = schedule.start(blockIdx.x), range_end = schedule.start(blockIdx.x + 1);
  const uint32_t first_group = range_start / k_tiles, last_group = (range_end - 1) / k_tiles;
  // In shared memory, because registers are scarce in the main loop.
  __shared__ uint32_t current_group;
  if (threadIdx.x == 0) current_group = first_group;
  __syncthreads();
  const uint32_t panel_count = (job.rows + PANEL_ROWS - 1) / PANEL_ROWS;
  const auto panel_of = [&](uint32_t group) {
    // Half of the panels are of gate, and half of up.
    if (Shape::FUSES && job.gated != 0)
      return panel / (GROUP_PANELS / 2) * (panel_count / 2) + group * (GROUP_PANELS / 2) + panel % (GROUP_PANELS / 2);
    // Panels after the last are the last one again.
    return min(group * GROUP_PANELS + panel, panel_count - 1);
  };

  // Load. The phase's state is in variables of the kernel. In a structure with methods it cost the planes kernels up to
  // 6 more instructions in the loop over K tiles (CUDA 13.0).
  constexpr uint32_t PIECES = K_TILE_COLUMNS / 8;             // 16-byte pieces of a row of x
  constexpr uint32_t ROWS_TOGETHER = SPLIT_THREADS / PIECES;  // a multiple of 8
  const uint32_t x_row = threadIdx.x % SPLIT_THREADS / PIECES, x_piece = threadIdx.x % PIECES;
  const uint32_t row_pieces = job.columns / 8;
  uint32_t x_from;
  // Swizzle: pieces of a row are permuted by the row's number, so that neither the pieces of a row nor the reads of
  // several rows conflict in banks. (A row stays in 128 bytes: copies take as many cycles as they touch lines of 128
  // bytes.)
  const uint32_t x_to = ptx::opaque(x_ring + x_row * X_ROW_BYTES + (x_piece ^ Weights::x_swizzle(x_row)) * 16);
  // Group of the loads, and K tiles of its work unit that are not loaded yet.
  uint32_t group_ahead, k_tiles_ahead;
  const auto enter = [&](uint32_t group) {
    const WorkUnit ahead = schedule.work_unit(blockIdx.x, group, split);
    group_ahead = group;
    k_tiles_ahead = ahead.end - ahead.k_tile;
    x_from = x_row * row_pieces + x_piece + ahead.k_tile * PIECES;
    loader.enter(panel_of(group), ahead.k_tile, lane);
  };
  const auto load_k_tile = [&](uint32_t to_stage, bool weights, bool x) {
    while (k_tiles_ahead == 0 && group_ahead < last_group) enter(group_ahead + 1);
    if (k_tiles_ahead > 0) {
      if (weights) loader.copy(ring + to_stage * Weights::BYTES);
      if (x) {
#pragma unroll
        for (uint32_t i = 0; i * ROWS_TOGETHER < Shape::BATCH; i++) {
          if (x_row + i * ROWS_TOGETHER < job.batch)
            ptx::copy_async(x_to + to_stage * Shape::X_STAGE_BYTES + i * ROWS_TOGETHER * X_ROW_BYTES,
                            reinterpret_cast<const uint4*>(job.x) + (x_from + i * ROWS_TOGETHER * row_pieces));
        }
      }
      loader.next();
      x_from += PIECES;
      k_tiles_ahead--;
    }
  };
  // The previous launch may still write x, but not weights: the host orders a launch that needs its weights after its
  // end.
  enter(first_group);
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) load_k_tile(stage, true, false);
  WorkUnit own = schedule.work_unit(blockIdx.x, first_group, split);
  loader.load_palette();
  loader.seek(panel_of(own.group), own.k_tile, lane);
  ptx::wait_for_previous_launch();
  ptx::launch_dependents();
  enter(first_group);
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) {
    load_k_tile(stage, false, true);
    ptx::commit_copy_group();
  }
  if (Shape::FUSES && job.scale.squares != nullptr)
    load_scales<SMALL_THREADS>(job.scale, job.batch, job.columns, reinterpret_cast<float*>(bytes + Shape::SCALES_AT));

  PipelineState<STAGES> state;
#pragma unroll 1
  for (;;) {
    float sums[TILES][4] = {};
    multiply_work_unit<Shape>(sums, own, split, lane, SharedAddresses{ring, x_ring, x_lane}, loader, state,
                              [&](uint32_t stage) { load_k_tile(stage, true, true); });

    const uint32_t group = current_group;
    // The next unit's patches are in flight during the epilogue.
    if (group < last_group) {
      own = schedule.work_unit(blockIdx.x, group + 1, split);
      loader.seek(panel_of(own.group), own.k_tile, lane);
    }

    // Epilogue.
    store_split_sums<Shape>(sums, split_sums, split, panel, g, t);
    __syncthreads();
    Epilogue<Shape>{job, schedule, split_sums, group}.finish();
    if (group == last_group) return;
    if (threadIdx.x == 0) current_group = group + 1;
    __syncthreads();
  }
}

}  // namespace unweight::matmul
