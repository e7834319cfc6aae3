// A chunk's record, decoded and given to an output step by step (specification, section 7).
//
// An output is made by `at`, which is told where the tensor's is and the chunk's first weight. It takes
//   store(place, exponents, sign_mantissa)              a lane's eight weights, the first of them weight `place` of the chunk
//   store_part(place, count, exponents, sign_mantissa)  the first `count` of them, 1 to 7, at the end of the chunk
//   patch(place, exponent, sign_mantissa)               one weight again, after all of these
// Exponents come as bytes. JOINS says whether it wants the sign-mantissa bytes.
#pragma once
#include "record/record.cuh"
#include "record/weights.cuh"

// What a step reads ahead of sign-mantissa bytes: enough to hide the memory's latency beside 13 other warps.
constexpr uint32_t AHEAD = 8;

// A warp's shared memory: two tables, then the record.
constexpr uint32_t LENGTHS = 128;
constexpr uint32_t TABLES_BYTES = CODE_TABLE_ENTRIES + LENGTHS;

struct WarpMemory {
  uint8_t* exponents;  // CODE_TABLE_ENTRIES of them
  uint8_t* lengths;    // LENGTHS of them, aligned to as many bytes, so that a place among them is added without a carry
  uint4* stage;
};

// The codes of a chunk, first bit lowest, as they stand in a stream. The next 7 bits tell a code's length, as two codes of 8 bits share them; the code itself
// tells the exponent. So lanes do not wait for each other's banks: lengths are 32 words, and among the words of exponents that are used, only codes of 8 bits
// share banks with others.
struct CodeTable {
  uint32_t lengths, exponents;  // where they are in shared memory

  __device__ __forceinline__ uint32_t length(uint32_t window) const { return load_shared_byte((window & (LENGTHS - 1)) | lengths); }
  __device__ __forceinline__ uint32_t exponent(uint32_t window, uint32_t length) const {
    return load_shared_byte(lowest_bits(window, length) + exponents);
  }
};

// Lanes l and l + 16 have palette entry l, which is `exponent`. Its table is by codes for a huffman record, whose code is complete; for others by index.
__device__ inline CodeTable make_tables(uint8_t exponent, const Record& record, uint32_t lane, const WarpMemory& memory) {
  if (record.kind != KIND_HUFFMAN) {
    memory.exponents[lane % PALETTE_ENTRIES] = exponent;
    return CodeTable{};
  }
  const uint32_t length = length_of_lane(record.code_lengths, lane);
  // The four strings of 7 bits that this lane finds lengths for, which follow one another where the first bit is lowest. Here it is highest, and the byte's
  // highest bit is set, so that none borrows from the next.
  const uint32_t strings = (__brev(lane) >> 27) * 0x01010101u + 0xe0a0c080u;
  uint32_t lengths = 0;
  const uint32_t first = first_string(length, lane, [&](uint32_t bits, uint32_t taken) {
    // Strings that are not taken yet begin with longer codes.
    if (bits < LONGEST_CODE_BITS) lengths += (strings - taken / 2 * 0x01010101u) >> 7 & 0x01010101u;
  });
  reinterpret_cast<uint32_t*>(memory.lengths)[lane] = lengths;
  if (length <= LONGEST_CODE_BITS) memory.exponents[__brev(first) >> (32 - LONGEST_CODE_BITS)] = exponent;
  return CodeTable{place_in_shared(memory.lengths), place_in_shared(memory.exponents)};
}

// Of four values of BITS bits, each alone in its word. Multiplied: shifts and permutations are what these kernels have most of.
template <uint32_t BITS = 8>
__device__ __forceinline__ uint32_t joined(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return (d * (1u << BITS) + c) * (1u << 2 * BITS) + (b * (1u << BITS) + a);
}

// A lane's stream. `words` is the record; `last` its last word. `window` and `behind` are the next 64 bits, of which four codes use up 32 at most. `behind`
// is made anew meanwhile, from words that were loaded before they are needed: between a code and the next stand but a shift, an index and a look-up.
struct LaneReader {
  CodeTable table;
  const uint32_t* words;
  uint32_t last;
  uint32_t bit;  // counted from the record's beginning
  uint32_t window, behind;
  uint32_t second, third, fourth;  // the words behind that of `bit`

  __device__ __forceinline__ uint32_t word(uint32_t behind) const { return words[min((bit >> 5) + behind, last)]; }

  __device__ __forceinline__ LaneReader(const CodeTable& table, const uint32_t* record, uint32_t last, uint32_t bit)
      : table(table), words(record), last(last), bit(bit) {
    const uint32_t first = word(0);
    second = word(1);
    third = word(2);
    fourth = word(3);
    window = __funnelshift_r(first, second, bit);
    behind = __funnelshift_r(second, third, bit);
  }

