// y = x * W^T for many rows of x, W in fragment form, on Hopper's tensor cores (sm_90a). Products are exact, sums are FP32.
//
// A block has BLOCK_ROWS rows of W and a tile of rows of x. Four warps copy both, unit after unit of columns, into a ring in shared memory. A team of eight
// others, each for a strip, rebuilds weights in registers and has the tensor cores multiply them: of the next unit while they multiply this one's, or two
// teams take turns, and each rebuilds while the other's are multiplied. SPLITS blocks, which are a cluster, share the columns of a tile. In the end every
// team adds all teams' sums of some rows of x, which it reads from shared memory, its block's and the others'.
//
// A sum is of a team's columns in their order (16 of them together, as tensor cores add them): the first team has units 0, 2, 4 ... of its split, the second
// the others. Then of the first split's teams, of the second's, and so on. So a result depends on SPLITS and TEAMS, but not on the count of blocks, or on
// who came when.
//
// Preconditions: columns are a multiple of UNIT_COLUMNS, and with more than one split or team at least SPLITS * STAGES units; rows are a multiple of 8;
// weights, x and y are 16-byte aligned; any count of rows of x. Blocks have LargeBatchMatmul::THREADS threads and LargeBatchMatmul::SHARED_BYTES of shared
// memory, the grid is any multiple of SPLITS.
#include "matmul.cuh"
#include "wgmma.cuh"

// Where the copy engine finds x: what the driver calls a CUtensorMap, of `batch` rows of `columns`, in boxes of TILE rows of UNIT_COLUMNS, of which each row of
// 128 bytes is swizzled. Rows behind the last are zeros.
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

// `src/matmul/job.rs` has its twin.
struct LargeMatmulJob {
  TensorMap x;
  MatmulJob product;  // of which `x`, `partials`, `arrived`, `part` and `longer_parts` are not used
};

constexpr uint32_t BLOCK_STRIPS = 8;
constexpr uint32_t BLOCK_ROWS = BLOCK_STRIPS * UNIT_ROWS;
// Of a team, which have a strip each.
constexpr uint32_t TEAM_WARPS = BLOCK_STRIPS;
constexpr uint32_t TEAM_THREADS = TEAM_WARPS * WARP;
// Four, as registers are given to four warps together.
constexpr uint32_t COPYING_WARPS = 4;
// Whose weights are copied before rows of x can be: not all of the ring, as rows of x would come behind them.
constexpr uint32_t EARLY_STAGES = 2;

// Barriers in shared memory, by address.
__device__ __forceinline__ void init_barrier(uint32_t barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// `wait_barrier` sees what the block's threads wrote before they arrived; `wait_barrier_of_cluster`, what the cluster's did.
#define WAIT_BARRIER(name, order) \
  __device__ __forceinline__ void name(uint32_t barrier, uint32_t parity) { \
    uint32_t done; \
    do { \
      asm volatile( \
          "{\n" \
          ".reg .pred done;\n" \
          "mbarrier.try_wait.parity" order ".shared::cta.b64 done, [%1], %2;\n" \
          "selp.b32 %0, 1, 0, done;\n" \
          "}" \
          : "=r"(done) : "r"(barrier), "r"(parity) : "memory"); \
    } while (!done); \
  }
WAIT_BARRIER(wait_barrier, "")
WAIT_BARRIER(wait_barrier_of_cluster, ".acquire.cluster")
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Of a barrier of any block of the cluster.
__device__ __forceinline__ void arrive(uint32_t barrier) { asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory"); }
// What was written before is seen by those who have waited for the cluster's.
__device__ __forceinline__ void arrive_in_cluster(uint32_t barrier) {
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ uint32_t address_in_block(uint32_t address, uint32_t block) {
  uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
  return there;
}
__device__ __forceinline__ uint32_t block_of_cluster() {
  uint32_t block;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(block));
  return block;
}
__device__ __forceinline__ void wait_for_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
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
__device__ __forceinline__ void store_shared(uint32_t at, float a, float b, float c, float d) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
__device__ __forceinline__ float4 load_in_cluster(uint32_t from) {
  float4 value;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w) : "r"(from) : "memory");
  return value;
}
// What this thread did in shared memory comes before copies into it.
__device__ __forceinline__ void before_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
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
  __device__ __forceinline__ void skip(uint32_t stages) {
    stage += stages;
    parity ^= stage / STAGES % 2;
    stage %= STAGES;
  }
};

