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
// First a lane replaces its exponents by palette indices, kept in registers, a word of eight for each step, and adds up what they will take: so it is known
// where every lane's stream stands, to the bit where every warp's piece of it begins, and whether the record will be verbatim,
// before a byte of it is written. A code is the tensor's or the chunk's own, whichever costs less. Then it packs codes from the indices, two at a time. They are a
// palette record's body as they stand. Where a palette's exponents follow one another an index is a difference, of four exponents at once, and with one gap
// between them two differences; lengths are selected from registers, four at once. Weights are read again for a verbatim record, if a palette has more gaps, and
// for steps with others than the palette's.
//
// An index without a code is packed as the placeholder, and takes a patch. Patches are listed in shared memory as they are found, and each finds its place in the
// record by counting those in front of it.
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
// Shared memory: encode_chunks 256 words of codes by pairs of indices, 16 by one, one for each lane of 32 warps, 40 for checksums, 256 of patches; 256 bytes of
// entries by exponent, 64 besides: 6,688 bytes; and room for the longest record, in which words of indices, and half of the sign-mantissa bytes of records, wait
// before.
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
// Warps that share a record's checksum, at most; of weights, whose blocks have more, half as many.
constexpr uint32_t SEAL_WARPS = 8;

// So many of a chunk's patches are listed as they are found, and put in order by counting. Those of a chunk with more are found again.
constexpr uint32_t LISTED_PATCHES = 256;

// What stands in for an exponent: a palette index, and this if it takes a patch.
constexpr uint32_t TAKES_PATCH = 0x80;
// Beside a code's length, for an index that has no code.
constexpr uint32_t IS_UNCODED = 0x40;
constexpr uint32_t CODE_BITS_FROM = 16;

// A block's shared memory.
struct EncodeTables {
  uint32_t pairs[256];                // by two palette indices, the first in bits 0..3: what both take in bits 0..4, stream bits from CODE_BITS_FROM on
  uint32_t codes[PALETTE_ENTRIES];    // by one palette index, likewise
  uint32_t sums[MOST_WARPS][WARP];    // of index_weights
  uint32_t remainders[MOST_WARPS];    // of the sign-mantissa bytes of each warp, advanced to the chunk's end
  uint32_t of_record[SEAL_WARPS];     // what is to be added up for the record's remainder
  uint32_t patches[LISTED_PATCHES];   // as they are found: position, exponent from bit 16 on
  uint8_t entries[EXPONENTS];         // by exponent
  uint4 lengths;                      // a byte for each palette index
  uint8_t palette[PALETTE_ENTRIES];
  uint2 code_lengths;
  uint32_t placeholder;               // its index
  uint32_t listed;                    // of `patches`; counts also those that have no room
  uint32_t start;                     // of the record, in units of 16 bytes
};
static_assert(sizeof(EncodeTables) == 6688, "the record stands behind them, and src/encode_plan.rs has their size");

__device__ __forceinline__ uint32_t source_length(uint2 code_lengths, uint32_t entry) {
  return (entry < 8 ? code_lengths.x : code_lengths.y) >> (entry % 8 * 4) & 15;
}