  // What the table has for four codes, side by side.
  template <uint32_t BITS = 8>
  __device__ __forceinline__ uint32_t four() {
    uint32_t windows[4], lengths[4], now = window;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      windows[i] = now;
      lengths[i] = table.length(now);
      now = __funnelshift_r(now, 0, lengths[i]);
    }
    // Up to 32, where this shift is as it should be, and another one would wrap.
    const uint32_t bits = lengths[0] + lengths[1] + lengths[2] + lengths[3];
    window = __funnelshift_rc(window, behind, bits);
    const uint32_t before = bit;
    bit += bits;
    if ((bit ^ before) & 32) {
      second = third;
      third = fourth;
      fourth = word(3);
    }
    behind = __funnelshift_r(second, third, bit);
    uint32_t exponents[4];
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) exponents[i] = table.exponent(windows[i], lengths[i]);
    return joined<BITS>(exponents[0], exponents[1], exponents[2], exponents[3]);
  }

  __device__ __forceinline__ uint2 step(uint32_t) {
    const uint32_t first = four();
    return make_uint2(first, four());
  }
  __device__ __forceinline__ uint2 tail_step(uint32_t number) { return step(number); }
};

// 4-bit indices, from where they stand.
struct PaletteReader {
  const uint8_t* exponents;  // of the palette
  const uint32_t* indices;   // of this lane, a word in each step
  uint32_t last_step, next_step;
  uint32_t ahead[AHEAD];  // the words of the next steps

  __device__ __forceinline__ PaletteReader(const uint8_t* palette, const uint8_t* body, uint32_t lane, uint32_t steps)
      : exponents(palette), indices(reinterpret_cast<const uint32_t*>(body) + lane), last_step(steps - 1), next_step(AHEAD) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load(d);
  }

  // Past the chunk's end, that of its last step again.
  __device__ __forceinline__ uint32_t load(uint32_t step) const { return indices[min(step, last_step) * WARP]; }
  __device__ __forceinline__ uint2 of(uint32_t word) const {
    const auto exponent = [&](uint32_t i) -> uint32_t { return exponents[word >> 4 * i & 15]; };
    return make_uint2(joined(exponent(0), exponent(1), exponent(2), exponent(3)), joined(exponent(4), exponent(5), exponent(6), exponent(7)));
  }

  __device__ __forceinline__ uint2 step(uint32_t in_group) {
    const uint2 eight = of(ahead[in_group]);
    ahead[in_group] = load(next_step++);
    return eight;
  }
  __device__ __forceinline__ uint2 tail_step(uint32_t step) const { return of(load(step)); }
};

// Exponents as bytes, from where they stand. In the tail nothing may stand behind them.
struct VerbatimReader {
  const uint8_t* bytes;
  uint32_t at, count;

  __device__ __forceinline__ uint2 step(uint32_t) {
    const uint2 eight = *reinterpret_cast<const uint2*>(bytes + at);
    at += STEP_WEIGHTS;
    return eight;
  }
  __device__ __forceinline__ uint2 tail_step(uint32_t) {
    uint2 eight = make_uint2(0, 0);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t byte = at + i < count ? bytes[at + i] : 0;
      if (i < 4) eight.x |= byte << 8 * i; else eight.y |= byte << (8 * i - 32);
    }
    at += STEP_WEIGHTS;
    return eight;
  }
};

// The sign-mantissa bytes of a lane's next steps, if they are wanted.
template <bool WANTED>
struct SignMantissa {
  const uint2* eights;
  uint32_t last_step;
  uint2 ahead[AHEAD];

  __device__ __forceinline__ SignMantissa(const Chunk& chunk, uint32_t lane)
      : eights(reinterpret_cast<const uint2*>(chunk.sign_mantissa) + lane), last_step(chunk.steps - 1) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load(d);
  }
  // Past the chunk's end, those of its last step again.
  __device__ __forceinline__ uint2 load(uint32_t step) const {
    return WANTED ? load_read_only(eights + min(step, last_step) * WARP) : make_uint2(0, 0);
  }
};

// All steps of a chunk: whole ones in groups without a branch, so that loads and look-ups of one step overlap those of the next; then
// what is left, one by one.
template <class Reader, class Bytes, class Output>
__device__ __forceinline__ void decode_steps(const Chunk& chunk, uint32_t lane, Reader& reader, Bytes& sign_mantissa, const Output& output) {
  const uint32_t grouped = chunk.weights / (AHEAD * STEP_WEIGHTS) * AHEAD;
  uint32_t place = lane * LANE_STEP_WEIGHTS;
#pragma unroll 1
  for (uint32_t group = 0; group < grouped; group += AHEAD) {
    // The last group reads ahead what the tail needs, or the last step again.
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      output.store(place, reader.step(d), sign_mantissa.ahead[d]);
      sign_mantissa.ahead[d] = sign_mantissa.load(group + AHEAD + d);
      place += STEP_WEIGHTS;
    }
  }