// PALETTE rebuilds; TILE rows of x; STAGES of the ring; SPLITS blocks share columns, and so do TEAMS in each.
template <typename Palette, uint32_t TILE, uint32_t STAGES, uint32_t SPLITS, uint32_t TEAMS>
struct LargeBatchMatmul {
  static constexpr uint32_t MULTIPLYING_WARPS = TEAMS * TEAM_WARPS;
  static constexpr uint32_t MULTIPLYING_THREADS = MULTIPLYING_WARPS * WARP;
  static constexpr uint32_t THREADS = MULTIPLYING_THREADS + COPYING_WARPS * WARP;
  // Whoever copies gives some to those who multiply.
  static constexpr uint32_t COPYING_REGISTERS = TEAMS == 1 ? 40 : 24;
  static constexpr uint32_t MULTIPLYING_REGISTERS = TEAMS == 1 ? 232 : 112;
  // Teams of all splits: columns of a tile are shared by so many.
  static constexpr uint32_t SHARES = SPLITS * TEAMS;
  static constexpr uint32_t X_BYTES = TILE * X_ROW_BYTES;
  static constexpr uint32_t WEIGHT_BYTES = BLOCK_STRIPS * UNIT_BYTES;
  static constexpr uint32_t SUMS = TILE / 2;            // of a lane
  // Sums are added up and stored in parts of 16 rows of x: every team has some of them, at most OWN_PARTS.
  static constexpr uint32_t PART_ROWS = 16;
  static constexpr uint32_t PART_SUMS = PART_ROWS / 2;
  static constexpr uint32_t PARTS = TILE / PART_ROWS;
  static constexpr uint32_t OWN_PARTS = (PARTS + SHARES - 1) / SHARES;
  static constexpr uint32_t OWN_SUMS = OWN_PARTS * PART_SUMS;
  // That a warp stores together.
  static constexpr uint32_t STORE_PARTS = OWN_PARTS % 4 == 0 ? 4 : OWN_PARTS % 3 == 0 ? 3 : OWN_PARTS % 2 == 0 ? 2 : 1;
  static constexpr uint32_t STORE_ROW_BYTES = UNIT_ROWS * 2;
  static constexpr uint32_t STORE_PART_BYTES = PART_ROWS * STORE_ROW_BYTES;
  static constexpr uint32_t STORE_BYTES = STORE_PARTS * STORE_PART_BYTES;
  static_assert(OWN_PARTS % STORE_PARTS == 0);
  // In shared memory. Teams' sums stand in the ring, when it is not in use: groups of four, of all threads of a team.
  static constexpr uint32_t SUM_GROUP_BYTES = TEAM_THREADS * 16;
  static constexpr uint32_t TEAM_SUM_BYTES = SUMS / 4 * SUM_GROUP_BYTES;
  static constexpr uint32_t WEIGHTS_AT = STAGES * X_BYTES;
  static constexpr uint32_t STORE_AT = WEIGHTS_AT + STAGES * WEIGHT_BYTES;
  static constexpr uint32_t BARRIERS_AT = STORE_AT + MULTIPLYING_WARPS * STORE_BYTES;
  static constexpr uint32_t SUMS_WRITTEN_AT = BARRIERS_AT + 2 * STAGES * 8;
  static constexpr uint32_t SUMS_READ_AT = SUMS_WRITTEN_AT + 8;
  static constexpr uint32_t ALIGNMENT = 1024;
  static constexpr uint32_t SHARED_BYTES = SUMS_READ_AT + 8 + ALIGNMENT - 16;
  static_assert(EARLY_STAGES < STAGES);
  static_assert(TEAMS * TEAM_SUM_BYTES <= STORE_AT);
  // So that a stage is one team's throughout a tile.
  static_assert(STAGES % TEAMS == 0);

  const TensorMap& x_map;
  const MatmulJob& job;
  // `warp` is one of its team.
  const uint32_t shared, lane, warp, team, split;
  const uint32_t cluster, clusters;
  // Tiles: of all rows of x for a group of rows of W, then for the next group.
  const uint32_t x_tiles, tiles;
  // The block's share of columns, in units.
  const uint32_t first, last;
  // And of parts of rows of x.
  const uint32_t first_part, last_part;

