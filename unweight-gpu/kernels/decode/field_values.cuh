// Values of coded fields, added to weights whose other bits are in place (specification, section 7).
#pragma once
#include "decode/plain_bits.cuh"
#include "decode/readers.cuh"

namespace unweight::decode {

using record::FieldRecord;

// A coded field of the chunk that a warp decodes, in shared memory.
struct FieldOfChunk {
  uint32_t offset;  // of its record, in bytes from the chunk's first record
  uint32_t length;  // of its record
  uint32_t kind;    // of its record
  uint32_t patches_offset, patch_count;
  CodedField field;
  uint32_t unused[2];
};

// Shared memory of one field: tables, and the bit that each lane's next code begins with, in the record.
constexpr uint32_t FIELD_TABLES_BYTES = TABLES_BYTES + 4 * WARP;
constexpr uint32_t FIELD_BYTES = FIELD_TABLES_BYTES + sizeof(FieldOfChunk);

// Shared memory of a warp.
struct FieldsMemory {
  uint8_t* tables;       // FIELD_TABLES_BYTES for each field, aligned to LENGTHS
  FieldOfChunk* fields;  // one for each
  uint4* stage;          // the chunk's records

  __device__ __forceinline__ uint8_t* tables_of(uint32_t field) const { return tables + field * FIELD_TABLES_BYTES; }
  __device__ __forceinline__ WarpMemory memory_of(uint32_t field) const {
    return WarpMemory{tables_of(field), tables_of(field) + CODE_TABLE_ENTRIES, stage};
  }
  __device__ __forceinline__ uint32_t* lane_bits_of(uint32_t field) const {
    return reinterpret_cast<uint32_t*>(tables_of(field) + TABLES_BYTES);
  }
};

// Adds the values of a lane's eight weights, as bytes. The field is still zero there.
template <uint32_t SIZE>
__device__ __forceinline__ void add_values(Eight<SIZE>& eight, uint2 values, uint32_t low) {
  const uint32_t factor = 1u << low % 32;
  const uint32_t fours[2] = {values.x, values.y};
  if constexpr (SIZE == 1) {
    eight.words[0] += values.x * factor;
    eight.words[1] += values.y * factor;
  } else if constexpr (SIZE == 2) {
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) eight.words[i] += __byte_perm(fours[i / 2], 0, i % 2 ? 0x4342 : 0x4140) * factor;
  } else {
    // No field lies in both words of a weight.
    const uint32_t low_factor = low < 32 ? factor : 0, high_factor = low < 32 ? 0 : factor;
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      const uint32_t value = fours[i / 4] >> 8 * (i % 4) & 0xff;
      eight.words[i * SIZE / 4] += value * low_factor;
      if constexpr (SIZE == 8) eight.words[2 * i + 1] += value * high_factor;
    }
  }
}

// Values of a verbatim record. Reads are clamped to the record.
struct BitReader {
  const uint32_t* body;
  uint32_t last;  // index of its last word
  uint32_t bits;  // of a value

  __device__ __forceinline__ uint32_t four(uint32_t bit) const {
    const uint32_t first = body[min(bit / 32, last)], second = body[min(bit / 32 + 1, last)];
    const uint32_t mask = ((1u << bits) - 1) * 0x01010101u;
    return spread_to_bytes(__funnelshift_r(first, second, bit), bits) & mask;
  }
  __device__ __forceinline__ uint2 eight(uint32_t position) const {
    return make_uint2(four(position * bits), four((position + 4) * bits));
  }
};

// Adds a field to a lane's weights of STEPS steps from `step` on. `records` are the chunk's; the caller passes them
// from shared memory where the compiler must see that they are there.
template <uint32_t STEPS, uint32_t SIZE>
__device__ __forceinline__ void add_field(Eight<SIZE> (&eights)[STEPS], const FieldsMemory& memory, uint32_t field,
                                          const uint8_t* records, uint32_t step, uint32_t lane) {
  const FieldOfChunk of = memory.fields[field];
  const uint32_t* words = reinterpret_cast<const uint32_t*>(records + of.offset);
  const uint32_t* body = words + RECORD_HEADER_BYTES / 4;
  const uint32_t low = of.field.low;
  if (of.kind == KIND_HUFFMAN) {
    const WarpMemory tables = memory.memory_of(field);
    const CodeTable table{ptx::shared_address(tables.lengths), ptx::shared_address(tables.values)};
    uint32_t* lane_bit = memory.lane_bits_of(field) + lane;
    LaneReader reader(table, words, of.length / 4 - 1, *lane_bit);
#pragma unroll
    for (uint32_t d = 0; d < STEPS; d++) add_values(eights[d], reader.step(d), low);
    *lane_bit = reader.bit;
  } else if (of.kind == KIND_PALETTE) {
#pragma unroll
    for (uint32_t d = 0; d < STEPS; d++)
      add_values(eights[d], palette_values(memory.tables_of(field), body[(step + d) * WARP + lane]), low);
  } else {
    const BitReader reader{body, (of.length - RECORD_HEADER_BYTES) / 4 - 1, of.field.width};
#pragma unroll
    for (uint32_t d = 0; d < STEPS; d++)
      add_values(eights[d], reader.eight((step + d) * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS), low);
  }
}

}  // namespace unweight::decode