// In bits (section 11.3), for a chunk of `total` weights, of which lane l has the count of palette entry l, and lanes from 16 on have none.
__device__ __forceinline__ uint32_t cost_of_code(uint2 code_lengths, uint32_t lane, uint32_t count, uint32_t total) {
  const uint32_t length = lane < PALETTE_ENTRIES ? source_length(code_lengths, lane) : NO_CODE;
  const uint32_t shortest = __reduce_min_sync(ALL_LANES, length);
  const uint32_t coded = __reduce_add_sync(ALL_LANES, length == NO_CODE ? 0 : count);
  return __reduce_add_sync(ALL_LANES, length == NO_CODE ? 0 : count * length) + (total - coded) * (shortest + PATCH_BITS);
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
  const uint32_t exponent = job->palette[lane % PALETTE_ENTRIES];
  const uint2 code_lengths = huffman ? chosen_code(chunk, lane, tensor_codes[job - jobs]) : make_uint2(0, 0);
  uint32_t length = 0, placeholder = 0, start = 0;
  bool coded = lane < PALETTE_ENTRIES;
  if (huffman) {
    length = coded ? source_length(code_lengths, lane) : NO_CODE;
    coded = length != NO_CODE;
#pragma unroll
    for (uint32_t bits = 1; bits <= LONGEST_CODE_BITS; bits++) {
      const uint32_t as_long = __ballot_sync(ALL_LANES, length == bits);
      const uint32_t before = bits < length ? as_long : bits == length ? as_long & ((1u << lane) - 1) : 0;
      start += static_cast<uint32_t>(__popc(before)) << (LONGEST_CODE_BITS - bits);
    }
    placeholder = static_cast<uint32_t>(__ffs(static_cast<int>(__ballot_sync(ALL_LANES, coded && start == 0)))) - 1;
  }
  // Its code is zeros. It stands in for indices that have none.
  const uint32_t placeholder_length = __shfl_sync(ALL_LANES, length, static_cast<int>(placeholder));
  for (uint32_t i = lane; i < EXPONENTS / 4; i += WARP) reinterpret_cast<uint32_t*>(tables->entries)[i] = (placeholder | TAKES_PATCH) * 0x01010101;
  __syncwarp();
  if (coded) tables->entries[exponent] = static_cast<uint8_t>(lane);
  if (lane < PALETTE_ENTRIES) {
    tables->palette[lane] = static_cast<uint8_t>(exponent);
    reinterpret_cast<uint8_t*>(&tables->lengths)[lane] = static_cast<uint8_t>(coded ? length : placeholder_length | IS_UNCODED);
    tables->codes[lane] = coded ? __brev(start << 24) << CODE_BITS_FROM | length : placeholder_length;
  }
  if (lane != 0) return;
  tables->code_lengths = code_lengths;
  tables->placeholder = placeholder;
  tables->listed = 0;
}