  __device__ __forceinline__ LargeBatchMatmul(const LargeMatmulJob& all, uint32_t shared_at)
      : x_map(all.x), job(all.product), shared(shared_at), lane(threadIdx.x % WARP), warp(__shfl_sync(ALL_LANES, threadIdx.x / WARP % TEAM_WARPS, 0)),
        team(__shfl_sync(ALL_LANES, threadIdx.x / TEAM_THREADS, 0)), split(SPLITS == 1 ? 0 : block_of_cluster()),
        cluster(blockIdx.x / SPLITS), clusters(gridDim.x / SPLITS),
        x_tiles((job.batch + TILE - 1) / TILE), tiles((job.rows + BLOCK_ROWS - 1) / BLOCK_ROWS * x_tiles),
        first(job.units * split / SPLITS), last(job.units * (split + 1) / SPLITS),
        first_part(PARTS * share() / SHARES), last_part(PARTS * (share() + 1) / SHARES) {}

  __device__ __forceinline__ uint32_t share() const { return split * TEAMS + team; }

  // Barriers, for each stage.
  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return shared + BARRIERS_AT + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const { return shared + BARRIERS_AT + (STAGES + stage) * 8; }
  // Rows behind the last are computed like it, and not stored.
  __device__ __forceinline__ uint32_t strip_of(uint32_t tile, uint32_t s) const {
    return min(tile / x_tiles * BLOCK_STRIPS + s, (job.rows + UNIT_ROWS - 1) / UNIT_ROWS - 1);
  }

