// How often each exponent occurs, in every chunk and in the tensor, and the palette that follows (specification, sections 11.2 and 11.3).
//
//   count_exponents    one block = one chunk; its warps share the weights; count_exponents_of_planes where there is an exponent plane in place of
//                      weights, 8 bytes a lane and step
//
//   weights            | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   a step: 512 bytes, one load a lane
//   window             16 exponents, from the greatest of a warp's first weights less 14 on
//
// Trained weights have about ten exponents that occur often. What an exponent is more than the first of the warp's window is a value of four bits, and eight
// of these are a word. An exponent outside of the window, one in ten thousand, is counted in shared memory, atomically.
//
//   word               | 7 | 6 | 5 | 4 | 3 | 2 | 1 | 0 |    values of bits 3 2 1 0
//   adjacent           bits 0 3 | 3 2 | 2 1 | 1 0           of each value what both bits have in common
//   three              bits 1 0 3 | 0 3 2 | 3 2 1 | 2 1 0
//   others             nothing | bits 3 2 1 0 | 3 1 | 2 0
//
// These four words have a bit for every set of bits of a value: a one if the value has all of them. A product of bits (platform.cuh) adds up how many ones there
// are: the four are rows, and columns have a one at the same bit of all values, the first four columns for two of the words, the others for the other two. So
// one instruction counts 256 weights, into four registers of a lane. How often a value occurs follows at the end: those that have all its bits, without those
// that have more.
//
// All chunks of a tensor add to the same few totals, and would wait for each other: so there are copies of these. The block that is the last of its
// tensor to have done so chooses the palette:
//
//   keys, shared       total << 8 | 255 - exponent, of those that occur; in any order
//
// A key that fewer than 16 are greater than is chosen. Where fewer than 16 exponents occur, one thread then fills up.
//
//   confirm_palettes   one block = one job: chooses its palette likewise, beside what transcode.cu says
//
// Shared memory: 3,136 bytes a block: 256 counts, 256 keys, 16 words besides.
// Bytes moved for n weights: 2n read, or n of a plane, and for each chunk 1,024 written and an addition to those `totals` that it has.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weights or exponents, weight_count, counts, totals, palette and chunk fields; for
// confirm_palettes, of totals and source. count_exponents has a block for each chunk, of 32 to 256 threads, a power of two; confirm_palettes a block of 256
// threads for each job.
//
// The tail: a warp's last steps that are not four, and what lanes lack of the last, are completed with the window's first exponent, whose count is what the
// others leave.
#include "encode_layout.cuh"

constexpr uint32_t GROUP_STEPS = 4;
constexpr uint32_t GROUP_WEIGHTS = GROUP_STEPS * STEP_WEIGHTS;
// What a window has below the greatest exponent of a warp's first weights. Others may be greater.
constexpr uint32_t WINDOW_BELOW = 14;
constexpr uint32_t MOST_COUNT_THREADS = 256;
// Of four bits.
constexpr uint32_t VALUES = 16;

// A block's shared memory.
struct Counting {
  uint64_t keys[EXPONENTS];
  uint32_t counts[EXPONENTS];
  uint32_t chosen[EXPONENTS / 32];  // a bit for each
  uint32_t key_count;
  uint32_t is_last;                 // of its tensor's blocks
  uint32_t unused[6];
};
static_assert(sizeof(Counting) % 16 == 0, "shared memory is given out so");

// How often each value of four bits occurs in the words of a warp. All its lanes take part in whatever is done with it.
struct ValueCounts {
  uint2 columns;
  // Lane 4g + t has what the lanes of group g have in common with columns 2t and 2t + 1: the first two of the one word, the others of another.
  uint32_t sums[4];

