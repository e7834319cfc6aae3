// y = x * W^T for slots that are sorted by expert (abi/grouped_jobs.cuh), each with the W of its expert in fragment
// form: mixture of experts. An expert without slots costs nothing.
//
// Output tiles: a tile of slots, and a panel group of its expert, which is 64 rows of W. Output tiles are numbered by
// expert, then by panel group, then by tile of slots, so that blocks that run at the same time share weights.
//
// Data layout, shared memory: as in small_batch.cuh, and after the sums, for each row of the tile, its slot and scale.
// Threads, registers: as in small_batch.cuh.
//
// Schedule: K tiles of all output tiles, in order, are divided into one range for each block, as in stream_k.cuh.
// Blocks compute the division, because the host does not know the number of tiles. Ranges consist of whole output tiles
// where that is not much longer. The order of sums is that of small_batch.cuh; it depends on the experts of all slots
// and the number of blocks.
//
// Phases: as in small_batch.cuh; then zeros for absent slots.
// Preconditions: those of GroupedMatmulJob; SMALL_THREADS threads; `blocks` blocks; `partials` with two slots of
// tile_rows * GROUP_ROWS floats, and `arrived` with one word, for each block.
// Tail: row panels after the expert's last are computed like it, and not stored. Rows of a tile without a slot are not
// loaded, and their sums not stored.
#include "matmul/grouped.cuh"

namespace unweight::matmul {

// K tiles that take as long as it takes blocks to add up an output tile that they share.
constexpr uint32_t SHARING_TILES = 6;

// Ranges of K tiles in the sequence of all output tiles. A range is a number of units: K tiles, or whole output tiles.
struct Ranges {
  uint32_t unit, units, longer, k_tiles;

  __device__ __forceinline__ Ranges(const GroupedMatmulJob& job, uint32_t output_tiles) : k_tiles(job.k_tiles) {
    const uint32_t all = output_tiles * k_tiles;
    const uint32_t whole = (output_tiles + job.blocks - 1) / job.blocks * k_tiles;
    const uint32_t shared = (all + job.blocks - 1) / job.blocks + SHARING_TILES;
    unit = whole <= shared ? k_tiles : 1;
    const uint32_t count = whole <= shared ? output_tiles : all;
    units = count / job.blocks;
    longer = count - units * job.blocks;
  }
  // Start of a block's range, and end of the one before it.
  __device__ __forceinline__ uint32_t start(uint32_t block) const {
    return (block * units + min(block, longer)) * unit;
  }
  // The block whose range has this K tile of the sequence.
  __device__ __forceinline__ uint32_t block_at(uint32_t k_tile) const {
    const uint32_t number = k_tile / unit, in_longer = longer * (units + 1);
    return number < in_longer ? number / (units + 1) : longer + (number - in_longer) / units;
  }
  // The K range of an output tile that one split of a block sums.
  __device__ __forceinline__ WorkUnit work_unit(uint32_t block, uint32_t output_tile, uint32_t split) const {
    const uint32_t first = max(start(block), output_tile * k_tiles);
    const uint32_t last = min(start(block + 1), (output_tile + 1) * k_tiles);
    const uint32_t from = first - output_tile * k_tiles, length = last - first;
    return {output_tile, from + length * split / SPLITS, from + length * (split + 1) / SPLITS};
  }
};

// A panel group of an expert, for a tile of slots.
struct OutputTile {
  SlotTile slots;
  uint32_t group;
};

// The output tile of this number.
template <uint32_t TILE_ROWS>
__device__ __forceinline__ OutputTile output_tile(const Routing& routing, uint32_t groups, uint32_t number) {
  const Record record = routing.record_of(number / groups);
  const uint32_t of_expert = number - record.first_tile * groups;
  const uint32_t tiles = max((record.slots + TILE_ROWS - 1) / TILE_ROWS, 1);
  return {routing.tile_of<TILE_ROWS>(record, of_expert % tiles), min(of_expert / tiles, groups - 1)};
}

// Multiply: as multiply_work_unit, for a tile of at most TILES * 8 rows, with no more tensor-core instructions than its
// rows need.
template <typename Shape, typename Weights, uint32_t TILES, uint32_t ALL_TILES, typename LoadStage>
__device__ __forceinline__ void multiply_rows(float (&sums)[ALL_TILES][4], uint32_t rows, const WorkUnit& unit,
                                              uint32_t split, uint32_t lane, const SharedAddresses& at,
                                              Weights& weights, PipelineState<Shape::STAGES>& state,
                                              const LoadStage& load_stage) {
  if constexpr (TILES > 1 && TILES < 8) {
    if (rows <= TILES * 4) {
      multiply_rows<Shape, Weights, TILES / 2>(sums, rows, unit, split, lane, at, weights, state, load_stage);
      return;
    }
  }
  float of_tiles[TILES][4] = {};
  multiply_work_unit<Shape>(of_tiles, unit, split, lane, at, weights, state, load_stage);
#pragma unroll
  for (uint32_t tile = 0; tile < TILES; tile++)
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) sums[tile][i] = of_tiles[tile][i];
}

