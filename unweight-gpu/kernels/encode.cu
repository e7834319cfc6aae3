// Weights to chunk records and sign-mantissa bytes (specification, sections 5 and 11.4 to 11.6), or planes or records of another encoding to these (11.8).
//
//   encode_chunks   one block = one chunk; one warp = 8 of its steps, or what is left of them; thread l of a warp = lane l of the specification;
//                   encode_chunks_of_planes where the source is an exponent plane and a sign-mantissa plane, 8 bytes of each a lane and step, in
//                   place of weights; encode_chunks_of_records where it is palette records, 4 bytes in place of exponents (record_source.cuh), and a
//                   warp has 16 steps
//
//   weights         | lane 0: 16 bytes| lane 1: 16 bytes| ... | lane 31 |   a step: 512 bytes, one load a lane
//   sign-mantissa   | lane 0: 8 bytes | lane 1: 8 bytes | ... | lane 31 |   a step: 256 bytes, one store a lane
//   record, shared  | header | lane ends | lane 0: warp 0, warp 1, .. | lane 1: .. | ... | patches | 0.. |   as it will stand, of any kind
//   records         | the same |                                         16 bytes a thread
//
// First a lane replaces its exponents by palette indices, kept in registers, a word for each step, and adds up what they will take: so it is known
// where every lane's stream stands, to the bit where every warp's piece of it begins, and whether the record will be verbatim,
// before a byte of it is written. A code is the tensor's or the chunk's own, whichever costs less. Then it packs codes from the indices. They are a palette
// record's body as they stand. Weights are read again for a verbatim record, and for those steps that have patches.
//
// A record's place follows from the lengths of those before it, which their blocks publish as soon as they know them: find_place looks back at these. Blocks
// begin in the order of their numbers, so what one waits for has begun.
//
// Two pieces may share a word, of one lane or of two. A piece stores a word as soon as it is complete, the first with zeros in front of its own bits.
// When all have done so they add what they have left to the word that another has stored, or that has been zeroed.
//
// A chunk's checksum is a sum of what its record and its sign-mantissa bytes give. Each warp computes what its own of these give, while it has them in registers;
// some warps what the record gives, while it stands in shared memory.
//
// Shared memory: encode_chunks 256 words of entries by exponent, 256 of codes by pairs of indices, 16 of each by one, one for each lane of 32 warps, 36
// for checksums, 4 besides: 6,432 bytes; and room for the longest record.
// Bytes moved for a chunk of n weights and a record of r bytes: 2n read, n + r written.
//
// Preconditions: what encode_layout.cuh says of EncodeJob but for counts and totals; `tensor_codes` is what choose_codes made. encode_chunks has a block for
// each chunk, of a warp for every 2,048 weights of the largest, or 4,096 where the source is records, and shared memory for the largest's verbatim record;
// encode_chunks_of_records comes after count_indices (transcode.cu), which has checked the sources, and left record_lengths 0 where one is good.
//
// The tail: the last step of a chunk may be short. Its surplus is coded as the placeholder, or as index 0, without patches; its
// sign-mantissa bytes are zero, and complete the plane to a multiple of 256. Nothing is written behind the last record's end.
#include "crc32.cuh"
#include "encode_layout.cuh"
#include "record_source.cuh"

// Of a warp.
constexpr uint32_t WARP_STEPS = 8;
constexpr uint32_t RECORD_WARP_STEPS = 16;
constexpr uint32_t MOST_WARPS = 65536 / (WARP_STEPS * STEP_WEIGHTS);
constexpr uint32_t PATCH_BITS = 8 * PATCH_BYTES;
// Warps that share a record's checksum.
constexpr uint32_t SEAL_WARPS = 4;

