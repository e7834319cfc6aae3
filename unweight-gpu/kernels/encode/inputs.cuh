// A tensor to be encoded, and a chunk of it, for the kernels of histogram.cu and encode.cu.
#pragma once
#include "abi/layout.cuh"
#include "record/weights.cuh"

constexpr uint32_t EXPONENTS = 256;
constexpr uint32_t TOTAL_COPIES = 4;

// A BF16 tensor in device memory, as weights, as two planes, or in another encoding, and where its planes go. `src/encode_job.rs` has its twin: 144 bytes,
// pointers first.
// A kernel reads only the fields that its head of file names; the others may still be null.
struct EncodeJob {
  const uint16_t* weights;           // `weight_count`; 16-byte aligned; only for kernels that encode from weights
  const uint8_t* exponents;          // as many; 256-byte aligned, readable up to a multiple of 256; only for kernels that encode from planes
  const uint8_t* source_sign_mantissa;  // likewise
  const TensorJob* source;           // chunks are as large as here, and have the same numbers; only for kernels that encode from records
  uint64_t weight_count;             // 1 to 2^35
  uint32_t* counts;                  // 256 for each chunk, by exponent; from records, the first: see count_indices (transcode.cu)
  unsigned long long* totals;        // 256, by exponent, TOTAL_COPIES times, and DoneChunks; zero before the count; what chooses the palette adds all up in the
                                     // first
  uint32_t* palette_counts;          // 16 for each chunk, by palette entry
  uint2* code_lengths;               // 8 bytes for each chunk, as in a record's header: its own code, complete; not read for KIND_PALETTE
  uint8_t* sign_mantissa;            // 256-byte aligned, writable up to a multiple of 256
  unsigned long long* places;        // one for each chunk; zero before its record is encoded: then encode.cu says what it holds
  uint32_t* record_lengths;          // one for each chunk, in units of 16 bytes; 16-byte aligned, up to a multiple of it; only for kernels that encode from records
  uint32_t* record_ends;             // one for each chunk, in units of 16 bytes; writable up to a multiple of 16 bytes
  uint8_t* records;                  // 16-byte aligned, 16 bytes for each unit of the last record end
  uint32_t first_chunk;              // of the launch
  uint32_t chunk_count;              // ceil(weight_count / 2^chunk_size_log2)
  uint32_t chunk_size_log2;          // 12 to 16
  uint32_t kind;                     // KIND_HUFFMAN or KIND_PALETTE
  uint8_t palette[PALETTE_ENTRIES];  // ascending; written by the last block that has counted (palette.cuh)

  // How many chunks have come to a point: the last knows that all others have, too.
  struct DoneChunks {
    uint32_t counted;   // what they have is in the totals
    uint32_t measured;  // their record_lengths are there
  };
  __device__ __forceinline__ DoneChunks* done() const { return reinterpret_cast<DoneChunks*>(totals + TOTAL_COPIES * EXPONENTS); }
};

__device__ __forceinline__ uint32_t round_up(uint32_t bytes) { return (bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT; }

struct SourceChunk {
  const EncodeJob* job;
  uint32_t own;             // its number in the tensor
  uint32_t weight_count;    // 1 to 65,536
  uint32_t steps;
  uint64_t first_weight;

  __device__ __forceinline__ uint8_t* sign_mantissa() const { return job->sign_mantissa + first_weight; }
};

// Chunk `number` of the launch, of this job.
__device__ __forceinline__ SourceChunk source_chunk(const EncodeJob* job, uint32_t number) {
  SourceChunk chunk;
  chunk.job = job;
  chunk.own = number - job->first_chunk;
  chunk.first_weight = static_cast<uint64_t>(chunk.own) << job->chunk_size_log2;
  const uint64_t left = job->weight_count - chunk.first_weight;
  const uint32_t whole = 1u << job->chunk_size_log2;
  chunk.weight_count = left < whole ? static_cast<uint32_t>(left) : whole;
  chunk.steps = (chunk.weight_count + STEP_WEIGHTS - 1) / STEP_WEIGHTS;
  return chunk;
}

// Chunk `number` of the launch.
__device__ inline SourceChunk find_source_chunk(const EncodeJob* jobs, uint32_t job_count, uint32_t number) {
  uint32_t low = 0, high = job_count;  // the last job whose first chunk is not behind `number`
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    if (jobs[middle].first_chunk <= number) low = middle; else high = middle;
  }
  return source_chunk(&jobs[low], number);
}