// Those of pairs, from the codes.
__device__ inline void make_pairs(EncodeTables* tables) {
  for (uint32_t pair = threadIdx.x; pair < 256; pair += blockDim.x) {
    const uint32_t first = tables->codes[pair & 15], second = tables->codes[pair >> 4];
    // At most 8 bits each.
    const uint32_t bits = first >> CODE_BITS_FROM | second >> CODE_BITS_FROM << (first & 15);
    tables->pairs[pair] = bits << CODE_BITS_FROM | ((first & 15) + (second & 15));
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
  uint32_t sum;           // what their codes take in bits, and from bit 16 on how many patches there are
};

// Eight indices, a byte each, to a word.
__device__ __forceinline__ uint32_t index_word(uint2 bytes) { return __byte_perm(bytes.x * 0x110, bytes.y * 0x110, 0x7531); }

// A palette whose exponents follow one another, but for one gap at most, as those of trained weights do: where some weights are zero, exponent 0 is often a run of
// its own below the others.
struct PaletteRuns {
  uint32_t packed;  // registers are few

  __device__ __forceinline__ uint32_t first() const { return packed & 0xff; }
  // How many entries the lower run has; all, if there is no other.
  __device__ __forceinline__ uint32_t lower() const { return packed >> 8 & 0xff; }
  // From the first exponent to the upper run's.
  __device__ __forceinline__ uint32_t to_upper() const { return packed >> 16; }

  // Of the palette of which this lane has entry `lane` modulo 16. False if it is no such one.
  __device__ __forceinline__ bool find(uint32_t exponent, uint32_t lane) {
    const uint32_t before = __shfl_up_sync(ALL_LANES, exponent, 1);
    const uint32_t gaps = __ballot_sync(ALL_LANES, exponent != before + 1) >> 1 & ((1u << (PALETTE_ENTRIES - 1)) - 1);
    const uint32_t first = __shfl_sync(ALL_LANES, exponent, 0);
    const uint32_t lower = gaps == 0 ? PALETTE_ENTRIES : static_cast<uint32_t>(__ffs(static_cast<int>(gaps)));
    const uint32_t to_upper = __shfl_sync(ALL_LANES, exponent, static_cast<int>(lower % PALETTE_ENTRIES)) - first;
    packed = first | lower << 8 | to_upper << 16;
    // Among 128 + `lower` exponents the highest bit of a sum tells the runs apart.
    return (gaps & (gaps - 1)) == 0 && to_upper + PALETTE_ENTRIES <= 0x80 + 2 * lower;
  }
};

// A lane's weights of a warp's steps, and the indices that they become, if the warp has all of these and the palette is as above. Others are read one by one,
// see index_weights.
template <class Source>
struct LaneWeights {
  static constexpr uint32_t STEPS = WARP_STEPS;
  static constexpr bool OF_RECORDS = false;
  typename Source::Eight steps[STEPS];
  PaletteRuns runs;
  uint32_t words[STEPS];  // of indices
  uint32_t others;        // a bit for each step whose word is not right, on all lanes

  // False if the part has less.
  __device__ __forceinline__ bool load(const SourceChunk& part, uint4*, uint32_t lane) {
    if (part.weight_count != STEPS * STEP_WEIGHTS) return false;
    const Source source = Source::of(part);
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) steps[step] = source.whole(step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    return true;
  }
  // If the palette is such a one.
  __device__ __forceinline__ bool fit(const SourceChunk& part, uint32_t lane) {
    return runs.find(part.job->palette[lane % PALETTE_ENTRIES], lane);
  }
  // And what is left of the weights. `indices_of` gives the indices of four exponents, and adds to `any` what has a byte greater than 15 where one is not in the
  // palette: its own or another.
  template <class IndicesOf>
  __device__ __forceinline__ void make_words(uint2 (&rest)[STEPS], const IndicesOf& indices_of) {
    others = 0;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) {
      const uint2 exponents = Source::exponent_bytes(steps[step]);
      rest[step] = Source::sign_mantissa_bytes(steps[step]);
      uint32_t any = 0;
      const uint2 indices = make_uint2(indices_of(exponents.x, any), indices_of(exponents.y, any));
      if ((any & 0xf0f0f0f0) != 0) others |= 1u << step;
      words[step] = index_word(indices);
    }
    // Here, and not once for all that call this: otherwise the compiler runs out of registers.
    others = __reduce_or_sync(ALL_LANES, others);
  }
  // Makes the words, too.
  __device__ __forceinline__ void store_sign_mantissa(const SourceChunk& part, const uint4*, const CrcConstants* constants, uint32_t lane, CrcState<8>& crc) {
    uint2 rest[STEPS];
    const uint32_t first_of_all = runs.first() * 0x01010101;
    if (runs.lower() == PALETTE_ENTRIES) {
      make_words(rest, [&](uint32_t exponents, uint32_t& any) {
        const uint32_t indices = exponents - first_of_all;
        any |= indices;
        return indices;
      });
    } else {
      const uint32_t lower = runs.lower(), to_upper = runs.to_upper();
      const uint32_t to_tops = (0x80 - lower) * 0x01010101;
      // What an exponent is above the first of its run, and its index: one that is in no run is too great for the one or for the other, and the lowest of four
      // has lost nothing to a neighbour.
      make_words(rest, [&](uint32_t exponents, uint32_t& any) {
        const uint32_t above = exponents - first_of_all;
        const uint32_t are_upper = (above + to_tops) >> 7 & 0x01010101;
        const uint32_t in_run = above - are_upper * to_upper;
        const uint32_t indices = in_run + are_upper * lower;
        any |= in_run | indices;
        return indices;
      });
    }
    const CrcColumns<8> columns(constants, lane);
    uint2* to = reinterpret_cast<uint2*>(part.sign_mantissa()) + lane;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step += 2) {
      store_streaming(to + step * WARP, rest[step]);
      store_streaming(to + (step + 1) * WARP, rest[step + 1]);
      crc.add(columns, make_uint4(rest[step].x, rest[step].y, rest[step + 1].x, rest[step + 1].y));
    }
  }
};

