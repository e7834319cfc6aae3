// Counts of a field's values, for every chunk and for the tensor, and the palette (specification, section 11.3).
//
// Data layout:
//
//   weights            | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   a step: 512 bytes, one load for a lane
//   window             16 values, from the greatest of a warp's first weights minus 14 on
//
// Threads: one block = one record; its warps share the weights. count_values reads a value plane, 8 bytes for each lane
// and step, instead of weights.
//
// Trained weights have about ten frequent exponents. The difference between a value and the first of the warp's window
// is a 4-bit number, eight of which are a word. These numbers are counted by binary MMA (value_counts.cuh). A value
// outside the window, one in ten thousand, is counted in shared memory, atomically. The last block of a field chooses
// the palette (palette.cuh).
//
// Shared memory: 3,136 bytes for a block: 2,112 of palette.cuh and 256 counts.
// Memory traffic for n weights: 2n bytes read, n from a plane; for each record 1,024 bytes written, and an addition to
// each of the totals that occurs.
// Preconditions: those of EncodeJob's weights or values, weight_count, counts, totals, palettes, value_bits and chunk
// fields; a block for each record, of 32 to 256 threads, a power of two.
// Tail: a warp's last steps, if they are not four, and missing weights of the last step are completed with the window's
// first value. Its count is the rest of the warp's weights.
#include "encode/inputs.cuh"
#include "encode/palette.cuh"
#include "encode/value_counts.cuh"

namespace unweight::encode {

constexpr uint32_t GROUP_STEPS = 4;
constexpr uint32_t GROUP_WEIGHTS = GROUP_STEPS * STEP_WEIGHTS;
// Values of a window below the greatest of a warp's first weights. Later ones may be greater.
constexpr uint32_t WINDOW_BELOW = 14;
constexpr uint32_t MOST_COUNT_THREADS = 256;

// Shared memory of a block.
struct Counting {
  PaletteShared palette;
  uint32_t counts[FIELD_VALUES];
};
static_assert(sizeof(Counting) % 16 == 0, "shared memory is divided in units of 16 bytes");

// Counts of a warp's values, most of which are in a window of 16.
struct Window {
  ValueCounts inside;   // values minus the window's first
  uint32_t first_four;  // the window's first value, in each byte
  uint32_t outside;     // values of this lane outside the window

  // The window for the values of the warp's first step.
  __device__ __forceinline__ Window(uint2 values, uint32_t most_first) : outside(0) {
    // The highest byte of each word is sample enough.
    const uint32_t greatest = __reduce_max_sync(ALL_LANES, max(values.x, values.y) >> 24);
    first_four = min(max(greatest, WINDOW_BELOW) - WINDOW_BELOW, most_first) * 0x01010101u;
  }

  __device__ __forceinline__ void add(const uint2 (&values)[GROUP_STEPS], uint32_t* counts) {
    // An value below the first borrows from its neighbours. The lowest such byte is exact, and detected.
    uint32_t words[GROUP_STEPS], any = 0;
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) {
      const uint32_t low = values[d].x - first_four, high = values[d].y - first_four;
      any |= low | high;
      words[d] = low | high << 4;
    }
    if ((any & 0xf0f0f0f0) != 0) {
#pragma unroll
      for (uint32_t d = 0; d < GROUP_STEPS; d++) words[d] = count_outside(values[d], counts);
    }
    __syncwarp();
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) inside.add(words[d]);
  }

  // The first `count` values, completed with the window's first.
  __device__ __forceinline__ uint2 completed(uint2 values, uint32_t count) const {
    const uint2 own = record::first_bytes(values, count);
    const uint2 covered = record::first_bytes(make_uint2(first_four, first_four), count);
    return make_uint2(own.x | (first_four ^ covered.x), own.y | (first_four ^ covered.y));
  }

  // Values minus the first, byte by byte, without borrowing from a neighbour.
  __device__ __forceinline__ uint32_t minus_first(uint32_t four) const {
    constexpr uint32_t TOPS = 0x80808080;
    return ((four | TOPS) - (first_four & ~TOPS)) ^ (~(four ^ first_four) & TOPS);
  }

  // Counts the values outside the window in shared memory. Returns the word of values, which are 0 for these.
  __device__ __forceinline__ uint32_t count_outside(uint2 values, uint32_t* counts) {
    const auto tops_of = [](uint32_t four) {
      four |= four << 1;
      return (four | four << 2) & 0x80808080;
    };
    const uint32_t low = minus_first(values.x), high = minus_first(values.y);
    const uint32_t low_tops = tops_of(low), high_tops = tops_of(high);
    // A bit for each byte outside: bit 3 of a byte for `low`, bit 7 for `high`.
    uint32_t left = low_tops >> 4 | high_tops;
    const uint32_t word = (low & 0x0f0f0f0f) | (high & 0x0f0f0f0f) << 4;
    const uint32_t kept = word & ~(left | left >> 1 | left >> 2 | left >> 3);
    outside += static_cast<uint32_t>(__popc(left));
#pragma unroll 1
    for (; left != 0; left &= left - 1) {
      const uint32_t bit = static_cast<uint32_t>(__ffs(static_cast<int>(left))) - 1;
      atomicAdd(&counts[(bit & 4 ? values.y : values.x) >> (bit & 24) & 0xff], 1u);
    }
    return kept;
  }

  // Adds the counts of a warp, which had `weights` weights, to the block's.
  __device__ __forceinline__ void add_to(uint32_t* counts, uint32_t weights, uint32_t lane) const {
    const uint32_t count = inside.of_value(lane, weights - __reduce_add_sync(ALL_LANES, outside));
    if (count != 0) atomicAdd(&counts[(first_four & 0xff) + lane], count);
  }
};

