// y = x * W^T for slots that are sorted by expert, as grouped_matmul.cu, where x of a tile of slots fits in shared
// memory: for experts with few columns.
//
// Data layout, shared memory:
//
//   rings of weights    8 warps | STAGES stages | a K tile
//   x of a tile         for each K tile, TILES * 8 rows of 128 bytes, swizzled
//
// Threads: 8 warps. A warp has a row panel of the expert at a time, and all of its columns. Its lanes hold sums as in
// small_batch.cuh.
//
// Schedule: row panels of all tiles, in order, are divided into one range for each block, and in a range among the
// warps in turns. Warps wait for each other only where the tile of slots changes. Products are exact, sums are FP32,
// from the first column on, as tensor cores add 16 columns at a time: a result depends on nothing but its row of x and
// of W.
//
// Phases:
//   load      K tiles to the warp's ring, ahead of use by STAGES - 1 K tiles, from row panel to row panel
//   x         rows of the tile of slots, by all warps
//   multiply  wait for a stage, load a free one, rebuild weights, MMA
//   store     y, from registers
//
// Preconditions: those of GroupedMatmulJob; PANEL_THREADS threads; `blocks` blocks. `partials` and `arrived` are not
// used.
// Tail: rows of a tile without a slot are not loaded, and their sums not stored.
#include "matmul/grouped.cuh"