// What stands in for an exponent: its palette index in bits 0..3, its code's length in bits 8.., a one in bit 20 if it takes a patch. Of a step's
// eight entries the sums of all three keep apart. Shifted right by 8, they are added up for a lane: at most 16,384 bits of codes, in bits 0..,
// and 2,048 patches, from bit 16 on: there they are moved first.
constexpr uint32_t TAKES_PATCH = 1u << 20;
__device__ __forceinline__ uint32_t source_entry(uint32_t index, uint32_t length) { return index | length << 8; }

// A block's shared memory.
struct EncodeTables {
  uint32_t entries[EXPONENTS];        // by exponent
  uint32_t by_index[PALETTE_ENTRIES]; // by palette index
  uint32_t pairs[256];                // by two palette indices, the first in bits 0..3: what both take in bits 0..7, stream bits from bit 8 on
  uint32_t codes[PALETTE_ENTRIES];    // by one palette index, likewise
  uint32_t sums[MOST_WARPS][WARP];    // of index_weights
  uint32_t remainders[MOST_WARPS];    // of the sign-mantissa bytes of each warp, advanced to the chunk's end
  uint32_t of_record[SEAL_WARPS];     // what is to be added up for the record's remainder
  uint2 code_lengths;
  uint32_t surplus;                   // the entry of a surplus weight
  uint32_t start;                     // of the record, in units of 16 bytes
};
static_assert(sizeof(EncodeTables) % 16 == 0, "the record stands behind them");

__device__ __forceinline__ uint32_t source_length(uint2 code_lengths, uint32_t entry) {
  return (entry < 8 ? code_lengths.x : code_lengths.y) >> (entry % 8 * 4) & 15;
}

// In bits (section 11.3), for a chunk of `total` weights, of which lane l has the count of palette entry l, and lanes from 16 on have none.
__device__ __forceinline__ uint32_t cost_of_code(uint2 code_lengths, uint32_t lane, uint32_t count, uint32_t total) {
  const uint32_t length = lane < PALETTE_ENTRIES ? source_length(code_lengths, lane) : NO_CODE;
  uint32_t shortest = length;
#pragma unroll
  for (uint32_t distance = WARP / 2; distance > 0; distance /= 2) shortest = min(shortest, __shfl_xor_sync(ALL_LANES, shortest, distance));
  const uint32_t coded = sum_over_lanes(length == NO_CODE ? 0 : count);
  return sum_over_lanes(length == NO_CODE ? 0 : count * length) + (total - coded) * (shortest + PATCH_BITS);
}

// The chunk's own code where that saves more than one bit in 256, or else the tensor's (section 11.4).
__device__ inline uint2 chosen_code(const SourceChunk& chunk, uint32_t lane, uint2 of_tensor) {
  const EncodeJob* job = chunk.job;
  const uint32_t entry = lane % PALETTE_ENTRIES;
  const uint32_t of_entry = job->palette_counts[static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES + entry];
  const uint32_t count = lane < PALETTE_ENTRIES ? of_entry : 0;
  const uint2 own = job->code_lengths[chunk.own];
  // 65,536 weights of at most 32 bits, times 256: below 2^30.
  const bool saves = 256 * cost_of_code(own, lane, count, chunk.weight_count) < 255 * cost_of_code(of_tensor, lane, count, chunk.weight_count);
  return saves ? own : of_tensor;
}

