// How often each exponent occurs, in every chunk and in the tensor, and the palette that follows (specification, sections 11.2 and 11.3).
//
//   count_exponents    one block = one warp = one piece of a chunk, 8,192 weights: more of them than of chunks, so more run at once;
//                      count_exponents_of_planes where there is an exponent plane in place of weights, 8 bytes a lane and step
//
//   weights            | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   a step: 512 bytes, one load a lane
//   counters, shared   exponent 0    | lane 0: u16 | lane 1: u16 | ... | lane 31: u16 |   64 bytes
//                      exponent 1    |                                              |
//                      ...
//
// Trained weights have about ten exponents that occur often, so lanes that shared a counter would wait for each other. Here every lane has
// its own, and no addition is atomic. Two lanes meet in a bank at most: a row is half of the 32 banks. 16 bits hold what one lane counts, 256
// weights, and what 16 lanes count together. Four weights are counted at a time, as a counter's way through shared memory and back takes 30
// cycles: of equal exponents the last counter is the one that is stored last, so it adds those before it.
//
// All pieces of a tensor add to the same few totals, and would wait for each other: so there are copies of these.
//
//   choose_palettes    one block = one job; thread e = exponent e
//
//   chosen, shared     a bit for each exponent
//
// An exponent is chosen if it occurs and fewer than 16 come before it: every thread compares its own with all others. Where fewer than 16 occur, one
// thread then fills up.
//
//   palette_counts     one thread = one palette entry of one chunk: all that is needed to choose the chunk's code, in 64 bytes instead of 1,024
//
// Shared memory: count_exponents 16 KB a block, so 13 blocks to an SM of 228 KB; choose_palettes 2,080 bytes a block.
// Bytes moved for n weights: 2n read, or n of a plane, and for each piece an addition to those `counts` and `totals` that it has.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weights or exponents, weight_count, counts, totals and chunk fields; for choose_palettes, of totals; for
// palette_counts, of counts, palette_counts, palette and chunk fields. count_exponents has 2^pieces_log2 blocks of 32 threads for
// each chunk, as many as the largest has pieces; choose_palettes comes after it, a block of 256 threads for each job, and writes the jobs' palettes;
// palette_counts comes after both, with 16 threads for each chunk, in blocks of 256.
//
// The tail: the last step may be short; what its lanes lack is not counted.
#include "encode_layout.cuh"

constexpr uint32_t PIECE_WEIGHTS = 8192;
constexpr uint32_t COUNTER_BYTES = EXPONENTS * WARP * 2;
constexpr uint32_t PALETTE_COUNT_THREADS = 256;

__device__ __forceinline__ void count_four(uint16_t* own, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  const uint32_t of_a = own[a * WARP], of_b = own[b * WARP], of_c = own[c * WARP], of_d = own[d * WARP];
  own[a * WARP] = static_cast<uint16_t>(of_a + 1);
  own[b * WARP] = static_cast<uint16_t>(of_b + 1 + (a == b));
  own[c * WARP] = static_cast<uint16_t>(of_c + 1 + (a == c) + (b == c));
  own[d * WARP] = static_cast<uint16_t>(of_d + 1 + (a == d) + (b == d) + (c == d));
}

// The sum of one exponent's 32 counters. Lanes read different rows; each begins at another place of its row, so that all meet different banks.
__device__ __forceinline__ uint32_t sum_of_row(const uint32_t* row, uint32_t lane) {
  uint32_t pairs = 0;
#pragma unroll
  for (uint32_t i = 0; i < WARP / 2; i++) pairs += row[(i + lane / 2) % (WARP / 2)];
  return (pairs & 0xffff) + (pairs >> 16);
}

template <class Source>
__device__ __forceinline__ void count_piece(const EncodeJob* jobs, uint32_t job_count, uint32_t pieces_log2, uint4* shared) {
  const uint32_t lane = threadIdx.x;
  SourceChunk chunk = find_source_chunk(jobs, job_count, blockIdx.x >> pieces_log2);
  const uint32_t start = (blockIdx.x & ((1u << pieces_log2) - 1)) * PIECE_WEIGHTS;
  if (start >= chunk.weight_count) return;
  chunk.first_weight += start;
  chunk.weight_count = min(chunk.weight_count - start, PIECE_WEIGHTS);
  const Source source = Source::of(chunk);
  for (uint32_t i = lane; i < COUNTER_BYTES / 16; i += WARP) shared[i] = make_uint4(0, 0, 0, 0);
  __syncwarp();

  uint16_t* own = reinterpret_cast<uint16_t*>(shared) + lane;
  const uint32_t last = for_whole_steps(source, chunk.weight_count, lane, [&](uint32_t, const typename Source::Eight& eight) {
    const auto exponent = [&](uint32_t i) { return Source::exponent_of(eight, i); };
    count_four(own, exponent(0), exponent(1), exponent(2), exponent(3));
    count_four(own, exponent(4), exponent(5), exponent(6), exponent(7));
  });
  if (chunk.weight_count % STEP_WEIGHTS != 0) {
    const uint32_t left = lane_step_count(chunk.weight_count, last);
    const typename Source::Eight eight = source.part(last, left);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < left) own[Source::exponent_of(eight, i) * WARP]++;
  }
  __syncwarp();

  const uint32_t* rows = reinterpret_cast<const uint32_t*>(shared);
  uint32_t* counts = chunk.job->counts + static_cast<uint64_t>(chunk.own) * EXPONENTS;
  unsigned long long* totals = chunk.job->totals + blockIdx.x % TOTAL_COPIES * EXPONENTS;
  for (uint32_t exponent = lane; exponent < EXPONENTS; exponent += WARP) {
    const uint32_t count = sum_of_row(rows + exponent * (WARP / 2), lane);
    if (count == 0) continue;
    atomicAdd(&counts[exponent], count);
    atomicAdd(&totals[exponent], static_cast<unsigned long long>(count));
  }
}

