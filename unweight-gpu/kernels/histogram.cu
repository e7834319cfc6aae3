// How often each exponent occurs, in every chunk and in the tensor, and the palette that follows (specification, sections 11.2 and 11.3).
//
//   count_exponents    one block = one warp = one piece of a chunk, 8,192 weights: more of them than of chunks, so more run at once;
//                      count_exponents_of_planes where there is an exponent plane in place of weights, 8 bytes a lane and step
//
//   weights            | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   a step: 512 bytes, one load a lane
//   counters, shared   exponent 80   | lane 0 | lane 1 | ... | lane 31 |   128 bytes
//                      ...
//                      exponent 143  |                                 |
//                      others        256 words, of which 80 to 143 count what stands beside one outside
//
// Trained weights have about ten exponents that occur often, so lanes that shared a counter would wait for each other. Here every lane has
// its own, in its own bank, and no addition is atomic.
//
// Lanes have counters for 64 exponents, 2^-47 to 2^17: with some for all 256, which take four times as much, fewer warps have room on an SM. Eight
// weights of which one lies outside are counted in counters that all lanes share, atomically.
//
// All pieces of a tensor add to the same few totals, and would wait for each other: so there are copies of these.
//
//   choose_palettes    one block = one job; thread e = exponent e
//
//   chosen, shared     a bit for each exponent; and so for those that occur
//
// An exponent is chosen if it occurs and fewer than 16 come before it: every thread compares its own with all others. Where fewer than 16 occur, one
// thread then fills up.
//
//   confirm_palettes   as choose_palettes, beside what transcode.cu says
//
//   palette_counts     one thread = one palette entry of one chunk: all that is needed to choose the chunk's code, in 64 bytes instead of 1,024
//
// Shared memory: count_exponents 9 KB a block, so 25 blocks to an SM of 228 KB; choose_palettes 2,112 bytes a block.
// Bytes moved for n weights: 2n read, or n of a plane, and for each piece an addition to those `counts` and `totals` that it has.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's weights or exponents, weight_count, counts, totals and chunk fields; for choose_palettes, of
// totals; for palette_counts, of counts, palette_counts, palette and chunk fields. count_exponents has 2^pieces_log2 blocks of 32 threads for
// each chunk, as many as the largest has pieces; choose_palettes comes after it, a block of 256 threads for each job, and writes the jobs' palettes;
// palette_counts comes after both, with 16 threads for each chunk, in blocks of 256.
//
// The tail: the last step may be short; what its lanes lack is not counted.
#include "encode_layout.cuh"

constexpr uint32_t PIECE_WEIGHTS = 8192;
// Exponents of which each lane has counters.
constexpr uint32_t OWN_FIRST = 80;
constexpr uint32_t OWN_EXPONENTS = 64;

// A block's shared memory.
struct Counters {
  uint32_t own[OWN_EXPONENTS][WARP];
  uint32_t others[EXPONENTS];
};
static_assert(sizeof(Counters) % 16 == 0, "zeroed 16 bytes at a time");

constexpr uint32_t PALETTE_COUNT_THREADS = 256;

// Four rows of a lane's own counters, by the bytes of a word.
__device__ __forceinline__ void count_four(uint32_t* own, uint32_t rows) {
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) own[(rows >> 8 * i & 0xff) * WARP]++;
}

// Exponents less OWN_FIRST, byte by byte, without borrowing from a neighbour.
__device__ __forceinline__ uint32_t less_first(uint32_t four) {
  constexpr uint32_t TOPS = 0x80808080;
  return ((four | TOPS) - OWN_FIRST * 0x01010101u) ^ (~four & TOPS);
}

__device__ __forceinline__ void count_eight(Counters* counters, uint32_t lane, uint2 exponents) {
  const uint32_t low = less_first(exponents.x), high = less_first(exponents.y);
  constexpr uint32_t OUTSIDE = (256 - OWN_EXPONENTS) * 0x01010101u;
  if (((low | high) & OUTSIDE) == 0) {
    count_four(&counters->own[0][lane], low);
    count_four(&counters->own[0][lane], high);
  } else {
#pragma unroll 1
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) atomicAdd(&counters->others[(i < 4 ? exponents.x : exponents.y) >> 8 * (i % 4) & 0xff], 1u);
  }
}

