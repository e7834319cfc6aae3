// A record, checked against the rules of sections 5 and 6, except those of the contents of lane streams.
//
// All lanes of a warp work on one record and return the same rule.
#pragma once
#include "record/chunk.cuh"
#include "record/code.cuh"

namespace unweight::record {

// A record that broke no rule so far.
struct Record {
  uint32_t kind;
  uint32_t lane_start, lane_end;  // stream of this lane, in bytes from LANE_STREAMS_OFFSET; KIND_HUFFMAN only
  uint32_t patches_offset, patch_count;
  uint2 code_lengths;
};

__device__ __forceinline__ uint32_t patch_position(const uint8_t* patch) { return patch[0] | patch[1] << 8; }

// Entries of the palette of a field.
__device__ __forceinline__ uint32_t palette_entries(const CodedField& field) {
  return min(1u << field.width, PALETTE_ENTRIES);
}

// Section 5.5. Returns 0, or the rule that the first bad patch breaks.
__device__ inline uint32_t check_patches(const FieldRecord& at, const Record& record, uint32_t lane) {
  if (record.patch_count == 0) return 0;
  const uint8_t* patches = at.bytes + record.patches_offset;
  uint32_t first = ~0u;  // patch number << 8 | rule
  for (uint32_t i = lane; i < record.patch_count; i += WARP) {
    const uint32_t position = patch_position(patches + PATCH_BYTES * i);
    const bool ascends = i == 0 || position > patch_position(patches + PATCH_BYTES * (i - 1));
    if (!ascends)
      first = min(first, i << 8 | PATCH_ORDER);
    else if (position >= at.weights)
      first = min(first, i << 8 | PATCH_POSITION);
    else if (patches[PATCH_BYTES * i + 2] >> at.field.width != 0)
      first = min(first, i << 8 | PATCH_VALUE);
  }
  first = __reduce_min_sync(ALL_LANES, first);
  return first == ~0u ? 0 : first & 0xff;
}

// Bits of values in the last byte of a verbatim body, 1 to 8.
__device__ __forceinline__ uint32_t last_byte_bits(const FieldRecord& at) {
  return (at.weights * at.field.width + 7) % 8 + 1;
}

// Parses the header. Returns 0, or the first rule that it breaks.
__device__ inline uint32_t parse_header(const FieldRecord& at, uint32_t lane, Record& record) {
  const uint4 header = *reinterpret_cast<const uint4*>(at.bytes);
  record.kind = header.y & 0xff;
  record.patch_count = header.y >> 16;
  record.code_lengths = make_uint2(header.z, header.w);

  if (record.kind > KIND_PALETTE) return RECORD_KIND;
  if (record.kind != KIND_VERBATIM && record.kind != at.field.kind) return RECORD_FORM;
  if (header.y >> 8 & 0xff) return RECORD_RESERVED;
  if (record.kind == KIND_VERBATIM && record.patch_count != 0) return RECORD_RESERVED;
  if (record.kind != KIND_HUFFMAN && (header.z | header.w) != 0) return RECORD_RESERVED;
  return record.kind == KIND_HUFFMAN ? check_code(record.code_lengths, lane, palette_entries(at.field)) : 0;
}

// Parses the rest of a record whose header broke no rule. Returns 0, or the first rule that it breaks; `record` is
// complete only with 0. Lanes differ in lane_start and lane_end only.
__device__ inline uint32_t parse_body(const FieldRecord& at, uint32_t lane, Record& record) {
  record.lane_start = record.lane_end = 0;
  uint32_t body_end = RECORD_HEADER_BYTES;
  if (record.kind == KIND_HUFFMAN) {
    if (at.length < LANE_STREAMS_OFFSET) return RECORD_LENGTH;
    record.lane_end = reinterpret_cast<const uint16_t*>(at.bytes + RECORD_HEADER_BYTES)[lane];
    const uint32_t before = __shfl_up_sync(ALL_LANES, record.lane_end, 1);
    record.lane_start = lane == 0 ? 0 : before;
    if (__any_sync(ALL_LANES, record.lane_end < record.lane_start)) return LANE_ENDS;
    body_end = LANE_STREAMS_OFFSET + __shfl_sync(ALL_LANES, record.lane_end, LANES - 1);
  } else if (record.kind == KIND_PALETTE) {
    body_end += at.steps * STEP_INDEX_BYTES;
  } else {
    body_end += (at.weights * at.field.width + 7) / 8;
  }
  const uint32_t contents_end = body_end + record.patch_count * PATCH_BYTES;
  if (at.length != round_up_record(contents_end)) return RECORD_LENGTH;
  const bool padding = contents_end + lane < at.length && at.bytes[contents_end + lane] != 0;
  if (__any_sync(ALL_LANES, padding)) return RECORD_PADDING;
  if (record.kind == KIND_VERBATIM && at.bytes[body_end - 1] >> last_byte_bits(at) != 0) return RECORD_PADDING;
  record.patches_offset = body_end;
  return check_patches(at, record, lane);
}

// Parses a record. Returns 0, or the first rule that it breaks.
__device__ inline uint32_t parse_record(const FieldRecord& at, uint32_t lane, Record& record) {
  const uint32_t broken = parse_header(at, lane, record);
  return broken != 0 ? broken : parse_body(at, lane, record);
}

}  // namespace unweight::record