// Chooses the code and fills all tables but that of pairs. Entries of a code share out the 256 strings of 8 bits in canonical order, first bit
// first: a code's first string, read backwards, is what the stream holds, and the placeholder is the entry whose first string is 0.
__device__ inline void make_source_tables(const SourceChunk& chunk, const EncodeJob* jobs, const uint2* tensor_codes, uint32_t lane, EncodeTables* tables) {
  const EncodeJob* job = chunk.job;
  const bool huffman = job->kind == KIND_HUFFMAN;
  const uint2 code_lengths = huffman ? chosen_code(chunk, lane, tensor_codes[job - jobs]) : make_uint2(0, 0);
  uint32_t length = 0, index = 0, start = 0;
  bool coded = lane < PALETTE_ENTRIES;
  if (huffman) {
    length = coded ? source_length(code_lengths, lane) : NO_CODE;
    coded = length != NO_CODE;
    for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++) {
      const uint32_t other = source_length(code_lengths, entry);
      const bool before = other < length || (other == length && entry < lane);
      if (other != NO_CODE && before) start += CODE_TABLE_ENTRIES >> other;
    }
    index = __ffs(__ballot_sync(ALL_LANES, coded && start == 0)) - 1;
  }
  const uint32_t placeholder = source_entry(index, __shfl_sync(ALL_LANES, length, index));
  for (uint32_t exponent = lane; exponent < EXPONENTS; exponent += WARP) tables->entries[exponent] = placeholder | TAKES_PATCH;
  __syncwarp();
  if (coded) tables->entries[job->palette[lane]] = source_entry(lane, length);
  if (lane < PALETTE_ENTRIES) tables->by_index[lane] = coded ? source_entry(lane, length) : placeholder | TAKES_PATCH;
  if (lane < PALETTE_ENTRIES) tables->codes[lane] = coded ? __brev(start << 24) << 8 | length : 0;
  if (lane != 0) return;
  tables->code_lengths = code_lengths;
  tables->surplus = placeholder;
}

// Those of pairs, from the codes.
__device__ inline void make_pairs(EncodeTables* tables) {
  for (uint32_t pair = threadIdx.x; pair < 256; pair += blockDim.x) {
    const uint32_t first = tables->codes[pair & 15], second = tables->codes[pair >> 4];
    // At most 8 bits each.
    const uint32_t bits = first >> 8 | second >> 8 << (first & 15);
    tables->pairs[pair] = bits << 8 | ((first & 15) + (second & 15));
  }
}

// The steps of a chunk that a warp has, at most `steps`, as a chunk of its own. None, where those before it have all.
__device__ inline SourceChunk part_of(const SourceChunk& chunk, uint32_t warp, uint32_t steps, uint32_t& first_step) {
  first_step = min(warp * steps, chunk.steps);
  SourceChunk part = chunk;
  part.steps = min(steps, chunk.steps - first_step);
  const uint32_t start = first_step * STEP_WEIGHTS;
  part.weight_count = min(part.steps * STEP_WEIGHTS, chunk.weight_count - min(start, chunk.weight_count));
  part.first_weight = chunk.first_weight + start;
  return part;
}

// What a lane has of a warp's steps.
template <uint32_t STEPS>
struct LaneIndices {
  uint32_t words[STEPS];  // eight palette indices each
  uint32_t sum;                // what their codes take in bits, and from bit 16 on how many patches there are
  uint32_t patched_steps;      // a bit for each
};

// A lane's weights of a warp's steps, if the warp has all of these.
template <class Source>
struct LaneWeights {
  static constexpr uint32_t STEPS = WARP_STEPS;
  static constexpr bool CORRECTS = false;
  typename Source::Eight steps[STEPS];
  uint2 exponents[STEPS];  // once sign-mantissa bytes are stored, all that is left of these

  __device__ static __forceinline__ bool fit(const SourceChunk& part, const Source&) { return part.weight_count == STEPS * STEP_WEIGHTS; }
  __device__ __forceinline__ void load(const Source& source, uint32_t lane) {
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) steps[step] = source.whole(step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
  }
  __device__ __forceinline__ void store_sign_mantissa(const SourceChunk& part, const CrcConstants* constants, uint32_t lane, CrcState<8>& crc) {
    const CrcColumns<8> columns(constants, lane);
    uint2* to = reinterpret_cast<uint2*>(part.sign_mantissa()) + lane;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step += 2) {
      const uint2 even = Source::sign_mantissa_bytes(steps[step]), odd = Source::sign_mantissa_bytes(steps[step + 1]);
      exponents[step] = Source::exponent_bytes(steps[step]);
      exponents[step + 1] = Source::exponent_bytes(steps[step + 1]);
      store_streaming(to + step * WARP, even);
      store_streaming(to + (step + 1) * WARP, odd);
      crc.add(columns, make_uint4(even.x, even.y, odd.x, odd.y));
    }
  }
  __device__ __forceinline__ uint32_t entry(const EncodeTables& tables, uint32_t step, uint32_t i) const {
    return tables.entries[(i < 4 ? exponents[step].x : exponents[step].y) >> 8 * (i % 4) & 0xff];
  }
};

