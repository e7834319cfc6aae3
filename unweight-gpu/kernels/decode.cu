// Chunk records to weights, or to their exponents (specification, section 7).
//
//   one block = one warp = one chunk; thread l = lane l of the specification
//
//   sign-mantissa   | lane 0: 8 bytes | lane 1: 8 bytes | ... | lane 31 |   a step: 256 bytes, one load a lane
//   record          | header | lane ends | lane 0 .... | lane 1 .... | ...   copied to shared memory whole, if it fits
//   weights         | lane 0: 16 bytes| lane 1: 16 bytes| ... | lane 31 |   a step: 512 bytes, one store a lane
//
// Shared memory: 256 words of code table, then `stage_bytes` for the record and 16 zero bytes. A record that does not fit is read where it stands.
//
// Preconditions, which the host has checked (src/plan.rs, src/resident.rs): what layout.cuh says of TensorJob; `stage_bytes` is
// a multiple of 16; the launch has a block for each chunk, of 32 threads. Whatever a record holds, nothing outside of it, of the chunk's
// sign-mantissa bytes and of the chunk's output is touched, but for one word behind the record, which is read: what locates anything is checked
// in parse_record, and a lane's reads are clamped to the record.
//
// The tail: the last step of a chunk may be short. Its surplus weights are decoded and not stored.
#include "record.cuh"

// What a step reads ahead of sign-mantissa bytes: enough to hide the memory's latency beside 13 other warps.
constexpr uint32_t AHEAD = 4;

// A code table entry: the code's length in bits 0..7, the exponent where a weight has it in bits 16..31. So the entry itself
// is the amount to shift by (shifts wrap at 32), and the sum of four entries has their common length in its low byte.
__device__ __forceinline__ uint32_t table_entry(uint32_t exponent, uint32_t length) { return exponent << 23 | length; }

// Fills the table: eight entries a lane. Entry i belongs to the code whose interval of 8-bit strings, first bit first, holds i read backwards.
__device__ inline void make_table(const uint8_t* palette, uint2 code_lengths, uint32_t lane, uint32_t* table) {
  uint32_t strings[CODE_TABLE_ENTRIES / WARP], entries[CODE_TABLE_ENTRIES / WARP];
  for (uint32_t k = 0; k < CODE_TABLE_ENTRIES / WARP; k++) {
    strings[k] = __brev(k * WARP + lane) >> 24;
    entries[k] = 0;
  }
  uint32_t start = 0;
  for (uint32_t length = 0; length <= LONGEST_CODE_BITS; length++) {
    for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++) {
      if (length_of(code_lengths, entry) != length) continue;
      const uint32_t size = CODE_TABLE_ENTRIES >> length;
      for (uint32_t k = 0; k < CODE_TABLE_ENTRIES / WARP; k++)
        if (strings[k] - start < size) entries[k] = table_entry(palette[entry], length);
      start += size;
    }
  }
  for (uint32_t k = 0; k < CODE_TABLE_ENTRIES / WARP; k++) table[k * WARP + lane] = entries[k];
}

// Eight exponents of a lane, two to a word, each where a weight has it.
struct Exponents {
  uint32_t pairs[4];
};

__device__ __forceinline__ uint32_t pair_of(uint32_t first, uint32_t second) {
  return __byte_perm(first, second, 0x7632);
}

// A lane's stream. `words` is the record, and a word behind it; `last` its last word.
struct LaneReader {
  const uint32_t* words;
  uint32_t last;
  uint32_t bit;  // counted from the record's beginning

  // Four codes: at most 32 bits.
  __device__ __forceinline__ void four(const uint32_t* table, uint32_t& first, uint32_t& second) {
    const uint32_t at = min(bit >> 5, last);
    uint32_t window = __funnelshift_r(words[at], words[at + 1], bit);
    const uint32_t a = table[window & 0xff];
    window = __funnelshift_r(window, 0, a);
    const uint32_t b = table[window & 0xff];
    window = __funnelshift_r(window, 0, b);
    const uint32_t c = table[window & 0xff];
    window = __funnelshift_r(window, 0, c);
    const uint32_t d = table[window & 0xff];
    bit += (a + b + c + d) & 0xff;
    first = pair_of(a, b);
    second = pair_of(c, d);
  }

