// Sizes and offsets of the bitstream (specification, sections 3.5 to 6).
//
// A test asks the emulated kernels for them (`unweight_host_layout`) and compares them with unweight-format's.
#pragma once
#include "ptx/platform.cuh"

namespace unweight::abi {

constexpr uint32_t STEP_WEIGHTS = 256;
constexpr uint32_t LANES = 32;
constexpr uint32_t LANE_STEP_WEIGHTS = 8;
constexpr uint32_t FIELDS = 8;
constexpr uint32_t PALETTE_ENTRIES = 16;
constexpr uint32_t BLOCK_BYTES = 65536;
constexpr uint32_t RECORD_ALIGNMENT = 16;
constexpr uint32_t RECORD_HEADER_BYTES = 16;
constexpr uint32_t RECORD_CHECKED_FROM = 4;
constexpr uint32_t LANE_STREAMS_OFFSET = 80;
constexpr uint32_t STEP_INDEX_BYTES = 128;
constexpr uint32_t PATCH_BYTES = 3;
constexpr uint32_t KIND_VERBATIM = 0;
constexpr uint32_t KIND_HUFFMAN = 1;
constexpr uint32_t KIND_PALETTE = 2;
constexpr uint32_t LONGEST_CODE_BITS = 8;
constexpr uint32_t NO_CODE = 15;
constexpr uint32_t CODE_TABLE_ENTRIES = 256;

}  // namespace unweight::abi

namespace unweight {

// Names of abi/ are the vocabulary of all kernels.
using namespace abi;

}  // namespace unweight
