// Lengths and ends of the palette records that huffman_to_palette writes.
#pragma once
#include "transcode/totals.cuh"

namespace unweight::transcode {

// Length in the place of that of a record that huffman_to_palette does not write.
constexpr uint32_t NO_RECORD_BYTES = RECORD_ALIGNMENT;

// Writes a tensor's record ends, by one warp, after all its record lengths are written: sums of lengths, 512 chunks at
// a time. Zeros complete the plane to a multiple of 16 bytes.
__device__ inline void write_record_ends(const EncodeJob* job, uint32_t lane) {
  constexpr uint32_t FOURS = 4, OF_LANE = 4 * FOURS;
  const uint32_t padded = (job->chunk_count + 3) / 4 * 4;
  uint32_t before = 0;  // end of the last record before these
#pragma unroll 1
  for (uint32_t base = 0; base < padded; base += WARP * OF_LANE) {
    const uint32_t first = base + lane * OF_LANE;
    uint4 fours[FOURS];
#pragma unroll
    for (uint32_t i = 0; i < FOURS; i++)
      fours[i] = first + 4 * i < padded ? ptx::load_l2(reinterpret_cast<const uint4*>(job->record_lengths + first) + i)
                                        : make_uint4(0, 0, 0, 0);
    uint32_t ends[OF_LANE], own = 0;
#pragma unroll
    for (uint32_t i = 0; i < OF_LANE; i++) {
      const uint4 four = fours[i / 4];
      own += i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
      ends[i] = own;
    }
    const uint32_t up_to = inclusive_sum(own, lane), start = before + up_to - own;
    before += __shfl_sync(ALL_LANES, up_to, WARP - 1);
#pragma unroll
    for (uint32_t i = 0; i < OF_LANE; i++) ends[i] = first + i < job->chunk_count ? start + ends[i] : 0;
#pragma unroll
    for (uint32_t i = 0; i < FOURS; i++)
      if (first + 4 * i < padded)
        reinterpret_cast<uint4*>(job->record_ends + first)[i] =
            make_uint4(ends[4 * i], ends[4 * i + 1], ends[4 * i + 2], ends[4 * i + 3]);
  }
}

// Bytes of the palette record of a chunk. Returns NO_RECORD_BYTES if its input record breaks a rule, or needs the
// fallback.
__device__ __forceinline__ uint32_t palette_record_bytes(const Chunk& chunk, uint32_t lane, uint32_t* fallback) {
  const FieldRecord at = only_record(chunk);
  Record record;
  if (record::parse_record(at, lane, record) != 0) return NO_RECORD_BYTES;
  const bool is_verbatim = record.kind == KIND_VERBATIM;
  const uint8_t* exponents = at.bytes + (is_verbatim ? RECORD_HEADER_BYTES : record.patches_offset + 2);
  const uint32_t count = is_verbatim ? chunk.weights : record.patch_count, stride = is_verbatim ? 1 : PATCH_BYTES;
  uint32_t outside = 0;
#pragma unroll 1
  for (uint32_t i = lane; i < count; i += WARP)
    outside += index_of(palette_of(chunk.job), exponents[i * stride]) == PALETTE_ENTRIES;
  const uint32_t bytes = round_up_record(RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES +
                                         PATCH_BYTES * __reduce_add_sync(ALL_LANES, outside));
  const uint32_t verbatim_bytes = round_up_record(RECORD_HEADER_BYTES + chunk.weights);
  if ((bytes > verbatim_bytes) == is_verbatim) return is_verbatim ? verbatim_bytes : bytes;
  if (lane == 0) *fallback = 1;
  return NO_RECORD_BYTES;
}

}  // namespace unweight::transcode
