// A warp's part of a chunk: its weights, or what else they are made of, and the palette indices that stand for their exponents, a word of eight for each lane and
// step.
//
// Where a palette's exponents follow one another an index is a difference, of four exponents at once, and with one gap between them two differences; lengths are
// selected from registers, four at once. Weights are read again if a palette has more gaps, and for steps with others than the palette's.
#pragma once
#include "checksum/crc32.cuh"
#include "encode/patches.cuh"
#include "encode/record_input.cuh"

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
__device__ __forceinline__ uint32_t word_of_indices(uint2 bytes) { return __byte_perm(bytes.x * 0x110, bytes.y * 0x110, 0x7531); }

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
      words[step] = word_of_indices(indices);
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
