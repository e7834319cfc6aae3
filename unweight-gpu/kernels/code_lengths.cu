// Code lengths of tensors and of their chunks, by package-merge (specification, section 11.3). Which of the two a chunk takes, encode.cu says.
//
//   choose_codes   the first blocks: one block = one job, of which one thread works; the others: one thread = one chunk
//
// All of it is one thread's work, and takes as long as that: so tensors and chunks go side by side, and few to a warp, as its threads
// go different ways.
//
//   shared, by thread     | items: 16 of count << 4 | palette entry, ascending | list: 31 weights |   a column of 64-bit words for each thread
//
// A list of the algorithm holds items and packages in order of weight. Both kinds keep their own order in it, so a bit for each element,
// set for an item, is all that has to be kept of a list: of its first t elements the a items are the a lightest, and the packages
// unfold to the first 2 (t - a) elements of the list before.
//
// Shared memory: 3,008 bytes a block of 8 threads.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weight_count, palette, kind and chunk fields; for tensors of totals, for chunks of
// palette_counts and code_lengths; `tensor_codes` has 8 bytes for each job. choose_codes comes after choose_palettes and palette_counts, with a block
// for each job, then one for every 8 chunks, of 8 threads. Palette jobs are passed over, and their pointers not followed.
//
// The tail: threads behind the last chunk do nothing.
#include "encode_layout.cuh"

constexpr uint32_t CODE_THREADS = 8;
constexpr uint32_t LIST_ELEMENTS = 2 * PALETTE_ENTRIES - 1;
constexpr uint32_t CODE_SHARED_BYTES = 8 * CODE_THREADS * (PALETTE_ENTRIES + LIST_ELEMENTS);
static_assert(CODE_SHARED_BYTES <= 48 << 10, "what a launch gets without asking");

// Every CODE_THREADS-th word of shared memory.
struct Column {
  uint64_t* words;
  __device__ __forceinline__ uint64_t& operator[](uint32_t i) const { return words[i * CODE_THREADS]; }
};

__device__ __forceinline__ uint32_t nibble(uint64_t lengths, uint32_t entry) { return static_cast<uint32_t>(lengths >> 4 * entry) & 15; }

// Replaces a list by the next level's: pairs of it merged with the items. Returns its new count; `is_item` gets its bits.
__device__ inline uint32_t next_list(Column items, uint32_t item_count, Column list, uint32_t count, uint32_t& is_item) {
  uint32_t packages = count / 2;
  for (uint32_t i = 0; i < packages; i++) list[i] = list[2 * i] + list[2 * i + 1];
  // From the back, so that packages can stay where they are until they are moved. Of equal weights the package stands behind.
  const uint32_t merged = item_count + packages;
  is_item = 0;
  for (uint32_t at = merged, left = item_count; left != 0; at--) {
    const uint64_t item = items[left - 1] >> 4;
    if (packages != 0 && list[packages - 1] >= item) {
      list[at - 1] = list[packages - 1];
      packages--;
    } else {
      list[at - 1] = item;
      is_item |= 1u << (at - 1);
      left--;
    }
  }
  return merged;
}

// `choose_code` of section 11.3, for palette entries that count(entry) gives, out of `total`. Lengths come as in a record's header.
template <class Count>
__device__ inline uint64_t choose_code(const Count& count, uint64_t total, Column items, Column list) {
  uint32_t item_count = 0, greatest = 0;
  for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++) {
    const uint64_t own = count(entry);
    if (own > count(greatest)) greatest = entry;
    // A rarer exponent is cheaper as a patch than as a code of 8 bits.
    if (own == 0 || 4096 * own < total) continue;
    const uint64_t item = own << 4 | entry;
    uint32_t at = item_count++;
    for (; at > 0 && items[at - 1] > item; at--) items[at] = items[at - 1];
    items[at] = item;
  }
  if (item_count <= 1) return ~(15ull << 4 * (item_count == 0 ? greatest : static_cast<uint32_t>(items[0] & 15)));

  uint32_t is_item[LONGEST_CODE_BITS];
  uint32_t list_count = item_count;
  is_item[0] = (1u << item_count) - 1;
  for (uint32_t i = 0; i < item_count; i++) list[i] = items[i] >> 4;
#pragma unroll
  for (uint32_t level = 1; level < LONGEST_CODE_BITS; level++) list_count = next_list(items, item_count, list, list_count, is_item[level]);

  uint64_t lengths = ~0ull;
  for (uint32_t i = 0; i < item_count; i++) lengths &= ~(15ull << 4 * (items[i] & 15));
  uint32_t taken = 2 * item_count - 2;
#pragma unroll
  for (uint32_t level = LONGEST_CODE_BITS; level-- > 0;) {
    const uint32_t taken_items = static_cast<uint32_t>(__popc(is_item[level] & ((1u << taken) - 1)));
    for (uint32_t i = 0; i < taken_items; i++) lengths += 1ull << 4 * (items[i] & 15);
    taken = 2 * (taken - taken_items);
  }
  return lengths;
}

__device__ __forceinline__ uint2 header_words(uint64_t lengths) {
  return make_uint2(static_cast<uint32_t>(lengths), static_cast<uint32_t>(lengths >> 32));
}

extern "C" __global__ void __launch_bounds__(CODE_THREADS)
    choose_codes(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint2* tensor_codes) {
  DYNAMIC_SHARED(shared);
  const Column items{reinterpret_cast<uint64_t*>(shared) + threadIdx.x}, list{&items[PALETTE_ENTRIES]};
  if (blockIdx.x < job_count) {
    const EncodeJob* job = &jobs[blockIdx.x];
    if (threadIdx.x != 0 || job->kind != KIND_HUFFMAN) return;
    const auto count = [&](uint32_t entry) -> uint64_t { return job->totals[job->palette[entry]]; };
    tensor_codes[blockIdx.x] = header_words(choose_code(count, job->weight_count, items, list));
    return;
  }
  const uint32_t number = (blockIdx.x - job_count) * CODE_THREADS + threadIdx.x;
  if (number >= chunk_count) return;
  const SourceChunk chunk = find_source_chunk(jobs, job_count, number);
  if (chunk.job->kind != KIND_HUFFMAN) return;
  const uint32_t* counts = chunk.job->palette_counts + static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES;
  const auto count = [&](uint32_t entry) -> uint64_t { return counts[entry]; };
  chunk.job->code_lengths[chunk.own] = header_words(choose_code(count, chunk.weight_count, items, list));
}