// Of records, indices, which patches change.
template <>
struct LaneWeights<RecordSource> {
  static constexpr uint32_t STEPS = RECORD_WARP_STEPS;
  static constexpr bool OF_RECORDS = true;
  uint32_t words[STEPS];
  uint32_t others;        // likewise: those that have patches
  RecordSource source;
  uint4 half[STEPS / 4];  // the first, of the sign-mantissa bytes, 16 to a lane and two steps

  // `room` is the warp's, for half of the sign-mantissa bytes. False if the part has less, or is of a verbatim record.
  __device__ __forceinline__ bool load(const SourceChunk& part, uint4* room, uint32_t lane) {
    if (part.weight_count != STEPS * STEP_WEIGHTS) return false;
    const uint4* from = reinterpret_cast<const uint4*>(part.job->source->sign_mantissa + part.first_weight) + lane;
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) half[i] = load_streaming(from + i * WARP);
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) copy_async(room + i * WARP + lane, from + (STEPS / 4 + i) * WARP);
    source = RecordSource::of(part);
    // Of a verbatim record, which is longer, too: what kind it is need not be waited for.
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) words[step] = source.indices(step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    if (source.is_verbatim) copies_done();
    return !source.is_verbatim;
  }
  __device__ __forceinline__ bool fit(const SourceChunk&, uint32_t) const { return true; }
  __device__ __forceinline__ void store_sign_mantissa(const SourceChunk& part, const uint4* room, const CrcConstants*, uint32_t lane, CrcState<8>&) {
    uint4* to = reinterpret_cast<uint4*>(part.sign_mantissa()) + lane;
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) store_streaming(to + i * WARP, half[i]);
    others = source.patched_steps(STEPS, lane);
    copies_done();
#pragma unroll
    for (uint32_t i = 0; i < STEPS / 4; i++) store_streaming(to + (STEPS / 4 + i) * WARP, room[i * WARP + lane]);
  }
};

__device__ __forceinline__ void list_patch(EncodeTables& tables, uint32_t position, uint32_t exponent) {
  const uint32_t place = atomicAdd(&tables.listed, 1);
  if (place < LISTED_PATCHES) tables.patches[place] = position | exponent << 16;
}

