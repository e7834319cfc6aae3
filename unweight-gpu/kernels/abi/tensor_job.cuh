// A coded tensor for the kernels of decode.cu, checksum.cu and transcode.cu.
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

// `kind` of a job without records. Its output is bytes as they are, for checksum_weights only.
constexpr uint32_t KIND_BYTES = 0xffffffffu;

// A coded tensor in device memory, or consecutive chunks of it, and its output. Twin of `TensorJob` in
// `src/decode/job.rs`, which asserts the same offsets.
struct TensorJob {
  const uint8_t* sign_mantissa;  // 256-byte aligned, readable up to a multiple of 256
  const uint32_t* record_ends;   // validated by the host: ascending, within the plane, no record too long
  const uint8_t* records;        // 16-byte aligned
  uint8_t* output;               // 16-byte aligned; begins with the first chunk that is not skipped
  uint64_t weights;              // weights of the whole tensor; for KIND_BYTES, bytes
  uint32_t first_chunk;          // number in the launch of the first chunk that is not skipped
  uint32_t skipped_chunks;       // chunks of the tensor before it
  uint32_t chunk_size_log2;
  uint32_t kind;  // kind of the records: KIND_HUFFMAN or KIND_PALETTE; verbatim records may be among them
  uint8_t palette[PALETTE_ENTRIES];
};

static_assert(offsetof(TensorJob, sign_mantissa) == 0);
static_assert(offsetof(TensorJob, record_ends) == 8);
static_assert(offsetof(TensorJob, records) == 16);
static_assert(offsetof(TensorJob, output) == 24);
static_assert(offsetof(TensorJob, weights) == 32);
static_assert(offsetof(TensorJob, first_chunk) == 40);
static_assert(offsetof(TensorJob, skipped_chunks) == 44);
static_assert(offsetof(TensorJob, chunk_size_log2) == 48);
static_assert(offsetof(TensorJob, kind) == 52);
static_assert(offsetof(TensorJob, palette) == 56);
static_assert(sizeof(TensorJob) == 72);

}  // namespace unweight::abi