  __device__ __forceinline__ Exponents step(const uint32_t* table) {
    Exponents exponents;
    four(table, exponents.pairs[0], exponents.pairs[1]);
    four(table, exponents.pairs[2], exponents.pairs[3]);
    return exponents;
  }
};

// 4-bit indices, from where they stand.
struct PaletteReader {
  const uint32_t* indices;  // one word a lane and step
  uint32_t at;

  __device__ __forceinline__ Exponents step(const uint32_t* table) {
    const uint32_t word = indices[at];
    at += WARP;
    Exponents exponents;
    for (uint32_t i = 0; i < 4; i++)
      exponents.pairs[i] = pair_of(table[word >> 8 * i & 15], table[word >> (8 * i + 4) & 15]);
    return exponents;
  }
};

// Exponents as bytes, from where they stand. The last ones have no neighbours to be read with.
struct VerbatimReader {
  const uint8_t* bytes;
  uint32_t at, count;

  __device__ __forceinline__ Exponents step(const uint32_t*) {
    uint2 eight = make_uint2(0, 0);
    if (at + LANE_STEP_WEIGHTS <= count) {
      eight = *reinterpret_cast<const uint2*>(bytes + at);
    } else {
      for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
        const uint32_t byte = at + i < count ? bytes[at + i] : 0;
        if (i < 4) eight.x |= byte << 8 * i; else eight.y |= byte << (8 * i - 32);
      }
    }
    at += STEP_WEIGHTS;
    Exponents exponents;
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t two = (i < 2 ? eight.x : eight.y) >> 16 * (i % 2);
      exponents.pairs[i] = (two & 0xff) << 7 | (two & 0xff00) << 15;
    }
    return exponents;
  }
};

// Where a chunk's weights go.
struct ToWeights {
  static constexpr bool JOINS = true;
  uint16_t* weights;

  __device__ __forceinline__ void store(uint32_t place, uint32_t count, const Exponents& exponents, uint2 sign_mantissa) const {
    uint32_t words[4];
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t bytes = i < 2 ? sign_mantissa.x : sign_mantissa.y;
      words[i] = (__byte_perm(bytes, 0, i % 2 ? 0x3322 : 0x1100) & 0x807f807f) | exponents.pairs[i];
    }
    if (count >= LANE_STEP_WEIGHTS) {
      store_streaming(reinterpret_cast<uint4*>(weights + place), make_uint4(words[0], words[1], words[2], words[3]));
    } else {
      for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
        if (i < count) weights[place + i] = static_cast<uint16_t>(words[i / 2] >> 16 * (i % 2));
    }
  }
  __device__ __forceinline__ void patch(uint32_t place, uint32_t exponent, const uint8_t* sign_mantissa) const {
    const uint32_t byte = sign_mantissa[place];
    weights[place] = static_cast<uint16_t>((byte & 0x80) << 8 | exponent << 7 | (byte & 0x7f));
  }
};

// The exponent plane: a byte for each weight.
struct ToExponents {
  static constexpr bool JOINS = false;
  uint8_t* bytes;

  __device__ __forceinline__ void store(uint32_t place, uint32_t count, const Exponents& exponents, uint2) const {
    uint32_t words[2];
    for (uint32_t i = 0; i < 2; i++)
      // Exponents stand at bits 7 and 23 of a pair: shifted left by one, in bytes 1 and 3.
      words[i] = __byte_perm(exponents.pairs[2 * i] << 1, exponents.pairs[2 * i + 1] << 1, 0x7531);
    if (count >= LANE_STEP_WEIGHTS) {
      store_streaming(reinterpret_cast<uint2*>(bytes + place), make_uint2(words[0], words[1]));
    } else {
      for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
        if (i < count) bytes[place + i] = static_cast<uint8_t>(words[i / 4] >> 8 * (i % 4));
    }
  }
  __device__ __forceinline__ void patch(uint32_t place, uint32_t exponent, const uint8_t*) const {
    bytes[place] = static_cast<uint8_t>(exponent);
  }
};