// Of records, indices, which patches change: steps that have some are read again.
template <>
struct LaneWeights<RecordSource> {
  static constexpr uint32_t STEPS = RECORD_WARP_STEPS;
  static constexpr bool CORRECTS = true;
  uint32_t indices[STEPS];
  uint4 half[STEPS / 4];  // of the sign-mantissa bytes, 16 to a lane and two steps

  __device__ static __forceinline__ bool fit(const SourceChunk& part, const RecordSource& source) {
    return part.weight_count == STEPS * STEP_WEIGHTS && !source.is_verbatim;
  }
  __device__ __forceinline__ void load(const RecordSource& source, uint32_t lane) {
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) indices[step] = source.indices(step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    load_half(source.sign_mantissa, lane);
  }
  __device__ __forceinline__ void load_half(const uint8_t* from, uint32_t lane) {
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) half[i] = load_streaming(reinterpret_cast<const uint4*>(from) + i * WARP + lane);
  }
  __device__ __forceinline__ void store_half(uint8_t* to, uint32_t lane) const {
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) store_streaming(reinterpret_cast<uint4*>(to) + i * WARP + lane, half[i]);
  }
  __device__ __forceinline__ void store_sign_mantissa(const SourceChunk& part, const CrcConstants*, uint32_t lane, CrcState<8>&) {
    constexpr uint32_t HALF_BYTES = STEPS / 2 * STEP_WEIGHTS;
    store_half(part.sign_mantissa(), lane);
    load_half(part.job->source->sign_mantissa + part.first_weight + HALF_BYTES, lane);
    store_half(part.sign_mantissa() + HALF_BYTES, lane);
  }
  __device__ __forceinline__ uint32_t entry(const EncodeTables& tables, uint32_t step, uint32_t i) const {
    return tables.by_index[indices[step] >> 4 * i & 15];
  }
};

// The indices of eight entries.
__device__ __forceinline__ uint32_t index_word(const uint32_t (&entries)[LANE_STEP_WEIGHTS]) {
  // Lowest bytes side by side.
  const uint32_t even = __byte_perm(__byte_perm(entries[0], entries[2], 0x0040), __byte_perm(entries[4], entries[6], 0x0040), 0x5410);
  const uint32_t odd = __byte_perm(__byte_perm(entries[1], entries[3], 0x0040), __byte_perm(entries[5], entries[7], 0x0040), 0x5410);
  return even | odd << 4;
}