namespace unweight::matmul {

constexpr uint32_t PANEL_WARPS = 8;
constexpr uint32_t PANEL_THREADS = PANEL_WARPS * WARP;

template <typename Palette, uint32_t TILES, uint32_t STAGES>
__device__ __forceinline__ void grouped_panels(const GroupedMatmulJob& job) {
  typedef ExpertTiles<Palette> Weights;
  constexpr uint32_t TILE_ROWS = TILES * 8;
  constexpr uint32_t RING_BYTES = STAGES * Weights::BYTES;
  constexpr uint32_t X_TILE_BYTES = TILE_ROWS * X_ROW_BYTES;
  constexpr uint32_t PIECES = K_TILE_COLUMNS / 8;  // 16-byte pieces of a row of x in a K tile
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const uint32_t g = lane / 4, t = lane % 4;
  uint8_t* const bytes = reinterpret_cast<uint8_t*>(shared);
  const uint32_t ring = opaque_shared_address(bytes + warp * RING_BYTES + Weights::ring_lane(lane));
  const uint32_t x_at = opaque_shared_address(bytes + PANEL_WARPS * RING_BYTES);
  const uint32_t x_lane = Weights::x_lane(lane);
  Weights loader(job);

  ptx::wait_for_previous_launch();
  ptx::launch_dependents();
  loader.load_palette();
  const Routing routing(job, reinterpret_cast<uint4*>(bytes + PANEL_WARPS * RING_BYTES + job.k_tiles * X_TILE_BYTES));
  routing.clear_absent<TILE_ROWS>();
  const uint32_t panels = job.rows / PANEL_ROWS, all = routing.tiles * panels;
  const uint32_t of_block = all / job.blocks, longer = all % job.blocks;
  const uint32_t start = blockIdx.x * of_block + min(blockIdx.x, longer);
  const uint32_t end = start + of_block + (blockIdx.x < longer ? 1 : 0);
  if (start == end) return;

  const auto tile_of = [&](uint32_t tile) {
    const Record record = routing.record_of(tile);
    return routing.tile_of<TILE_ROWS>(record, tile - record.first_tile);
  };

  // Load. Row panel of the loads in the sequence, and K tiles of it that are not loaded yet.
  uint32_t ahead = start + warp, k_tiles_ahead = 0;
  const auto enter = [&] {
    if (ahead >= end) return;
    loader.enter(tile_of(ahead / panels).expert * panels + ahead % panels, 0, lane);
    k_tiles_ahead = job.k_tiles;
  };
  const auto load_k_tile = [&](uint32_t stage) {
    if (k_tiles_ahead > 0) {
      loader.copy(ring + stage * Weights::BYTES);
      loader.next();
      if (--k_tiles_ahead == 0) {
        ahead += PANEL_WARPS;
        enter();
      }
    }
    ptx::commit_copy_group();
  };

  // Row panel that is multiplied next. The loads that others wait for come first, as they take longer behind weights.
  uint32_t own = start + warp;
  const auto open_patches = [&] {
    if (own < end) loader.patches.open(tile_of(own / panels).expert * panels + own % panels);
  };
  open_patches();
  const uint32_t row = threadIdx.x / PIECES % TILE_ROWS;  // of x, for this thread to copy
  uint32_t slot = routing.slot<TILE_ROWS>(start / panels, row);
  enter();
#pragma unroll 1
  for (uint32_t stage = 0; stage + 1 < STAGES; stage++) load_k_tile(stage);

  PipelineState<STAGES> state;
#pragma unroll 1
  for (uint32_t number = start / panels; number * panels < end; number++) {
    const SlotTile tile = tile_of(number);
    // Slots and scales of the lane's rows.
    uint32_t slots[TILES][2];
    float scales[TILES][2];
#pragma unroll
    for (uint32_t i = 0; i < TILES; i++)
#pragma unroll
      for (uint32_t odd = 0; odd < 2; odd++) {
        slots[i][odd] = routing.slot<TILE_ROWS>(tile.number, i * 8 + 2 * t + odd);
        scales[i][odd] = routing.scale<TILE_ROWS>(tile.number, i * 8 + 2 * t + odd);
      }

    // x. A thread copies pieces of one row.
    __syncthreads();
    const uint32_t piece = threadIdx.x % PIECES;
    if (row < tile.rows && slot != NO_SLOT) {
      const uint4* const from = reinterpret_cast<const uint4*>(job.x) +
                                static_cast<uint64_t>(slot / job.slots_of_x) * job.k_tiles * PIECES + piece;
      const uint32_t to = x_at + row * X_ROW_BYTES + (piece ^ Weights::x_swizzle(row)) * 16;
      for (uint32_t k_tile = threadIdx.x / (PIECES * TILE_ROWS); k_tile < job.k_tiles;
           k_tile += PANEL_THREADS / (PIECES * TILE_ROWS))
        ptx::copy_async(to + k_tile * X_TILE_BYTES, from + k_tile * PIECES);
    }
    ptx::commit_copy_group();
    slot = routing.slot<TILE_ROWS>(min(number + 1, routing.tiles - 1), row);
    const uint32_t tile_end = min(end, (number + 1) * panels);
    bool is_waited = false;
    const auto wait_for_x = [&] {
      if (is_waited) return;
      ptx::wait_copies();
      __syncthreads();
      is_waited = true;
    };

#pragma unroll 1
    while (own < tile_end) {
      const uint32_t panel = own % panels;
      loader.patches.seek(0, lane);
      wait_for_x();
      loader.begin(0);
      float sums[TILES][4] = {};
#pragma unroll 1
      for (uint32_t k_tile = 0; k_tile < job.k_tiles; k_tile++) {
        // A lane reads the bytes that it copied, so the warp needs no barrier.
        ptx::wait_copy_groups<STAGES - 2>();
        load_k_tile(state.released());
        const TileWeights weights = loader.rebuild(ring + state.stage * Weights::BYTES, k_tile, lane);
        multiply_k_tile<Weights>(sums, weights, x_at + k_tile * X_TILE_BYTES, x_lane);
        state.advance();
      }
      own += PANEL_WARPS;
      open_patches();
      // Store.
#pragma unroll
      for (uint32_t i = 0; i < TILES; i++)
#pragma unroll
        for (uint32_t odd = 0; odd < 2; odd++) {
          if (i * 8 + 2 * t + odd >= tile.rows || slots[i][odd] == NO_SLOT) continue;
          uint16_t* const to = job.y + static_cast<uint64_t>(slots[i][odd]) * job.rows + panel * PANEL_ROWS + g;
          to[0] = ptx::to_bf16(sums[i][odd] * scales[i][odd]);
          to[PANEL_ROWS / 2] = ptx::to_bf16(sums[i][2 + odd] * scales[i][odd]);
        }
    }
    wait_for_x();
  }
}

#define PANELS(rows, stages, consecutive_blocks, any_blocks)                              \
  extern "C" __global__ void __launch_bounds__(PANEL_THREADS, consecutive_blocks)         \
      grouped_panels_##rows##_consecutive(const __grid_constant__ GroupedMatmulJob job) { \
    grouped_panels<ConsecutivePalette, rows / 8, stages>(job);                            \
  }                                                                                       \
  extern "C" __global__ void __launch_bounds__(PANEL_THREADS, any_blocks)                 \
      grouped_panels_##rows##_any(const __grid_constant__ GroupedMatmulJob job) {         \
    grouped_panels<AnyPalette, rows / 8, stages>(job);                                    \
  }
PANELS(8, 3, 4, 3)
PANELS(16, 4, 2, 2)

}  // namespace unweight::matmul
