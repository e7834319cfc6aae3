// What the kernels of grouped matmuls share: K tiles of experts, and the routing (abi/grouped_jobs.cuh).
#pragma once
#include "abi/grouped_jobs.cuh"
#include "matmul/small_batch.cuh"

namespace unweight::matmul {

using abi::GroupedMatmulJob;
using abi::NO_SLOT;
using abi::RECORD_WORDS;

// As patch_weight, without a branch: a launch is short, and each case of a branch would be a miss of the instruction
// cache.
__device__ __forceinline__ void patch_weight_in_line(TileWeights& weights, uint32_t number, uint32_t exponent,
                                                     bool own) {
  const uint32_t shift = number % 2 * 16;
  const uint32_t bits = own ? 0x7f80u << shift : 0, exponents = exponent << (7 + shift);
#pragma unroll
  for (uint32_t pair = 0; pair < LANE_WEIGHTS / 2; pair++)
    weights.pairs[pair] = ptx::select_bits(number / 2 == pair ? bits : 0, exponents, weights.pairs[pair]);
}

// K tiles in fragment form, and patches.
template <typename Palette>
struct ExpertTiles {
  static constexpr uint32_t BYTES = K_TILE_BYTES;
  const GroupedMatmulJob& job;
  Palette palette;
  Patches<GroupedMatmulJob> patches;
  const uint4* from;

  __device__ explicit ExpertTiles(const GroupedMatmulJob& of) : job(of), patches(of) {}

  // The lane copies and reads the same bytes.
  __device__ static __forceinline__ uint32_t ring_lane(uint32_t lane) { return lane * 16; }
  __device__ __forceinline__ void enter(uint32_t panel, uint32_t k_tile, uint32_t lane) {
    const uint8_t* const tile = job.weights + (static_cast<uint64_t>(panel) * job.k_tiles + k_tile) * K_TILE_BYTES;
    from = reinterpret_cast<const uint4*>(tile) + lane;
  }
  __device__ __forceinline__ void copy(uint32_t to) const {
#pragma unroll
    for (uint32_t i = 0; i < K_TILE_PIECES; i++) ptx::copy_async(to + i * WARP * 16, from + i * WARP);
  }
  __device__ __forceinline__ void next() { from += K_TILE_PIECES * WARP; }
  __device__ __forceinline__ void load_palette() { palette = Palette::load(job.palette); }

  __device__ __forceinline__ void begin(uint32_t k_tile) { patches.begin(k_tile); }
  __device__ __forceinline__ TileWeights rebuild(uint32_t at, uint32_t k_tile, uint32_t lane) {
    TileWeights weights = matmul::rebuild(palette, ptx::load_shared_quad(at), ptx::load_shared_quad(at + 16 * WARP),
                                          ptx::load_shared_quad(at + 32 * WARP));
    patches.apply(k_tile, lane, weights, patch_weight_in_line);
    return weights;
  }

  // Lane 8i + j reads row j of piece i of half a K tile.
  __device__ static __forceinline__ uint32_t x_swizzle(uint32_t row) { return row % 8; }
  __device__ static __forceinline__ uint32_t x_lane(uint32_t lane) {
    return lane % 8 * X_ROW_BYTES + (lane / 8 ^ x_swizzle(lane)) * 16;
  }
  __device__ static __forceinline__ uint4 load_x(uint32_t tile, uint32_t x_lane, uint32_t half) {
    return ptx::load_matrices(tile + (x_lane ^ half * (X_ROW_BYTES / 2)));
  }
};

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