// `weights` are loaded, if they `fit`, and otherwise read here, and their sign-mantissa bytes stored and added to `crc`; `spare` is a word for each lane
// and step.
template <class Source>
__device__ inline void index_weights(const SourceChunk& part, bool fit, const LaneWeights<Source>& weights, uint32_t first_step, uint32_t lane,
                                     EncodeTables& tables, uint32_t* spare, LaneIndices<LaneWeights<Source>::STEPS>& indices,
                                     const CrcConstants* constants, CrcState<8>& crc) {
  constexpr uint32_t STEPS = LaneWeights<Source>::STEPS;
  indices.sum = 0;
  const uint32_t position = first_step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;  // of the lane's first weight
  // By exponent. Gives the sign-mantissa bytes.
  const auto read = [&](uint32_t step) {
    const Source source = Source::of(part);
    const uint32_t place = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    const uint32_t count = lane_step_count(part.weight_count, place);
    const typename Source::Eight eight = source.part(place, count);
    const uint2 exponents = Source::exponent_bytes(eight);
    uint32_t word = 0;
#pragma unroll 1
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t exponent = (i < 4 ? exponents.x : exponents.y) >> 8 * (i % 4) & 0xff;
      const uint32_t entry = i < count ? tables.entries[exponent] : tables.placeholder;
      word |= (entry & 15) << 4 * i;
      if (entry < TAKES_PATCH) continue;
      list_patch(tables, position + step * STEP_WEIGHTS + i, exponent);
      indices.sum += 1u << 16;
    }
    spare[step * WARP + lane] = word;
    return Source::sign_mantissa_bytes(eight);
  };
  // Puts the indices of a record's patches in their places.
  const auto patch = [&](const RecordSource& source) {
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      if (weights.others >> step & 1) spare[step * WARP + lane] = indices.words[step];
    __syncwarp();
    source.for_patches(STEPS, lane, [&](uint32_t place, const uint8_t* patch) {
      const uint32_t exponent = patch[2], entry = tables.entries[exponent], shift = place % LANE_STEP_WEIGHTS * 4;
      // Others may change other indices of the word.
      atomicAdd(&spare[place / LANE_STEP_WEIGHTS], ((entry & 15) - (source.indices(place) >> shift & 15)) << shift);
      if (entry < TAKES_PATCH) return;
      list_patch(tables, first_step * STEP_WEIGHTS + place, exponent);
      indices.sum += 1u << 16;
    });
    __syncwarp();
  };
  const uint32_t placeholders = tables.placeholder * 0x11111111;
  uint32_t others;
  if (fit) {
    others = weights.others;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) indices.words[step] = weights.words[step];
    if constexpr (LaneWeights<Source>::OF_RECORDS) {
      if (others != 0) patch(weights.source);
    } else {
#pragma unroll 1
      for (uint32_t left = others; left != 0; left &= left - 1) read(static_cast<uint32_t>(__ffs(static_cast<int>(left))) - 1);
    }
  } else {
    others = (1u << part.steps) - 1;
    const CrcColumns<8> columns(constants, lane);
    const auto stored = [&](uint32_t step) {
      if (step >= part.steps) return make_uint2(0, 0);
      const uint2 rest = read(step);
      store_streaming(reinterpret_cast<uint2*>(part.sign_mantissa()) + step * WARP + lane, rest);
      return rest;
    };
#pragma unroll 1
    for (uint32_t step = 0; step < part.steps; step += 2) {
      const uint2 even = stored(step), odd = stored(step + 1);
      crc.add(columns, make_uint4(even.x, even.y, odd.x, odd.y));
    }
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) indices.words[step] = placeholders;
  }
  if (others != 0) {
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      if (others >> step & 1) indices.words[step] = spare[step * WARP + lane];
  }
  if (part.job->kind != KIND_HUFFMAN) return;

  const uint4 lengths = tables.lengths;
  const auto sum_of_lengths = [&](uint32_t word) {
    const uint32_t flipped = word ^ 0x88888888;
    // A byte for two indices. Of the two halves of the table one gives zeros.
    return select_bytes(lengths.x, lengths.y, word) + select_bytes(lengths.z, lengths.w, flipped) + select_bytes(lengths.x, lengths.y, word >> 16) +
           select_bytes(lengths.z, lengths.w, flipped >> 16);
  };
  uint32_t bits = 0, uncoded = 0;
#pragma unroll
  for (uint32_t step = 0; step < STEPS; step++) {
    const uint32_t lengths_of_two = sum_of_lengths(indices.words[step]);
    bits = __dp4a(lengths_of_two, 0x01010101u, bits);
    if ((lengths_of_two & (IS_UNCODED | IS_UNCODED << 1) * 0x01010101) == 0) continue;
    uncoded |= 1u << step;
    spare[step * WARP + lane] = indices.words[step];
  }
  // What steps that the part has not would take.
  if (!fit) bits -= (STEPS - part.steps) * __dp4a(sum_of_lengths(placeholders), 0x01010101u, 0u);
  for (; uncoded != 0; uncoded &= uncoded - 1) {
    const uint32_t step = static_cast<uint32_t>(__ffs(static_cast<int>(uncoded))) - 1;
    const uint32_t word = spare[step * WARP + lane];
#pragma unroll 1
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t index = word >> 4 * i & 15;
      if (reinterpret_cast<const uint8_t*>(&tables.lengths)[index] < IS_UNCODED) continue;
      list_patch(tables, position + step * STEP_WEIGHTS + i, tables.palette[index]);
      bits += (1u << 16) - IS_UNCODED;
    }
  }
  indices.sum += bits;
}

