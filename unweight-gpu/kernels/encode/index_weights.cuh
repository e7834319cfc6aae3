// Palette indices of a warp's weights, and the bits that their codes take.
//
// Phases: index the weights (from registers where LaneWeights has them, else by reading them again), list the patches,
// add up code lengths. Lengths are selected from registers, four at once.
#pragma once
#include "encode/lane_weights.cuh"
#include "ptx/bits.cuh"

namespace unweight::encode {

// A warp's part of a chunk, and what its phases share.
template <class Input>
struct PartIndexer {
  static constexpr uint32_t STEPS = LaneWeights<Input>::STEPS;
  const InputChunk& part;
  const LaneWeights<Input>& weights;
  const uint32_t first_step;  // first step of the part in the chunk
  const uint32_t lane;
  EncodeTables& tables;
  uint32_t* const spare;  // a word for each lane and step, in shared memory
  LaneIndices<STEPS>& indices;
  const uint32_t position;  // position of the lane's first weight in the chunk

  // Reads a step again and indexes its weights one by one into `spare`. Lists their patches. Returns their plain bytes,
  // if the input has them.
  __device__ __forceinline__ uint2 read_step(uint32_t step) const {
    const Input input = Input::of(part);
    const uint32_t at = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    const uint32_t count = lane_step_count(part.weight_count, at);
    const typename Input::Eight eight = input.part(at, count);
    const uint2 values = Input::value_bytes(eight);
    uint32_t word = 0;
#pragma unroll 1
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t value = (i < 4 ? values.x : values.y) >> 8 * (i % 4) & 0xff;
      const uint32_t entry = i < count ? tables.entries[value] : tables.placeholder;
      word |= (entry & 15) << 4 * i;
      if (entry < TAKES_PATCH) continue;
      list_patch(tables, position + step * STEP_WEIGHTS + i, value);
      indices.sum += 1u << 16;
    }
    spare[step * WARP + lane] = word;
    return Input::sign_mantissa_bytes(eight);
  }

  // Replaces the indices at a record's patches, in `spare`. Lists the patches that stay.
  __device__ __forceinline__ void apply_record_patches(const RecordInput& input) const {
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      if (weights.others >> step & 1) spare[step * WARP + lane] = indices.words[step];
    __syncwarp();
    input.for_patches(STEPS, lane, [&](uint32_t at, const uint8_t* patch) {
      const uint32_t value = patch[2], entry = tables.entries[value], shift = at % LANE_STEP_WEIGHTS * 4;
      // Atomic, because other lanes may change other indices of the word.
      atomicAdd(&spare[at / LANE_STEP_WEIGHTS], ((entry & 15) - (input.indices(at) >> shift & 15)) << shift);
      if (entry < TAKES_PATCH) return;
      list_patch(tables, first_step * STEP_WEIGHTS + at, value);
      indices.sum += 1u << 16;
    });
    __syncwarp();
  }

