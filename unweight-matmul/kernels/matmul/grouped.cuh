// What the kernels of grouped matmuls share: K tiles of experts, and the routing (abi/grouped_jobs.cuh).
#pragma once
#include "abi/grouped_jobs.cuh"
#include "matmul/fragment_tiles.cuh"

namespace unweight::matmul {

using abi::GroupedMatmulJob;
using abi::NO_SLOT;
using abi::RECORD_WORDS;

// Does the same as patch_weight, but without a branch. A launch is short, and each case of a branch would be a miss of
// the instruction cache.
__device__ __forceinline__ void patch_weight_in_line(TileWeights& weights, uint32_t number, uint32_t exponent,
                                                     bool own) {
  const uint32_t shift = number % 2 * 16;
  const uint32_t bits = own ? 0x7f80u << shift : 0, exponents = exponent << (7 + shift);
#pragma unroll
  for (uint32_t pair = 0; pair < LANE_WEIGHTS / 2; pair++)
    weights.pairs[pair] = ptx::select_bits(number / 2 == pair ? bits : 0, exponents, weights.pairs[pair]);
}

template <typename Palette>
using ExpertTiles = FragmentTiles<Palette, GroupedMatmulJob, patch_weight_in_line>;

// A tile of slots.
struct SlotTile {
  uint32_t expert;
  uint32_t number;
  uint32_t rows;  // slots of the tile
};

// A record of the routing.
struct Record {
  uint32_t expert, first_tile, slots;
};

// The routing of a launch. The first words are in shared memory.
struct Routing {
  // Size of these words in bytes: the header and records.
  static constexpr uint32_t SHARED_BYTES = WARP * sizeof(uint4);
  const GroupedMatmulJob& job;
  const uint4* const first;  // in shared memory: the header, then records
  uint32_t tiles, absent;
  const uint32_t* slots;  // of tiles

  // All threads call it, with SHARED_BYTES of shared memory.
  __device__ __forceinline__ Routing(const GroupedMatmulJob& of, uint4* shared) : job(of), first(shared) {
    if (threadIdx.x < WARP)
      shared[threadIdx.x] = reinterpret_cast<const uint4*>(job.routing)[min(threadIdx.x, job.most_tiles)];
    __syncthreads();
    tiles = min(shared[0].x, job.most_tiles);
    absent = min(shared[0].y, job.slots);
    slots = job.routing + (1 + job.most_tiles) * RECORD_WORDS;
  }

  // The record of a tile.
  __device__ __forceinline__ Record record_of(uint32_t tile) const {
    const uint32_t at = tile + 1;
    const uint4 found = at < WARP ? first[at] : reinterpret_cast<const uint4*>(job.routing)[min(at, job.most_tiles)];
    return {found.x, found.y, found.z};
  }
  // Tile `of_expert` of the expert of a record.
  template <uint32_t TILE_ROWS>
  __device__ __forceinline__ SlotTile tile_of(const Record& record, uint32_t of_expert) const {
    return {min(record.expert, job.expert_count - 1), min(record.first_tile + of_expert, job.most_tiles - 1),
            min(record.slots - of_expert * TILE_ROWS, TILE_ROWS)};
  }

  // The slot of a tile's row, or NO_SLOT, and its scale.
  template <uint32_t TILE_ROWS>
  __device__ __forceinline__ uint32_t slot(uint32_t tile, uint32_t row) const {
    const uint32_t slot = slots[tile * TILE_ROWS + row];
    return slot < job.slots ? slot : NO_SLOT;
  }
  template <uint32_t TILE_ROWS>
  __device__ __forceinline__ float scale(uint32_t tile, uint32_t row) const {
    const uint32_t* const scales = slots + job.most_tiles * TILE_ROWS;
    return job.scaled != 0 ? reinterpret_cast<const float*>(scales)[tile * TILE_ROWS + row] : 1.0f;
  }

  // Stores zeros for absent slots.
  template <uint32_t TILE_ROWS>
  __device__ __forceinline__ void clear_absent() const {
    const uint32_t* const absent_slots = slots + 2 * job.most_tiles * TILE_ROWS;
    const uint32_t row_pieces = job.rows / 8;
    const uint64_t count = static_cast<uint64_t>(absent) * row_pieces;
    for (uint64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += job.blocks * blockDim.x) {
      const uint32_t slot = absent_slots[i / row_pieces];
      if (slot < job.slots)
        reinterpret_cast<uint4*>(job.y)[static_cast<uint64_t>(slot) * row_pieces + i % row_pieces] =
            make_uint4(0, 0, 0, 0);
    }
  }
};

}  // namespace unweight::matmul
