// The code for given counts (specification, section 11.4), by one warp.
//
// Data layout, shared memory of a warp:
//
//   | items: 16, ascending | packages: 16 | list: 32 |   weights; FAR after the last item and after the last package
//
// Threads: lane t has item t, and lane 16 + t has package t.
//
// Algorithm. A list holds items and packages in order of weight. Items keep their order in it, and so do packages. So a
// bit for each element, set for an item, is all that has to be kept of a list: of its first t elements the `a` items
// are the `a` lightest, and the packages unfold to the first 2 (t - a) elements of the list before. The place of an
// element in the next list is its place among its kind plus the number of elements of the other kind before it. Every
// lane counts that by itself, so a level takes a few hundred cycles. (One thread that merges as on paper takes 40 us
// for all.) Weights have 32 bits, except for counts of 2^27 weights and more, where sums over 8 levels may not fit.
#pragma once
#include "encode/code_cost.cuh"

namespace unweight::encode {

// Counted weights whose packages are below 2^30, and whose items times 16 are below 2^31.
constexpr uint64_t FEW_WEIGHTS = 1ull << 27;

// Shared memory of a warp.
template <class Weight>
struct alignas(16) Merge {
  // Heavier than all weights.
  static constexpr Weight FAR = static_cast<Weight>(~0ull);
  Weight items[PALETTE_ENTRIES];
  Weight packages[PALETTE_ENTRIES];
  Weight list[WARP];
};
typedef Merge<uint64_t> LargestMerge;

// Replaces a list by that of the next level: pairs of it merged with the items. A lane holds the weight of its own
// item, or FAR. `count` becomes the count of the next list. Returns a bit for each element, set for items.
template <class Weight>
__device__ inline uint32_t next_list(Merge<Weight>& merge, uint32_t lane, uint32_t item_count, Weight item,
                                     uint32_t& count) {
  const uint32_t packages = count / 2, of_kind = lane % PALETTE_ENTRIES;
  const Weight package = of_kind < packages ? merge.list[2 * of_kind] + merge.list[2 * of_kind + 1] : merge.FAR;
  if (lane < PALETTE_ENTRIES) merge.packages[lane] = package;
  __syncwarp();
  const bool is_item_lane = lane < PALETTE_ENTRIES;
  const Weight* others = is_item_lane ? merge.packages : merge.items;
  // A package comes after an item of equal weight.
  const Weight own = is_item_lane ? item : package, bound = is_item_lane ? own : own + 1;
  uint32_t place = of_kind;
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) place += others[other] < bound;
  // All lanes have read the list before this barrier.
  if (of_kind < (is_item_lane ? item_count : packages)) merge.list[place] = own;
  __syncwarp();
  count = item_count + packages;
  return __reduce_add_sync(ALL_LANES, lane < item_count ? 1u << place : 0);
}

// The first palette entry of the greatest count.
__device__ __forceinline__ uint32_t first_greatest(uint64_t count) {
  uint32_t greatest = 0;
  uint64_t most = 0;
  for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++) {
    const uint64_t other = of_lane(count, entry);
    if (other <= most) continue;
    most = other;
    greatest = entry;
  }
  return greatest;
}

// `code_of` of section 11.4: the code of the entries in `set`, which has a bit for each; at least one. Lane l holds the
// count of palette entry l; lanes from 16 on hold 0. Returns the lengths as in a record's header.
template <class Weight>
__device__ inline uint2 code_of(Merge<Weight>& merge, uint32_t lane, Weight count, uint32_t set) {
  const bool coded = set >> lane & 1;
  const uint32_t item_count = static_cast<uint32_t>(__popc(set));
  // Sorts the items.
  const Weight own = coded ? count << 4 | lane : merge.FAR;
  if (lane < PALETTE_ENTRIES) merge.packages[lane] = own;
  __syncwarp();
  uint32_t rank = 0;
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) rank += merge.packages[other] < own;
  if (coded) merge.items[rank] = own;
  __syncwarp();
  const Weight packed = lane < item_count ? merge.items[lane] : merge.FAR;
  const uint32_t entry = static_cast<uint32_t>(packed) & 15;
  const Weight item = lane < item_count ? packed >> 4 : merge.FAR;
  if (lane < PALETTE_ENTRIES) merge.items[lane] = item;
  // A single code has no bits.
  uint32_t length = 0;
  if (item_count > 1) {
    // Lane l keeps the bits of level l.
    uint32_t is_item = (1u << item_count) - 1, list_count = item_count;
    merge.list[lane] = item;
    __syncwarp();
    // Not unrolled: fetching the instructions would take longer than running them.
#pragma unroll 1
    for (uint32_t level = 1; level < LONGEST_CODE_BITS; level++) {
      const uint32_t of_level = next_list(merge, lane, item_count, item, list_count);
      if (lane == level) is_item = of_level;
    }
    uint32_t taken = 2 * item_count - 2;
#pragma unroll 1
    for (uint32_t level = LONGEST_CODE_BITS; level-- > 0;) {
      const uint32_t of_level = __shfl_sync(ALL_LANES, is_item, static_cast<int>(level));
      const uint32_t taken_items = static_cast<uint32_t>(__popc(of_level & ((1u << taken) - 1)));
      length += lane < taken_items;
      taken = 2 * (taken - taken_items);
    }
  }
  const uint64_t changed = lane < item_count ? static_cast<uint64_t>(length ^ NO_CODE) << 4 * entry : 0;
  return make_uint2(~__reduce_add_sync(ALL_LANES, static_cast<uint32_t>(changed)),
                    ~__reduce_add_sync(ALL_LANES, static_cast<uint32_t>(changed >> 32)));
}

// `choose_code` of section 11.4, for counts of `total` weights; lanes as in `code_of`.
template <class Weight>
__device__ inline uint2 choose_code(Merge<Weight>& merge, uint32_t lane, Weight count, uint64_t total) {
  const uint64_t own = count;
  // S1: a rarer value is cheaper as a patch than as a code of 8 bits.
  uint32_t set = __ballot_sync(ALL_LANES, own != 0 && 4096 * own >= total);
  if (set == 0) set = 1u << first_greatest(own);
  // S2, which is a subset of S1. If it is empty, all weights are outside, so that need not be asked.
  const uint32_t frequent = __ballot_sync(ALL_LANES, 64 * own >= total);
  const uint64_t outside = total - sum_over_lanes(frequent >> lane & 1 ? own : 0);
  const bool compares = frequent != set && 64 * outside <= total;
  uint2 code = code_of(merge, lane, count, set);
  if (!compares) return code;
  const uint2 other = code_of(merge, lane, count, frequent);
  return cost_of_code(other, lane, own, total) < cost_of_code(code, lane, own, total) ? other : code;
}

}  // namespace unweight::encode