// `weights` are loaded if they `fit` the part, and otherwise read here, and their sign-mantissa bytes stored and added to `crc`; `spare` is a word for each lane
// and step.
template <class Source>
__device__ inline void index_weights(const SourceChunk& part, bool fit, const LaneWeights<Source>& weights, uint32_t lane, const EncodeTables& tables,
                                     uint32_t* spare, LaneIndices<LaneWeights<Source>::STEPS>& indices, const CrcConstants* constants,
                                     CrcState<8>& crc) {
  constexpr uint32_t STEPS = LaneWeights<Source>::STEPS;
  indices.sum = indices.patched_steps = 0;
  const auto add_sum = [&](uint32_t step, uint32_t step_sum) {
    const uint32_t patches = step_sum / TAKES_PATCH;
    indices.sum += (step_sum % TAKES_PATCH >> 8) + (patches << 16);
    if (patches != 0) indices.patched_steps |= 1u << step;
  };
  // Gives the sign-mantissa bytes.
  const auto read = [&](const Source& source, uint32_t step) {
    const uint32_t place = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    const uint32_t count = lane_step_count(part.weight_count, place);
    const typename Source::Eight eight = source.part(place, count);
    uint32_t entries[LANE_STEP_WEIGHTS], step_sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      entries[i] = i < count ? tables.entries[Source::exponent_of(eight, i)] : tables.surplus;
      step_sum += entries[i];
    }
    add_sum(step, step_sum);
    spare[step * WARP + lane] = index_word(entries);
    return Source::sign_mantissa_bytes(eight);
  };
  if (!fit) {
    const Source source = Source::of(part);
    const CrcColumns<8> columns(constants, lane);
    const auto stored = [&](uint32_t step) {
      if (step >= part.steps) return make_uint2(0, 0);
      const uint2 rest = read(source, step);
      store_streaming(reinterpret_cast<uint2*>(part.sign_mantissa()) + step * WARP + lane, rest);
      return rest;
    };
#pragma unroll 1
    for (uint32_t step = 0; step < part.steps; step += 2) {
      const uint2 even = stored(step), odd = stored(step + 1);
      crc.add(columns, make_uint4(even.x, even.y, odd.x, odd.y));
    }
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) indices.words[step] = step < part.steps ? spare[step * WARP + lane] : 0;
    return;
  }
  uint32_t corrected = 0;
  if constexpr (LaneWeights<Source>::CORRECTS) {
    const Source source = Source::of(part);
    corrected = source.patched_steps(STEPS, lane);
#pragma unroll 1
    for (uint32_t left = corrected; left != 0; left &= left - 1) read(source, static_cast<uint32_t>(__ffs(static_cast<int>(left))) - 1);
  }
#pragma unroll
  for (uint32_t step = 0; step < STEPS; step++) {
    uint32_t entries[LANE_STEP_WEIGHTS], step_sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      entries[i] = weights.entry(tables, step, i);
      step_sum += entries[i];
    }
    const bool is_corrected = corrected >> step & 1;
    indices.words[step] = is_corrected ? spare[step * WARP + lane] : index_word(entries);
    add_sum(step, is_corrected ? 0 : step_sum);
  }
}

// A piece of a lane's stream on its way to the record.
struct PiecePacker {
  uint32_t* word;      // the next to be completed
  uint32_t bits;       // what there is of it, with zeros in front of the piece's first
  uint32_t bit_count;  // of `bits`, and in front of them; below 32 between calls

  // At most 32 bits.
  __device__ __forceinline__ void push(uint32_t more, uint32_t count) {
    const uint64_t shifted = static_cast<uint64_t>(more) << bit_count;
    const uint32_t complete = bits | static_cast<uint32_t>(shifted);
    bit_count += count;
    const bool is_complete = bit_count >= 32;
    if (is_complete) *word++ = complete;
    bits = is_complete ? static_cast<uint32_t>(shifted >> 32) : complete;
    bit_count %= 32;
  }

  template <uint32_t STEPS>
  __device__ __forceinline__ void pack(const LaneIndices<STEPS>& indices, uint32_t steps, const uint32_t* pairs) {
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) {
      if (step >= steps) break;
#pragma unroll
      for (uint32_t half = 0; half < 2; half++) {
        const uint32_t first = pairs[indices.words[step] >> 16 * half & 0xff], second = pairs[indices.words[step] >> (16 * half + 8) & 0xff];
        // A pair takes at most 16 bits.
        push(first >> 8 | second >> 8 << (first & 31), (first & 31) + (second & 31));
      }
    }
  }
};

