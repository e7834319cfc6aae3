// A chunk's record, decoded and given to an output step by step (specification, section 7).
//
// An output takes
//   store(place, exponents, sign_mantissa)              a lane's eight weights, the first of them weight `place` of the chunk
//   store_part(place, count, exponents, sign_mantissa)  the first `count` of them, 1 to 7, at the end of the chunk
//   patch(place, exponent, sign_mantissa)               one weight again, after all of these
// and says in JOINS whether it wants the sign-mantissa bytes.
#pragma once
#include "record.cuh"
#include "weights.cuh"

// What a step reads ahead of sign-mantissa bytes: enough to hide the memory's latency beside 13 other warps.
constexpr uint32_t AHEAD = 8;

// A code table entry: the code's length in bits 0..7, in bits 16..31 what stands for the exponent: the exponent itself where a weight has it, or its
// palette index. So the entry itself is the amount to shift by (shifts wrap at 32), and the sum of four entries has their common length in its low byte.
__device__ __forceinline__ uint32_t table_entry(uint32_t symbol, uint32_t length) { return symbol << 16 | length; }
__device__ __forceinline__ uint32_t exponent_symbol(uint32_t exponent) { return exponent << 7; }

// Fills the table. A code of L bits owns 2^(8-L) of the 256 strings of 8 bits, first bit first, one behind the other in canonical order; entry i
// belongs to the string that is i read backwards. Lane l finds where the strings of palette entry l begin, and has this entry's symbol; then all lanes
// fill in entry by entry.
__device__ inline void make_table(uint32_t symbol, uint2 code_lengths, uint32_t lane, uint32_t* table) {
  const uint32_t own = lane % PALETTE_ENTRIES;
  const uint32_t length = length_of(code_lengths, own);
  const uint32_t size = length <= LONGEST_CODE_BITS ? CODE_TABLE_ENTRIES >> length : 0;
  const uint32_t entry = table_entry(symbol, length);
  uint32_t start = 0;
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) {
    const uint32_t others = length_of(code_lengths, other);
    const bool before = others < length || (others == length && other < own);
    if (before) start += CODE_TABLE_ENTRIES >> others;
  }
#pragma unroll
  for (uint32_t other = 0; other < PALETTE_ENTRIES; other++) {
    const uint32_t first = __shfl_sync(ALL_LANES, start, other);
    const uint32_t count = __shfl_sync(ALL_LANES, size, other);
    const uint32_t value = __shfl_sync(ALL_LANES, entry, other);
    for (uint32_t i = lane; i < count; i += WARP) table[__brev(first + i) >> 24] = value;
  }
}

__device__ __forceinline__ uint32_t pair_of(uint32_t first, uint32_t second) {
  return __byte_perm(first, second, 0x7632);
}

// A lane's stream. `words` is the record; `last` its last word. Three words are held: the two that hold the next 32 bits,
// and the one that follows, which is loaded before it is needed.
struct LaneReader {
  const uint32_t* words;
  uint32_t last;
  uint32_t bit;  // counted from the record's beginning
  uint32_t low, high, next;

  __device__ __forceinline__ void start(const uint32_t* record) {
    words = record;
    const uint32_t at = min(bit >> 5, last);
    low = words[at];
    high = words[min(at + 1, last)];
    next = words[min(at + 2, last)];
  }

  // Four codes: at most 32 bits, so at most one word is used up.
  __device__ __forceinline__ void four(const uint32_t* table, uint32_t& first, uint32_t& second) {
    uint32_t window = __funnelshift_r(low, high, bit);
    const uint32_t a = table[window & 0xff];
    window = __funnelshift_r(window, 0, a);
    const uint32_t b = table[window & 0xff];
    window = __funnelshift_r(window, 0, b);
    const uint32_t c = table[window & 0xff];
    window = __funnelshift_r(window, 0, c);
    const uint32_t d = table[window & 0xff];
    const uint32_t before = bit;
    bit += (a + b + c + d) & 0xff;
    if ((bit ^ before) & 32) {
      low = high;
      high = next;
      next = words[min((bit >> 5) + 2, last)];
    }
    first = pair_of(a, b);
    second = pair_of(c, d);
  }

  __device__ __forceinline__ Exponents step(const uint32_t* table) {
    Exponents exponents;
    four(table, exponents.pairs[0], exponents.pairs[1]);
    four(table, exponents.pairs[2], exponents.pairs[3]);
    return exponents;
  }
  __device__ __forceinline__ Exponents tail_step(const uint32_t* table) { return step(table); }
};

// 4-bit indices, from where they stand.
struct PaletteReader {
  const uint32_t* indices;  // one word a lane and step
  uint32_t at, last;        // of this lane
  uint32_t ahead[AHEAD];    // the words of the next steps

  __device__ __forceinline__ PaletteReader(const uint8_t* body, uint32_t lane, uint32_t steps)
      : indices(reinterpret_cast<const uint32_t*>(body)), at(lane), last((steps - 1) * WARP + lane) {
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) ahead[d] = load();
  }

  __device__ __forceinline__ uint32_t load() {
    const uint32_t word = indices[min(at, last)];
    at += WARP;
    return word;
  }

  __device__ __forceinline__ Exponents step(const uint32_t* table) {
    const uint32_t word = ahead[0];
#pragma unroll
    for (uint32_t d = 1; d < AHEAD; d++) ahead[d - 1] = ahead[d];
    ahead[AHEAD - 1] = load();
    Exponents exponents;
    for (uint32_t i = 0; i < 4; i++)
      exponents.pairs[i] = pair_of(table[word >> 8 * i & 15], table[word >> (8 * i + 4) & 15]);
    return exponents;
  }
  __device__ __forceinline__ Exponents tail_step(const uint32_t* table) { return step(table); }
};