extern "C" __global__ void __launch_bounds__(WARP) count_exponents(const EncodeJob* jobs, uint32_t job_count, uint32_t pieces_log2) {
  DYNAMIC_SHARED(shared);
  count_piece<WeightSource>(jobs, job_count, pieces_log2, shared);
}

extern "C" __global__ void __launch_bounds__(WARP) count_exponents_of_planes(const EncodeJob* jobs, uint32_t job_count, uint32_t pieces_log2) {
  DYNAMIC_SHARED(shared);
  count_piece<ExponentSource>(jobs, job_count, pieces_log2, shared);
}

constexpr uint32_t PALETTE_SHARED_BYTES = EXPONENTS * 8 + EXPONENTS / 8;

__device__ __forceinline__ bool is_chosen(const uint32_t* chosen, uint32_t exponent) { return chosen[exponent / 32] >> exponent % 32 & 1; }

// Completes a palette: downwards from the greatest that occurs, then upwards.
__device__ inline void fill_up(const uint64_t* totals, uint32_t* chosen, uint32_t count) {
  uint32_t greatest = 0;
  for (uint32_t e = 0; e < EXPONENTS; e++)
    if (totals[e] != 0) greatest = e;
  for (uint32_t tried = 0; count < PALETTE_ENTRIES; tried++) {
    const uint32_t e = tried < greatest ? greatest - 1 - tried : tried;
    if (is_chosen(chosen, e)) continue;
    chosen[e / 32] |= 1u << e % 32;
    count++;
  }
}

extern "C" __global__ void __launch_bounds__(EXPONENTS) choose_palettes(EncodeJob* jobs) {
  DYNAMIC_SHARED(shared);
  uint64_t* totals = reinterpret_cast<uint64_t*>(shared);
  uint32_t* chosen = reinterpret_cast<uint32_t*>(totals + EXPONENTS);
  EncodeJob* job = &jobs[blockIdx.x];
  const uint32_t exponent = threadIdx.x;
  uint64_t own = 0;
#pragma unroll
  for (uint32_t copy = 0; copy < TOTAL_COPIES; copy++) own += job->totals[copy * EXPONENTS + exponent];
  job->totals[exponent] = own;
  totals[exponent] = own;
  __syncthreads();
  uint32_t before = 0;
  if (own != 0)
    for (uint32_t other = 0; other < EXPONENTS; other++) before += totals[other] > own || (totals[other] == own && other < exponent);
  const uint32_t bits = __ballot_sync(ALL_LANES, own != 0 && before < PALETTE_ENTRIES);
  if (exponent % WARP == 0) chosen[exponent / WARP] = bits;
  __syncthreads();
  uint32_t count = 0, smaller = 0;  // chosen ones
  for (uint32_t word = 0; word < EXPONENTS / WARP; word++) count += static_cast<uint32_t>(__popc(chosen[word]));
  if (count < PALETTE_ENTRIES) {
    // All have counted before one chooses more.
    __syncthreads();
    if (exponent == 0) fill_up(totals, chosen, count);
    __syncthreads();
  }
  if (!is_chosen(chosen, exponent)) return;
  for (uint32_t word = 0; word < exponent / WARP; word++) smaller += static_cast<uint32_t>(__popc(chosen[word]));
  smaller += static_cast<uint32_t>(__popc(chosen[exponent / WARP] & ((1u << exponent % WARP) - 1)));
  job->palette[smaller] = static_cast<uint8_t>(exponent);
}

extern "C" __global__ void __launch_bounds__(PALETTE_COUNT_THREADS)
    palette_counts(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count) {
  const uint32_t number = blockIdx.x * (PALETTE_COUNT_THREADS / PALETTE_ENTRIES) + threadIdx.x / PALETTE_ENTRIES;
  if (number >= chunk_count) return;
  const uint32_t entry = threadIdx.x % PALETTE_ENTRIES;
  const SourceChunk chunk = find_source_chunk(jobs, job_count, number);
  const uint64_t own = chunk.own;
  chunk.job->palette_counts[own * PALETTE_ENTRIES + entry] = chunk.job->counts[own * EXPONENTS + chunk.job->palette[entry]];
}