// Section 5.5, in order of position: over those of a warp's steps that have any.
template <class Source>
__device__ inline void write_patches(const SourceChunk& chunk, const Source& source, uint32_t lane, const uint32_t* table, uint32_t first_step,
                                     uint32_t patched_steps, uint8_t* patches) {
#pragma unroll
  for (uint32_t distance = WARP / 2; distance > 0; distance /= 2) patched_steps |= __shfl_xor_sync(ALL_LANES, patched_steps, distance);
  uint32_t written = 0;
#pragma unroll 1
  for (; patched_steps != 0; patched_steps &= patched_steps - 1) {
    const uint32_t step = first_step + static_cast<uint32_t>(__ffs(static_cast<int>(patched_steps))) - 1;
    const uint32_t place = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    const uint32_t count = lane_step_count(chunk.weight_count, place);
    const typename Source::Eight eight = source.part(place, count);
    uint32_t own = 0;  // a bit for each weight that takes a patch
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count && table[Source::exponent_of(eight, i)] >= TAKES_PATCH) own |= 1u << i;
    const uint32_t own_count = static_cast<uint32_t>(__popc(own));
    const uint32_t up_to = sum_up_to(own_count, lane);
    uint8_t* patch = patches + PATCH_BYTES * (written + up_to - own_count);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      if (!(own >> i & 1)) continue;
      patch[0] = static_cast<uint8_t>(place + i);
      patch[1] = static_cast<uint8_t>((place + i) >> 8);
      patch[2] = static_cast<uint8_t>(Source::exponent_of(eight, i));
      patch += PATCH_BYTES;
    }
    written += __shfl_sync(ALL_LANES, up_to, WARP - 1);
  }
}

template <class Source>
__device__ inline void write_verbatim(const SourceChunk& chunk, const Source& source, uint32_t lane, uint8_t* body) {
  const auto write_eight = [&](uint32_t place, const typename Source::Eight& eight) {
    *reinterpret_cast<uint2*>(body + place) = Source::exponent_bytes(eight);
  };
  const uint32_t last = for_whole_steps<1>(source, chunk.weight_count, lane, write_eight);
  // Zeros complete the record to a multiple of 16.
  if (last < round_up(chunk.weight_count)) write_eight(last, source.part(last, lane_step_count(chunk.weight_count, last)));
}

// What a chunk's place holds: first its record's length, then its record's end, in units of 16 bytes, in bits 0..31.
constexpr unsigned long long HAS_LENGTH = 1ull << 32;
constexpr unsigned long long HAS_END = 1ull << 33;

// Where a record begins, for which its block waits for those before it, which began earlier: looked back at 32 at a time, up to one whose end is known.
// Publishes its own end, and writes it.
__device__ inline void find_place(const SourceChunk& chunk, uint32_t length, uint32_t lane, uint32_t* start_of_record) {
  const EncodeJob* job = chunk.job;
  uint32_t start = 0;
  for (uint32_t behind = chunk.own;; behind -= WARP) {
    unsigned long long place;
    do {
      place = lane < behind ? observed(&job->places[behind - 1 - lane]) : HAS_END;
    } while (__any_sync(ALL_LANES, place == 0));
    const uint32_t ends = __ballot_sync(ALL_LANES, (place & HAS_END) != 0);
    const uint32_t nearest = ends == 0 ? WARP : static_cast<uint32_t>(__ffs(static_cast<int>(ends))) - 1;
    start += sum_over_lanes(lane <= nearest ? static_cast<uint32_t>(place) : 0);
    if (ends != 0) break;
  }
  // Zeros complete the plane to a multiple of 16 bytes.
  if (chunk.own + lane < (job->chunk_count + 3) / 4 * 4 && (lane == 0 || chunk.own + 1 == job->chunk_count))
    job->record_ends[chunk.own + lane] = lane == 0 ? start + length : 0;
  if (lane != 0) return;
  publish(&job->places[chunk.own], HAS_END | (start + length));
  *start_of_record = start;
}

