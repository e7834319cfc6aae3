// y = x * W^T for large batches, W in fragment form, by WGMMA of Hopper (sm_90a). Products are exact, sums are FP32.
//
// Data layout. An output tile is PANELS row panels of W and TILE rows of x. Shared memory is a ring of STAGES stages,
// each with the rows of x and the K tiles of W of one K step:
//
//   ring           | x of each stage: TILE rows of 128 bytes, swizzled | W of each stage: PANELS K tiles |
//   after it       | buffers of stores, one for each consumer warp | barriers, full and empty | work units | scales |
//
// Threads. Warp-specialized: 8 consumer warps, one for each row panel, then 4 producer warps. One thread of each
// producer warp issues copies. Consumer warps rebuild the weights of the next K tile in registers while the tensor
// cores multiply those of the current one.
//
// Schedule (stream-K with whole tiles). Blocks first have whole output tiles, one after the other. The K tiles of the
// remaining output tiles are one sequence, which is divided into a range for each block, shorter than an output tile:
// the end of one tile, the beginning of the next, or some between. A block that does not begin an output tile stores
// its partial sums; the block that begins the tile waits for them and adds them to its own. It waits only for blocks of
// lower numbers, which start before it. So all blocks end, however many run at a time.
//
// In a gated matmul, half of an output tile's row panels are of gate and half of up, and two warps with the same rows
// of both share their sums. norm.cuh has the norm between two matmuls.
//
// Order of sums. A sum runs over a range's columns in order, 16 at a time, as tensor cores add them; then over the
// ranges in order. So a result depends on the shape, the batch and the number of blocks that the device runs, but not
// on timing.
//
// Shared memory: LargeBatchMatmul::SHARED_BYTES. Registers: 232 for consumers, 40 for producers.
// Preconditions: columns are a multiple of K_TILE_COLUMNS, rows of 8; weights, x and y are 16-byte aligned; any batch.
// `stream_k_tiles` are the K tiles of all output tiles after the first `whole_tiles`. The ranges are not empty, not
// longer than an output tile, and not more than the blocks. `partials` has TILE * PANELS * PANEL_ROWS sums for each
// range, `arrived` PANELS counters for each divided output tile. Blocks have THREADS threads.
// Tail: row panels after the last are computed like it, and not stored. Rows of x after the last are zeros, and not
// stored.
#include "matmul/norm.cuh"
#include "matmul/patches.cuh"
#include "ptx/hopper.cuh"
#include "ptx/memory.cuh"
#include "ptx/mma.cuh"
#include "ptx/wgmma.cuh"