// A piece of a lane's stream on its way to the record.
struct PiecePacker {
  uint32_t word;       // the address of the next to be completed, in shared memory
  uint32_t bits;       // what there is of it, with zeros in front of the piece's first
  uint32_t bit_count;  // of all words, and in front of them; its lowest six bits

  // At most 32 bits, and their number, its lowest six bits.
  __device__ __forceinline__ void push(uint32_t more, uint32_t count) {
    const uint32_t complete = bits | more << (bit_count & 31), rest = __funnelshift_l(more, 0, bit_count);
    const uint32_t before = bit_count;
    bit_count += count;
    bits = complete;
    if (((before ^ bit_count) & 32) == 0) return;
    store_shared_word(word, complete);
    word += 4;
    bits = rest;
  }

  __device__ __forceinline__ void push_step(const uint32_t (&pairs)[4]) {
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      const uint32_t first = pairs[2 * half], second = pairs[2 * half + 1];
      // A pair takes at most 16 bits.
      push(first >> CODE_BITS_FROM | second >> CODE_BITS_FROM << (first & 31), first + second);
    }
  }

  // `pairs` in shared memory.
  template <uint32_t STEPS>
  __device__ __forceinline__ void pack(const LaneIndices<STEPS>& indices, uint32_t steps, uint32_t pairs) {
    const auto look_up = [&](uint32_t step, uint32_t (&found)[4]) {
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) found[i] = load_shared_word(__dp4a(indices.words[step], 4u << 8 * i, pairs));
    };
    uint32_t found[4];
    if (steps < STEPS) {
#pragma unroll
      for (uint32_t step = 0; step < STEPS; step++) {
        if (step >= steps) break;
        look_up(step, found);
        push_step(found);
      }
      return;
    }
    // A step's are on their way while those before it are packed.
    look_up(0, found);
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) {
      uint32_t next[4];
      if (step + 1 < STEPS) look_up(step + 1, next);
      push_step(found);
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) found[i] = next[i];
    }
  }
};

// Section 5.5, in order of position.
__device__ __forceinline__ void write_patch(uint8_t* patch, uint32_t position, uint32_t exponent) {
  patch[0] = static_cast<uint8_t>(position);
  patch[1] = static_cast<uint8_t>(position >> 8);
  patch[2] = static_cast<uint8_t>(exponent);
}

// Those that are listed, `count`. No two have the same position.
__device__ inline void write_listed_patches(const EncodeTables& tables, uint32_t count, uint8_t* patches) {
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
    const uint32_t patch = tables.patches[i], position = patch & 0xffff;
    uint32_t before = 0;
    for (uint32_t other = 0; other < count; other++) before += (tables.patches[other] & 0xffff) < position;
    write_patch(patches + PATCH_BYTES * before, position, patch >> 16);
  }
}