  __device__ __forceinline__ void run() {
    // The first thing, as each of its loads waits for the one before.
    Patches<MatmulJob> patches(job);
    if (team < TEAMS && cluster < tiles) patches.seek(strip_of(cluster, warp), first, lane);
    if (threadIdx.x == 0) {
      for (uint32_t stage = 0; stage < STAGES; stage++) {
        init_barrier(full(stage), 1);
        init_barrier(empty(stage), TEAM_WARPS);
      }
      init_barrier(shared + SUMS_WRITTEN_AT, SHARES * TEAM_WARPS);
      init_barrier(shared + SUMS_READ_AT, SHARES * TEAM_WARPS);
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    if (SPLITS == 1) __syncthreads(); else wait_for_cluster();
    let_next_launch_begin();
    if (team == TEAMS) {
      asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COPYING_REGISTERS));
      if (lane == 0) copy(warp);
    } else {
      asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(MULTIPLYING_REGISTERS));
      multiply(patches);
    }
  }

  // Each copying warp copies the weights of some strips; the first, rows of x too. It is a single thread's work, and has to be short: if it took longer than
  // the tensor cores take for a unit, all would wait for it.
  __device__ __forceinline__ void copy(uint32_t copier) {
    constexpr uint32_t STRIPS = BLOCK_STRIPS / COPYING_WARPS;
    const uint8_t* weights[STRIPS];
    uint32_t x_row, x_column;
    const auto enter = [&](uint32_t tile) {
#pragma unroll
      for (uint32_t s = 0; s < STRIPS; s++) {
        const uint64_t strip = strip_of(tile, copier * STRIPS + s);
        weights[s] = job.weights + (strip * job.units + first) * UNIT_BYTES;
      }
      x_row = tile % x_tiles * TILE;
      x_column = first * UNIT_COLUMNS;
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
    if (cluster >= tiles) return;
    // Weights are there whatever the launch before this one still does: those of the first stages do not wait for it.
    const uint32_t at_once = min(last - first, EARLY_STAGES);
    enter(cluster);
#pragma unroll 1
    for (uint32_t stage = 0; stage < at_once; stage++) copy_weights(stage);
    wait_for_launch_before();
#pragma unroll 1
    for (uint32_t stage = 0; stage < at_once; stage++) copy_x(stage);
    Turn<STAGES> turn;
    // Stages that have never been full need not be given back: a new barrier's phase before its first is over.
    turn.stage = at_once;
    turn.parity = 1;
    uint32_t unit = first + at_once;
#pragma unroll 1
    for (uint32_t tile = cluster;;) {
#pragma unroll 1
      for (; unit < last; unit++) {
        wait_barrier(empty(turn.stage), turn.parity);
        copy_weights(turn.stage);
        copy_x(turn.stage);
        turn.next();
      }
      tile += clusters;
      if (tile >= tiles) break;
      unit = first;
      enter(tile);
    }
  }

  // What tensor cores read as rows of x: of 128 bytes, swizzled, groups of eight 1024 bytes apart.
  __device__ __forceinline__ uint64_t x_descriptor(uint32_t stage) const {
    return static_cast<uint64_t>(1) << 62 | static_cast<uint64_t>(1024 / 16) << 32 | static_cast<uint64_t>(1) << 16 | (shared + stage * X_BYTES) / 16;
  }

  __device__ __forceinline__ void multiply(Patches<MatmulJob>& patches) {
    if (cluster >= tiles) return;
    const Palette palette(job.palette);
    const uint32_t ring = shared + WEIGHTS_AT + warp * UNIT_BYTES + lane * 16;
    // Where the tile begins, and the unit that the team has next.
    Turn<STAGES> tile_turn, turn;
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
    const auto give_back = [&](uint32_t stage) {
      if (lane == 0) arrive(empty(stage));
    };
    // The last stages are given back when sums that are put there have been read.
    const auto give_back_unit = [&](uint32_t unit, uint32_t stage) {
      if (SHARES == 1 || unit + STAGES < last) give_back(stage);
    };

    uint32_t sums_parity = 0;
#pragma unroll 1
    for (uint32_t tile = cluster; tile < tiles; tile += clusters) {
      patches.begin();
      float sums[SUMS];
#pragma unroll
      for (uint32_t i = 0; i < SUMS; i++) sums[i] = 0;
      turn = tile_turn;
      if constexpr (TEAMS == 1) {
        UnitWeights even = next_weights(first), odd;
        uint32_t unit = first, before = 0;
#pragma unroll 1
        for (;;) {
          start_products(sums, even);
          if (unit != first) {
            tensor_cores_done_but<1>();
            give_back_unit(unit - 1, before);
          }
          before = turn.stage;
          turn.next();
          if (++unit == last) break;
          odd = next_weights(unit);
          start_products(sums, odd);
          tensor_cores_done_but<1>();
          give_back_unit(unit - 1, before);
          before = turn.stage;
          turn.next();
          if (++unit == last) break;
          even = next_weights(unit);
        }
        // The next tile's are on their way while sums are stored.
        if (tile + clusters < tiles) patches.seek(strip_of(tile + clusters, warp), first, lane);
        tensor_cores_done_but<0>();
        if (SHARES == 1) give_back(before);
      } else {
        turn.skip(team);
#pragma unroll 1
        for (uint32_t unit = first + team; unit < last; unit += TEAMS) {
          const UnitWeights weights = next_weights(unit);
          start_products(sums, weights);
          tensor_cores_done_but<0>();
          give_back_unit(unit, turn.stage);
          for (uint32_t i = 0; i < TEAMS; i++) turn.next();
        }
        if (tile + clusters < tiles) patches.seek(strip_of(tile + clusters, warp), first, lane);
      }
      if constexpr (SHARES == 1) {
        store(sums, tile);
      } else {
        float own[OWN_SUMS];
        add_shares(sums, own, sums_parity);
        store(own, tile);
        __syncwarp();
        if (lane < SPLITS) arrive(address_in_block(shared + SUMS_READ_AT, lane));
        // Others have read this block's.
        wait_barrier_of_cluster(shared + SUMS_READ_AT, sums_parity);
        before_copies();
        __syncwarp();
        // Those that the team has had in this tile.
        for (uint32_t stage = (tile_turn.stage + team) % TEAMS; stage < STAGES; stage += TEAMS) give_back(stage);
        sums_parity ^= 1;
      }
      tile_turn.skip(last - first);
    }
  }

  // Of the rows of x that the team has, what all teams have summed.
  __device__ __forceinline__ void add_shares(const float (&sums)[SUMS], float (&own)[OWN_SUMS], uint32_t parity) {
    const uint32_t at = shared + (warp * WARP + lane) * 16;
    // Tensor cores read rows of x for other warps from where sums are put.
    asm volatile("bar.sync 1, %0;" ::"n"(MULTIPLYING_THREADS) : "memory");
#pragma unroll
    for (uint32_t i = 0; i < SUMS / 4; i++)
      store_shared(at + team * TEAM_SUM_BYTES + i * SUM_GROUP_BYTES, sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]);
    __syncwarp();
    if (lane < SPLITS) arrive_in_cluster(address_in_block(shared + SUMS_WRITTEN_AT, lane));
    wait_barrier_of_cluster(shared + SUMS_WRITTEN_AT, parity);
#pragma unroll
    for (uint32_t i = 0; i < OWN_SUMS; i++) own[i] = 0;
#pragma unroll
    for (uint32_t other = 0; other < SHARES; other++) {
      const uint32_t there = address_in_block(at + other % TEAMS * TEAM_SUM_BYTES + first_part * (PART_SUMS / 4) * SUM_GROUP_BYTES, other / TEAMS);
#pragma unroll
      for (uint32_t i = 0; i < OWN_SUMS / 4; i++) {
        // Where teams have not as many parts, the last one's is none.
        if (PARTS % SHARES != 0 && first_part + i / (PART_SUMS / 4) >= last_part) break;
        const float4 more = load_in_cluster(there + i * SUM_GROUP_BYTES);
        own[4 * i] += more.x;
        own[4 * i + 1] += more.y;
        own[4 * i + 2] += more.z;
        own[4 * i + 3] += more.w;
      }
    }
  }

  // Of a warp's 16 rows of W: 32 bytes for each row of x, which two lanes store.
  __device__ __forceinline__ void store(const float (&own)[OWN_SUMS], uint32_t tile) {
    const uint32_t buffer = shared + STORE_AT + (team * TEAM_WARPS + warp) * STORE_BYTES;
    const uint32_t to = buffer + (lane / 16 * 8 + lane % 8) * STORE_ROW_BYTES + lane / 8 % 2 * 16;
    const uint32_t row = (tile / x_tiles * BLOCK_STRIPS + warp) * UNIT_ROWS + lane % 2 * 8;
    const uint32_t x_first = tile % x_tiles * TILE + first_part * PART_ROWS + lane / 2;
    const uint32_t x_end = min(job.batch, tile % x_tiles * TILE + last_part * PART_ROWS);
#pragma unroll
    for (uint32_t part = 0; part < OWN_PARTS; part += STORE_PARTS) {
      __syncwarp();
#pragma unroll
      for (uint32_t i = 0; i < STORE_PARTS; i++) {
        const float* of = own + (part + i) * PART_SUMS;
        store_transposed(to + i * STORE_PART_BYTES, to_bf16_pair(of[0], of[1]), to_bf16_pair(of[2], of[3]), to_bf16_pair(of[4], of[5]),
            to_bf16_pair(of[6], of[7]));
      }
      __syncwarp();
#pragma unroll
      for (uint32_t i = 0; i < STORE_PARTS; i++) {
        const uint4 eight = load_shared(buffer + i * STORE_PART_BYTES + lane * 16);
        const uint32_t x_row = x_first + (part + i) * PART_ROWS;
        if (x_row < x_end && row < job.rows) *reinterpret_cast<uint4*>(job.y + static_cast<uint64_t>(x_row) * job.rows + row) = eight;
      }
    }
  }
};

