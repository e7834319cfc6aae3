// y = x * W^T for at most 64 rows of x. Weights go from device memory through a ring in shared memory into registers, are rebuilt there, and into the
// tensor cores.
//
// The work is a line of units: by groups of 64 rows of W, in each by columns. Every block takes an equal part of the line, so a group may be shared by
// several blocks; and in a block, the columns of its part are shared by four splits of four warps.
// Products are exact, sums are FP32, in this order: within a warp as the tensor core adds 16 columns at a time, from the first on; then the splits', then
// the blocks', in the order of columns, by whichever block comes last. The order depends on the shape and the number of blocks alone.
//
// Preconditions: those of MatmulJob; SMALL_WARPS * 32 threads; `gridDim.x` parts of the line, none empty; dynamic shared memory and partials as in
// `src/matmul/plan.rs`.
//
// Where weights come from is a `Source`'s: what a warp copies of a unit, and how it rebuilds the lane's weights (small_batch_matmul.cu, planes_matmul.cu).
#pragma once
#include "matmul/matmul.cuh"

constexpr uint32_t SMALL_WARPS = 16;
constexpr uint32_t SMALL_THREADS = SMALL_WARPS * WARP;
constexpr uint32_t SPLITS = 4;
// Warps of a split: each has a strip of the group.
constexpr uint32_t GROUP_STRIPS = SMALL_WARPS / SPLITS;
constexpr uint32_t GROUP_ROWS = GROUP_STRIPS * UNIT_ROWS;
constexpr uint32_t SPLIT_THREADS = GROUP_STRIPS * WARP;

// Waits for the warps of a split: barriers 1 and up, as 0 is the block's.
__device__ __forceinline__ void wait_for_split(uint32_t split) { asm volatile("bar.sync %0, %1;" ::"r"(split + 1), "n"(SPLIT_THREADS) : "memory"); }

// The columns of a group that a split sums, in units.
struct Segment {
  uint32_t group;
  uint32_t unit, end;
};

// How the line is divided among blocks.
struct Parts {
  uint32_t part, longer_parts, units;

  __device__ explicit Parts(const MatmulJob& job) : part(job.part), longer_parts(job.longer_parts), units(job.units) {}
  // Where a block's part begins, and the one before it ends.
  __device__ uint32_t start(uint32_t block) const { return block * part + min(block, longer_parts); }
  __device__ uint32_t block_at(uint32_t place) const {
    const uint32_t in_longer = longer_parts * (part + 1);
    return place < in_longer ? place / (part + 1) : longer_parts + (place - in_longer) / part;
  }
  // Of what a block has of a group, the columns that one of its splits sums.
  __device__ Segment segment(uint32_t block, uint32_t group, uint32_t split) const {
    const uint32_t first = max(start(block), group * units), last = min(start(block + 1), (group + 1) * units);
    const uint32_t from = first - group * units, length = last - first;
    return {group, from + length * split / SPLITS, from + length * (split + 1) / SPLITS};
  }
};