  // Takes the indices that LaneWeights made. Returns a bit for each step whose word is in `spare`.
  __device__ __forceinline__ uint32_t take_words() const {
    const uint32_t others = weights.others;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) indices.words[step] = weights.words[step];
    if constexpr (LaneWeights<Input>::OF_RECORDS) {
      if (others != 0) apply_record_patches(weights.input);
    } else {
#pragma unroll 1
      for (uint32_t left = others; left != 0; left &= left - 1)
        read_step(static_cast<uint32_t>(__ffs(static_cast<int>(left))) - 1);
    }
    return others;
  }

  // Reads and indexes all steps. Stores their plain bytes, if the input has them, with zeros up to the plane's limit,
  // and adds them to `crc`. Returns a bit for each step whose word is in `spare`; others are placeholders.
  __device__ __forceinline__ uint32_t read_all_steps(uint32_t placeholders, const CrcConstants* constants,
                                                     CrcState<8>& crc) const {
    const uint32_t others = (1u << part.steps) - 1;
    if constexpr (Input::HAS_PLAIN) {
      const CrcColumns<8> columns(constants, lane);
      const auto stored = [&](uint32_t step) {
        if (step >= part.steps) return make_uint2(0, 0);
        const uint2 rest = read_step(step);
        const uint32_t at = (step * WARP + lane) * LANE_STEP_WEIGHTS;
        if (part.first_weight + at < part.job->plain_limit)
          ptx::store_streaming(reinterpret_cast<uint2*>(part.sign_mantissa() + at), rest);
        return rest;
      };
#pragma unroll 1
      for (uint32_t step = 0; step < part.steps; step += 2) {
        const uint2 even = stored(step), odd = stored(step + 1);
        crc.add(columns, make_uint4(even.x, even.y, odd.x, odd.y));
      }
    } else {
#pragma unroll 1
      for (uint32_t step = 0; step < part.steps; step++) read_step(step);
    }
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) indices.words[step] = placeholders;
    return others;
  }

  // Loads words from `spare`.
  __device__ __forceinline__ void load_spare(uint32_t others) const {
    if (others != 0) {
#pragma unroll
      for (uint32_t step = 0; step < STEPS; step++)
        if (others >> step & 1) indices.words[step] = spare[step * WARP + lane];
    }
  }

  // Lengths of the codes of eight indices: a byte for two of them.
  __device__ static __forceinline__ uint32_t length_pairs(const uint4& lengths, uint32_t word) {
    const uint32_t flipped = word ^ 0x88888888;
    // One of the two halves of the table gives zeros.
    return ptx::select_bytes(lengths.x, lengths.y, word) + ptx::select_bytes(lengths.z, lengths.w, flipped) +
           ptx::select_bytes(lengths.x, lengths.y, word >> 16) + ptx::select_bytes(lengths.z, lengths.w, flipped >> 16);
  }

  // Lists the patches of indices without a code, in the steps of `uncoded`, and corrects the sum.
  __device__ __forceinline__ void list_uncoded(uint32_t uncoded, uint32_t& bits) const {
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
  }

  // Adds up the lengths of all codes.
  __device__ __forceinline__ void add_code_lengths(bool fit, uint32_t placeholders) const {
    const uint4 lengths = tables.lengths;
    uint32_t bits = 0, uncoded = 0;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++) {
      const uint32_t pairs = length_pairs(lengths, indices.words[step]);
      bits = __dp4a(pairs, 0x01010101u, bits);
      if ((pairs & (IS_UNCODED | IS_UNCODED << 1) * 0x01010101) == 0) continue;
      uncoded |= 1u << step;
      spare[step * WARP + lane] = indices.words[step];
    }
    // Minus the placeholders of steps that the part does not have.
    if (!fit) bits -= (STEPS - part.steps) * __dp4a(length_pairs(lengths, placeholders), 0x01010101u, 0u);
    list_uncoded(uncoded, bits);
    indices.sum += bits;
  }
};

// Indexes the weights of a warp's part. `weights` are loaded if they `fit`; otherwise they are read here, and their
// plain bytes, if the input has them, are stored and added to `crc`. `spare` is a word for each lane and step.
template <class Input>
__device__ inline void index_weights(const InputChunk& part, bool fit, const LaneWeights<Input>& weights,
                                     uint32_t first_step, uint32_t lane, EncodeTables& tables, uint32_t* spare,
                                     LaneIndices<LaneWeights<Input>::STEPS>& indices, const CrcConstants* constants,
                                     CrcState<8>& crc) {
  const PartIndexer<Input> indexer{part,   weights, first_step, lane,
                                   tables, spare,   indices,    first_step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS};
  indices.sum = 0;
  const uint32_t placeholders = tables.placeholder * 0x11111111;
  const uint32_t others = fit ? indexer.take_words() : indexer.read_all_steps(placeholders, constants, crc);
  indexer.load_spare(others);
  if (part.job->kind != KIND_HUFFMAN) return;
  indexer.add_code_lengths(fit, placeholders);
}

}  // namespace unweight::encode
