// Code lengths of tensors and of their chunks, by package-merge (specification, section 11.3). Which of the two a chunk takes, encode.cu says.
//
//   choose_codes   one warp = one code: first those of the jobs, then those of the chunks
//
//   shared, by warp       | items: 16, ascending | packages: 16 | list: 32 |   weights; behind the last of items and packages, FAR
//
// A list of the algorithm holds items and packages in order of weight. Both kinds keep their own order in it, so a bit for each element,
// set for an item, is all that has to be kept of a list: of its first t elements the a items are the a lightest, and the packages
// unfold to the first 2 (t - a) elements of the list before.
//
// Lane t has item t, and lane 16 + t package t. Where either goes in the next list is its own place among its kind, and how many of the other kind come
// before it: every lane counts that by itself, so a level takes a few hundred cycles. (One thread that merges as on paper takes 40 us for all.)
//
// Weights have 32 bits, but for tensors of 2^27 weights and more, of which the counts of 8 levels may not fit.
//
// Shared memory: 4,096 bytes a block of 8 warps.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weight_count, palette, kind and chunk fields; for tensors of totals, for chunks of
// palette_counts and code_lengths, and of counts if `gathers`: then palette_counts are taken from there, and otherwise are there. `tensor_codes` has 8 bytes
// for each job. choose_codes comes after what chooses palettes, with a warp for each job and each chunk, in blocks of 8. Palette jobs are passed over, and
// their pointers not followed.
//
// The tail: warps behind the last chunk do nothing.
#include "encode/inputs.cuh"

constexpr uint32_t CODE_WARPS = 8;
// Weights of a tensor whose packages are below 2^30, and its items times 16 below 2^31.
constexpr uint64_t FEW_WEIGHTS = 1ull << 27;

// A warp's shared memory.
template <class Weight>
struct alignas(16) Merge {
  // Heavier than anything.
  static constexpr Weight FAR = static_cast<Weight>(~0ull);
  Weight items[PALETTE_ENTRIES];
  Weight packages[PALETTE_ENTRIES];
  Weight list[WARP];
};
typedef Merge<uint64_t> LargestMerge;

// Replaces a list by the next level's: pairs of it merged with the items, of which a lane has the weight of its own, or FAR. `count` becomes the
// list's new count. Returns a bit for each item.
template <class Weight>
__device__ inline uint32_t next_list(Merge<Weight>& merge, uint32_t lane, uint32_t item_count, Weight item, uint32_t& count) {
  const uint32_t packages = count / 2, of_kind = lane % PALETTE_ENTRIES;
  const Weight package = of_kind < packages ? merge.list[2 * of_kind] + merge.list[2 * of_kind + 1] : merge.FAR;
  if (lane < PALETTE_ENTRIES) merge.packages[lane] = package;
  __syncwarp();
  const bool is_item_lane = lane < PALETTE_ENTRIES;
  const Weight* others = is_item_lane ? merge.packages : merge.items;
  // Of equal weights the package stands behind.
  const Weight own = is_item_lane ? item : package, bound = is_item_lane ? own : own + 1;
  uint32_t place = of_kind;
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) place += others[other] < bound;
  // All have read the list.
  if (of_kind < (is_item_lane ? item_count : packages)) merge.list[place] = own;
  __syncwarp();
  count = item_count + packages;
  return __reduce_add_sync(ALL_LANES, lane < item_count ? 1u << place : 0);
}

__device__ __forceinline__ uint32_t first_greatest(uint64_t count) {
  uint32_t greatest = 0;
  uint64_t most = 0;
  for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++) {
    const uint32_t low = __shfl_sync(ALL_LANES, static_cast<uint32_t>(count), entry);
    const uint64_t other = static_cast<uint64_t>(__shfl_sync(ALL_LANES, static_cast<uint32_t>(count >> 32), entry)) << 32 | low;
    if (other <= most) continue;
    most = other;
    greatest = entry;
  }
  return greatest;
}

// `choose_code` of section 11.3. Lane l has the count of palette entry l, lanes from 16 on have 0. Lengths come as in a record's header.
template <class Weight>
__device__ inline uint2 choose_code(Merge<Weight>& merge, uint32_t lane, Weight count, uint64_t total) {
  // A rarer exponent is cheaper as a patch than as a code of 8 bits.
  const bool coded = count != 0 && 4096 * static_cast<uint64_t>(count) >= total;
  const uint32_t item_count = static_cast<uint32_t>(__popc(__ballot_sync(ALL_LANES, coded)));
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
  uint32_t length = 0;
  if (item_count > 1) {
    // Of level l, kept by lane l.
    uint32_t is_item = (1u << item_count) - 1, list_count = item_count;
    merge.list[lane] = item;
    __syncwarp();
    // Not unrolled, as are its steps: fetching instructions takes longer than they do.
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
  // One code alone has no bits; no code at all would not be complete.
  const uint32_t only = item_count == 0 ? first_greatest(count) : 0;
  const uint32_t coded_entry = item_count == 0 ? only : entry;
  const uint64_t changed = lane < max(item_count, 1u) ? static_cast<uint64_t>(length ^ NO_CODE) << 4 * coded_entry : 0;
  return make_uint2(~__reduce_add_sync(ALL_LANES, static_cast<uint32_t>(changed)), ~__reduce_add_sync(ALL_LANES, static_cast<uint32_t>(changed >> 32)));
}

extern "C" __global__ void __launch_bounds__(CODE_WARPS* WARP)
    choose_codes(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint2* tensor_codes, uint32_t gathers) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  LargestMerge* own_shared = reinterpret_cast<LargestMerge*>(shared) + warp;
  Merge<uint32_t>& merge = *reinterpret_cast<Merge<uint32_t>*>(own_shared);
  const uint32_t number = blockIdx.x * CODE_WARPS + warp, entry = lane % PALETTE_ENTRIES;
  const EncodeJob* job;
  uint64_t count, total;
  uint2* to;
  if (number < job_count) {
    job = &jobs[number];
    if (job->kind != KIND_HUFFMAN) return;
    total = job->weight_count;
    count = job->totals[job->palette[entry]];
    to = &tensor_codes[number];
  } else {
    if (number - job_count >= chunk_count) return;
    const SourceChunk chunk = find_source_chunk(jobs, job_count, number - job_count);
    job = chunk.job;
    if (job->kind != KIND_HUFFMAN) return;
    total = chunk.weight_count;
    uint32_t* palette_counts = job->palette_counts + static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES;
    const uint32_t of_entry = gathers ? job->counts[static_cast<uint64_t>(chunk.own) * EXPONENTS + job->palette[entry]] : palette_counts[entry];
    if (gathers && lane < PALETTE_ENTRIES) palette_counts[entry] = of_entry;
    count = of_entry;
    to = &job->code_lengths[chunk.own];
  }
  if (lane >= PALETTE_ENTRIES) count = 0;
  const uint2 code = total < FEW_WEIGHTS ? choose_code(merge, lane, static_cast<uint32_t>(count), total) : choose_code(*own_shared, lane, count, total);
  if (lane == 0) *to = code;
}
