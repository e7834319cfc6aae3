// A Huffman record decoded to palette indices, while its plain bytes are copied and its indices counted.
#pragma once
#include "decode/decode_chunk.cuh"
#include "encode/value_counts.cuh"
#include "transcode/totals.cuh"

namespace unweight::transcode {

using decode::CodeTable;
using decode::LaneReader;
using encode::ValueCounts;

constexpr uint32_t GROUP_STEPS = 4;

// Cursor over a record's patches in order of steps. The index at a patch becomes that of its exponent, or 0 if the
// palette does not hold the exponent.
struct PatchCursor {
  const uint8_t* next;
  uint32_t left;
  uint32_t next_step;
  uint32_t own_exponent;  // palette entry `lane`
  uint32_t outside;       // patches so far whose exponents the palette does not hold

  // `words` is the record; the caller passes it from shared memory where the compiler must see that it is there.
  __device__ __forceinline__ PatchCursor(const Chunk& chunk, const uint32_t* words, const Record& record, uint32_t lane)
      : next(reinterpret_cast<const uint8_t*>(words) + record.patches_offset), left(record.patch_count), outside(0) {
    own_exponent = lane < PALETTE_ENTRIES ? palette_of(chunk.job)[lane] : ~0u;
    find_step();
  }

  __device__ __forceinline__ void find_step() { next_step = left == 0 ? ~0u : patch_position(next) / STEP_WEIGHTS; }

  // Applies the patches of steps from `first_step` on and before `end_step`. Calls `outside_palette(position,
  // exponent)` on all lanes.
  template <class Outside>
  __device__ __forceinline__ void apply(uint32_t (&words)[GROUP_STEPS], uint32_t first_step, uint32_t end_step,
                                        uint32_t lane, const Outside& outside_palette) {
#pragma unroll 1
    while (next_step < end_step) {
      const uint32_t position = patch_position(next), exponent = next[2];
      const uint32_t entries = __ballot_sync(ALL_LANES, own_exponent == exponent);
      const uint32_t index = entries == 0 ? 0 : static_cast<uint32_t>(__ffs(static_cast<int>(entries))) - 1;
      const uint32_t shift = position % LANE_STEP_WEIGHTS * 4;
      const bool is_own = position / LANE_STEP_WEIGHTS % WARP == lane;
#pragma unroll
      for (uint32_t d = 0; d < GROUP_STEPS; d++)
        if (is_own && first_step + d == next_step) words[d] = (words[d] & ~(15u << shift)) | index << shift;
      if (entries == 0) {
        outside_palette(position, exponent);
        outside++;
      }
      next += PATCH_BYTES;
      left--;
      find_step();
    }
  }
};

// Decodes eight palette indices. The code table has indices where decoding to weights has exponents.
__device__ __forceinline__ uint32_t index_word(LaneReader& reader) {
  const uint32_t first = reader.four<4>();
  return reader.four<4>() * 65536 + first;
}

// Copies the plain bytes of 16 weights from `position` on, of which some may be surplus. These become zeros.
__device__ __forceinline__ void copy_last_sixteen(const Chunk& chunk, uint8_t* to, uint32_t position) {
  const uint2* from = reinterpret_cast<const uint2*>(chunk.plain + position);
#pragma unroll
  for (uint32_t half = 0; half < 2; half++)
    reinterpret_cast<uint2*>(to + position)[half] =
        record::first_bytes(from[half], lane_step_count(chunk.weights, position + half * LANE_STEP_WEIGHTS));
}

// Plain bytes of a group of steps in registers: 16 bytes for each lane and two steps.
struct GroupCopy {
  static constexpr uint32_t EIGHTS = GROUP_STEPS / 2;
  uint4 words[EIGHTS];