// A warp writes its chunk's word. That of the last chunk completes the words to a multiple of 16 bytes, with zeros.
__device__ __forceinline__ void write_of_chunk(uint32_t* words, const SourceChunk& chunk, uint32_t lane, uint32_t word) {
  const uint32_t chunk_count = chunk.job->chunk_count;
  if (chunk.own + lane < (chunk_count + 3) / 4 * 4 && (lane == 0 || chunk.own + 1 == chunk_count)) words[chunk.own + lane] = lane == 0 ? word : 0;
}

// The sum of `value` over the lanes up to this one.
__device__ __forceinline__ uint32_t sum_up_to(uint32_t value, uint32_t lane) {
#pragma unroll
  for (uint32_t distance = 1; distance < WARP; distance *= 2) {
    const uint32_t before = __shfl_up_sync(ALL_LANES, value, distance);
    if (lane >= distance) value += before;
  }
  return value;
}

// How many of a lane's eight weights in a step are the chunk's: 8, but in a short last step.
__device__ __forceinline__ uint32_t lane_step_count(uint32_t weight_count, uint32_t place) {
  return place < weight_count ? min(weight_count - place, LANE_STEP_WEIGHTS) : 0;
}

// Where a chunk's weights are read from. A source has
//   Eight                                what it holds of a lane's eight weights of a step
//   whole(place), part(place, count)     reads them, or the first `count` of them and zeros
//   exponent_of(eight, i)                the exponent of one
//   exponent_bytes(eight)                the exponents of all
//   sign_mantissa_bytes(eight)           the rest of them
//   behind(place)                        a source that begins there; only of those of exponents
// and `place` is that of the first in the chunk.

struct WeightSource {
  typedef EightWeights Eight;
  typedef WeightSource OfExponents;
  const uint16_t* weights;  // 16-byte aligned

  __device__ static __forceinline__ WeightSource of(const SourceChunk& chunk) { return WeightSource{chunk.job->weights + chunk.first_weight}; }
  __device__ __forceinline__ WeightSource behind(uint32_t place) const { return WeightSource{weights + place}; }
  __device__ __forceinline__ Eight whole(uint32_t place) const {
    const uint4 words = load_read_only(reinterpret_cast<const uint4*>(weights + place));
    return Eight{{words.x, words.y, words.z, words.w}};
  }
  // Nothing may stand behind them.
  __device__ __forceinline__ Eight part(uint32_t place, uint32_t count) const {
    if (count >= LANE_STEP_WEIGHTS) return whole(place);
    Eight eight = {{0, 0, 0, 0}};
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count) eight.pairs[i / 2] |= static_cast<uint32_t>(weights[place + i]) << 16 * (i % 2);
    return eight;
  }
  __device__ static __forceinline__ uint32_t exponent_of(const Eight& eight, uint32_t i) { return exponent_of_weight(eight, i); }
  __device__ static __forceinline__ uint2 exponent_bytes(const Eight& eight) { return exponents_of(eight); }
  __device__ static __forceinline__ uint2 sign_mantissa_bytes(const Eight& eight) { return sign_mantissa_of(eight); }
};

// The first `count` of the eight bytes of a plane at `bytes`, and zeros. What stands behind them is not read: it may never have been written.
__device__ __forceinline__ uint2 first_of_plane(const uint8_t* bytes, uint32_t count) {
  if (count >= LANE_STEP_WEIGHTS) return load_read_only(reinterpret_cast<const uint2*>(bytes));
  uint2 eight = make_uint2(0, 0);
#pragma unroll 1
  for (uint32_t i = count; i-- > 0;) {
    // Moves all up by one, the last first.
    eight.y = eight.y << 8 | eight.x >> 24;
    eight.x = eight.x << 8 | bytes[i];
  }
  return eight;
}