__device__ __forceinline__ uint32_t ring_address() {
  DYNAMIC_SHARED(shared);
  return (shared_address(shared) + 1023) / 1024 * 1024;
}

// `src/matmul/plan.rs` has the bytes of shared memory too.
#define LARGE_BATCH(tile, stages, splits, teams, bytes) \
  static_assert(LargeBatchMatmul<AnyPalette, tile, stages, splits, teams>::SHARED_BYTES == bytes, "the plan's"); \
  extern "C" __global__ void __cluster_dims__(splits, 1, 1) __launch_bounds__(LargeBatchMatmul<AnyPalette, tile, stages, splits, teams>::THREADS, 1) \
  matmul_##tile##_##splits##_##teams##_consecutive(const __grid_constant__ LargeMatmulJob job) { \
    LargeBatchMatmul<ConsecutivePalette, tile, stages, splits, teams>(job, ring_address()).run(); \
  } \
  extern "C" __global__ void __cluster_dims__(splits, 1, 1) __launch_bounds__(LargeBatchMatmul<AnyPalette, tile, stages, splits, teams>::THREADS, 1) \
  matmul_##tile##_##splits##_##teams##_any(const __grid_constant__ LargeMatmulJob job) { \
    LargeBatchMatmul<AnyPalette, tile, stages, splits, teams>(job, ring_address()).run(); \
  }
LARGE_BATCH(32, 12, 1, 1, 206016)
LARGE_BATCH(32, 12, 2, 2, 206016)
LARGE_BATCH(32, 12, 4, 2, 206016)
LARGE_BATCH(64, 10, 1, 1, 222368)
LARGE_BATCH(64, 10, 2, 2, 214176)
LARGE_BATCH(64, 10, 3, 2, 214176)
LARGE_BATCH(64, 10, 4, 2, 214176)
LARGE_BATCH(128, 6, 1, 1, 189536)
LARGE_BATCH(128, 6, 2, 2, 189536)
LARGE_BATCH(128, 6, 3, 1, 185440)
LARGE_BATCH(256, 4, 1, 1, 197696)
LARGE_BATCH(256, 4, 2, 1, 197696)
