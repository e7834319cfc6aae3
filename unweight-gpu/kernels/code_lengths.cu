// Code lengths of tensors and of their chunks, by package-merge (specification, section 11.3). Which of the two a chunk takes, encode.cu says.
//
//   choose_codes   one warp = one code: first those of the jobs, then those of the chunks
//
//   shared, by warp       | items: 16, ascending | packages: 16 | list: 32 |   64-bit weights; behind the last of items and packages, FAR
//
// A list of the algorithm holds items and packages in order of weight. Both kinds keep their own order in it, so a bit for each element,
// set for an item, is all that has to be kept of a list: of its first t elements the a items are the a lightest, and the packages
// unfold to the first 2 (t - a) elements of the list before.
//
// Lane t has item t and package t. Where either goes in the next list is its own place among its kind, and how many of the other kind come
// before it: every lane counts that by itself, so a level takes a few hundred cycles. (One thread that merges as on paper takes 40 us for all.)
//
// Shared memory: 4,096 bytes a block of 8 warps.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weight_count, palette, kind and chunk fields; for tensors of totals, for chunks of
// palette_counts and code_lengths; `tensor_codes` has 8 bytes for each job. choose_codes comes after choose_palettes and palette_counts, with a warp
// for each job and each chunk, in blocks of 8. Palette jobs are passed over, and their pointers not followed.
//
// The tail: warps behind the last chunk do nothing.
#include "encode_layout.cuh"

constexpr uint32_t CODE_WARPS = 8;
// Heavier than anything: weights are below 2^39.
constexpr uint64_t FAR = ~0ull;

// A warp's shared memory.
struct Merge {
  uint64_t items[PALETTE_ENTRIES];     // count << 4 | palette entry
  uint64_t packages[PALETTE_ENTRIES];
  uint64_t list[WARP];
};

// Replaces a list by the next level's: pairs of it merged with the items, of which this lane has the weight of its own, or FAR. `count` becomes the
// list's new count. Returns a bit for each item.
__device__ inline uint32_t next_list(Merge& merge, uint32_t lane, uint32_t item_count, uint64_t item, uint32_t& count) {
  const uint32_t packages = count / 2;
  const uint64_t package = lane < packages ? merge.list[2 * lane] + merge.list[2 * lane + 1] : FAR;
  if (lane < PALETTE_ENTRIES) merge.packages[lane] = package;
  __syncwarp();
  // Of equal weights the package stands behind.
  uint32_t place_of_item = lane, place_of_package = lane;
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) {
    place_of_item += merge.packages[other] < item;
    place_of_package += merge.items[other] >> 4 <= package;
  }
  if (lane < item_count) merge.list[place_of_item] = item;
  if (lane < packages) merge.list[place_of_package] = package;
  __syncwarp();
  count = item_count + packages;
  return sum_over_lanes(lane < item_count ? 1u << place_of_item : 0);
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
__device__ inline uint2 choose_code(Merge& merge, uint32_t lane, uint64_t count, uint64_t total) {
  // A rarer exponent is cheaper as a patch than as a code of 8 bits.
  const bool coded = count != 0 && 4096 * count >= total;
  const uint32_t item_count = static_cast<uint32_t>(__popc(__ballot_sync(ALL_LANES, coded)));
  const uint64_t own = coded ? count << 4 | lane : FAR;
  if (lane < PALETTE_ENTRIES) merge.packages[lane] = own;
  __syncwarp();
  uint32_t rank = 0;
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) rank += merge.packages[other] < own;
  if (coded) merge.items[rank] = own;
  if (lane >= item_count && lane < PALETTE_ENTRIES) merge.items[lane] = FAR;
  __syncwarp();
  const uint64_t packed = lane < item_count ? merge.items[lane] : FAR;
  const uint32_t entry = static_cast<uint32_t>(packed) & 15;
  uint32_t length = 0;
  if (item_count > 1) {
    const uint64_t item = lane < item_count ? packed >> 4 : FAR;
    uint32_t is_item[LONGEST_CODE_BITS];
    uint32_t list_count = item_count;
    is_item[0] = (1u << item_count) - 1;
    merge.list[lane] = item;
    __syncwarp();
#pragma unroll
    for (uint32_t level = 1; level < LONGEST_CODE_BITS; level++) is_item[level] = next_list(merge, lane, item_count, item, list_count);
    uint32_t taken = 2 * item_count - 2;
#pragma unroll
    for (uint32_t level = LONGEST_CODE_BITS; level-- > 0;) {
      const uint32_t taken_items = static_cast<uint32_t>(__popc(is_item[level] & ((1u << taken) - 1)));
      length += lane < taken_items;
      taken = 2 * (taken - taken_items);
    }
  }
  // One code alone has no bits; no code at all would not be complete.
  const uint32_t only = item_count == 0 ? first_greatest(count) : 0;
  const uint32_t coded_entry = item_count == 0 ? only : entry;
  const uint64_t changed = lane < max(item_count, 1u) ? static_cast<uint64_t>(length ^ NO_CODE) << 4 * coded_entry : 0;
  return make_uint2(~sum_over_lanes(static_cast<uint32_t>(changed)), ~sum_over_lanes(static_cast<uint32_t>(changed >> 32)));
}

extern "C" __global__ void __launch_bounds__(CODE_WARPS* WARP)
    choose_codes(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint2* tensor_codes) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  Merge& merge = reinterpret_cast<Merge*>(shared)[warp];
  const uint32_t number = blockIdx.x * CODE_WARPS + warp;
  const uint32_t own = lane % PALETTE_ENTRIES;
  if (number < job_count) {
    const EncodeJob* job = &jobs[number];
    if (job->kind != KIND_HUFFMAN) return;
    const uint64_t count = lane < PALETTE_ENTRIES ? job->totals[job->palette[own]] : 0;
    const uint2 code = choose_code(merge, lane, count, job->weight_count);
    if (lane == 0) tensor_codes[number] = code;
    return;
  }
  if (number - job_count >= chunk_count) return;
  const SourceChunk chunk = find_source_chunk(jobs, job_count, number - job_count);
  if (chunk.job->kind != KIND_HUFFMAN) return;
  const uint32_t of_entry = chunk.job->palette_counts[static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES + own];
  const uint2 code = choose_code(merge, lane, lane < PALETTE_ENTRIES ? of_entry : 0, chunk.weight_count);
  if (lane == 0) chunk.job->code_lengths[chunk.own] = code;
}
