// Sorts slots by expert, in ascending order, into tiles (abi/grouped_jobs.cuh).
//
// Threads: one block for each expert, and one for absent slots. Every block counts the slots of all experts, to know
// its first tile. A warp has a range of consecutive slots.
// Shared memory: a count for each expert, one for absent slots, and two for each warp.
// Preconditions: those of RoutingJob; `expert_count` + 1 blocks of ROUTING_THREADS threads.
#include "abi/grouped_jobs.cuh"
#include "ptx/mma.cuh"

namespace unweight::matmul {

using namespace abi;

constexpr uint32_t ROUTING_WARPS = 32;
constexpr uint32_t ROUTING_THREADS = ROUTING_WARPS * WARP;
// Slots that a lane loads side by side.
constexpr uint32_t LOADS = 4;

// Shared memory of a block in bytes.
__device__ constexpr uint32_t routing_shared_bytes(uint32_t expert_count) {
  return 4 * (expert_count + 1 + 2 * ROUTING_WARPS);
}

// Calls `use(slot, expert)` for the slots of a warp in order, all lanes together. An expert that does not exist is
// `expert_count`; slots after the last have NO_SLOT for an expert.
template <typename Use>
__device__ __forceinline__ void for_each_slot(const RoutingJob& job, uint32_t warp, uint32_t lane, const Use& use) {
  const uint32_t rounds = (job.slots + ROUTING_THREADS * LOADS - 1) / (ROUTING_THREADS * LOADS);
  const uint32_t first = warp * rounds * WARP * LOADS + lane;
#pragma unroll 1
  for (uint32_t round = 0; round < rounds; round++) {
    uint32_t experts[LOADS];
#pragma unroll
    for (uint32_t i = 0; i < LOADS; i++) {
      const uint32_t slot = first + (round * LOADS + i) * WARP;
      experts[i] = slot < job.slots ? min(job.experts[slot], job.expert_count) : NO_SLOT;
    }
#pragma unroll
    for (uint32_t i = 0; i < LOADS; i++) use(first + (round * LOADS + i) * WARP, experts[i]);
  }
}

// Sum over the block. All threads call it, with a word of shared memory for each warp.
__device__ __forceinline__ uint32_t sum_of_block(uint32_t value, uint32_t* words) {
#pragma unroll
  for (uint32_t distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  if (threadIdx.x % WARP == 0) words[threadIdx.x / WARP] = value;
  __syncthreads();
  uint32_t sum = 0;
  for (uint32_t warp = 0; warp < ROUTING_WARPS; warp++) sum += words[warp];
  return sum;
}

extern "C" __global__ void __launch_bounds__(ROUTING_THREADS) route(const __grid_constant__ RoutingJob job) {
  DYNAMIC_SHARED(shared);
  uint32_t* const counts = reinterpret_cast<uint32_t*>(shared);
  uint32_t* const own_counts = counts + job.expert_count + 1;  // of each warp
  uint32_t* const sums = own_counts + ROUTING_WARPS;
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, own = blockIdx.x;

  for (uint32_t expert = threadIdx.x; expert <= job.expert_count; expert += ROUTING_THREADS) counts[expert] = 0;
  __syncthreads();
  ptx::wait_for_previous_launch();
  ptx::launch_dependents();
  uint32_t own_count = 0;
  for_each_slot(job, warp, lane, [&](uint32_t, uint32_t expert) {
    if (expert != NO_SLOT) atomicAdd(counts + expert, 1u);
    own_count += static_cast<uint32_t>(__popc(__ballot_sync(ALL_LANES, expert == own)));
  });
  if (lane == 0) own_counts[warp] = own_count;
  __syncthreads();

  uint32_t tiles = 0;
  for (uint32_t expert = threadIdx.x; expert < own; expert += ROUTING_THREADS)
    tiles += (counts[expert] + job.tile_rows - 1) / job.tile_rows;
  const uint32_t first_tile = sum_of_block(tiles, sums);

  uint32_t* const records = job.routing + RECORD_WORDS;
  uint32_t* const tile_slots = records + job.most_tiles * RECORD_WORDS;
  float* const tile_scales = reinterpret_cast<float*>(tile_slots + job.most_tiles * job.tile_rows);
  uint32_t* const absent = tile_slots + 2 * job.most_tiles * job.tile_rows;
  const uint32_t count = counts[own], first_row = first_tile * job.tile_rows;
  uint32_t* to = absent;
  if (own < job.expert_count) {
    const uint32_t own_tiles = (count + job.tile_rows - 1) / job.tile_rows;
    for (uint32_t tile = threadIdx.x; tile < own_tiles; tile += ROUTING_THREADS)
      *reinterpret_cast<uint4*>(records + (first_tile + tile) * RECORD_WORDS) = make_uint4(own, first_tile, count, 0);
    to = tile_slots + first_row;
    for (uint32_t at = count + threadIdx.x; at < own_tiles * job.tile_rows; at += ROUTING_THREADS) to[at] = NO_SLOT;
  } else if (threadIdx.x == 0) {
    *reinterpret_cast<uint4*>(job.routing) = make_uint4(first_tile, count, 0, 0);
  }
  if (count == 0) return;
  uint32_t at = 0;
  for (uint32_t before = 0; before < warp; before++) at += own_counts[before];
  for_each_slot(job, warp, lane, [&](uint32_t slot, uint32_t expert) {
    const uint32_t lanes = __ballot_sync(ALL_LANES, expert == own);
    if (expert == own) {
      const uint32_t number = at + static_cast<uint32_t>(__popc(lanes & ((1u << lane) - 1)));
      to[number] = slot;
      if (own < job.expert_count) tile_scales[first_row + number] = job.scales != nullptr ? job.scales[slot] : 1.0f;
    }
    at += static_cast<uint32_t>(__popc(lanes));
  });
}

}  // namespace unweight::matmul
