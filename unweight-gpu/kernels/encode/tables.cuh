// The code of a chunk, and a block's tables of it, for encode.cu (specification, sections 5.2, 6, 11.3 and 11.4).
#pragma once
#include "encode/inputs.cuh"
#include "record/record.cuh"

// Of a warp.
constexpr uint32_t WARP_STEPS = 8;
constexpr uint32_t RECORD_WARP_STEPS = 16;
constexpr uint32_t MOST_ENCODE_WARPS = 65536 / (WARP_STEPS * STEP_WEIGHTS);
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
  uint32_t pairs[256];                     // by two palette indices, the first in bits 0..3: what both take in bits 0..4, stream bits from CODE_BITS_FROM on
  uint32_t codes[PALETTE_ENTRIES];         // by one palette index, likewise
  uint32_t sums[MOST_ENCODE_WARPS][WARP];  // of index_weights
  uint32_t remainders[MOST_ENCODE_WARPS];  // of the sign-mantissa bytes of each warp, advanced to the chunk's end
  uint32_t of_record[SEAL_WARPS];          // what is to be added up for the record's remainder
  uint32_t patches[LISTED_PATCHES];        // as they are found: position, exponent from bit 16 on
  uint8_t entries[EXPONENTS];              // by exponent
  uint4 lengths;                           // a byte for each palette index
  uint8_t palette[PALETTE_ENTRIES];
  uint2 code_lengths;
  uint32_t placeholder;                    // its index
  uint32_t listed;                         // of `patches`; counts also those that have no room
  uint32_t start;                          // of the record, in units of 16 bytes
};
static_assert(sizeof(EncodeTables) == 6688, "the record stands behind them, and src/encode_plan.rs has their size");

// In bits (section 11.3), for a chunk of `total` weights, of which lane l has the count of palette entry l, and lanes from 16 on have none.
__device__ __forceinline__ uint32_t cost_of_code(uint2 code_lengths, uint32_t lane, uint32_t count, uint32_t total) {
  const uint32_t length = length_of_lane(code_lengths, lane);
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

// Chooses the code and fills all tables but that of pairs. A code's first string, read backwards, is what the stream holds, and the placeholder is the entry
// whose first string is 0.
__device__ inline void make_source_tables(const SourceChunk& chunk, const EncodeJob* jobs, const uint2* tensor_codes, uint32_t lane, EncodeTables* tables) {
  const EncodeJob* job = chunk.job;
  const bool huffman = job->kind == KIND_HUFFMAN;
  const uint32_t exponent = job->palette[lane % PALETTE_ENTRIES];
  const uint2 code_lengths = huffman ? chosen_code(chunk, lane, tensor_codes[job - jobs]) : make_uint2(0, 0);
  uint32_t length = 0, placeholder = 0, start = 0;
  bool coded = lane < PALETTE_ENTRIES;
  if (huffman) {
    length = length_of_lane(code_lengths, lane);
    coded = length != NO_CODE;
    start = first_string(length, lane, [](uint32_t, uint32_t) {});
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
