// y = x * W^T for many rows of x, W in fragment form, on Hopper's tensor cores (sm_90a). Products are exact, sums are FP32.
//
// A tile is BLOCK_STRIPS strips of W and TILE rows of x. Four warps of a block copy both, unit after unit of columns, into a ring in shared memory. Eight
// others, each for a strip, rebuild weights in registers and have the tensor cores multiply them, of the next unit while these multiply this one's.
//
// Blocks have the first tiles whole, one after the other. The others' units are a line, tile after tile, of which every block has a part, shorter than a tile:
// the end of one, the beginning of the next, or some between. A block that does not begin a tile publishes its sums; who does waits for those, and adds them
// to its own. It waits for blocks of lower numbers alone, which start before it, so that all end, however many of them run at a time.
//
// A sum is of a part's columns in their order, 16 of them together, as tensor cores add them; then of the first part, of the second, and so on. So a result
// depends on how tiles are divided, and that on the shape, the rows of x and how many blocks the device takes, but not on who came when.
//
// Preconditions: columns are a multiple of UNIT_COLUMNS, rows of 8; weights, x and y are 16-byte aligned; any count of rows of x. The line is of all tiles
// behind the first `whole`; its parts are not empty, not longer than a tile, and no more than blocks. `partials` has TILE * BLOCK_STRIPS * UNIT_ROWS for each
// part, `arrived` BLOCK_STRIPS for each tile of the line. Blocks have THREADS threads and LargeBatchMatmul::SHARED_BYTES of shared memory.
#include "matmul/matmul.cuh"
#include "ptx/wgmma.cuh"

// Where the copy engine finds x: what the driver calls a CUtensorMap, of `batch` rows of `columns`, in boxes of TILE rows of UNIT_COLUMNS, of which each row of
// 128 bytes is swizzled. Rows behind the last are zeros.
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

// `src/matmul/job.rs` has its twin.
struct LargeMatmulJob {
  TensorMap x;
  MatmulJob product;  // of which `x`, `part` and `longer_parts` are not used
  uint32_t whole;     // tiles
  uint32_t line;      // units of the others
  uint32_t parts;     // of the line
};

constexpr uint32_t BLOCK_STRIPS = 8;
// That have a strip each.
constexpr uint32_t MULTIPLYING_WARPS = BLOCK_STRIPS;
constexpr uint32_t MULTIPLYING_THREADS = MULTIPLYING_WARPS * WARP;
// Four, as registers are given to four warps together.
constexpr uint32_t COPYING_WARPS = 4;
constexpr uint32_t THREADS = MULTIPLYING_THREADS + COPYING_WARPS * WARP;
// Whoever copies gives some to those who multiply.
constexpr uint32_t COPYING_REGISTERS = 40;
constexpr uint32_t MULTIPLYING_REGISTERS = 232;
// Whose weights are copied before rows of x can be: not all of the ring, as rows of x would come behind them.
constexpr uint32_t EARLY_STAGES = 2;

// The columns of a tile that a block sums, in units; and how many parts have those behind them, if the block begins the tile.
struct Piece {
  uint32_t tile;
  uint32_t first, last;
  uint32_t others;
};

// Barriers in shared memory, by address.
__device__ __forceinline__ void init_barrier(uint32_t barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// Sees what the block's threads wrote before they arrived.
__device__ __forceinline__ void wait_barrier(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
        "selp.b32 %0, 1, 0, done;\n"
        "}"
        : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
  } while (!done);
}
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void arrive(uint32_t barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }

// Counters in device memory: whoever has seen an addition sees what was written before it.
__device__ __forceinline__ void add_one(uint32_t* counter) { asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory"); }
__device__ __forceinline__ uint32_t load_counter(const uint32_t* counter) {
  uint32_t count;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(counter) : "memory");
  return count;
}

__device__ __forceinline__ void bulk_copy(uint32_t to_shared, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
      ::"r"(to_shared), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}

__device__ __forceinline__ void copy_box(uint32_t to_shared, const TensorMap& from, uint32_t column, uint32_t row, uint32_t barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
      ::"r"(to_shared), "l"(&from), "r"(column), "r"(row), "r"(barrier) : "memory");
}

__device__ __forceinline__ void tensor_cores_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void tensor_cores_together() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <uint32_t PENDING>
__device__ __forceinline__ void tensor_cores_done_but() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory"); }

