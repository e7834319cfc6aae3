// Offsets and sizes of the bitstream (specification, sections 4.3 to 6), and the launch's own structures.
// A test asks for them where the kernels run on the CPU (`unweight_host_layout`), and compares them with unweight-format's.
#pragma once
#include "ptx/platform.cuh"

constexpr uint32_t STEP_WEIGHTS = 256;
constexpr uint32_t LANES = 32;
constexpr uint32_t LANE_STEP_WEIGHTS = 8;
constexpr uint32_t PALETTE_ENTRIES = 16;
constexpr uint32_t RECORD_ALIGNMENT = 16;
constexpr uint32_t RECORD_HEADER_BYTES = 16;
constexpr uint32_t RECORD_CHECKED_FROM = 4;
constexpr uint32_t LANE_STREAMS_OFFSET = 80;
constexpr uint32_t STEP_INDEX_BYTES = 128;
constexpr uint32_t PATCH_BYTES = 3;
constexpr uint32_t KIND_VERBATIM = 0;
constexpr uint32_t KIND_HUFFMAN = 1;
constexpr uint32_t KIND_PALETTE = 2;
// Of a job that has no records: its output is bytes as they are, only for checksum_weights.
constexpr uint32_t KIND_BYTES = 0xffffffffu;
constexpr uint32_t LONGEST_CODE_BITS = 8;
constexpr uint32_t NO_CODE = 15;
constexpr uint32_t CODE_TABLE_ENTRIES = 256;

// A coded tensor in device memory, or chunks of it that follow one another, and where their output goes. `src/job.rs` has its twin.
struct TensorJob {
  const uint8_t* sign_mantissa;  // 256-byte aligned, readable up to a multiple of 256
  const uint32_t* record_ends;   // validated by the host: ascending, within the plane, none too long
  const uint8_t* records;        // 16-byte aligned
  uint8_t* output;               // 16-byte aligned; begins with the first chunk that is not skipped
  uint64_t weights;              // of the whole tensor; of KIND_BYTES, bytes
  uint32_t first_chunk;          // of the launch, the first that is not skipped
  uint32_t skipped_chunks;       // in front of it, in the tensor
  uint32_t chunk_size_log2;
  uint32_t kind;                 // of its records, KIND_HUFFMAN or KIND_PALETTE; verbatim ones may stand among them
  uint8_t palette[PALETTE_ENTRIES];
};

// Rules that a record can break, in the order in which the reference finds them. `src/status.rs` has their names.
enum Broken : uint32_t {
  RECORD_CRC = 1,
  RECORD_KIND,
  RECORD_ENCODING,
  RECORD_RESERVED,
  CODE_LENGTH,
  CODE_OVERSUBSCRIBED,
  CODE_INCOMPLETE,
  LANE_ENDS,
  RECORD_LENGTH,
  RECORD_PADDING,
  PATCH_ORDER,
  PATCH_POSITION,
  LANE_OVERRUN,
  LANE_UNDERRUN,
  LANE_PADDING,
};

// One word a launch: the least of `chunk << 8 | rule`. So it names the first bad chunk, and in it the rule that the reference names.
__device__ __forceinline__ void report(unsigned long long* status, uint32_t chunk, uint32_t broken) {
  atomicMin(status, static_cast<unsigned long long>(chunk) << 8 | broken);
}