// TILES of 8 rows of x. The ring holds STAGES units of a warp, and the same columns of x.
template <typename Source, uint32_t TILES, uint32_t STAGES>
__device__ __forceinline__ void matmul(const MatmulJob& job, Source source) {
  constexpr uint32_t BATCH = TILES * 8;
  constexpr uint32_t RING_BYTES = STAGES * Source::BYTES;
  constexpr uint32_t X_STAGE_BYTES = X_ROW_BYTES * BATCH;
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const uint32_t side = opaque(warp % GROUP_STRIPS), split = opaque(warp / GROUP_STRIPS);
  const uint32_t g = lane / 4, t = lane % 4;
  uint8_t* const bytes = reinterpret_cast<uint8_t*>(shared);
  constexpr uint32_t X_RINGS = SMALL_WARPS * RING_BYTES, SUMS = X_RINGS + SPLITS * STAGES * X_STAGE_BYTES;
  const uint32_t ring = shared_address(bytes + warp * RING_BYTES + Source::ring_lane(lane));
  const uint32_t x_ring = shared_address(bytes + X_RINGS + split * STAGES * X_STAGE_BYTES);
  float* split_sums = reinterpret_cast<float*>(bytes + SUMS);
  const uint32_t x_lane = opaque(Source::x_lane(lane));

  const uint32_t units = job.units;
  const Parts parts(job);
  const uint32_t part_start = parts.start(blockIdx.x), part_end = parts.start(blockIdx.x + 1);
  const uint32_t first_group = part_start / units, last_group = (part_end - 1) / units;
  // In shared memory, as registers are short where units are multiplied.
  __shared__ uint32_t current_group;
  if (threadIdx.x == 0) current_group = first_group;
  __syncthreads();
  const uint32_t strip_count = (job.rows + UNIT_ROWS - 1) / UNIT_ROWS;
  // Rows behind the last are computed like it, and not stored.
  const auto strip_of = [&](uint32_t group) { return min(group * GROUP_STRIPS + side, strip_count - 1); };

  // Loads run ahead of use by STAGES - 1 units, from segment to segment.
  constexpr uint32_t PIECES = UNIT_COLUMNS / 8;  // of 16 bytes, of a row of x
  constexpr uint32_t ROWS_TOGETHER = SPLIT_THREADS / PIECES;  // a multiple of 8
  const uint32_t x_row = threadIdx.x % SPLIT_THREADS / PIECES, x_piece = threadIdx.x % PIECES;
  const uint32_t row_pieces = job.columns / 8;
  uint32_t x_from;
  // Pieces of a row change places with the row's number, so that neither those of a row nor what is read of several rows get into each other's banks. (A row
  // has to stay together: copies into it take as many turns as they touch lines of 128 bytes.)
  const uint32_t x_to = opaque(x_ring + x_row * X_ROW_BYTES + (x_piece ^ Source::x_swizzle(x_row)) * 16);
  // Where loads are, and how many units of it are left.
  uint32_t group_ahead, units_ahead;
  const auto enter = [&](uint32_t group) {
    const Segment ahead = parts.segment(blockIdx.x, group, split);
    group_ahead = group;
    units_ahead = ahead.end - ahead.unit;
    x_from = x_row * row_pieces + x_piece + ahead.unit * PIECES;
    source.enter(strip_of(group), ahead.unit, lane);
  };
  const auto load_unit = [&](uint32_t to_stage, bool weights, bool x) {
    while (units_ahead == 0 && group_ahead < last_group) enter(group_ahead + 1);
    if (units_ahead > 0) {
      if (weights) source.copy(ring + to_stage * Source::BYTES);
      if (x) {
#pragma unroll
        for (uint32_t i = 0; i * ROWS_TOGETHER < BATCH; i++) {
          if (x_row + i * ROWS_TOGETHER < job.batch)
            copy_async(x_to + to_stage * X_STAGE_BYTES + i * ROWS_TOGETHER * X_ROW_BYTES,
                reinterpret_cast<const uint4*>(job.x) + (x_from + i * ROWS_TOGETHER * row_pieces));
        }
      }
      source.next();
      x_from += PIECES;
      units_ahead--;
    }
  };
  // Weights are there whatever the launch before this one still does: where they are not, it is launched behind that one's end.
  let_next_launch_begin();
  enter(first_group);
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) load_unit(stage, true, false);
  Segment own = parts.segment(blockIdx.x, first_group, split);
  source.seek(strip_of(own.group), own.unit, lane);
  wait_for_launch_before();
  enter(first_group);
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) {
    load_unit(stage, false, true);
    copies_together();
  }

  uint32_t stage = 0;