  __device__ __forceinline__ ValueCounts() {
    const uint32_t column = threadIdx.x % WARP / 4, ones = 0x11111111u << column % 4;
    columns = make_uint2(column < 4 ? ones : 0, column < 4 ? 0 : ones);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) sums[i] = 0;
  }

  // Eight values.
  __device__ __forceinline__ void add(uint32_t word) {
    // Values turned by one bit, and by two.
    const uint32_t by_one = select_bits(0x77777777, word >> 1, word << 3);
    const uint32_t by_two = select_bits(0x33333333, word >> 2, word << 2);
    const uint32_t adjacent = word & by_one, opposite = word & by_two;
    add_common_bits(sums, {word, adjacent, adjacent & by_two, opposite & (opposite >> 1 | 0x33333333)}, columns);
  }

  // Of the value `lane`. Lane 0 and lanes from 16 on get 0.
  __device__ __forceinline__ uint32_t of_value(uint32_t lane) const {
    const auto exchanged = [&](uint32_t value, uint32_t with) { return __shfl_xor_sync(ALL_LANES, value, static_cast<int>(with)); };
    // Over the groups. On the way a lane gives away what another adds up for it.
    const bool second_word = lane & 4, second_column = lane & 8;
    const uint32_t first = (second_word ? sums[2] : sums[0]) + exchanged(second_word ? sums[0] : sums[2], 4);
    const uint32_t second = (second_word ? sums[3] : sums[1]) + exchanged(second_word ? sums[1] : sums[3], 4);
    uint32_t count = (second_column ? second : first) + exchanged(second_column ? first : second, 8);
    count += exchanged(count, 16);
    // To lane l, of the set whose bits l has. In bits 0 and 1 of where it stands is which two columns, then which of the two words, then which column.
    constexpr uint64_t WHERE = 0x7a35bed92c614800;
    count = __shfl_sync(ALL_LANES, count, static_cast<int>(WHERE >> lane % VALUES * 4 & 15));
#pragma unroll
    for (uint32_t bit = 1; bit < VALUES; bit *= 2) {
      const uint32_t with_bit = exchanged(count, bit);
      if ((lane & bit) == 0) count -= with_bit;
    }
    return lane != 0 && lane < VALUES ? count : 0;
  }
};

// Eight exponents. Those of weights are whole bytes once these are moved up by the sign; where encode.cu wants them it has no registers for that.
__device__ __forceinline__ uint2 bytes_of(const EightWeights& eight) {
  const auto four = [](uint32_t first, uint32_t second) { return __byte_perm(first << 1, second << 1, 0x7531); };
  return make_uint2(four(eight.pairs[0], eight.pairs[1]), four(eight.pairs[2], eight.pairs[3]));
}
__device__ __forceinline__ uint2 bytes_of(uint2 exponents) { return exponents; }

// A warp's exponents, of which most are in a window of 16.
struct Window {
  ValueCounts values;   // exponents less the first
  uint32_t first_four;  // its first exponent, in each byte
  uint32_t outside;     // what this lane has found outside of it

  // By the exponents of the warp's first step.
  __device__ __forceinline__ explicit Window(uint2 exponents) : outside(0) {
    // The first bytes of a word's are enough.
    const uint32_t greatest = __reduce_max_sync(ALL_LANES, max(exponents.x, exponents.y) >> 24);
    first_four = min(max(greatest, WINDOW_BELOW) - WINDOW_BELOW, EXPONENTS - VALUES) * 0x01010101u;
  }

  __device__ __forceinline__ void add(const uint2 (&exponents)[GROUP_STEPS], uint32_t* counts) {
    // Where an exponent is less than the first this borrows from its neighbours; but the lowest such byte is exact, and seen.
    uint32_t words[GROUP_STEPS], any = 0;
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) {
      const uint32_t low = exponents[d].x - first_four, high = exponents[d].y - first_four;
      any |= low | high;
      words[d] = low | high << 4;
    }
    if ((any & 0xf0f0f0f0) != 0) {
#pragma unroll
      for (uint32_t d = 0; d < GROUP_STEPS; d++) words[d] = without_outside(exponents[d], counts);
    }
    __syncwarp();
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) values.add(words[d]);
  }

  // The first `count` exponents, and behind them the window's first.
  __device__ __forceinline__ uint2 completed(uint2 exponents, uint32_t count) const {
    const uint2 own = first_of(exponents, count), covered = first_of(make_uint2(first_four, first_four), count);
    return make_uint2(own.x | (first_four ^ covered.x), own.y | (first_four ^ covered.y));
  }

  // Exponents less the first, byte by byte, without borrowing from a neighbour.
  __device__ __forceinline__ uint32_t less_first(uint32_t four) const {
    constexpr uint32_t TOPS = 0x80808080;
    return ((four | TOPS) - (first_four & ~TOPS)) ^ (~(four ^ first_four) & TOPS);
  }

  // A word of values, where those of exponents outside of the window, which are counted here, are 0.
  __device__ __forceinline__ uint32_t without_outside(uint2 exponents, uint32_t* counts) {
    const auto tops_of = [](uint32_t four) {
      four |= four << 1;
      return (four | four << 2) & 0x80808080;
    };
    const uint32_t low = less_first(exponents.x), high = less_first(exponents.y);
    const uint32_t low_tops = tops_of(low), high_tops = tops_of(high);
    // A bit for each byte that is outside, at bit 3 for those of `low`, at bit 7 for those of `high`.
    uint32_t left = low_tops >> 4 | high_tops;
    const uint32_t word = (low & 0x0f0f0f0f) | (high & 0x0f0f0f0f) << 4;
    const uint32_t kept = word & ~(left | left >> 1 | left >> 2 | left >> 3);
    outside += static_cast<uint32_t>(__popc(left));
#pragma unroll 1
    for (; left != 0; left &= left - 1) {
      const uint32_t bit = static_cast<uint32_t>(__ffs(static_cast<int>(left))) - 1;
      atomicAdd(&counts[(bit & 4 ? exponents.y : exponents.x) >> (bit & 24) & 0xff], 1u);
    }
    return kept;
  }

  // Adds what a warp has counted, of `weights`.
  __device__ __forceinline__ void add_to(uint32_t* counts, uint32_t weights, uint32_t lane) const {
    const uint32_t own = values.of_value(lane);
    const uint32_t others = __reduce_add_sync(ALL_LANES, own + outside);
    const uint32_t count = lane == 0 ? weights - others : own;
    if (count != 0) atomicAdd(&counts[(first_four & 0xff) + lane], count);
  }
};