// Slots and scales of the rows of a tile, in shared memory.
struct TileRows {
  uint32_t* slots;
  float* scales;
};

// Epilogue: adds up the splits, and the blocks that share an output tile, and stores y. A number `i` stands for four
// rows of the group and one row of the tile.
template <typename Shape>
struct GroupedEpilogue {
  static constexpr uint32_t FOURS = GROUP_ROWS / 4;  // of one row of the tile
  const GroupedMatmulJob& job;
  const Ranges& ranges;
  const float* split_sums;
  const TileRows& tile_rows;
  const OutputTile& tile;
  const uint32_t number;  // of the output tile

  __device__ static __forceinline__ uint32_t at_four(uint32_t i) { return i / FOURS * Shape::PITCH + i % FOURS * 4; }

  __device__ __forceinline__ float4 sum_of_splits(uint32_t i) const {
    float4 sum = *reinterpret_cast<const float4*>(split_sums + at_four(i));
#pragma unroll
    for (uint32_t other = 1; other < SPLITS; other++)
      add(sum, *reinterpret_cast<const float4*>(split_sums + other * Shape::BATCH * Shape::PITCH + at_four(i)));
    return sum;
  }

  __device__ __forceinline__ void store(uint32_t i, const float4& sum) const {
    const uint32_t row = tile.group * GROUP_ROWS + i % FOURS * 4, slot = tile_rows.slots[i / FOURS];
    if (row >= job.rows || slot == NO_SLOT) return;
    const float scale = tile_rows.scales[i / FOURS];
    const uint32_t low = ptx::to_bf16(sum.x * scale) | static_cast<uint32_t>(ptx::to_bf16(sum.y * scale)) << 16;
    const uint32_t high = ptx::to_bf16(sum.z * scale) | static_cast<uint32_t>(ptx::to_bf16(sum.w * scale)) << 16;
    *reinterpret_cast<uint2*>(job.y + static_cast<uint64_t>(slot) * job.rows + row) = make_uint2(low, high);
  }

  // Partial sums of a block in this output tile. A block shares at most two: its first and its last.
  __device__ __forceinline__ float4* slot_of(uint32_t block) const {
    const bool first = number * ranges.k_tiles <= ranges.start(block);
    return reinterpret_cast<float4*>(job.partials) +
           static_cast<uint64_t>(2 * block + (first ? 0 : 1)) * Shape::BATCH * FOURS;
  }

  // Stores y, by the block itself or by the last block that shares the output tile. All threads call it after
  // store_split_sums and a barrier. `flag` is a word of shared memory.
  __device__ __forceinline__ void finish(uint32_t* flag) const {
    const uint32_t count = tile.slots.rows * FOURS;
    if (ranges.start(blockIdx.x) <= number * ranges.k_tiles &&
        ranges.start(blockIdx.x + 1) >= (number + 1) * ranges.k_tiles) {
      for (uint32_t i = threadIdx.x; i < count; i += SMALL_THREADS) store(i, sum_of_splits(i));
      return;
    }
    const uint32_t first_block = ranges.block_at(number * ranges.k_tiles);
    const uint32_t last_block = ranges.block_at((number + 1) * ranges.k_tiles - 1);
    float4* own_slot = slot_of(blockIdx.x);
    for (uint32_t i = threadIdx.x; i < count; i += SMALL_THREADS) own_slot[i] = sum_of_splits(i);
    __threadfence();
    __syncthreads();
    // A block begins at most one output tile that others continue, so its number is the counter's.
    if (threadIdx.x == 0) {
      const bool last = atomicAdd(job.arrived + first_block, 1u) == last_block - first_block;
      if (last) job.arrived[first_block] = 0;
      *flag = last;
    }
    __syncthreads();
    if (*flag) add_partials(count, first_block, last_block);
  }

