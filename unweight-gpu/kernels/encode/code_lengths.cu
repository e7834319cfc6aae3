// Code lengths of tensors and of their chunks, by package-merge (specification, section 11.3). encode.cu chooses which
// of the two a chunk uses.
//
// Data layout, shared memory of a warp:
//
//   | items: 16, ascending | packages: 16 | list: 32 |   weights; FAR after the last item and after the last package
//
// Threads: one warp = one code: first those of the jobs, then those of the chunks; blocks of 8 warps. Lane t has item
// t, and lane 16 + t has package t.
//
// Algorithm. A list holds items and packages in order of weight. Items keep their order in it, and so do packages. So a
// bit for each element, set for an item, is all that has to be kept of a list: of its first t elements the `a` items
// are the `a` lightest, and the packages unfold to the first 2 (t - a) elements of the list before. The place of an
// element in the next list is its place among its kind plus the number of elements of the other kind before it. Every
// lane counts that by itself, so a level takes a few hundred cycles. (One thread that merges as on paper takes 40 us
// for all.) Weights have 32 bits, except for tensors of 2^27 weights and more, where sums over 8 levels may not fit.
//
// Shared memory: 4,096 bytes for a block.
// Preconditions: those of EncodeJob's weight_count, palette, kind and chunk fields; for tensors, of totals; for chunks,
// of palette_counts and code_lengths. If `gathers`, also of counts: the kernel then takes palette_counts from there;
// otherwise they are written already. `tensor_codes` has 8 bytes for each job. The launch comes after the kernel that
// chooses palettes, with a warp for each job and each chunk. Palette jobs are skipped, and their pointers not followed.
// Tail: warps after the last chunk do nothing.
#include "encode/input_chunk.cuh"

namespace unweight::encode {

constexpr uint32_t CODE_WARPS = 8;
// Weights of a tensor whose packages are below 2^30, and its items times 16 below 2^31.
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
    const uint32_t low = __shfl_sync(ALL_LANES, static_cast<uint32_t>(count), entry);
    const uint64_t other =
        static_cast<uint64_t>(__shfl_sync(ALL_LANES, static_cast<uint32_t>(count >> 32), entry)) << 32 | low;
    if (other <= most) continue;
    most = other;
    greatest = entry;
  }
  return greatest;
}

// `choose_code` of section 11.3. Lane l holds the count of palette entry l; lanes from 16 on hold 0. Returns the
// lengths as in a record's header.
template <class Weight>
__device__ inline uint2 choose_code(Merge<Weight>& merge, uint32_t lane, Weight count, uint64_t total) {
  // A rarer exponent is cheaper as a patch than as a code of 8 bits.
  const bool coded = count != 0 && 4096 * static_cast<uint64_t>(count) >= total;
  const uint32_t item_count = static_cast<uint32_t>(__popc(__ballot_sync(ALL_LANES, coded)));
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
  // A single code has no bits. No code at all would not be complete.
  const uint32_t only = item_count == 0 ? first_greatest(count) : 0;
  const uint32_t coded_entry = item_count == 0 ? only : entry;
  const uint64_t changed = lane < max(item_count, 1u) ? static_cast<uint64_t>(length ^ NO_CODE) << 4 * coded_entry : 0;
  return make_uint2(~__reduce_add_sync(ALL_LANES, static_cast<uint32_t>(changed)),
                    ~__reduce_add_sync(ALL_LANES, static_cast<uint32_t>(changed >> 32)));
}

extern "C" __global__ void __launch_bounds__(CODE_WARPS* WARP)
    choose_codes(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint2* tensor_codes,
                 uint32_t gathers) {
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
    const InputChunk chunk = find_input_chunk(jobs, job_count, number - job_count);
    job = chunk.job;
    if (job->kind != KIND_HUFFMAN) return;
    total = chunk.weight_count;
    uint32_t* palette_counts = job->palette_counts + static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES;
    const uint32_t of_entry = gathers ? job->counts[static_cast<uint64_t>(chunk.own) * EXPONENTS + job->palette[entry]]
                                      : palette_counts[entry];
    if (gathers && lane < PALETTE_ENTRIES) palette_counts[entry] = of_entry;
    count = of_entry;
    to = &job->code_lengths[chunk.own];
  }
  if (lane >= PALETTE_ENTRIES) count = 0;
  const uint2 code = total < FEW_WEIGHTS ? choose_code(merge, lane, static_cast<uint32_t>(count), total)
                                         : choose_code(*own_shared, lane, count, total);
  if (lane == 0) *to = code;
}

}  // namespace unweight::encode
