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
// Values are counted by tensor cores (value_counts.cuh).
//
// The block that is the last of its tensor to have added what it counted to the totals chooses the palette (palette.cuh).
//
// Shared memory: 3,136 bytes a block: palette.cuh's 2,112, and 256 counts.
// Bytes moved for n weights: 2n read, or n of a plane, and for each chunk 1,024 written and an addition to those `totals` that it has.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weights or exponents, weight_count, counts, totals, palette and chunk fields. count_exponents has a
// block for each chunk, of 32 to 256 threads, a power of two.
//
// The tail: a warp's last steps that are not four, and what lanes lack of the last, are completed with the window's first exponent, whose count is what the
// others leave.
#include "encode/palette.cuh"
#include "encode/value_counts.cuh"

constexpr uint32_t GROUP_STEPS = 4;
constexpr uint32_t GROUP_WEIGHTS = GROUP_STEPS * STEP_WEIGHTS;
// What a window has below the greatest exponent of a warp's first weights. Others may be greater.
constexpr uint32_t WINDOW_BELOW = 14;
constexpr uint32_t MOST_COUNT_THREADS = 256;

// A block's shared memory.
struct Counting {
  PaletteShared palette;
  uint32_t counts[EXPONENTS];
};
static_assert(sizeof(Counting) % 16 == 0, "shared memory is given out so");

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
    const uint32_t count = values.of_value(lane, weights - __reduce_add_sync(ALL_LANES, outside));
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
  Window window(Source::exponent_bytes(ahead[0]));
#pragma unroll 1
  for (uint32_t group = 0; group < groups; group++) {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) exponents[d] = Source::exponent_bytes(ahead[d]);
    if (group + 1 < groups) load();
    window.add(exponents, counts);
  }
  if (weight_count % GROUP_WEIGHTS != 0) {
    if (groups != 0) load_rest();
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) exponents[d] = window.completed(Source::exponent_bytes(ahead[d]), left(d));
    window.add(exponents, counts);
  }
  window.add_to(counts, weight_count, lane);
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
  if (is_last_of_tensor(chunk.job, &counting->palette)) choose_palette(const_cast<EncodeJob*>(chunk.job), &counting->palette);
}

extern "C" __global__ void __launch_bounds__(MOST_COUNT_THREADS, 4) count_exponents(EncodeJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(shared);
  count_chunk<WeightSource>(jobs, job_count, shared);
}

extern "C" __global__ void __launch_bounds__(MOST_COUNT_THREADS, 4) count_exponents_of_planes(EncodeJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(shared);
  count_chunk<ExponentSource>(jobs, job_count, shared);
}