#pragma unroll 1
  for (uint32_t step = grouped; step < chunk.steps; step++) {
    const uint2 now = sign_mantissa.load(step);
    const uint2 exponents = reader.tail_step(step);
    if (place + LANE_STEP_WEIGHTS <= chunk.weights) output.store(place, exponents, now);
    else if (place < chunk.weights) output.store_part(place, chunk.weights - place, exponents, now);
    place += STEP_WEIGHTS;
  }
}

// How a lane must end (section 5.2): 0, or the rule that it breaks.
__device__ inline uint32_t broken_lane(const LaneReader& reader, const uint8_t* record, uint32_t lane_end) {
  const uint32_t end = 8 * (LANE_STREAMS_OFFSET + lane_end);
  if (reader.bit > end) return LANE_OVERRUN;
  const uint32_t unused = end - reader.bit;
  if (unused >= 8) return LANE_UNDERRUN;
  return unused != 0 && record[end / 8 - 1] >> (8 - unused) != 0 ? LANE_PADDING : 0;
}

// The first lane's trouble, as the reference finds it.
__device__ inline uint32_t first_broken(uint32_t broken) {
  const uint32_t lanes = __ballot_sync(ALL_LANES, broken != 0);
  return lanes == 0 ? 0 : __shfl_sync(ALL_LANES, broken, __ffs(lanes) - 1);
}

// `words` is the record, which may stand in shared memory: the compiler is to see that it does.
template <class Bytes, class Output>
__device__ __forceinline__ uint32_t decode_huffman(const Chunk& chunk, const Record& record, uint32_t lane, const uint32_t* words,
                                                   const CodeTable& table, Bytes& sign_mantissa, const Output& output) {
  LaneReader reader(table, words, chunk.record_bytes / 4 - 1, 8 * (LANE_STREAMS_OFFSET + record.lane_start));
  decode_steps(chunk, lane, reader, sign_mantissa, output);
  return first_broken(broken_lane(reader, chunk.record, record.lane_end));
}

// Chunk `number` of the launch, by one warp.
template <class Output>
__device__ __forceinline__ void decode_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t number, uint32_t stage_bytes, const WarpMemory& memory,
                                             unsigned long long* status) {
  uint4* stage = memory.stage;
  const uint32_t lane = threadIdx.x % WARP;
  Chunk chunk = find_chunk(jobs, job_count, number);
  const bool staged = chunk.record_bytes <= stage_bytes;
  if (staged) {
    const uint4* from = reinterpret_cast<const uint4*>(chunk.record);
    for (uint32_t i = lane; i < chunk.record_bytes / 16; i += WARP) copy_async(stage + i, from + i);
  }
  // On their way while the record is.
  SignMantissa<Output::JOINS> sign_mantissa(chunk, lane);
  const uint8_t exponent = chunk.job->palette[lane % PALETTE_ENTRIES];
  Record record;
  uint32_t broken = parse_header(chunk, lane, record);
  CodeTable codes;
  if (broken == 0) codes = make_tables(exponent, record, lane, memory);
  if (staged) {
    copies_done();
    chunk.record = reinterpret_cast<const uint8_t*>(stage);
  }
  __syncwarp();
  if (broken == 0) broken = parse_body(chunk, lane, record);
  if (broken == 0) {
    const auto output = Output::at(chunk.job->output, chunk.output_start);
    const uint8_t* body = chunk.record + RECORD_HEADER_BYTES;
    if (record.kind == KIND_HUFFMAN) {
      broken = staged ? decode_huffman(chunk, record, lane, reinterpret_cast<const uint32_t*>(stage), codes, sign_mantissa, output)
                      : decode_huffman(chunk, record, lane, reinterpret_cast<const uint32_t*>(chunk.record), codes, sign_mantissa, output);
    } else if (record.kind == KIND_PALETTE) {
      PaletteReader reader(memory.exponents, body, lane, chunk.steps);
      decode_steps(chunk, lane, reader, sign_mantissa, output);
    } else {
      VerbatimReader reader{body, lane * LANE_STEP_WEIGHTS, chunk.weights};
      decode_steps(chunk, lane, reader, sign_mantissa, output);
    }
    // Behind the steps' stores, which other lanes made.
    __syncwarp();
    const uint8_t* patches = chunk.record + record.patches_offset;
    for (uint32_t i = lane; i < record.patch_count; i += WARP)
      output.patch(patch_position(patches + PATCH_BYTES * i), patches[PATCH_BYTES * i + 2], chunk.sign_mantissa);
  }
  if (broken != 0 && lane == 0) report(status, number, broken);
}