// Counts a warp's weights. `source` begins with the lane's first.
template <class Source>
__device__ __forceinline__ void count_part(Source source, uint32_t weight_count, uint32_t lane, uint32_t* counts) {
  const uint32_t groups = weight_count / GROUP_WEIGHTS;
  typename Source::Eight ahead[GROUP_STEPS];
  uint2 exponents[GROUP_STEPS];
  const auto load = [&] {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) ahead[d] = source.whole(d * STEP_WEIGHTS);
    source = source.behind(GROUP_WEIGHTS);
  };
  // How many of a lane's weights a step behind the whole groups has.
  const auto left = [&](uint32_t step) {
    return lane_step_count(weight_count, groups * GROUP_WEIGHTS + step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
  };
  const auto load_rest = [&] {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) ahead[d] = source.part(d * STEP_WEIGHTS, left(d));
  };
  if (groups != 0) load(); else load_rest();
  Window window(bytes_of(ahead[0]));
#pragma unroll 1
  for (uint32_t group = 0; group < groups; group++) {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) exponents[d] = bytes_of(ahead[d]);
    if (group + 1 < groups) load();
    window.add(exponents, counts);
  }
  if (weight_count % GROUP_WEIGHTS != 0) {
    if (groups != 0) load_rest();
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) exponents[d] = window.completed(bytes_of(ahead[d]), left(d));
    window.add(exponents, counts);
  }
  window.add_to(counts, weight_count, lane);
}

__device__ __forceinline__ bool is_chosen(const uint32_t* chosen, uint32_t exponent) { return chosen[exponent / 32] >> exponent % 32 & 1; }

// Completes a palette of `count`: downwards from the greatest that occurs, then upwards.
__device__ inline void fill_up(uint32_t* chosen, uint32_t count) {
  uint32_t greatest = 0;
  for (uint32_t e = 0; e < EXPONENTS; e++)
    if (is_chosen(chosen, e)) greatest = e;
  for (uint32_t tried = 0; count < PALETTE_ENTRIES; tried++) {
    const uint32_t e = tried < greatest ? greatest - 1 - tried : tried;
    if (is_chosen(chosen, e)) continue;
    chosen[e / 32] |= 1u << e % 32;
    count++;
  }
}