  __device__ __forceinline__ void load(const uint8_t* from, uint32_t lane) {
#pragma unroll
    for (uint32_t i = 0; i < EIGHTS; i++)
      words[i] = ptx::load_streaming(reinterpret_cast<const uint4*>(from) + i * WARP + lane);
  }
  __device__ __forceinline__ void store(uint8_t* to, uint32_t lane) const {
#pragma unroll
    for (uint32_t i = 0; i < EIGHTS; i++)
      ptx::store_streaming(reinterpret_cast<uint4*>(to) + i * WARP + lane, words[i]);
  }
};

// Copies the plain bytes from step `first_step` on. Zeros complete the plane to its limit.
__device__ inline void copy_sign_mantissa(const Chunk& chunk, const EncodeJob* target, uint8_t* to, uint32_t first_step,
                                          uint32_t lane) {
  const uint32_t first = first_step * STEP_WEIGHTS, bytes = GROUP_STEPS * STEP_WEIGHTS;
  const uint32_t end = chunk.weights - (chunk.weights - first) % bytes;
  GroupCopy copy;
#pragma unroll 4
  for (uint32_t position = first; position < end; position += bytes) {
    copy.load(chunk.plain + position, lane);
    copy.store(to + position, lane);
  }
  const uint8_t* limit = target->plain + target->plain_limit;
#pragma unroll 1
  for (uint32_t position = end + lane * 16; position < chunk.steps * STEP_WEIGHTS; position += WARP * 16)
    if (to + position < limit) copy_last_sixteen(chunk, to, position);
}

// Decodes a Huffman record to a palette record at `to`, except its checksum. Returns 0, or the rule that a lane's
// stream breaks. `words` is the input record; the caller passes it from shared memory where the compiler must see that
// it is there.
__device__ __forceinline__ uint32_t decode_to_indices(const Chunk& chunk, const FieldRecord& at, const Record& record,
                                                      const InputChunk& target, uint32_t number, uint32_t lane,
                                                      const uint32_t* words, const CodeTable& codes, uint8_t* to,
                                                      ValueCounts& counts, uint32_t& outside) {
  LaneReader reader(codes, words, at.length / 4 - 1, 8 * (LANE_STREAMS_OFFSET + record.lane_start));
  PatchCursor patches(chunk, words, record, lane);
  unsigned long long* totals = totals_of(target, number);
  uint32_t* body = reinterpret_cast<uint32_t*>(to + RECORD_HEADER_BYTES);
  uint8_t* kept = to + RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES;
  const auto keep = [&](uint32_t position, uint32_t exponent) {
    if (lane < PATCH_BYTES) kept[lane] = static_cast<uint8_t>(lane == 2 ? exponent : position >> 8 * lane);
    if (lane == 0) ptx::reduce_add(&totals[exponent], 1);
    kept += PATCH_BYTES;
  };
  const uint32_t grouped = chunk.weights / (GROUP_STEPS * STEP_WEIGHTS) * GROUP_STEPS;
  uint8_t* to_rest = target.sign_mantissa();
  // One group ahead.
  GroupCopy copy;
  if (grouped > 0) copy.load(chunk.plain, lane);
#pragma unroll 1
  for (uint32_t step = 0; step < grouped; step += GROUP_STEPS) {
    uint32_t indices[GROUP_STEPS];
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) indices[d] = index_word(reader);
    patches.apply(indices, step, step + GROUP_STEPS, lane, keep);
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) {
      body[(step + d) * WARP + lane] = indices[d];
      counts.add(indices[d]);
    }
    copy.store(to_rest + step * STEP_WEIGHTS, lane);
    if (step + GROUP_STEPS < grouped) copy.load(chunk.plain + (step + GROUP_STEPS) * STEP_WEIGHTS, lane);
  }
  copy_sign_mantissa(chunk, target.job, to_rest, grouped, lane);
#pragma unroll 1
  for (uint32_t step = grouped; step < chunk.steps; step++) {
    const uint32_t count = lane_step_count(chunk.weights, step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    uint32_t indices[GROUP_STEPS] = {first_indices(index_word(reader), count), 0, 0, 0};
    patches.apply(indices, step, step + 1, lane, keep);
    body[step * WARP + lane] = indices[0];
    counts.add(indices[0]);
  }
  const uint32_t contents_bytes = static_cast<uint32_t>(kept - to);
  if (contents_bytes + lane < round_up_record(contents_bytes)) to[contents_bytes + lane] = 0;
  if (lane == 0) *reinterpret_cast<uint4*>(to) = make_uint4(0, KIND_PALETTE | patches.outside << 16, 0, 0);
  outside = patches.outside;
  return decode::first_broken(reader.check_end(at.bytes, record.lane_end));
}

}  // namespace unweight::transcode