// All steps of a chunk.
template <class Reader, class Output>
__device__ __forceinline__ void decode_steps(const Chunk& chunk, uint32_t lane, const uint32_t* table, Reader& reader, const Output& output) {
  const uint2* sign_mantissa = reinterpret_cast<const uint2*>(chunk.sign_mantissa) + lane;
  uint2 ahead[AHEAD];
#pragma unroll
  for (uint32_t d = 0; d < AHEAD; d++)
    ahead[d] = Output::JOINS ? load_streaming(sign_mantissa + min(d, chunk.steps - 1) * WARP) : make_uint2(0, 0);
  for (uint32_t group = 0; group < chunk.steps; group += AHEAD) {
    uint2 now[AHEAD];
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      now[d] = ahead[d];
      if (Output::JOINS) ahead[d] = load_streaming(sign_mantissa + min(group + AHEAD + d, chunk.steps - 1) * WARP);
    }
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      if (group + d >= chunk.steps) break;
      const uint32_t place = (group + d) * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
      const Exponents exponents = reader.step(table);
      output.store(place, place < chunk.weights ? chunk.weights - place : 0, exponents, now[d]);
    }
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

template <class Output>
__device__ __forceinline__ uint32_t decode_huffman(const Chunk& chunk, const Record& record, uint32_t lane, uint4* stage, uint32_t stage_bytes,
                                                   const uint32_t* table, const Output& output) {
  LaneReader reader{reinterpret_cast<const uint32_t*>(chunk.record), chunk.record_bytes / 4 - 1, 8 * (LANE_STREAMS_OFFSET + record.lane_start)};
  if (chunk.record_bytes < stage_bytes) {
    const uint4* from = reinterpret_cast<const uint4*>(chunk.record);
    const uint32_t pieces = chunk.record_bytes / 16;
#pragma unroll 8
    for (uint32_t i = lane; i < pieces; i += WARP) stage[i] = load_streaming(from + i);
    if (lane == 0) stage[pieces] = make_uint4(0, 0, 0, 0);
    __syncwarp();
    reader.words = reinterpret_cast<const uint32_t*>(stage);
    decode_steps(chunk, lane, table, reader, output);
  } else {
    decode_steps(chunk, lane, table, reader, output);
  }
  return first_broken(broken_lane(reader, chunk.record, record.lane_end));
}

template <class Output>
__device__ __forceinline__ void decode_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t stage_bytes, unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  uint32_t* table = reinterpret_cast<uint32_t*>(shared);
  uint4* stage = shared + CODE_TABLE_ENTRIES / 4;
  const uint32_t lane = threadIdx.x;
  const Chunk chunk = find_chunk(jobs, job_count, blockIdx.x);
  Record record;
  uint32_t broken = parse_record(chunk, lane, record);
  if (broken == 0) {
    typedef decltype(Output::at(nullptr, 0)) Place;
    const Place output = Output::at(chunk.job->output, chunk.first_weight);
    const uint8_t* body = chunk.record + RECORD_HEADER_BYTES;
    if (record.kind == KIND_HUFFMAN) {
      make_table(chunk.job->palette, record.code_lengths, lane, table);
      __syncwarp();
      broken = decode_huffman(chunk, record, lane, stage, stage_bytes, table, output);
    } else if (record.kind == KIND_PALETTE) {
      if (lane < PALETTE_ENTRIES) table[lane] = table_entry(chunk.job->palette[lane], 0);
      __syncwarp();
      PaletteReader reader{reinterpret_cast<const uint32_t*>(body), lane};
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
  if (broken != 0 && lane == 0) report(status, blockIdx.x, broken);
}

struct Weights {
  __device__ static ToWeights at(uint8_t* output, uint64_t first_weight) {
    return ToWeights{reinterpret_cast<uint16_t*>(output) + first_weight};
  }
};
struct ExponentPlane {
  __device__ static ToExponents at(uint8_t* output, uint64_t first_weight) { return ToExponents{output + first_weight}; }
};

extern "C" __global__ void __launch_bounds__(WARP)
    decode_weights(const TensorJob* jobs, uint32_t job_count, uint32_t stage_bytes, unsigned long long* status) {
  decode_chunk<Weights>(jobs, job_count, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_exponents(const TensorJob* jobs, uint32_t job_count, uint32_t stage_bytes, unsigned long long* status) {
  decode_chunk<ExponentPlane>(jobs, job_count, stage_bytes, status);
}