// Exponents as bytes, from where they stand. In the tail nothing may stand behind them.
struct VerbatimReader {
  const uint8_t* bytes;
  uint32_t at, count;

  __device__ __forceinline__ Exponents step(const uint32_t*) {
    const uint2 eight = *reinterpret_cast<const uint2*>(bytes + at);
    at += STEP_WEIGHTS;
    return widened(eight);
  }
  __device__ __forceinline__ Exponents tail_step(const uint32_t*) {
    uint2 eight = make_uint2(0, 0);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t byte = at + i < count ? bytes[at + i] : 0;
      if (i < 4) eight.x |= byte << 8 * i; else eight.y |= byte << (8 * i - 32);
    }
    at += STEP_WEIGHTS;
    return widened(eight);
  }
};

// All steps of a chunk: whole ones in groups without a branch, so that loads and look-ups of one step overlap those of the next; then
// what is left, one by one.
template <class Reader, class Output>
__device__ __forceinline__ void decode_steps(const Chunk& chunk, uint32_t lane, const uint32_t* table, Reader& reader, const Output& output) {
  const uint2* sign_mantissa = reinterpret_cast<const uint2*>(chunk.sign_mantissa) + lane;
  const uint32_t grouped = chunk.weights / (AHEAD * STEP_WEIGHTS) * AHEAD;
  uint32_t place = lane * LANE_STEP_WEIGHTS;
  uint2 ahead[AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++)
    ahead[d] = Output::JOINS ? load_streaming(sign_mantissa + min(d, chunk.steps - 1) * WARP) : make_uint2(0, 0);
#pragma unroll 1
  for (uint32_t group = 0; group < grouped; group += AHEAD) {
    // The last group reads ahead what the tail needs, or the last step again.
    const uint32_t next = group + AHEAD;
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      const uint2 now = ahead[d];
      if (Output::JOINS) ahead[d] = load_streaming(sign_mantissa + min(next + d, chunk.steps - 1) * WARP);
      output.store(place, reader.step(table), now);
      place += STEP_WEIGHTS;
    }
  }
#pragma unroll 1
  for (uint32_t step = grouped; step < chunk.steps; step++) {
    const uint2 now = Output::JOINS ? sign_mantissa[step * WARP] : make_uint2(0, 0);
    const Exponents exponents = reader.tail_step(table);
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
template <class Output>
__device__ __forceinline__ uint32_t decode_huffman(const Chunk& chunk, const Record& record, uint32_t lane, const uint32_t* words,
                                                   const uint32_t* table, const Output& output) {
  LaneReader reader;
  reader.last = chunk.record_bytes / 4 - 1;
  reader.bit = 8 * (LANE_STREAMS_OFFSET + record.lane_start);
  reader.start(words);
  decode_steps(chunk, lane, table, reader, output);
  return first_broken(broken_lane(reader, chunk.record, record.lane_end));
}

// Copies a chunk's record to shared memory, if there is room.
__device__ __forceinline__ bool stage_record(Chunk& chunk, uint32_t lane, uint4* stage, uint32_t stage_bytes) {
  if (chunk.record_bytes > stage_bytes) return false;
  const uint4* from = reinterpret_cast<const uint4*>(chunk.record);
  for (uint32_t i = lane; i < chunk.record_bytes / 16; i += WARP) copy_async(stage + i, from + i);
  copies_done();
  __syncwarp();
  chunk.record = reinterpret_cast<const uint8_t*>(stage);
  return true;
}

// Chunk `number` of the launch, by one warp with shared memory of its own.
template <class Output>
__device__ __forceinline__ void decode_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t number, uint32_t stage_bytes, uint4* shared,
                                             unsigned long long* status) {
  uint32_t* table = reinterpret_cast<uint32_t*>(shared);
  uint4* stage = shared + CODE_TABLE_ENTRIES / 4;
  const uint32_t lane = threadIdx.x % WARP;
  Chunk chunk = find_chunk(jobs, job_count, number);
  const bool staged = stage_record(chunk, lane, stage, stage_bytes);
  Record record;
  uint32_t broken = parse_record(chunk, lane, record);
  if (broken == 0) {
    const auto output = Output::at(chunk.job->output, chunk.output_start);
    const uint8_t* body = chunk.record + RECORD_HEADER_BYTES;
    if (record.kind == KIND_HUFFMAN) {
      make_table(exponent_symbol(chunk.job->palette[lane % PALETTE_ENTRIES]), record.code_lengths, lane, table);
      __syncwarp();
      broken = staged ? decode_huffman(chunk, record, lane, reinterpret_cast<const uint32_t*>(stage), table, output)
                      : decode_huffman(chunk, record, lane, reinterpret_cast<const uint32_t*>(chunk.record), table, output);
    } else if (record.kind == KIND_PALETTE) {
      if (lane < PALETTE_ENTRIES) table[lane] = table_entry(exponent_symbol(chunk.job->palette[lane]), 0);
      __syncwarp();
      PaletteReader reader(body, lane, chunk.steps);
      decode_steps(chunk, lane, table, reader, output);
    } else {
      VerbatimReader reader{body, lane * LANE_STEP_WEIGHTS, chunk.weights};
      decode_steps(chunk, lane, table, reader, output);
    }
    // Behind the steps' stores, which other lanes made.
    __syncwarp();
    const uint8_t* patches = chunk.record + record.patches_offset;
    for (uint32_t i = lane; i < record.patch_count; i += WARP)
      output.patch(patch_position(patches + PATCH_BYTES * i), patches[PATCH_BYTES * i + 2], chunk.sign_mantissa);
  }
  if (broken != 0 && lane == 0) report(status, number, broken);
}