// What a chunk's sign-mantissa bytes give for its checksum, on any of its first warp's lanes. Those of records stay as they are, and count_indices (transcode.cu) has
// found what they give from the source's checksum and record: so a wrong checksum stays wrong.
template <class Source>
__device__ __forceinline__ uint32_t remainder_of_rest(const SourceChunk& chunk, const EncodeTables* tables) {
  if constexpr (LaneWeights<Source>::CORRECTS) return chunk.job->counts[static_cast<uint64_t>(chunk.own) * EXPONENTS];
  uint32_t sum = ~0u;
  for (uint32_t warp = 0; warp < blockDim.x / WARP; warp++) sum ^= tables->remainders[warp];
  return sum;
}

template <class Source>
__device__ __forceinline__ void encode_chunk(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, uint4* shared,
                                             const CrcConstants* constants) {
  constexpr uint32_t STEPS = LaneWeights<Source>::STEPS;
  EncodeTables* tables = reinterpret_cast<EncodeTables*>(shared);
  uint4* record = shared + sizeof(EncodeTables) / 16;
  uint8_t* record_bytes = reinterpret_cast<uint8_t*>(record);
  uint32_t* record_words = reinterpret_cast<uint32_t*>(record);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  SourceChunk chunk = find_source_chunk(jobs, job_count, blockIdx.x);
  uint32_t first_step;
  SourceChunk part = part_of(chunk, warp, STEPS, first_step);
  const bool huffman = chunk.job->kind == KIND_HUFFMAN;
  // On its way while the first warp makes tables.
  LaneWeights<Source> weights;
  bool fit;
  {
    const Source source = Source::of(part);
    fit = LaneWeights<Source>::fit(part, source);
    if (fit) weights.load(source, lane);
  }
  if (warp == 0) make_source_tables(chunk, jobs, tensor_codes, lane, tables);
  CrcState<8> crc;
  if (fit) weights.store_sign_mantissa(part, constants, lane, crc);
  __syncthreads();
  // Read again, so that they take no registers while there are few.
  chunk = source_chunk(chunk.job, blockIdx.x);
  part = part_of(chunk, warp, STEPS, first_step);
  if (huffman) make_pairs(tables);

  LaneIndices<STEPS> indices;
  index_weights<Source>(part, fit, weights, lane, *tables, record_words + first_step * WARP, indices, constants, crc);
  tables->sums[warp][lane] = indices.sum;
  if constexpr (!LaneWeights<Source>::CORRECTS) {
    // Zeros complete the last row.
    const uint32_t end = (first_step + (part.steps + 1) / 2 * 2) * STEP_WEIGHTS, count = chunk.weight_count;
    uint32_t sum = crc.remainder(constants, lane);
    sum = end <= count ? advance_bytes(constants->power, sum, count - end, lane) : advance_bytes(constants->inverse, sum, end - count, lane);
    if (lane == 0) tables->remainders[warp] = part.steps == 0 ? 0 : sum;
  }
  __syncthreads();

  // 65,536 weights make at most 16,384 bits of a lane, and 2,048 patches: no sum runs over.
  uint32_t sum = 0, before = 0;
  for (uint32_t other = 0; other < blockDim.x / WARP; other++) {
    if (other == warp) before = sum;
    sum += tables->sums[other][lane];
  }
  const uint32_t lane_bytes = ((sum & 0xffff) + 7) / 8;
  const uint32_t lane_end = sum_up_to(lane_bytes, lane);
  const uint32_t patch_count = sum_over_lanes(sum >> 16);
  const uint32_t streams_end = LANE_STREAMS_OFFSET + __shfl_sync(ALL_LANES, lane_end, WARP - 1);
  const uint32_t body_end = huffman ? streams_end : RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES;
  const uint32_t contents_end = body_end + PATCH_BYTES * patch_count;
  const uint32_t verbatim_end = RECORD_HEADER_BYTES + chunk.weight_count;
  const bool verbatim = round_up(contents_end) > round_up(verbatim_end);
  const uint32_t length = round_up(verbatim ? verbatim_end : contents_end);
  const uint4 header = make_uint4(0, verbatim ? KIND_VERBATIM : chunk.job->kind | patch_count << 16, verbatim ? 0 : tables->code_lengths.x,
                                  verbatim ? 0 : tables->code_lengths.y);
  if (threadIdx.x == 0) publish(&chunk.job->places[chunk.own], HAS_LENGTH | length / RECORD_ALIGNMENT);

  if (verbatim) {
    // What is read again is read for its exponents.
    if (part.steps != 0) write_verbatim(part, Source::OfExponents::of(part), lane, record_bytes + RECORD_HEADER_BYTES + first_step * STEP_WEIGHTS);
  } else if (huffman) {
    for (uint32_t i = threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) record[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();
    if (warp == 0) reinterpret_cast<uint16_t*>(record + RECORD_HEADER_BYTES / 16)[lane] = static_cast<uint16_t>(lane_end);
    const uint32_t first_bit = 8 * (LANE_STREAMS_OFFSET + lane_end - lane_bytes) + (before & 0xffff);
    PiecePacker packer{record_words + first_bit / 32, 0, first_bit % 32};
    packer.pack(indices, part.steps, tables->pairs);
    __syncthreads();
    if (packer.bits != 0) atomicOr(packer.word, packer.bits);
    __syncthreads();
  } else {
    uint32_t* body = record_words + RECORD_HEADER_BYTES / 4 + first_step * WARP;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      if (step < part.steps) body[step * WARP + lane] = indices.words[step];
    if (warp == 0 && contents_end + lane < length) record_bytes[contents_end + lane] = 0;
  }
  if (threadIdx.x == 0) record[0] = header;
  if (!verbatim && patch_count != 0) {
    uint8_t* patches = record_bytes + body_end + PATCH_BYTES * sum_over_lanes(before >> 16);
    write_patches(chunk, Source::OfExponents::of(chunk), lane, tables->entries, first_step, indices.patched_steps, patches);
  }
  if (warp == blockDim.x / WARP - 1) find_place(chunk, length / RECORD_ALIGNMENT, lane, &tables->start);
  __syncthreads();

  const Share share{warp, min(blockDim.x / WARP, SEAL_WARPS)};
  if (warp < share.of) {
    const uint32_t of_share = remainder_of<1>(constants, lane, PlainBytes{record_bytes}, length, RECORD_CHECKED_FROM, ~0u, share);
    if (lane == 0) tables->of_record[warp] = of_share;
  }
  uint4* to = reinterpret_cast<uint4*>(chunk.job->records) + tables->start;
  for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) to[i] = record[i];
  __syncthreads();
  if (warp != 0) return;
  uint32_t of_record = 0;
  for (uint32_t i = 0; i < share.of; i++) of_record ^= tables->of_record[i];
  const uint32_t checksum = remainder_of_rest<Source>(chunk, tables) ^ advance_bytes(constants->power, of_record, chunk.weight_count, lane);
  if (lane == 0) to[0] = make_uint4(checksum, header.y, header.z, header.w);
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS* WARP)
    encode_chunks(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  encode_chunk<WeightSource>(jobs, job_count, tensor_codes, shared, constants);
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS* WARP)
    encode_chunks_of_planes(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  encode_chunk<PlaneSource>(jobs, job_count, tensor_codes, shared, constants);
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS / 2 * WARP, 2)
    encode_chunks_of_records(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  const SourceChunk chunk = find_source_chunk(jobs, job_count, blockIdx.x);
  const uint32_t length = chunk.job->record_lengths[chunk.own];
  if (length != 0) {
    uint32_t* start = reinterpret_cast<uint32_t*>(shared);
    if (threadIdx.x == 0) publish(&chunk.job->places[chunk.own], HAS_LENGTH | length);
    if (threadIdx.x < WARP) find_place(chunk, length, threadIdx.x, start);
    return;
  }
  encode_chunk<RecordSource>(jobs, job_count, tensor_codes, shared, constants);
}