__device__ __forceinline__ uint32_t to_bf16_pair(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ __forceinline__ void store_shared(uint32_t at, const Piece& piece) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(piece.tile), "r"(piece.first), "r"(piece.last), "r"(piece.others) : "memory");
}
__device__ __forceinline__ Piece load_piece(uint32_t from) {
  const uint4 piece = load_shared(from);
  return {piece.x, piece.y, piece.z, piece.w};
}
// Four 8 x 8 matrices, transposed.
__device__ __forceinline__ void store_transposed(uint32_t at, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

// Where a ring stands.
template <uint32_t STAGES>
struct Turn {
  uint32_t stage = 0, parity = 0;
  __device__ __forceinline__ void next() {
    stage++;
    if (stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// A part's pieces, and an empty one behind them.
constexpr uint32_t MOST_PIECES = 3;

// Of the block's part of the line: those of higher blocks come first.
__device__ __forceinline__ uint32_t number_of_part() { return gridDim.x - 1 - blockIdx.x; }

// The block's part of the line.
struct Part {
  const LargeMatmulJob& job;
  const uint32_t number;

  __device__ __forceinline__ explicit Part(const LargeMatmulJob& of) : job(of), number(number_of_part()) {}

  // One behind the other; those that it has not are empty, and the last always is.
  __device__ __forceinline__ Piece piece(uint32_t which) const {
    const uint32_t units = job.product.units, end = start(number + 1);
    const uint32_t tile = start(number) / units + which;
    const uint32_t from = max(start(number), tile * units), to = min(end, (tile + 1) * units);
    if (from >= to) return {job.whole + tile, 0, 0, 0};
    const bool begins = from == tile * units;
    return {job.whole + tile, from - tile * units, to - tile * units, begins ? part_at((tile + 1) * units - 1) - number : 0};
  }

 private:
  // Where a part begins, and the one before it ends: all of them as long as each other, rounded down.
  __device__ __forceinline__ uint32_t start(uint32_t part) const {
    return job.parts == 0 ? 0 : static_cast<uint64_t>(min(part, job.parts)) * job.line / job.parts;
  }
  __device__ __forceinline__ uint32_t part_at(uint32_t place) const { return ((place + static_cast<uint64_t>(1)) * job.parts - 1) / job.line; }
};

// PALETTE rebuilds; TILE rows of x; STAGES of the ring.
template <typename Palette, uint32_t TILE, uint32_t STAGES>
struct LargeBatchMatmul {
  static constexpr uint32_t X_BYTES = TILE * X_ROW_BYTES;
  static constexpr uint32_t WEIGHT_BYTES = BLOCK_STRIPS * UNIT_BYTES;
  static constexpr uint32_t SUMS = TILE / 2;            // of a lane
  // Of rebuilt weights: one is rebuilt while products of the others run.
  static constexpr uint32_t BUFFERS = TILE <= 128 ? 3 : 2;
  static_assert(BUFFERS < STAGES);
  // Sums are stored in parts of 16 rows of x, some of which a warp stores together.
  static constexpr uint32_t PART_ROWS = 16;
  static constexpr uint32_t PART_SUMS = PART_ROWS / 2;
  static constexpr uint32_t PARTS = TILE / PART_ROWS;
  static constexpr uint32_t STORE_PARTS = PARTS < 4 ? PARTS : 4;
  static constexpr uint32_t STORE_ROW_BYTES = UNIT_ROWS * 2;
  static constexpr uint32_t STORE_PART_BYTES = PART_ROWS * STORE_ROW_BYTES;
  static constexpr uint32_t STORE_BYTES = STORE_PARTS * STORE_PART_BYTES;
  static_assert(PARTS % STORE_PARTS == 0);
  // Published sums of a part: groups of four, of all threads.
  static constexpr uint32_t SUM_GROUPS = SUMS / 4;
  // In shared memory.
  static constexpr uint32_t WEIGHTS_AT = STAGES * X_BYTES;
  static constexpr uint32_t STORE_AT = WEIGHTS_AT + STAGES * WEIGHT_BYTES;
  static constexpr uint32_t BARRIERS_AT = STORE_AT + MULTIPLYING_WARPS * STORE_BYTES;
  static constexpr uint32_t PIECES_AT = BARRIERS_AT + 2 * STAGES * 8;
  static constexpr uint32_t ALIGNMENT = 1024;
  static constexpr uint32_t SHARED_BYTES = PIECES_AT + MOST_PIECES * sizeof(Piece) + ALIGNMENT - 16;
  static_assert(EARLY_STAGES < STAGES);

  const TensorMap& x_map;
  const MatmulJob& job;
  const uint32_t whole;
  const uint32_t shared, lane, warp;
  // Of all rows of x for a group of rows of W, then for the next group.
  const uint32_t x_tiles;

  __device__ __forceinline__ LargeBatchMatmul(const LargeMatmulJob& all, uint32_t shared_at)
      : x_map(all.x), job(all.product), whole(all.whole), shared(shared_at), lane(threadIdx.x % WARP), warp(__shfl_sync(ALL_LANES, threadIdx.x / WARP, 0)),
        x_tiles((job.batch + TILE - 1) / TILE) {}

  // Barriers, for each stage.
  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return shared + BARRIERS_AT + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const { return shared + BARRIERS_AT + (STAGES + stage) * 8; }
  // Rows behind the last are computed like it, and not stored.
  __device__ __forceinline__ uint32_t strip_of(uint32_t tile, uint32_t s) const {
    return min(tile / x_tiles * BLOCK_STRIPS + s, (job.rows + UNIT_ROWS - 1) / UNIT_ROWS - 1);
  }

  __device__ __forceinline__ void run(const Part& part) {
    if (threadIdx.x == 0) {
      for (uint32_t stage = 0; stage < STAGES; stage++) {
        init_barrier(full(stage), 1);
        init_barrier(empty(stage), MULTIPLYING_WARPS);
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    if (warp == MULTIPLYING_WARPS && lane < MOST_PIECES) store_shared(piece_of_part(lane), part.piece(lane));
    __syncthreads();
    let_next_launch_begin();
    if (warp >= MULTIPLYING_WARPS) {
      asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COPYING_REGISTERS));
      if (lane == 0) copy(warp - MULTIPLYING_WARPS);
    } else {
      asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(MULTIPLYING_REGISTERS));
      multiply();
    }
  }

  __device__ __forceinline__ Piece whole_tile(uint32_t tile) const { return {tile, 0, job.units, 0}; }
  // That are whole.
  __device__ __forceinline__ uint32_t own_tiles() const { return blockIdx.x < whole ? (whole - 1 - blockIdx.x) / gridDim.x + 1 : 0; }
  __device__ __forceinline__ uint32_t piece_of_part(uint32_t which) const { return shared + PIECES_AT + which * sizeof(Piece); }
  // What the block has to do, in this order: its whole tiles, then the pieces of its part, then what is empty.
  __device__ __forceinline__ Piece piece(uint32_t which) const {
    const uint32_t tile = blockIdx.x + which * gridDim.x;
    return tile < whole ? whole_tile(tile) : load_piece(piece_of_part(which - own_tiles()));
  }

  __device__ __forceinline__ void seek(Patches<MatmulJob>& patches, const Piece& piece) const { patches.seek(strip_of(piece.tile, warp), piece.first, lane); }

  // Each copying warp copies the weights of some strips; the first, rows of x too. It is a single thread's work, and has to be short: if it took longer than
  // the tensor cores take for a unit, all would wait for it.
  __device__ __forceinline__ void copy(uint32_t copier) {
    constexpr uint32_t STRIPS = BLOCK_STRIPS / COPYING_WARPS;
    const uint8_t* weights[STRIPS];
    uint32_t x_row, x_column;
    uint32_t unit, last;
    // False if there is no such piece.
    const auto enter = [&](uint32_t which) {
      const Piece at = piece(which);
#pragma unroll
      for (uint32_t s = 0; s < STRIPS; s++) {
        const uint64_t strip = strip_of(at.tile, copier * STRIPS + s);
        weights[s] = job.weights + (strip * job.units + at.first) * UNIT_BYTES;
      }
      x_row = at.tile % x_tiles * TILE;
      x_column = at.first * UNIT_COLUMNS;
      unit = at.first;
      last = at.last;
      return last > 0;
    };
    const auto copy_weights = [&](uint32_t stage) {
      if (copier == 0) arrive_expecting(full(stage), X_BYTES + WEIGHT_BYTES);
#pragma unroll
      for (uint32_t s = 0; s < STRIPS; s++) {
        bulk_copy(shared + WEIGHTS_AT + stage * WEIGHT_BYTES + (copier * STRIPS + s) * UNIT_BYTES, weights[s], UNIT_BYTES, full(stage));
        weights[s] += UNIT_BYTES;
      }
    };
    const auto copy_x = [&](uint32_t stage) {
      if (copier == 0) copy_box(shared + stage * X_BYTES, x_map, x_column, x_row, full(stage));
      x_column += UNIT_COLUMNS;
    };
    // Weights are there whatever the launch before this one still does: those of the first stages do not wait for it.
    enter(0);
    const uint32_t at_once = min(last - unit, EARLY_STAGES);
#pragma unroll 1
    for (uint32_t stage = 0; stage < at_once; stage++) copy_weights(stage);
    wait_for_launch_before();
#pragma unroll 1
    for (uint32_t stage = 0; stage < at_once; stage++) copy_x(stage);
    Turn<STAGES> turn;
    // Stages that have never been full need not be given back: a new barrier's phase before its first is over.
    turn.stage = at_once;
    turn.parity = 1;
    unit += at_once;
    uint32_t which = 0;
    do {
#pragma unroll 1
      for (; unit < last; unit++) {
        wait_barrier(empty(turn.stage), turn.parity);
        copy_weights(turn.stage);
        copy_x(turn.stage);
        turn.next();
      }
    } while (enter(++which));
  }

  // What tensor cores read as rows of x: of 128 bytes, swizzled, groups of eight 1024 bytes apart.
  __device__ __forceinline__ uint64_t x_descriptor(uint32_t stage) const {
    return static_cast<uint64_t>(1) << 62 | static_cast<uint64_t>(1024 / 16) << 32 | static_cast<uint64_t>(1) << 16 | (shared + stage * X_BYTES) / 16;
  }

  __device__ __forceinline__ void multiply() {
    Patches<MatmulJob> patches(job);
    const Palette palette(job.palette);
    const uint32_t ring = shared + WEIGHTS_AT + warp * UNIT_BYTES + lane * 16;
    Turn<STAGES> turn;
    const auto next_weights = [&](uint32_t unit) {
      wait_barrier(full(turn.stage), turn.parity);
      const uint32_t at = ring + turn.stage * WEIGHT_BYTES;
      UnitWeights weights = rebuild(palette, load_shared(at), load_shared(at + 16 * WARP), load_shared(at + 32 * WARP));
      patches.apply(unit, lane, weights);
      return weights;
    };
    const auto start_products = [&](float (&sums)[SUMS], const UnitWeights& weights) {
      const uint64_t x = x_descriptor(turn.stage);
      tensor_cores_begin();
#pragma unroll
      for (uint32_t product = 0; product < UNIT_STEPS; product++) TensorCores<TILE>::multiply(sums, weights.pairs + product * STEP_PAIRS, x + product * 2);
      tensor_cores_together();
    };
    Turn<STAGES> given;
    const auto give_back = [&] {
      if (lane == 0) arrive(empty(given.stage));
      given.next();
    };

    Piece at = piece(0);
    seek(patches, at);
#pragma unroll 1
    for (uint32_t which = 0; at.last > 0;) {
      patches.begin(at.first);
      float sums[SUMS];
#pragma unroll
      for (uint32_t i = 0; i < SUMS; i++) sums[i] = 0;
      const uint32_t last = at.last;
      uint32_t unit = at.first;
      UnitWeights buffers[BUFFERS];
      // Whether all buffers have been used.
      bool started = false;
#pragma unroll 1
      for (;;) {
#pragma unroll
        for (uint32_t buffer = 0; buffer < BUFFERS; buffer++) {
          buffers[buffer] = next_weights(unit);
          start_products(sums, buffers[buffer]);
          turn.next();
          // Those of the buffer that is rebuilt next.
          if (started || buffer == BUFFERS - 1) {
            tensor_cores_done_but<BUFFERS - 1>();
            give_back();
          }
          if (++unit == last) goto all_started;
        }
        started = true;
      }
    all_started:
      // The next one's patches are on their way while sums are stored.
      at = piece(which + 1);
      if (at.last > 0) seek(patches, at);
      tensor_cores_done_but<0>();
      while (given.stage != turn.stage) give_back();
      const Piece done = piece(which++);
      if (done.first > 0) {
        publish(sums, done);
      } else {
        if (done.others > 0) add_published(sums, done);
        store(sums, done.tile);
      }
    }
  }

  // Where a part's sums of this thread stand, and how many parts have theirs of this warp's strip there.
  __device__ __forceinline__ float4* published(uint32_t part) const {
    return reinterpret_cast<float4*>(job.partials) + static_cast<uint64_t>(part) * (SUM_GROUPS * MULTIPLYING_THREADS) + warp * WARP + lane;
  }
  __device__ __forceinline__ uint32_t* arrived(const Piece& piece) const { return job.arrived + (piece.tile - whole) * BLOCK_STRIPS + warp; }

  __device__ __forceinline__ void publish(const float (&sums)[SUMS], const Piece& piece) const {
    float4* const to = published(number_of_part());
#pragma unroll
    for (uint32_t i = 0; i < SUM_GROUPS; i++) __stcg(to + i * MULTIPLYING_THREADS, make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]));
    __syncwarp();
    if (lane == 0) add_one(arrived(piece));
  }

  // Of the tile's other parts, in their order.
  __device__ __forceinline__ void add_published(float (&sums)[SUMS], const Piece& piece) const {
    uint32_t* const counter = arrived(piece);
    while (load_counter(counter) < piece.others) {}
    __syncwarp();
    // Nobody else will look at it in this launch.
    if (lane == 0) *counter = 0;
#pragma unroll 1
    for (uint32_t other = 1; other <= piece.others; other++) {
      const float4* const from = published(number_of_part() + other);
      // Loads run ahead as far as registers allow.
#pragma unroll
      for (uint32_t i = 0; i < SUM_GROUPS; i++) {
        const float4 group = __ldcg(from + i * MULTIPLYING_THREADS);
        sums[4 * i] += group.x;
        sums[4 * i + 1] += group.y;
        sums[4 * i + 2] += group.z;
        sums[4 * i + 3] += group.w;
      }
    }
  }

  // Of a warp's 16 rows of W: 32 bytes for each row of x, which two lanes store.
  __device__ __forceinline__ void store(const float (&sums)[SUMS], uint32_t tile) const {
    const uint32_t buffer = shared + STORE_AT + warp * STORE_BYTES;
    const uint32_t to = buffer + (lane / 16 * 8 + lane % 8) * STORE_ROW_BYTES + lane / 8 % 2 * 16;
    const uint32_t row = (tile / x_tiles * BLOCK_STRIPS + warp) * UNIT_ROWS + lane % 2 * 8;
    const uint32_t x_first = tile % x_tiles * TILE + lane / 2;
#pragma unroll
    for (uint32_t part = 0; part < PARTS; part += STORE_PARTS) {
      __syncwarp();
#pragma unroll
      for (uint32_t i = 0; i < STORE_PARTS; i++) {
        const float* of = sums + (part + i) * PART_SUMS;
        store_transposed(to + i * STORE_PART_BYTES, to_bf16_pair(of[0], of[1]), to_bf16_pair(of[2], of[3]), to_bf16_pair(of[4], of[5]),
            to_bf16_pair(of[6], of[7]));
      }
      __syncwarp();
#pragma unroll
      for (uint32_t i = 0; i < STORE_PARTS; i++) {
        const uint4 eight = load_shared(buffer + i * STORE_PART_BYTES + lane * 16);
        const uint32_t x_row = x_first + (part + i) * PART_ROWS;
        if (x_row < job.batch && row < job.rows) *reinterpret_cast<uint4*>(job.y + static_cast<uint64_t>(x_row) * job.rows + row) = eight;
      }
    }
  }
};

__device__ __forceinline__ uint32_t ring_address() {
  DYNAMIC_SHARED(shared);
  return (shared_address(shared) + 1023) / 1024 * 1024;
}

// `src/matmul/plan.rs` has the bytes of shared memory too.
#define LARGE_BATCH(tile, stages, bytes) \
  static_assert(LargeBatchMatmul<AnyPalette, tile, stages>::SHARED_BYTES == bytes, "the plan's"); \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_##tile##_rows_consecutive(const __grid_constant__ LargeMatmulJob job) { \
    LargeBatchMatmul<ConsecutivePalette, tile, stages>(job, ring_address()).run(Part(job)); \
  } \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_##tile##_rows_any(const __grid_constant__ LargeMatmulJob job) { \
    LargeBatchMatmul<AnyPalette, tile, stages>(job, ring_address()).run(Part(job)); \
  }
LARGE_BATCH(32, 12, 206048)
LARGE_BATCH(64, 10, 222400)
LARGE_BATCH(128, 6, 189568)
LARGE_BATCH(256, 4, 197728)
