// Routing of tokens to experts, and matmuls of routed tokens (matmul/routing.cu, matmul/grouped_matmul.cu). Twins of
// the structures in `src/grouped/job.rs`; both assert the layout.
//
// A slot is a token and one of its `top_k` experts: slot = token * top_k + choice. A tile is up to `tile_rows` slots of
// one expert. The routing is an array of words:
//
//   header              | tiles | absent slots | 0 | 0 |
//   most_tiles records  | expert | the expert's first tile | the expert's slots | 0 |   those of an expert are alike
//   slots of tiles      | tile_rows for each of most_tiles; NO_SLOT after the expert's last |
//   scales of tiles     | likewise, FP32 |
//   absent slots        | slots whose expert does not exist; memory for all slots |
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

constexpr uint32_t RECORD_WORDS = 4;
constexpr uint32_t NO_SLOT = 0xffffffffu;

// Sorts slots by expert.
struct RoutingJob {
  const uint32_t* experts;  // of each slot; any value
  const float* scales;      // of each slot; null for ones
  uint32_t* routing;        // 16-byte aligned
  uint32_t slots;           // at least 1
  uint32_t expert_count;
  uint32_t tile_rows;
  uint32_t most_tiles;  // tiles that `routing` has memory for: not fewer than any experts of the slots can make
};
static_assert(offsetof(RoutingJob, experts) == 0);
static_assert(offsetof(RoutingJob, scales) == 8);
static_assert(offsetof(RoutingJob, routing) == 16);
static_assert(offsetof(RoutingJob, slots) == 24);
static_assert(offsetof(RoutingJob, expert_count) == 28);
static_assert(offsetof(RoutingJob, tile_rows) == 32);
static_assert(offsetof(RoutingJob, most_tiles) == 36);
static_assert(sizeof(RoutingJob) == 40);

// For each slot, y = x * W^T with W of the slot's expert in fragment form; zeros for absent slots. The contents
// of the matrices' memory, and of the routing, may be anything: wrong ones give wrong results, and nothing else.
struct GroupedMatmulJob {
  const uint8_t* weights;      // K tiles of all experts, by expert, by row panel, then by columns; 16-byte aligned
  const uint32_t* patches;     // patches of all row panels
  const uint32_t* patch_ends;  // end of each row panel's patches
  const uint8_t* palette;      // exponents, as in FragmentsJob; the kernel's name says how many
  const uint32_t* routing;     // of RoutingJob, with the kernel's `tile_rows`
  const uint16_t* x;           // rows of 64 * `k_tiles`; 16-byte aligned
  uint16_t* y;                 // `slots` rows of `rows`; 16-byte aligned
  float* partials;             // partial sums: two slots for each block
  uint32_t* arrived;           // blocks that have stored partial sums of an output tile; zero between launches
  uint32_t slots;
  uint32_t slots_of_x;    // slots that share a row of x, in order: 1 or `top_k`
  uint32_t expert_count;  // at least 1
  uint32_t rows;          // rows of an expert's matrix; a multiple of 16
  uint32_t k_tiles;       // K tiles of a row panel
  uint32_t most_tiles;    // as in RoutingJob; K tiles of all of them are less than 2^31
  uint32_t patch_count;   // length of `patches`
  uint32_t blocks;        // blocks of the launch
  uint32_t scaled;        // 1: sums are multiplied by the routing's scales before they are rounded; 0: they are not
};
static_assert(offsetof(GroupedMatmulJob, weights) == 0);
static_assert(offsetof(GroupedMatmulJob, patches) == 8);
static_assert(offsetof(GroupedMatmulJob, patch_ends) == 16);
static_assert(offsetof(GroupedMatmulJob, palette) == 24);
static_assert(offsetof(GroupedMatmulJob, routing) == 32);
static_assert(offsetof(GroupedMatmulJob, x) == 40);
static_assert(offsetof(GroupedMatmulJob, y) == 48);
static_assert(offsetof(GroupedMatmulJob, partials) == 56);
static_assert(offsetof(GroupedMatmulJob, arrived) == 64);
static_assert(offsetof(GroupedMatmulJob, slots) == 72);
static_assert(offsetof(GroupedMatmulJob, slots_of_x) == 76);
static_assert(offsetof(GroupedMatmulJob, expert_count) == 80);
static_assert(offsetof(GroupedMatmulJob, rows) == 84);
static_assert(offsetof(GroupedMatmulJob, k_tiles) == 88);
static_assert(offsetof(GroupedMatmulJob, most_tiles) == 92);
static_assert(offsetof(GroupedMatmulJob, patch_count) == 96);
static_assert(offsetof(GroupedMatmulJob, blocks) == 100);
static_assert(offsetof(GroupedMatmulJob, scaled) == 104);
static_assert(sizeof(GroupedMatmulJob) == 112);

}  // namespace unweight::abi