// Counts a warp's weights. `input` begins with the lane's first weight. A window begins at `most_first` at most.
template <class Input>
__device__ __forceinline__ void count_part(Input input, uint32_t weight_count, uint32_t most_first, uint32_t lane,
                                           uint32_t* counts) {
  const uint32_t groups = weight_count / GROUP_WEIGHTS;
  typename Input::Eight ahead[GROUP_STEPS];
  uint2 values[GROUP_STEPS];
  const auto load = [&] {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) ahead[d] = input.whole(d * STEP_WEIGHTS);
    input = input.from(GROUP_WEIGHTS);
  };
  // Weights of this lane in a step after the whole groups.
  const auto left = [&](uint32_t step) {
    const uint32_t position = groups * GROUP_WEIGHTS + step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    return lane_step_count(weight_count, position);
  };
  const auto load_rest = [&] {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) ahead[d] = input.part(d * STEP_WEIGHTS, left(d));
  };
  if (groups != 0)
    load();
  else
    load_rest();
  Window window(Input::value_bytes(ahead[0]), most_first);
#pragma unroll 1
  for (uint32_t group = 0; group < groups; group++) {
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) values[d] = Input::value_bytes(ahead[d]);
    if (group + 1 < groups) load();
    window.add(values, counts);
  }
  if (weight_count % GROUP_WEIGHTS != 0) {
    if (groups != 0) load_rest();
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) values[d] = window.completed(Input::value_bytes(ahead[d]), left(d));
    window.add(values, counts);
  }
  window.add_to(counts, weight_count, lane);
}

// Counts a chunk, adds its counts to the totals, and in the tensor's last block chooses the palette.
template <class Input>
__device__ __forceinline__ void count_chunk(EncodeJob* jobs, uint32_t job_count, uint4* shared) {
  Counting* counting = reinterpret_cast<Counting*>(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const InputChunk chunk = Input::IS_ONLY_FIELD ? find_only_chunk(jobs, job_count, blockIdx.x)
                                                : find_input_chunk(jobs, job_count, blockIdx.x);
  for (uint32_t value = threadIdx.x; value < FIELD_VALUES; value += blockDim.x) counting->counts[value] = 0;
  __syncthreads();
  const uint32_t part_weights = max((1u << chunk.job->chunk_size_log2) / (blockDim.x / WARP), GROUP_WEIGHTS);
  const uint32_t start = warp * part_weights;
  if (start < chunk.weight_count) {
    // Fields of at most 4 bits have the window 0 to 15.
    const uint32_t bits = Input::IS_ONLY_FIELD ? 8 : chunk.job->value_bits;
    count_part(Input::of(chunk).from(start + lane * LANE_STEP_WEIGHTS), min(chunk.weight_count - start, part_weights),
               max(1u << bits, VALUES) - VALUES, lane, counting->counts);
  }
  __syncthreads();

  unsigned long long* totals = chunk.job->totals + chunk.own % TOTAL_COPIES * FIELD_VALUES;
  uint32_t* counts = chunk.job->counts + static_cast<uint64_t>(chunk.own) * FIELD_VALUES;
  for (uint32_t value = threadIdx.x; value < FIELD_VALUES; value += blockDim.x) {
    const uint32_t count = counting->counts[value];
    if (count != 0) ptx::reduce_add(&totals[value], count);
    counts[value] = count;
  }
  if (is_last_of_field(chunk.job, &counting->palette))
    choose_palette_of(const_cast<EncodeJob*>(chunk.job), &counting->palette);
}

extern "C" __global__ void __launch_bounds__(MOST_COUNT_THREADS, 4)
    count_exponents(EncodeJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(shared);
  count_chunk<WeightInput>(jobs, job_count, shared);
}

extern "C" __global__ void __launch_bounds__(MOST_COUNT_THREADS, 4) count_values(EncodeJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(shared);
  count_chunk<ValueInput>(jobs, job_count, shared);
}

}  // namespace unweight::encode