  // Adds up the partial sums of all blocks in order, and stores y.
  __device__ __forceinline__ void add_partials(uint32_t count, uint32_t first_block, uint32_t last_block) const {
    __threadfence();
    for (uint32_t i = threadIdx.x; i < count; i += SMALL_THREADS) {
      float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 4
      for (uint32_t block = first_block; block <= last_block; block++) add(sum, __ldcg(slot_of(block) + i));
      store(i, sum);
    }
  }
};

// The kernel. TILES of 8 slots; the ring holds STAGES K tiles of a warp, and the same columns of x.
template <typename Palette, uint32_t TILES, uint32_t STAGES>
__device__ __forceinline__ void grouped_matmul(const GroupedMatmulJob& job) {
  typedef ExpertTiles<Palette> Weights;
  typedef SmallBatchShape<Weights, TILES, STAGES> Shape;
  constexpr uint32_t TILE_ROWS = Shape::BATCH;
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const uint32_t panel = ptx::opaque(warp % GROUP_PANELS), split = ptx::opaque(warp / GROUP_PANELS);
  const uint32_t g = lane / 4, t = lane % 4;
  uint8_t* const bytes = reinterpret_cast<uint8_t*>(shared);
  const uint32_t ring = opaque_shared_address(bytes + warp * Shape::RING_BYTES + Weights::ring_lane(lane));
  const uint32_t x_ring = opaque_shared_address(bytes + Shape::X_RINGS_AT + split * STAGES * Shape::X_STAGE_BYTES);
  float* split_sums = reinterpret_cast<float*>(bytes + Shape::SUMS_AT);
  float* const after_sums = split_sums + SPLITS * TILE_ROWS * Shape::PITCH;
  const TileRows tile_rows{reinterpret_cast<uint32_t*>(after_sums), after_sums + TILE_ROWS};
  // Whether this block adds up an output tile, and the number of the present one. Not in registers, which are scarce in
  // the main loop.
  uint32_t* const flag = reinterpret_cast<uint32_t*>(after_sums + 2 * TILE_ROWS) + Routing::SHARED_BYTES / 4;
  uint32_t* const current = flag + 1;
  const uint32_t x_lane = ptx::opaque(Weights::x_lane(lane));
  Weights loader(job);

  ptx::wait_for_previous_launch();
  ptx::launch_dependents();
  loader.load_palette();
  const Routing routing(job, reinterpret_cast<uint4*>(after_sums + 2 * TILE_ROWS));
  const uint32_t groups = (job.rows + GROUP_ROWS - 1) / GROUP_ROWS;
  const Ranges ranges(job, routing.tiles * groups);
  routing.clear_absent<TILE_ROWS>();
  const uint32_t range_start = ranges.start(blockIdx.x), range_end = ranges.start(blockIdx.x + 1);
  if (range_start == range_end) return;
  const uint32_t first = range_start / ranges.k_tiles, last = (range_end - 1) / ranges.k_tiles;

  const uint32_t panel_count = job.rows / PANEL_ROWS;
  // Panels after the expert's last are the last one again.
  const auto panel_of = [&](const OutputTile& tile) {
    return tile.slots.expert * panel_count + min(tile.group * GROUP_PANELS + panel, panel_count - 1);
  };

  // Load.
  constexpr uint32_t PIECES = K_TILE_COLUMNS / 8;             // 16-byte pieces of a row of x
  constexpr uint32_t ROWS_TOGETHER = SPLIT_THREADS / PIECES;  // a multiple of 8
  constexpr uint32_t LOADED_ROWS = (TILE_ROWS + ROWS_TOGETHER - 1) / ROWS_TOGETHER;
  const uint32_t x_row = threadIdx.x % SPLIT_THREADS / PIECES, x_piece = threadIdx.x % PIECES;
  const uint32_t x_to = ptx::opaque(x_ring + x_row * X_ROW_BYTES + (x_piece ^ Weights::x_swizzle(x_row)) * 16);
  // The output tile of the loads, and K tiles of its work unit that are not loaded yet.
  uint32_t number_ahead, k_tiles_ahead;
  uint32_t x_column;             // piece of the row
  uint32_t x_from[LOADED_ROWS];  // the row's first piece; NO_SLOT for none
  const auto enter = [&](uint32_t number, bool rows) {
    const WorkUnit ahead = ranges.work_unit(blockIdx.x, number, split);
    const OutputTile tile = output_tile<TILE_ROWS>(routing, groups, number);
    number_ahead = number;
    k_tiles_ahead = ahead.end - ahead.k_tile;
    x_column = x_piece + ahead.k_tile * PIECES;
    loader.enter(panel_of(tile), ahead.k_tile, lane);
    if (rows) {
#pragma unroll
      for (uint32_t i = 0; i < LOADED_ROWS; i++) {
        const uint32_t row = x_row + i * ROWS_TOGETHER;
        const uint32_t slot = row < tile.slots.rows ? routing.slot<TILE_ROWS>(tile.slots.number, row) : NO_SLOT;
        x_from[i] = slot == NO_SLOT ? NO_SLOT : slot / job.slots_of_x * (job.k_tiles * PIECES);
      }
    }
  };
  const auto load_k_tile = [&](uint32_t to_stage, bool weights, bool x) {
    while (k_tiles_ahead == 0 && number_ahead < last) enter(number_ahead + 1, x);
    if (k_tiles_ahead > 0) {
      if (weights) loader.copy(ring + to_stage * Weights::BYTES);
      if (x) {
#pragma unroll
        for (uint32_t i = 0; i < LOADED_ROWS; i++) {
          if (x_from[i] != NO_SLOT)
            ptx::copy_async(x_to + to_stage * Shape::X_STAGE_BYTES + i * ROWS_TOGETHER * X_ROW_BYTES,
                            reinterpret_cast<const uint4*>(job.x) + (x_from[i] + x_column));
        }
      }
      loader.next();
      x_column += PIECES;
      k_tiles_ahead--;
    }
  };
  // Begins an output tile: the loads of where its patches are, and of the slot and scale of a row.
  WorkUnit own;
  uint32_t own_rows;
  const auto begin = [&](uint32_t number) {
    own = ranges.work_unit(blockIdx.x, number, split);
    const OutputTile tile = output_tile<TILE_ROWS>(routing, groups, number);
    own_rows = tile.slots.rows;
    loader.patches.open(panel_of(tile));
  };
  if (threadIdx.x == 0) *current = first;
  // The loads that others wait for come first, as they take longer behind weights.
  begin(first);
  enter(first, false);
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) load_k_tile(stage, true, false);
  enter(first, true);
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) {
    load_k_tile(stage, false, true);
    ptx::commit_copy_group();
  }
  loader.patches.seek(own.k_tile, lane);

  PipelineState<STAGES> state;
