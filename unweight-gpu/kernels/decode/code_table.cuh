// The code of a chunk as two look-up tables in shared memory (specification, section 6).
//
// Codes are looked up as they are in a stream, first bit lowest. The next 7 bits give a code's length, because two
// codes of 8 bits share their first 7. The code itself gives the value. So bank conflicts are rare: lengths are 32
// words, and of the words of values that are used only those of 8-bit codes share banks.
#pragma once
#include "ptx/bits.cuh"
#include "ptx/memory.cuh"
#include "record/record.cuh"

namespace unweight::decode {

using record::Record;

constexpr uint32_t LENGTHS = 128;
constexpr uint32_t TABLES_BYTES = CODE_TABLE_ENTRIES + LENGTHS;

// Shared memory of a warp: two tables, then the record.
struct WarpMemory {
  uint8_t* values;   // CODE_TABLE_ENTRIES
  uint8_t* lengths;  // LENGTHS, aligned to as many bytes, so that an index is added without a carry
  uint4* stage;
};

struct CodeTable {
  uint32_t lengths, values;  // addresses in shared memory

  __device__ __forceinline__ uint32_t length(uint32_t window) const {
    return ptx::load_shared_byte((window & (LENGTHS - 1)) | lengths);
  }
  __device__ __forceinline__ uint32_t value(uint32_t window, uint32_t length) const {
    return ptx::load_shared_byte(ptx::lowest_bits(window, length) + values);
  }
};

// Fills the tables. Lanes l and l + 16 hold palette entry l, which is `value`. The table of values is by code for a
// Huffman record, whose code is complete, and by index for other records.
__device__ inline CodeTable make_tables(uint8_t value, const Record& record, uint32_t lane, const WarpMemory& memory) {
  if (record.kind != KIND_HUFFMAN) {
    memory.values[lane % PALETTE_ENTRIES] = value;
    return CodeTable{};
  }
  const uint32_t length = record::length_of_lane(record.code_lengths, lane);
  // The four strings of 7 bits whose lengths this lane finds: consecutive with the first bit lowest. Here the first bit
  // is highest. The highest bit of each byte is set, so that no byte borrows from the next.
  const uint32_t strings = (__brev(lane) >> 27) * 0x01010101u + 0xe0a0c080u;
  uint32_t lengths = 0;
  const uint32_t first = record::first_string(length, lane, [&](uint32_t bits, uint32_t taken) {
    // Strings that are not taken yet begin longer codes.
    if (bits < LONGEST_CODE_BITS) lengths += (strings - taken / 2 * 0x01010101u) >> 7 & 0x01010101u;
  });
  reinterpret_cast<uint32_t*>(memory.lengths)[lane] = lengths;
  if (length <= LONGEST_CODE_BITS) memory.values[__brev(first) >> (32 - LONGEST_CODE_BITS)] = value;
  return CodeTable{ptx::shared_address(memory.lengths), ptx::shared_address(memory.values)};
}

}  // namespace unweight::decode