// The sum of one exponent's 32 counters. Lanes read different rows; each begins at another place of its row, so that all meet different banks.
__device__ __forceinline__ uint32_t sum_of_row(const uint32_t* row, uint32_t lane) {
  uint32_t sum = 0;
#pragma unroll
  for (uint32_t i = 0; i < WARP; i++) sum += row[(i + lane) % WARP];
  return sum;
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
  Counters* counters = reinterpret_cast<Counters*>(shared);
  for (uint32_t i = lane; i < sizeof(Counters) / 16; i += WARP) shared[i] = make_uint4(0, 0, 0, 0);
  __syncwarp();

  const uint32_t last = for_whole_steps(source, chunk.weight_count, lane, [&](uint32_t, const typename Source::Eight& eight) {
    count_eight(counters, lane, Source::exponent_bytes(eight));
  });
  if (chunk.weight_count % STEP_WEIGHTS != 0) {
    const uint32_t left = lane_step_count(chunk.weight_count, last);
    const typename Source::Eight eight = source.part(last, left);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < left) atomicAdd(&counters->others[Source::exponent_of(eight, i)], 1u);
  }
  __syncwarp();

  uint32_t* counts = chunk.job->counts + static_cast<uint64_t>(chunk.own) * EXPONENTS;
  unsigned long long* totals = chunk.job->totals + blockIdx.x % TOTAL_COPIES * EXPONENTS;
  for (uint32_t exponent = lane; exponent < EXPONENTS; exponent += WARP) {
    uint32_t count = counters->others[exponent];
    const uint32_t row = exponent - OWN_FIRST;
    if (row < OWN_EXPONENTS) count += sum_of_row(counters->own[row], lane);
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

constexpr uint32_t PALETTE_SHARED_BYTES = EXPONENTS * 8 + 2 * EXPONENTS / 8;

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

__device__ __forceinline__ void choose_palette(EncodeJob* job, uint4* shared) {
  uint64_t* totals = reinterpret_cast<uint64_t*>(shared);
  uint32_t* chosen = reinterpret_cast<uint32_t*>(totals + EXPONENTS);
  uint32_t* occurring = chosen + EXPONENTS / WARP;
  const uint32_t exponent = threadIdx.x;
  uint64_t own = 0;
#pragma unroll
  for (uint32_t copy = 0; copy < TOTAL_COPIES; copy++) own += job->totals[copy * EXPONENTS + exponent];
  job->totals[exponent] = own;
  totals[exponent] = own;
  const uint32_t present = __ballot_sync(ALL_LANES, own != 0);
  if (exponent % WARP == 0) occurring[exponent / WARP] = present;
  __syncthreads();
  uint32_t before = 0;
  if (own != 0)
    for (uint32_t word = 0; word < EXPONENTS / WARP; word++)
      for (uint32_t left = occurring[word]; left != 0; left &= left - 1) {
        const uint32_t other = word * WARP + static_cast<uint32_t>(__ffs(static_cast<int>(left))) - 1;
        before += totals[other] > own || (totals[other] == own && other < exponent);
      }
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

extern "C" __global__ void __launch_bounds__(EXPONENTS) choose_palettes(EncodeJob* jobs) {
  DYNAMIC_SHARED(shared);
  choose_palette(&jobs[blockIdx.x], shared);
}

// As choose_palettes, for records that were made on the assumption that their source's palette is the one: `detour` is set if it is not.
extern "C" __global__ void __launch_bounds__(EXPONENTS) confirm_palettes(EncodeJob* jobs, uint32_t* detour) {
  DYNAMIC_SHARED(shared);
  EncodeJob* job = &jobs[blockIdx.x];
  choose_palette(job, shared);
  __syncthreads();
  if (threadIdx.x < PALETTE_ENTRIES && job->palette[threadIdx.x] != job->source->palette[threadIdx.x]) *detour = 1;
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
