// A tensor of a file for the kernels of decode/, checksum/ and transcode/.
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

// A coded field: `width` bits of a weight from bit `low` up.
struct CodedField {
  uint8_t low;
  uint8_t width;    // 1 to 8
  uint8_t kind;     // of its records: KIND_HUFFMAN or KIND_PALETTE; verbatim records may be among them
  uint8_t palette;  // number of its palette among the tensor's
};

// A tensor in device memory, or consecutive chunks of it, and its output. Without coded fields, chunks are a division
// of the host's choice. Twin of `TensorJob` in `src/decode/job.rs`, which asserts the same offsets.
//
// checksum_weights reads output, weights, chunks and weight_bytes alone. A job for check_blocks has the plain plane as
// its output and block checksums as its record ends.
struct TensorJob {
  const uint8_t* plain;         // 16-byte aligned, readable up to a whole step and PLAIN_SLACK_BYTES more
  const uint32_t* record_ends;  // validated by the host: ascending, within the records, no record too long
  const uint8_t* records;       // 16-byte aligned
  const uint8_t* palettes;      // validated by the host; PALETTE_ENTRIES each
  uint8_t* output;              // 16-byte aligned; begins with the first chunk that is not skipped
  uint64_t weights;             // weights of the whole tensor
  uint64_t plain_mask;          // the plain bits of a weight
  uint64_t constants;           // the bits of constant fields, in place
  uint32_t first_chunk;         // number in the launch of the first chunk that is not skipped
  uint32_t skipped_chunks;      // chunks of the tensor before it
  uint8_t chunk_size_log2;      // 12 to 16
  uint8_t weight_bytes;         // 1, 2, 4 or 8
  uint8_t plain_bits;           // the ones of plain_mask
  uint8_t coded_count;          // at most FIELDS
  CodedField fields[FIELDS];
};

static_assert(sizeof(CodedField) == 4);
static_assert(offsetof(TensorJob, plain) == 0);
static_assert(offsetof(TensorJob, record_ends) == 8);
static_assert(offsetof(TensorJob, records) == 16);
static_assert(offsetof(TensorJob, palettes) == 24);
static_assert(offsetof(TensorJob, output) == 32);
static_assert(offsetof(TensorJob, weights) == 40);
static_assert(offsetof(TensorJob, plain_mask) == 48);
static_assert(offsetof(TensorJob, constants) == 56);
static_assert(offsetof(TensorJob, first_chunk) == 64);
static_assert(offsetof(TensorJob, skipped_chunks) == 68);
static_assert(offsetof(TensorJob, chunk_size_log2) == 72);
static_assert(offsetof(TensorJob, weight_bytes) == 73);
static_assert(offsetof(TensorJob, plain_bits) == 74);
static_assert(offsetof(TensorJob, coded_count) == 75);
static_assert(offsetof(TensorJob, fields) == 76);
static_assert(sizeof(TensorJob) == 112);

// Bytes behind the last step of a plain plane that kernels may read: two words behind the one that a number begins in.
constexpr uint32_t PLAIN_SLACK_BYTES = 16;

}  // namespace unweight::abi