// The exponents of weights that stand in two planes, where the other plane is not asked for.
struct ExponentSource {
  typedef uint2 Eight;
  const uint8_t* exponents;  // 256-byte aligned, readable up to a multiple of 256

  __device__ static __forceinline__ ExponentSource of(const SourceChunk& chunk) { return ExponentSource{chunk.job->exponents + chunk.first_weight}; }
  __device__ __forceinline__ ExponentSource behind(uint32_t place) const { return ExponentSource{exponents + place}; }
  __device__ __forceinline__ Eight whole(uint32_t place) const { return load_read_only(reinterpret_cast<const uint2*>(exponents + place)); }
  __device__ __forceinline__ Eight part(uint32_t place, uint32_t count) const { return first_of_plane(exponents + place, count); }
  __device__ static __forceinline__ uint32_t exponent_of(Eight eight, uint32_t i) { return (i < 4 ? eight.x : eight.y) >> 8 * (i % 4) & 0xff; }
  __device__ static __forceinline__ uint2 exponent_bytes(Eight eight) { return eight; }
};

// Both planes.
struct PlaneSource {
  struct Eight {
    uint2 exponents, sign_mantissa;
  };
  typedef ExponentSource OfExponents;
  ExponentSource exponents;
  const uint8_t* sign_mantissa;  // 256-byte aligned, readable up to a multiple of 256

  __device__ static __forceinline__ PlaneSource of(const SourceChunk& chunk) {
    return PlaneSource{ExponentSource::of(chunk), chunk.job->source_sign_mantissa + chunk.first_weight};
  }
  __device__ __forceinline__ Eight whole(uint32_t place) const {
    return Eight{exponents.whole(place), load_read_only(reinterpret_cast<const uint2*>(sign_mantissa + place))};
  }
  __device__ __forceinline__ Eight part(uint32_t place, uint32_t count) const {
    return Eight{exponents.part(place, count), first_of_plane(sign_mantissa + place, count)};
  }
  __device__ static __forceinline__ uint32_t exponent_of(const Eight& eight, uint32_t i) { return ExponentSource::exponent_of(eight.exponents, i); }
  __device__ static __forceinline__ uint2 exponent_bytes(const Eight& eight) { return eight.exponents; }
  __device__ static __forceinline__ uint2 sign_mantissa_bytes(const Eight& eight) { return eight.sign_mantissa; }
};

// Gives `visit` every whole step of `weight_count` weights, with loads running ahead: it is called as visit(place, eight), and place is that of the
// lane's first weight. Returns the place of this lane in the short last step, which is left to the caller.
template <uint32_t AHEAD, class Source, class Visit>
__device__ __forceinline__ uint32_t for_whole_steps(const Source& source, uint32_t weight_count, uint32_t lane, const Visit& visit) {
  const uint32_t whole_steps = weight_count / STEP_WEIGHTS;
  const uint32_t own = lane * LANE_STEP_WEIGHTS;
  if (whole_steps == 0) return own;
  const auto load = [&](uint32_t step) { return source.whole(min(step, whole_steps - 1) * STEP_WEIGHTS + own); };
  typename Source::Eight ahead[AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load(d);
  uint32_t step = 0;
  for (; step + AHEAD <= whole_steps; step += AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      visit((step + d) * STEP_WEIGHTS + own, ahead[d]);
      // Not before: beside what is still in use it would go to registers of its own, and be waited for to be moved.
      ahead[d] = load(step + d + AHEAD);
    }
  }
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++)
    if (step + d < whole_steps) visit((step + d) * STEP_WEIGHTS + own, ahead[d]);
  return whole_steps * STEP_WEIGHTS + own;
}