#pragma unroll 1
  for (;;) {
    float sums[TILES][4] = {};
    source.begin(own.unit);
    const uint32_t end = opaque(own.end);
#pragma unroll 1
    for (uint32_t unit = own.unit; unit < end; unit++) {
      copies_done_but<STAGES - 2>();
      wait_for_split(split);
      // Into the stage whose unit all warps of the split have used.
      load_unit(stage == 0 ? STAGES - 1 : stage - 1, true, true);
      copies_together();
      const UnitWeights weights = source.rebuilt(ring + stage * Source::BYTES, unit, lane);
      const uint32_t x_stage = x_ring + stage * X_STAGE_BYTES;
#pragma unroll
      for (uint32_t half = 0; half < 2; half++)
#pragma unroll
        for (uint32_t tile = 0; tile < TILES; tile++) {
          const uint4 x = Source::load_x(x_stage + tile * 8 * X_ROW_BYTES, x_lane, half);
          multiply(sums[tile], weights.pairs + half * 2 * STEP_PAIRS, x.x, x.y);
          multiply(sums[tile], weights.pairs + (half * 2 + 1) * STEP_PAIRS, x.z, x.w);
        }
      stage = stage + 1 == STAGES ? 0 : stage + 1;
    }

    const uint32_t group = current_group;
    // The next group's are on their way while sums are added up.
    if (group < last_group) {
      own = parts.segment(blockIdx.x, group + 1, split);
      source.seek(strip_of(own.group), own.unit, lane);
    }

    // [split][row of x][row of the group]; the last four of a row keep threads out of each other's banks.
    constexpr uint32_t PITCH = GROUP_ROWS + 4;
#pragma unroll
    for (uint32_t tile = 0; tile < TILES; tile++)
#pragma unroll
      for (uint32_t i = 0; i < 4; i++)
        split_sums[(split * BATCH + tile * 8 + 2 * t + i % 2) * PITCH + side * UNIT_ROWS + g + i / 2 * 8] = sums[tile][i];
    __syncthreads();
    // Four rows at a time.
    const auto at_four = [&](uint32_t i) { return i / (GROUP_ROWS / 4) * PITCH + i % (GROUP_ROWS / 4) * 4; };
    const auto sum_of_splits = [&](uint32_t i) {
      float4 sum = *reinterpret_cast<const float4*>(split_sums + at_four(i));
#pragma unroll
      for (uint32_t other = 1; other < SPLITS; other++) add(sum, *reinterpret_cast<const float4*>(split_sums + other * BATCH * PITCH + at_four(i)));
      return sum;
    };
    const auto store = [&](uint32_t i, const float4& sum) {
      const uint32_t row = group * GROUP_ROWS + i % (GROUP_ROWS / 4) * 4;
      uint16_t* to = job.y + static_cast<uint64_t>(i / (GROUP_ROWS / 4)) * job.rows + row;
      if (row < job.rows) to[0] = to_bf16(sum.x);
      if (row + 1 < job.rows) to[1] = to_bf16(sum.y);
      if (row + 2 < job.rows) to[2] = to_bf16(sum.z);
      if (row + 3 < job.rows) to[3] = to_bf16(sum.w);
    };
    const uint32_t count = job.batch * (GROUP_ROWS / 4);
    const uint32_t first_block = parts.block_at(group * units), last_block = parts.block_at((group + 1) * units - 1);
    if (first_block == last_block) {
      for (uint32_t i = threadIdx.x; i < count; i += SMALL_THREADS) store(i, sum_of_splits(i));
    } else {
      // A block has at most two groups that it shares: its first, and its last.
      const auto slot_of = [&](uint32_t block) {
        const bool first = group * units <= parts.start(block);
        return reinterpret_cast<float4*>(job.partials) + static_cast<uint64_t>(2 * block + (first ? 0 : 1)) * BATCH * (GROUP_ROWS / 4);
      };
      float4* own_slot = slot_of(blockIdx.x);
      for (uint32_t i = threadIdx.x; i < count; i += SMALL_THREADS) own_slot[i] = sum_of_splits(i);
      __threadfence();
      __syncthreads();
      bool last = false;
      if (threadIdx.x == 0) {
        last = atomicAdd(job.arrived + group, 1) == last_block - first_block;
        if (last) job.arrived[group] = 0;
      }
      if (__syncthreads_or(last)) {
        __threadfence();
        for (uint32_t i = threadIdx.x; i < count; i += SMALL_THREADS) {
          float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 4
          for (uint32_t block = first_block; block <= last_block; block++) add(sum, __ldcg(slot_of(block) + i));
          store(i, sum);
        }
      }
    }
    if (group == last_group) return;
    if (threadIdx.x == 0) current_group = group + 1;
    __syncthreads();
  }
}