#pragma unroll 1
  for (;;) {
    float sums[TILES][4] = {};
    multiply_rows<Shape, Weights, TILES>(sums, own_rows, own, split, lane, SharedAddresses{ring, x_ring, x_lane},
                                         loader, state, [&](uint32_t stage) { load_k_tile(stage, true, true); });

    // Epilogue.
    store_split_sums<Shape>(sums, split_sums, split, panel, g, t);
    const uint32_t number = *current;
    const OutputTile tile = output_tile<TILE_ROWS>(routing, groups, number);
    if (threadIdx.x < TILE_ROWS) {
      tile_rows.slots[threadIdx.x] = routing.slot<TILE_ROWS>(tile.slots.number, threadIdx.x);
      tile_rows.scales[threadIdx.x] = routing.scale<TILE_ROWS>(tile.slots.number, threadIdx.x);
    }
    __syncthreads();
    // The next output tile's patches are in flight during the epilogue.
    if (number != last) {
      begin(number + 1);
      loader.patches.seek(own.k_tile, lane);
    }
    GroupedEpilogue<Shape>{job, ranges, split_sums, tile_rows, tile, number}.finish(flag);
    if (number == last) return;
    __syncthreads();
    if (threadIdx.x == 0) *current = number + 1;
  }
}

// Two blocks of the smallest kernel fit the shared memory of a multiprocessor from compute capability 9.0 on.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define BLOCKS_OF_8 2
#else
#define BLOCKS_OF_8 1
#endif

#define GROUPED(rows, stages, consecutive_blocks, any_blocks)                             \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, consecutive_blocks)         \
      grouped_matmul_##rows##_consecutive(const __grid_constant__ GroupedMatmulJob job) { \
    grouped_matmul<ConsecutivePalette, rows / 8, stages>(job);                            \
  }                                                                                       \
  extern "C" __global__ void __launch_bounds__(SMALL_THREADS, any_blocks)                 \
      grouped_matmul_##rows##_any(const __grid_constant__ GroupedMatmulJob job) {         \
    grouped_matmul<AnyPalette, rows / 8, stages>(job);                                    \
  }
GROUPED(8, 3, BLOCKS_OF_8, 1)
GROUPED(16, 4, 1, 1)
GROUPED(32, 3, 1, 1)
GROUPED(64, 2, 1, 1)

}  // namespace unweight::matmul