// Those of a warp's steps, but none from `end` on: records whose palette is not the tensor's, and which are not kept, may have more than were counted.
template <class Source>
__device__ inline void write_patches(const SourceChunk& chunk, const Source& source, uint32_t lane, const uint8_t* table, uint32_t first_step,
                                     uint32_t steps, uint8_t* patches, const uint8_t* end) {
  uint32_t written = 0;
#pragma unroll 1
  for (uint32_t step = first_step; step < first_step + steps; step++) {
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
      if (!(own >> i & 1) || patch >= end) continue;
      write_patch(patch, place + i, Source::exponent_of(eight, i));
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

// Where a record begins, for which its block waits for those before it, which began earlier: looked back at 128 at a time, up to one whose end is known.
// Publishes its own end, and writes it.
__device__ inline void find_place(const SourceChunk& chunk, uint32_t length, uint32_t lane, uint32_t* start_of_record) {
  constexpr uint32_t AT_ONCE = 4;
  const EncodeJob* job = chunk.job;
  uint32_t start = 0;
  bool found = false;
  for (uint32_t behind = chunk.own; !found; behind -= AT_ONCE * WARP) {
    unsigned long long places[AT_ONCE];
    bool missing;
    do {
      missing = false;
#pragma unroll
      for (uint32_t i = 0; i < AT_ONCE; i++) {
        const uint32_t before = i * WARP + lane;
        places[i] = before < behind ? observed(&job->places[behind - 1 - before]) : HAS_END;
        missing |= places[i] == 0;
      }
    } while (__any_sync(ALL_LANES, missing));
#pragma unroll
    for (uint32_t i = 0; i < AT_ONCE; i++) {
      if (found) break;
      const uint32_t ends = __ballot_sync(ALL_LANES, (places[i] & HAS_END) != 0);
      const uint32_t nearest = ends == 0 ? WARP : static_cast<uint32_t>(__ffs(static_cast<int>(ends))) - 1;
      if (lane <= nearest) start += static_cast<uint32_t>(places[i]);
      found = ends != 0;
    }
  }
  start = __reduce_add_sync(ALL_LANES, start);
  write_of_chunk(job->record_ends, chunk, lane, start + length);
  if (lane != 0) return;
  publish(&job->places[chunk.own], HAS_END | (start + length));
  *start_of_record = start;
}

// What a chunk's sign-mantissa bytes give for its checksum, on any of its first warp's lanes. Those of records stay as they are, and count_indices (transcode.cu) has
// found what they give from the source's checksum and record: so a wrong checksum stays wrong.
template <class Source>
__device__ __forceinline__ uint32_t remainder_of_rest(const SourceChunk& chunk, const EncodeTables* tables) {
  if constexpr (LaneWeights<Source>::OF_RECORDS) return chunk.job->counts[static_cast<uint64_t>(chunk.own) * EXPONENTS];
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
  // Behind the spare words of index_weights.
  uint4* room = record + chunk.steps * (STEP_INDEX_BYTES / 16) + warp * (STEPS * STEP_WEIGHTS / 2 / 16);
  const bool loaded = weights.load(part, room, lane);
  // All of them on their way, before one is looked at: otherwise the compiler runs out of registers.
  __syncwarp();
  const bool fit = loaded && weights.fit(part, lane);
  if (warp == 0) make_source_tables(chunk, jobs, tensor_codes, lane, tables);
  CrcState<8> crc;
  if (fit) weights.store_sign_mantissa(part, room, constants, lane, crc);
  __syncthreads();
  // Read again, so that they take no registers while there are few.
  chunk = source_chunk(chunk.job, blockIdx.x);
  part = part_of(chunk, warp, STEPS, first_step);
  if (huffman) make_pairs(tables);

  LaneIndices<STEPS> indices;
  index_weights<Source>(part, fit, weights, first_step, lane, *tables, record_words + first_step * WARP, indices, constants, crc);
  tables->sums[warp][lane] = indices.sum;
  __syncthreads();

  // 65,536 weights make at most 16,384 bits of a lane, and 2,048 patches: no sum runs over.
  uint32_t sum = 0, before = 0;
  for (uint32_t other = 0; other < blockDim.x / WARP; other++) {
    if (other == warp) before = sum;
    sum += tables->sums[other][lane];
  }
  const uint32_t lane_bytes = ((sum & 0xffff) + 7) / 8;
  const uint32_t lane_end = sum_up_to(lane_bytes, lane);
  const uint32_t patch_count = __reduce_add_sync(ALL_LANES, sum >> 16);
  const uint32_t streams_end = LANE_STREAMS_OFFSET + __shfl_sync(ALL_LANES, lane_end, WARP - 1);
  const uint32_t body_end = huffman ? streams_end : RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES;
  const uint32_t contents_end = body_end + PATCH_BYTES * patch_count;
  const uint32_t verbatim_end = RECORD_HEADER_BYTES + chunk.weight_count;
  const bool verbatim = round_up(contents_end) > round_up(verbatim_end);
  const uint32_t length = round_up(verbatim ? verbatim_end : contents_end);
  if (threadIdx.x == 0) {
    publish(&chunk.job->places[chunk.own], HAS_LENGTH | length / RECORD_ALIGNMENT);
    const uint2 code_lengths = verbatim ? make_uint2(0, 0) : tables->code_lengths;
    record[0] = make_uint4(0, verbatim ? KIND_VERBATIM : chunk.job->kind | patch_count << 16, code_lengths.x, code_lengths.y);
  }

  if constexpr (!LaneWeights<Source>::OF_RECORDS) {
    // Only now, as others wait for the length. Zeros complete the last row.
    const uint32_t end = (first_step + (part.steps + 1) / 2 * 2) * STEP_WEIGHTS, count = chunk.weight_count;
    uint32_t of_rest = crc.remainder(constants, lane);
    of_rest = end <= count ? advance_bytes(constants->power, of_rest, count - end, lane) : advance_bytes(constants->inverse, of_rest, end - count, lane);
    if (lane == 0) tables->remainders[warp] = part.steps == 0 ? 0 : of_rest;
  }

  const auto write_all_patches = [&] {
    if (patch_count == 0) return;
    uint8_t* patches = record_bytes + body_end;
    if (patch_count <= LISTED_PATCHES) {
      write_listed_patches(*tables, patch_count, patches);
    } else {
      uint8_t* own = patches + PATCH_BYTES * __reduce_add_sync(ALL_LANES, before >> 16);
      write_patches(chunk, Source::OfExponents::of(chunk), lane, tables->entries, first_step, part.steps, own, patches + PATCH_BYTES * patch_count);
    }
  };
  if (verbatim) {
    // What is read again is read for its exponents.
    if (part.steps != 0) write_verbatim(part, Source::OfExponents::of(part), lane, record_bytes + RECORD_HEADER_BYTES + first_step * STEP_WEIGHTS);
  } else if (huffman) {
    for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) record[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();
    if (warp == 0) reinterpret_cast<uint16_t*>(record + RECORD_HEADER_BYTES / 16)[lane] = static_cast<uint16_t>(lane_end);
    const uint32_t first_bit = 8 * (LANE_STREAMS_OFFSET + lane_end - lane_bytes) + (before & 0xffff);
    PiecePacker packer{place_in_shared(record_words) + first_bit / 32 * 4, 0, first_bit % 32};
    packer.pack(indices, part.steps, place_in_shared(tables->pairs));
    write_all_patches();
    __syncthreads();
    if (packer.bits != 0) atomicOr(record_words + (packer.word - place_in_shared(record_words)) / 4, packer.bits);
  } else {
    uint32_t* body = record_words + RECORD_HEADER_BYTES / 4 + first_step * WARP;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      if (step < part.steps) body[step * WARP + lane] = indices.words[step];
    write_all_patches();
    if (warp == 0 && contents_end + lane < length) record_bytes[contents_end + lane] = 0;
  }
  __syncthreads();

  const Share share{warp, min(blockDim.x / WARP, LaneWeights<Source>::OF_RECORDS ? SEAL_WARPS : SEAL_WARPS / 2)};
  if (warp < share.of) {
    const uint32_t of_share = remainder_of<1>(constants, lane, PlainBytes{record_bytes}, length, RECORD_CHECKED_FROM, ~0u, share);
    if (lane == 0) tables->of_record[warp] = of_share;
  }
  // As above.
  chunk = source_chunk(chunk.job, blockIdx.x);
  // As late as can be: those before may not know their lengths yet.
  if (threadIdx.x + WARP >= blockDim.x) find_place(chunk, length / RECORD_ALIGNMENT, lane, &tables->start);
  __syncthreads();
  uint4* to = reinterpret_cast<uint4*>(chunk.job->records) + tables->start;
  for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) to[i] = record[i];
  if (warp != 0) return;
  uint32_t of_record = 0;
  for (uint32_t i = 0; i < share.of; i++) of_record ^= tables->of_record[i];
  const uint32_t checksum = remainder_of_rest<Source>(chunk, tables) ^ advance_bytes(constants->power, of_record, chunk.weight_count, lane);
  const uint4 header = record[0];
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
