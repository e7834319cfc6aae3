// The stream-K schedule of the small-batch kernels: K tiles of all panel groups, in order, divided into one range for
// each block.
//
// A panel group is 64 rows of W. A block's range may begin and end inside a group, so several blocks may share a group.
// In a block, the K range of each group is divided among SPLITS splits (split-K).
#pragma once
#include "abi/matmul_jobs.cuh"

namespace unweight::matmul {

constexpr uint32_t SPLITS = 4;

// K range of a panel group that one split of a block sums.
struct WorkUnit {
  uint32_t group;
  uint32_t k_tile, end;
};

struct StreamK {
  uint32_t range_tiles, longer_ranges, k_tiles;

  __device__ explicit StreamK(const MatmulJob& job)
      : range_tiles(job.range_tiles), longer_ranges(job.longer_ranges), k_tiles(job.k_tiles) {}
  // Start of a block's range, and end of the one before it.
  __device__ uint32_t start(uint32_t block) const { return block * range_tiles + min(block, longer_ranges); }
  // The block whose range has this K tile of the sequence.
  __device__ uint32_t block_at(uint32_t k_tile) const {
    const uint32_t in_longer = longer_ranges * (range_tiles + 1);
    return k_tile < in_longer ? k_tile / (range_tiles + 1) : longer_ranges + (k_tile - in_longer) / range_tiles;
  }
  // The work unit of one split of a block in a group.
  __device__ WorkUnit work_unit(uint32_t block, uint32_t group, uint32_t split) const {
    const uint32_t first = max(start(block), group * k_tiles), last = min(start(block + 1), (group + 1) * k_tiles);
    const uint32_t from = first - group * k_tiles, length = last - first;
    return {group, from + length * split / SPLITS, from + length * (split + 1) / SPLITS};
  }
};

}  // namespace unweight::matmul