namespace unweight::matmul {

// Twin of `LargeMatmulJob` in `src/job.rs`. Both sides assert the layout.
struct LargeMatmulJob {
  ptx::TensorMap x;  // `batch` rows of `columns`, in boxes of TILE rows of K_TILE_COLUMNS; rows of 128 bytes, swizzled
  MatmulJob matmul;  // `x`, `range_tiles` and `longer_ranges` are not used
  uint32_t whole_tiles;     // output tiles that are one block's each
  uint32_t stream_k_tiles;  // K tiles of the other output tiles
  uint32_t ranges;          // ranges that these are divided into
};
static_assert(offsetof(LargeMatmulJob, x) == 0);
static_assert(offsetof(LargeMatmulJob, matmul) == 128);
static_assert(offsetof(LargeMatmulJob, whole_tiles) == 280);
static_assert(offsetof(LargeMatmulJob, stream_k_tiles) == 284);
static_assert(offsetof(LargeMatmulJob, ranges) == 288);
static_assert(sizeof(LargeMatmulJob) == 384);

constexpr uint32_t PANELS = 8;
constexpr uint32_t CONSUMER_WARPS = PANELS;
// Row panels of gate in an output tile of a gated matmul. The others are of up.
constexpr uint32_t GATE_PANELS = PANELS / 2;
constexpr uint32_t CONSUMER_THREADS = CONSUMER_WARPS * WARP;
// Four, because registers are allocated to four warps together.
constexpr uint32_t PRODUCER_WARPS = 4;
constexpr uint32_t THREADS = CONSUMER_THREADS + PRODUCER_WARPS * WARP;
// Producers give registers to consumers.
constexpr uint32_t PRODUCER_REGISTERS = 40;
constexpr uint32_t CONSUMER_REGISTERS = 232;
// Stages whose weights are copied before x may be read. Not the whole ring, because x would come after all its weights.
constexpr uint32_t EARLY_STAGES = 2;
constexpr uint32_t X_ROW_BYTES = K_TILE_COLUMNS * 2;
// Named barriers: of the consumers, and of the two warps with the same rows of gate and up.
constexpr uint32_t SCALES_BARRIER = 1;
constexpr uint32_t GATE_BARRIERS = 2;

// K tiles of an output tile that a block sums.
struct WorkUnit {
  uint32_t tile;         // output tile
  uint32_t first, last;  // K tiles; `last` is 0 in an empty unit
  uint32_t others;       // ranges that have the K tiles after these, if the block begins the output tile
};

__device__ __forceinline__ void store_work_unit(uint32_t to, const WorkUnit& unit) {
  ptx::store_shared_quad(to, make_uint4(unit.tile, unit.first, unit.last, unit.others));
}
__device__ __forceinline__ WorkUnit load_work_unit(uint32_t from) {
  const uint4 unit = ptx::load_shared_quad(from);
  return {unit.x, unit.y, unit.z, unit.w};
}

// Shared memory by address, in a register of its own: the compiler does not compute it again at each use.
__device__ __forceinline__ uint32_t opaque_shared_address(const void* at) {
  return ptx::opaque(ptx::shared_address(at));
}

// Stage of the ring, and parity of its barrier's phase.
template <uint32_t STAGES>
struct PipelineState {
  uint32_t stage = 0, parity = 0;
  __device__ __forceinline__ void advance() {
    stage++;
    if (stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// Work units of a range, and an empty one after them.
constexpr uint32_t MOST_WORK_UNITS = 3;

// Number of the block's range. Ranges of higher blocks come first.
__device__ __forceinline__ uint32_t range_number() { return gridDim.x - 1 - blockIdx.x; }

// The block's range of the stream-K schedule.
struct TileRange {
  const LargeMatmulJob& job;
  const uint32_t number;

  __device__ __forceinline__ explicit TileRange(const LargeMatmulJob& of) : job(of), number(range_number()) {}

  // Work unit `which` of the range, in order. Units that the range does not have are empty; the last always is.
  __device__ __forceinline__ WorkUnit work_unit(uint32_t which) const {
    const uint32_t k_tiles = job.matmul.k_tiles, end = start(number + 1);
    const uint32_t tile = start(number) / k_tiles + which;
    const uint32_t from = max(start(number), tile * k_tiles), to = min(end, (tile + 1) * k_tiles);
    if (from >= to) return {job.whole_tiles + tile, 0, 0, 0};
    const bool begins = from == tile * k_tiles;
    return {job.whole_tiles + tile, from - tile * k_tiles, to - tile * k_tiles,
            begins ? range_at((tile + 1) * k_tiles - 1) - number : 0};
  }

 private:
  // Start of a range, and end of the one before it. All ranges have the same length, rounded down.
  __device__ __forceinline__ uint32_t start(uint32_t range) const {
    return job.ranges == 0 ? 0 : static_cast<uint64_t>(min(range, job.ranges)) * job.stream_k_tiles / job.ranges;
  }
  __device__ __forceinline__ uint32_t range_at(uint32_t k_tile) const {
    return ((k_tile + static_cast<uint64_t>(1)) * job.ranges - 1) / job.stream_k_tiles;
  }
};

// Consumer: the scales of the rows of x. Not inlined: the main loop would spill registers in tiles of 256.
__device__ __noinline__ void consumer_scales(const MatmulJob& job, float* scales) {
  load_scales<CONSUMER_THREADS>(job.scale, job.batch, job.columns, scales);
  ptx::sync_named_barrier<CONSUMER_THREADS>(SCALES_BARRIER);
}

// TILE rows of x in an output tile; STAGES of the ring.
template <typename Palette, uint32_t TILE, uint32_t STAGES>
struct LargeBatchMatmul {
  static constexpr uint32_t X_BYTES = TILE * X_ROW_BYTES;
  static constexpr uint32_t WEIGHT_BYTES = PANELS * K_TILE_BYTES;
  static constexpr uint32_t SUMS = TILE / 2;  // sums of a lane
  // Buffers of rebuilt weights: one is rebuilt while the tensor cores read the others.
  static constexpr uint32_t BUFFERS = TILE <= 128 ? 3 : 2;
  static_assert(BUFFERS < STAGES);
  // Epilogue: sums are stored in parts of 16 rows of x, several at a time.
  static constexpr uint32_t PART_ROWS = 16;
  static constexpr uint32_t PART_SUMS = PART_ROWS / 2;
  static constexpr uint32_t PARTS = TILE / PART_ROWS;
  static constexpr uint32_t STORE_PARTS = PARTS < 4 ? PARTS : 4;
  static constexpr uint32_t STORE_ROW_BYTES = PANEL_ROWS * 2;
  static constexpr uint32_t STORE_PART_BYTES = PART_ROWS * STORE_ROW_BYTES;
  static constexpr uint32_t STORE_BYTES = STORE_PARTS * STORE_PART_BYTES;
  static_assert(PARTS % STORE_PARTS == 0);
  // Partial sums of a range: groups of four, each of all consumer threads.
  static constexpr uint32_t SUM_GROUPS = SUMS / 4;
  // Offsets in shared memory.
  static constexpr uint32_t WEIGHTS_AT = STAGES * X_BYTES;
  static constexpr uint32_t STORE_AT = WEIGHTS_AT + STAGES * WEIGHT_BYTES;
  static constexpr uint32_t BARRIERS_AT = STORE_AT + CONSUMER_WARPS * STORE_BYTES;
  static constexpr uint32_t WORK_UNITS_AT = BARRIERS_AT + 2 * STAGES * 8;
  static constexpr uint32_t SCALES_AT = WORK_UNITS_AT + MOST_WORK_UNITS * sizeof(WorkUnit);
  static constexpr uint32_t ALIGNMENT = 1024;
  static constexpr uint32_t SHARED_BYTES = SCALES_AT + MOST_SCALED_BATCH * 4 + ALIGNMENT - 16;
  static_assert(EARLY_STAGES < STAGES);

  const ptx::TensorMap& x_map;
  const MatmulJob& job;
  const uint32_t whole_tiles;
  const uint32_t shared, lane, warp;
  // Output tiles of a group of rows of W. All of them come before those of the next group.
  const uint32_t x_tiles;

  __device__ __forceinline__ LargeBatchMatmul(const LargeMatmulJob& all, uint32_t shared_at)
      : x_map(all.x),
        job(all.matmul),
        whole_tiles(all.whole_tiles),
        shared(shared_at),
        lane(threadIdx.x % WARP),
        warp(__shfl_sync(ALL_LANES, threadIdx.x / WARP, 0)),
        x_tiles((job.batch + TILE - 1) / TILE) {}

  // Barriers of each stage: full when its bytes have arrived, empty when the consumers have released it.
  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return shared + BARRIERS_AT + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const {
    return shared + BARRIERS_AT + (STAGES + stage) * 8;
  }
  // Row panel `p` of an output tile. Panels after the last are the last one again.
  __device__ __forceinline__ uint32_t panel_of(uint32_t tile, uint32_t p) const {
    if (job.gated != 0) {
      const uint32_t half = job.rows / 2 / PANEL_ROWS;
      return p / GATE_PANELS * half + min(tile / x_tiles * GATE_PANELS + p % GATE_PANELS, half - 1);
    }
    return min(tile / x_tiles * PANELS + p, (job.rows + PANEL_ROWS - 1) / PANEL_ROWS - 1);
  }

  __device__ __forceinline__ void run(const TileRange& range) {
    if (threadIdx.x == 0) {
      for (uint32_t stage = 0; stage < STAGES; stage++) {
        ptx::init_mbarrier(full(stage), 1);
        ptx::init_mbarrier(empty(stage), CONSUMER_WARPS);
      }
      ptx::fence_mbarrier_init();
    }
    if (warp == CONSUMER_WARPS && lane < MOST_WORK_UNITS) store_work_unit(address_of_unit(lane), range.work_unit(lane));
    __syncthreads();
    if (warp >= CONSUMER_WARPS) {
      ptx::decrease_registers<PRODUCER_REGISTERS>();
      if (lane == 0) produce(warp - CONSUMER_WARPS);
    } else {
      if (job.scale.squares != nullptr || job.residual.sum != nullptr) ptx::wait_for_previous_launch();
      if (job.scale.squares != nullptr) consumer_scales(job, scales());
      ptx::increase_registers<CONSUMER_REGISTERS>();
      consume();
    }
  }

  __device__ __forceinline__ WorkUnit whole_tile(uint32_t tile) const { return {tile, 0, job.k_tiles, 0}; }
  // Whole output tiles of this block.
  __device__ __forceinline__ uint32_t own_whole_tiles() const {
    return blockIdx.x < whole_tiles ? (whole_tiles - 1 - blockIdx.x) / gridDim.x + 1 : 0;
  }
  __device__ __forceinline__ uint32_t address_of_unit(uint32_t which) const {
    return shared + WORK_UNITS_AT + which * sizeof(WorkUnit);
  }
  // Work unit `which` of the block: its whole output tiles, then the units of its range, then an empty one.
  __device__ __forceinline__ WorkUnit work_unit(uint32_t which) const {
    const uint32_t tile = blockIdx.x + which * gridDim.x;
    return tile < whole_tiles ? whole_tile(tile) : load_work_unit(address_of_unit(which - own_whole_tiles()));
  }

  __device__ __forceinline__ void seek(Patches<MatmulJob>& patches, const WorkUnit& unit) const {
    patches.seek(panel_of(unit.tile, warp), unit.first, lane);
  }

  // Producer. Each producer warp copies the weights of some row panels; the first one copies x too. One thread does the
  // work, which has to be short: if it took longer than the tensor cores take for a K tile, all warps would wait for
  // it.
  __device__ __forceinline__ void produce(uint32_t producer) {
    constexpr uint32_t OWN_PANELS = PANELS / PRODUCER_WARPS;
    const uint8_t* weights[OWN_PANELS];
    uint32_t x_row, x_column;
    uint32_t k_tile, last;
    // Begins work unit `which`. Returns false if there is no such unit.
    const auto enter = [&](uint32_t which) {
      const WorkUnit at = work_unit(which);
#pragma unroll
      for (uint32_t p = 0; p < OWN_PANELS; p++) {
        const uint64_t panel = panel_of(at.tile, producer * OWN_PANELS + p);
        weights[p] = job.weights + (panel * job.k_tiles + at.first) * K_TILE_BYTES;
      }
      x_row = at.tile % x_tiles * TILE;
      x_column = at.first * K_TILE_COLUMNS;
      k_tile = at.first;
      last = at.last;
      return last > 0;
    };
    const auto copy_weights = [&](uint32_t stage) {
      if (producer == 0) ptx::arrive_mbarrier_expecting(full(stage), X_BYTES + WEIGHT_BYTES);
#pragma unroll
      for (uint32_t p = 0; p < OWN_PANELS; p++) {
        ptx::copy_bulk(shared + WEIGHTS_AT + stage * WEIGHT_BYTES + (producer * OWN_PANELS + p) * K_TILE_BYTES,
                       weights[p], K_TILE_BYTES, full(stage));
        weights[p] += K_TILE_BYTES;
      }
    };
    const auto copy_x = [&](uint32_t stage) {
      if (producer == 0) ptx::copy_box(shared + stage * X_BYTES, x_map, x_column, x_row, full(stage));
      x_column += K_TILE_COLUMNS;
    };
    // The previous launch may still write x, but not weights: those of the first stages do not wait for its end.
    enter(0);
    const uint32_t at_once = min(last - k_tile, EARLY_STAGES);
#pragma unroll 1
    for (uint32_t stage = 0; stage < at_once; stage++) copy_weights(stage);
    ptx::wait_for_previous_launch();
    ptx::launch_dependents();
#pragma unroll 1
    for (uint32_t stage = 0; stage < at_once; stage++) copy_x(stage);
    PipelineState<STAGES> state;
    // Stages that have never been full need no release: the phase before a new barrier's first one is complete.
    state.stage = at_once;
    state.parity = 1;
    k_tile += at_once;
    uint32_t which = 0;
    do {
#pragma unroll 1
      for (; k_tile < last; k_tile++) {
        ptx::wait_mbarrier(empty(state.stage), state.parity);
        copy_weights(state.stage);
        copy_x(state.stage);
        state.advance();
      }
    } while (enter(++which));
  }

  // WGMMA's descriptor of a stage's rows of x: rows of 128 bytes, swizzled, groups of eight rows 1024 bytes apart.
  __device__ __forceinline__ uint64_t x_descriptor(uint32_t stage) const {
    return static_cast<uint64_t>(1) << 62 | static_cast<uint64_t>(1024 / 16) << 32 | static_cast<uint64_t>(1) << 16 |
           (shared + stage * X_BYTES) / 16;
  }

  // Consumer: main loop over K tiles, and epilogue, for each work unit.
  __device__ __forceinline__ void consume() {
    Patches<MatmulJob> patches(job);
    const uint32_t ring = shared + WEIGHTS_AT + warp * K_TILE_BYTES + lane * 16;
    PipelineState<STAGES> read;
    const auto next_weights = [&](uint32_t k_tile) {
      // The palette is loaded from the cache each time, because registers are scarce.
      const Palette palette = Palette::load(job.palette);
      ptx::wait_mbarrier(full(read.stage), read.parity);
      const uint32_t at = ring + read.stage * WEIGHT_BYTES;
      TileWeights weights = rebuild(palette, ptx::load_shared_quad(at), ptx::load_shared_quad(at + 16 * WARP),
                                    ptx::load_shared_quad(at + 32 * WARP));
      patches.apply(k_tile, lane, weights);
      return weights;
    };
    const auto start_wgmma = [&](float (&sums)[SUMS], const TileWeights& weights) {
      const uint64_t x = x_descriptor(read.stage);
      ptx::fence_wgmma();
#pragma unroll
      for (uint32_t step = 0; step < MMA_STEPS; step++)
        ptx::Wgmma<TILE>::accumulate(sums, weights.pairs + step * STEP_PAIRS, x + step * 2);
      ptx::commit_wgmma();
    };
    PipelineState<STAGES> released;
    const auto release_stage = [&] {
      if (lane == 0) ptx::arrive_mbarrier(empty(released.stage));
      released.advance();
    };

    WorkUnit at = work_unit(0);
    seek(patches, at);
#pragma unroll 1
    for (uint32_t which = 0; at.last > 0;) {
      patches.begin(at.first);
      float sums[SUMS];
#pragma unroll
      for (uint32_t i = 0; i < SUMS; i++) sums[i] = 0;
      const uint32_t last = at.last;
      uint32_t k_tile = at.first;
      TileWeights buffers[BUFFERS];
      // True after all buffers have been used.
      bool started = false;
#pragma unroll 1
      for (;;) {
#pragma unroll
        for (uint32_t buffer = 0; buffer < BUFFERS; buffer++) {
          buffers[buffer] = next_weights(k_tile);
          start_wgmma(sums, buffers[buffer]);
          read.advance();
          // Waits for the MMAs that read the buffer that is rebuilt next.
          if (started || buffer == BUFFERS - 1) {
            ptx::wait_wgmma<BUFFERS - 1>();
            release_stage();
          }
          if (++k_tile == last) goto all_started;
        }
        started = true;
      }
    all_started:
      // The next unit's patches are in flight while sums are stored.
      at = work_unit(which + 1);
      if (at.last > 0) seek(patches, at);
      ptx::wait_wgmma<0>();
      while (released.stage != read.stage) release_stage();
      const WorkUnit done = work_unit(which++);
      if (done.first > 0) {
        store_partials(sums, done);
      } else {
        if (done.others > 0) add_partials(sums, done);
        if (job.scale.squares != nullptr) apply_scales(sums, done.tile);
        if (job.bias != nullptr) add_bias(sums, done.tile);
        if (job.residual.sum != nullptr)
          store_with_residual(sums, done.tile);
        else if (job.gated == 0)
          store(sums, done.tile);
        else
          store_gated(sums, done.tile);
      }
    }
  }

  // Partial sums of this thread in a range.
  __device__ __forceinline__ float4* partials_of(uint32_t range) const {
    return reinterpret_cast<float4*>(job.partials) + static_cast<uint64_t>(range) * (SUM_GROUPS * CONSUMER_THREADS) +
           warp * WARP + lane;
  }
  // Counter of the ranges that have stored the partial sums of this warp's row panel.
  __device__ __forceinline__ uint32_t* arrived(const WorkUnit& unit) const {
    return job.arrived + (unit.tile - whole_tiles) * PANELS + warp;
  }

  __device__ __forceinline__ void store_partials(const float (&sums)[SUMS], const WorkUnit& unit) const {
    float4* const to = partials_of(range_number());
#pragma unroll
    for (uint32_t i = 0; i < SUM_GROUPS; i++)
      __stcg(to + i * CONSUMER_THREADS, make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]));
    __syncwarp();
    if (lane == 0) ptx::reduce_add_release(arrived(unit), 1);
  }

  // Adds the partial sums of the output tile's other ranges, in order.
  __device__ __forceinline__ void add_partials(float (&sums)[SUMS], const WorkUnit& unit) const {
    uint32_t* const counter = arrived(unit);
    while (ptx::load_acquire(counter) < unit.others) {}
    __syncwarp();
    // No other warp reads the counter in this launch.
    if (lane == 0) *counter = 0;
#pragma unroll 1
    for (uint32_t other = 1; other <= unit.others; other++) {
      const float4* const from = partials_of(range_number() + other);
      // Unrolled: registers limit the number of loads in flight.
#pragma unroll
      for (uint32_t i = 0; i < SUM_GROUPS; i++) {
        const float4 group = __ldcg(from + i * CONSUMER_THREADS);
        sums[4 * i] += group.x;
        sums[4 * i + 1] += group.y;
        sums[4 * i + 2] += group.z;
        sums[4 * i + 3] += group.w;
      }
    }
  }

  __device__ __forceinline__ float* scales() const {
    return static_cast<float*>(__cvta_shared_to_generic(shared + SCALES_AT));
  }

  // Multiplies sums by the scales of the lane's rows of x. Rows after the last have no scale, and are not stored.
  __device__ __forceinline__ void apply_scales(float (&sums)[SUMS], uint32_t tile) const {
    const uint32_t x_first = tile % x_tiles * TILE + lane % 4 * 2;
#pragma unroll
    for (uint32_t i = 0; i < SUMS; i += 4) {
      const uint32_t at = min(x_first + i * 2, MOST_SCALED_BATCH - 2);
      const uint2 pair = ptx::load_shared_pair(shared + SCALES_AT + at * 4);
      const float first = ptx::from_bits(pair.x), second = ptx::from_bits(pair.y);
      sums[i] *= first;
      sums[i + 1] *= second;
      sums[i + 2] *= first;
      sums[i + 3] *= second;
    }
  }

  // Adds the bias of the lane's two rows of the row panel. Rows after the last are not stored.
  __device__ __forceinline__ void add_bias(float (&sums)[SUMS], uint32_t tile) const {
    const uint32_t row = (tile / x_tiles * PANELS + warp) * PANEL_ROWS + lane / 4;
    const float upper = ptx::from_bf16(job.bias[min(row, job.rows - 1)]);
    const float lower = ptx::from_bf16(job.bias[min(row + PANEL_ROWS / 2, job.rows - 1)]);
#pragma unroll
    for (uint32_t i = 0; i < SUMS; i += 4) {
      sums[i] += upper;
      sums[i + 1] += upper;
      sums[i + 2] += lower;
      sums[i + 3] += lower;
    }
  }

  // Epilogue: STORE_PARTS parts of a warp's sums as BF16, in its buffer: 32 bytes for each row of x.
  __device__ __forceinline__ void stage_parts(const float (&sums)[SUMS], uint32_t part, uint32_t to) const {
#pragma unroll
    for (uint32_t i = 0; i < STORE_PARTS; i++) {
      const float* of = sums + (part + i) * PART_SUMS;
      ptx::store_matrices_transposed(to + i * STORE_PART_BYTES, ptx::to_bf16_pair(of[0], of[1]),
                                     ptx::to_bf16_pair(of[2], of[3]), ptx::to_bf16_pair(of[4], of[5]),
                                     ptx::to_bf16_pair(of[6], of[7]));
    }
  }
  __device__ __forceinline__ uint32_t store_buffer(uint32_t of_warp) const {
    return shared + STORE_AT + of_warp * STORE_BYTES;
  }
  // Where the lane stages the first part.
  __device__ __forceinline__ uint32_t stage_address() const {
    return store_buffer(warp) + (lane / 16 * 8 + lane % 8) * STORE_ROW_BYTES + lane / 8 % 2 * 16;
  }

  // Epilogue: stores silu(gate) * up. The warp of gate and the warp of up store every other part.
  __device__ __forceinline__ void store_gated(const float (&sums)[SUMS], uint32_t tile) const {
    const uint32_t pair = warp % GATE_PANELS, rows = job.rows / 2;
    const auto sync_pair = [&] { ptx::sync_named_barrier<2 * WARP>(GATE_BARRIERS + pair); };
    const uint32_t gates = store_buffer(pair) + lane * 16, ups = store_buffer(pair + GATE_PANELS) + lane * 16;
    const uint32_t row = (tile / x_tiles * GATE_PANELS + pair) * PANEL_ROWS + lane % 2 * 8;
    const uint32_t x_first = tile % x_tiles * TILE + lane / 2;
#pragma unroll
    for (uint32_t part = 0; part < PARTS; part += STORE_PARTS) {
      sync_pair();
      stage_parts(sums, part, stage_address());
      sync_pair();
#pragma unroll 1
      for (uint32_t i = warp / GATE_PANELS; i < STORE_PARTS; i += 2) {
        const uint4 gate = ptx::load_shared_quad(gates + i * STORE_PART_BYTES);
        const uint4 up = ptx::load_shared_quad(ups + i * STORE_PART_BYTES);
        const uint4 eight = {silu_mul(gate.x, up.x), silu_mul(gate.y, up.y), silu_mul(gate.z, up.z),
                             silu_mul(gate.w, up.w)};
        const uint32_t x_row = x_first + (part + i) * PART_ROWS;
        if (x_row < job.batch && row < rows)
          *reinterpret_cast<uint4*>(job.y + static_cast<uint64_t>(x_row) * rows + row) = eight;
      }
    }
  }

  // Epilogue: adds the residual, and stores the sum, the scaled sum as y, and the squares. Two lanes have a row of x.
  __device__ __forceinline__ void store_with_residual(const float (&sums)[SUMS], uint32_t tile) const {
    const ResidualJob& with = job.residual;
    const uint32_t panel = tile / x_tiles * PANELS + warp, row = panel * PANEL_ROWS + lane % 2 * 8;
    const uint32_t x_first = tile % x_tiles * TILE + lane / 2;
    // The matrix ends with a panel.
    if (panel * PANEL_ROWS >= job.rows) return;
    const uint4 weight = ptx::load_read_only(reinterpret_cast<const uint4*>(with.weight + row));
#pragma unroll
    for (uint32_t part = 0; part < PARTS; part += STORE_PARTS) {
      __syncwarp();
      stage_parts(sums, part, stage_address());
      __syncwarp();
#pragma unroll 1
      for (uint32_t i = 0; i < STORE_PARTS; i++) {
        const uint32_t x_row = x_first + (part + i) * PART_ROWS;
        const bool is_row = x_row < job.batch;
        const uint64_t at = static_cast<uint64_t>(is_row ? x_row : 0) * job.rows + row;
        const uint4 residual = ptx::load_l2(reinterpret_cast<const uint4*>(with.residual + at));
        uint4 y = ptx::load_shared_quad(store_buffer(warp) + i * STORE_PART_BYTES + lane * 16), sum;
        float squares = add_residual(y.x, residual.x, weight.x, sum.x);
        squares += add_residual(y.y, residual.y, weight.y, sum.y);
        squares += add_residual(y.z, residual.z, weight.z, sum.z);
        squares += add_residual(y.w, residual.w, weight.w, sum.w);
        squares += __shfl_xor_sync(ALL_LANES, squares, 1);
        if (is_row) {
          *reinterpret_cast<uint4*>(with.sum + at) = sum;
          *reinterpret_cast<uint4*>(job.y + at) = y;
          if (lane % 2 == 0) with.squares[static_cast<uint64_t>(x_row) * (job.rows / PANEL_ROWS) + panel] = squares;
        }
      }
    }
  }

  // Epilogue: stores a warp's 16 rows of W as BF16, 32 bytes for each row of x, by two lanes.
  __device__ __forceinline__ void store(const float (&sums)[SUMS], uint32_t tile) const {
    const uint32_t buffer = store_buffer(warp), to = stage_address();
    const uint32_t row = (tile / x_tiles * PANELS + warp) * PANEL_ROWS + lane % 2 * 8;
    const uint32_t x_first = tile % x_tiles * TILE + lane / 2;
#pragma unroll
    for (uint32_t part = 0; part < PARTS; part += STORE_PARTS) {
      __syncwarp();
      stage_parts(sums, part, to);
      __syncwarp();
#pragma unroll
      for (uint32_t i = 0; i < STORE_PARTS; i++) {
        const uint4 eight = ptx::load_shared_quad(buffer + i * STORE_PART_BYTES + lane * 16);
        const uint32_t x_row = x_first + (part + i) * PART_ROWS;
        if (x_row < job.batch && row < job.rows)
          *reinterpret_cast<uint4*>(job.y + static_cast<uint64_t>(x_row) * job.rows + row) = eight;
      }
    }
  }
};

__device__ __forceinline__ uint32_t aligned_shared_address() {
  DYNAMIC_SHARED(shared);
  return (opaque_shared_address(shared) + 1023) / 1024 * 1024;
}

// `src/schedule.rs` has the bytes of shared memory too.
#define LARGE_BATCH(tile, stages, bytes)                                                                      \
  static_assert(LargeBatchMatmul<AnyPalette, tile, stages>::SHARED_BYTES == bytes, "src/schedule.rs has it"); \
  extern "C" __global__ void __launch_bounds__(THREADS, 1)                                                    \
      matmul_##tile##_rows_consecutive(const __grid_constant__ LargeMatmulJob job) {                          \
    LargeBatchMatmul<ConsecutivePalette, tile, stages>(job, aligned_shared_address()).run(TileRange(job));    \
  }                                                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS, 1)                                                    \
      matmul_##tile##_rows_any(const __grid_constant__ LargeMatmulJob job) {                                  \
    LargeBatchMatmul<AnyPalette, tile, stages>(job, aligned_shared_address()).run(TileRange(job));            \
  }
LARGE_BATCH(32, 12, 207072)
LARGE_BATCH(64, 10, 223424)
LARGE_BATCH(128, 6, 190592)
LARGE_BATCH(256, 4, 198752)

}  // namespace unweight::matmul
