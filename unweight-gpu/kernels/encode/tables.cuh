// The code of a record, and a block's tables of it, for encode.cu (specification, sections 5.2, 6 and 11.5).
#pragma once
#include "encode/code_cost.cuh"
#include "encode/input_chunk.cuh"

namespace unweight::encode {

// Steps of a warp, for weights and values, and for records.
constexpr uint32_t WARP_STEPS = 8;
constexpr uint32_t RECORD_WARP_STEPS = 16;
constexpr uint32_t MOST_ENCODE_WARPS = 65536 / (WARP_STEPS * STEP_WEIGHTS);
// Most warps that share a record's checksum. Blocks that encode weights or values have more warps, and use half as
// many.
constexpr uint32_t SEAL_WARPS = 8;

// Patches of a chunk that are listed as they are found, and sorted by counting. The patches of a chunk with more are
// found again.
constexpr uint32_t LISTED_PATCHES = 256;

// Flag of an entry by value: the weight takes a patch, and the palette index is the placeholder's.
constexpr uint32_t TAKES_PATCH = 0x80;
// Flag beside a code's length: the index has no code.
constexpr uint32_t IS_UNCODED = 0x40;
constexpr uint32_t CODE_BITS_FROM = 16;

// Shared memory of a block, before the record.
struct EncodeTables {
  uint32_t pairs[256];                     // by two palette indices, the first in bits 0..3: the length of both codes
                                           // in bits 0..4, their stream bits from CODE_BITS_FROM on
  uint32_t codes[PALETTE_ENTRIES];         // by one palette index, likewise
  uint32_t sums[MOST_ENCODE_WARPS][WARP];  // LaneIndices::sum of each lane
  uint32_t remainders[MOST_ENCODE_WARPS];  // remainder of each warp's plain bytes, advanced to the chunk's end
  uint32_t record_remainders[SEAL_WARPS];  // shares of the record's remainder
  uint32_t patches[LISTED_PATCHES];        // in the order in which they were found: position, value << 16
  uint8_t entries[FIELD_VALUES];           // palette index by value, or TAKES_PATCH and the placeholder
  uint4 lengths;                           // one byte for each palette index
  uint8_t palette[PALETTE_ENTRIES];
  uint2 code_lengths;
  uint32_t placeholder;  // palette index of the placeholder
  uint32_t listed;       // patches found, including those that `patches` has no space for
  uint32_t start;        // start of the record among those of its tensor, in units of 16 bytes
};
static_assert(sizeof(EncodeTables) == 6688, "src/encode/plan.rs has the size, and the record follows");

// Section 11.5: the chunk's own code if it saves more than one bit in 256, else the field's.
__device__ inline uint2 choose_chunk_code(const InputChunk& chunk, uint32_t lane, uint2 field_code) {
  const EncodeJob* job = chunk.job;
  const uint32_t entry = lane % PALETTE_ENTRIES;
  const uint32_t entry_count = job->palette_counts[static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES + entry];
  const uint32_t count = lane < PALETTE_ENTRIES ? entry_count : 0;
  const uint2 own = job->code_lengths[chunk.own];
  // No overflow: 65,536 weights of at most 32 bits, times 256, are below 2^30.
  const bool saves = 256 * cost_of_code(own, lane, count, chunk.weight_count) <
                     255 * cost_of_code(field_code, lane, count, chunk.weight_count);
  return saves ? own : field_code;
}

// Chooses the code, and fills all tables but that of pairs. A stream holds the bits of a code's first string in reverse
// order. The placeholder is the entry whose first string is 0.
__device__ inline void make_entry_tables(const InputChunk& chunk, const EncodeJob* jobs, const uint2* tensor_codes,
                                         uint32_t lane, EncodeTables* tables) {
  const EncodeJob* job = chunk.job;
  const bool huffman = job->kind == KIND_HUFFMAN;
  const uint32_t value = job->palette[lane % PALETTE_ENTRIES];
  const uint2 code_lengths = huffman ? choose_chunk_code(chunk, lane, tensor_codes[job - jobs]) : make_uint2(0, 0);
  uint32_t length = 0, placeholder = 0, start = 0;
  bool coded = lane < PALETTE_ENTRIES;
  if (huffman) {
    length = length_of_lane(code_lengths, lane);
    coded = length != NO_CODE;
    start = record::first_string(length, lane, [](uint32_t, uint32_t) {});
    const uint32_t is_first = __ballot_sync(ALL_LANES, coded && start == 0);
    placeholder = static_cast<uint32_t>(__ffs(static_cast<int>(is_first))) - 1;
  }
  // The placeholder's code is zeros. It replaces indices that have no code.
  const uint32_t placeholder_length = __shfl_sync(ALL_LANES, length, static_cast<int>(placeholder));
  for (uint32_t i = lane; i < FIELD_VALUES / 4; i += WARP)
    reinterpret_cast<uint32_t*>(tables->entries)[i] = (placeholder | TAKES_PATCH) * 0x01010101;
  __syncwarp();
  if (coded) tables->entries[value] = static_cast<uint8_t>(lane);
  if (lane < PALETTE_ENTRIES) {
    const uint32_t flagged = coded ? length : placeholder_length | IS_UNCODED;
    tables->palette[lane] = static_cast<uint8_t>(value);
    reinterpret_cast<uint8_t*>(&tables->lengths)[lane] = static_cast<uint8_t>(flagged);
    tables->codes[lane] = coded ? __brev(start << 24) << CODE_BITS_FROM | length : placeholder_length;
  }
  if (lane != 0) return;
  tables->code_lengths = code_lengths;
  tables->placeholder = placeholder;
  tables->listed = 0;
}

// Fills the table of pairs from the codes, by all threads of the block.
__device__ inline void make_pair_table(EncodeTables* tables) {
  for (uint32_t pair = threadIdx.x; pair < 256; pair += blockDim.x) {
    const uint32_t first = tables->codes[pair & 15], second = tables->codes[pair >> 4];
    // At most 8 bits each.
    const uint32_t bits = first >> CODE_BITS_FROM | second >> CODE_BITS_FROM << (first & 15);
    tables->pairs[pair] = bits << CODE_BITS_FROM | ((first & 15) + (second & 15));
  }
}

}  // namespace unweight::encode