// By all threads of a block.
__device__ inline void choose_palette(EncodeJob* job, Counting* shared) {
  if (threadIdx.x < EXPONENTS / 32) shared->chosen[threadIdx.x] = 0;
  if (threadIdx.x == 0) shared->key_count = 0;
  __syncthreads();
  for (uint32_t exponent = threadIdx.x; exponent < EXPONENTS; exponent += blockDim.x) {
    uint64_t total = 0;
#pragma unroll
    for (uint32_t copy = 0; copy < TOTAL_COPIES; copy++) total += observed(&job->totals[copy * EXPONENTS + exponent]);
    job->totals[exponent] = total;
    // Of equal totals the lower exponent comes first.
    if (total != 0) shared->keys[atomicAdd(&shared->key_count, 1u)] = total << 8 | (EXPONENTS - 1 - exponent);
  }
  __syncthreads();
  const uint32_t key_count = shared->key_count;
  for (uint32_t i = threadIdx.x; i < key_count; i += blockDim.x) {
    const uint64_t own = shared->keys[i];
    uint32_t greater = 0;
#pragma unroll 8
    for (uint32_t other = 0; other < key_count; other++) greater += shared->keys[other] > own;
    const uint32_t exponent = EXPONENTS - 1 - (static_cast<uint32_t>(own) & 0xff);
    if (greater < PALETTE_ENTRIES) atomicOr(&shared->chosen[exponent / 32], 1u << exponent % 32);
  }
  __syncthreads();
  if (key_count < PALETTE_ENTRIES) {
    if (threadIdx.x == 0) fill_up(shared->chosen, key_count);
    __syncthreads();
  }
  for (uint32_t exponent = threadIdx.x; exponent < EXPONENTS; exponent += blockDim.x) {
    if (!is_chosen(shared->chosen, exponent)) continue;
    uint32_t smaller = static_cast<uint32_t>(__popc(shared->chosen[exponent / 32] & ((1u << exponent % 32) - 1)));
    for (uint32_t word = 0; word < exponent / 32; word++) smaller += static_cast<uint32_t>(__popc(shared->chosen[word]));
    job->palette[smaller] = static_cast<uint8_t>(exponent);
  }
}

template <class Source>
__device__ __forceinline__ void count_chunk(EncodeJob* jobs, uint32_t job_count, uint4* shared) {
  Counting* counting = reinterpret_cast<Counting*>(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const SourceChunk chunk = find_source_chunk(jobs, job_count, blockIdx.x);
  for (uint32_t exponent = threadIdx.x; exponent < EXPONENTS; exponent += blockDim.x) counting->counts[exponent] = 0;
  __syncthreads();
  const uint32_t part_weights = max((1u << chunk.job->chunk_size_log2) / (blockDim.x / WARP), GROUP_WEIGHTS), start = warp * part_weights;
  if (start < chunk.weight_count) {
    count_part(Source::of(chunk).behind(start + lane * LANE_STEP_WEIGHTS), min(chunk.weight_count - start, part_weights), lane, counting->counts);
  }
  __syncthreads();

  unsigned long long* totals = chunk.job->totals + chunk.own % TOTAL_COPIES * EXPONENTS;
  uint32_t* counts = chunk.job->counts + static_cast<uint64_t>(chunk.own) * EXPONENTS;
  for (uint32_t exponent = threadIdx.x; exponent < EXPONENTS; exponent += blockDim.x) {
    const uint32_t count = counting->counts[exponent];
    if (count != 0) add_to_global(&totals[exponent], count);
    counts[exponent] = count;
  }
  // What this block has added is there before it is counted among those that are done.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t* done = reinterpret_cast<uint32_t*>(chunk.job->totals + TOTAL_COPIES * EXPONENTS);
    counting->is_last = atomicAdd(done, 1u) == chunk.job->chunk_count - 1;
  }
  __syncthreads();
  if (counting->is_last) {
    __threadfence();
    choose_palette(const_cast<EncodeJob*>(chunk.job), counting);
  }
}

extern "C" __global__ void __launch_bounds__(MOST_COUNT_THREADS, 4) count_exponents(EncodeJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(shared);
  let_next_launch_begin();
  count_chunk<WeightSource>(jobs, job_count, shared);
}

extern "C" __global__ void __launch_bounds__(MOST_COUNT_THREADS, 4) count_exponents_of_planes(EncodeJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(shared);
  let_next_launch_begin();
  count_chunk<ExponentSource>(jobs, job_count, shared);
}

// For records that were made on the assumption that their source's palette is the one: `detour` is set if it is not.
extern "C" __global__ void __launch_bounds__(EXPONENTS) confirm_palettes(EncodeJob* jobs, uint32_t* detour) {
  DYNAMIC_SHARED(shared);
  let_next_launch_begin();
  wait_for_launch_before();
  EncodeJob* job = &jobs[blockIdx.x];
  choose_palette(job, reinterpret_cast<Counting*>(shared));
  __syncthreads();
  if (threadIdx.x < PALETTE_ENTRIES && job->palette[threadIdx.x] != job->source->palette[threadIdx.x]) *detour = 1;
}
