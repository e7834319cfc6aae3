// Tensors to be encoded, for the kernels of encode/ and transcode/.
#pragma once
#include "abi/tensor_job.cuh"

namespace unweight::abi {

// Values that a field can have.
constexpr uint32_t FIELD_VALUES = 256;
// Copies of a field's totals. Chunks add to different ones, so that they wait less for each other.
constexpr uint32_t TOTAL_COPIES = 4;

// A coded field of a tensor in device memory, as weights, as a value plane, or as records, and its records. Twin of
// `EncodeJob` in `src/encode/job.rs`, which asserts the same offsets.
//
// The jobs of a tensor's coded fields are consecutive, in the order of fields. They have the same weight_count, chunk
// fields, field_count, record_ends, records and look_back. Record r = j * field_count + field is that of chunk j.
//
// A kernel reads only the fields that the head of its file names. The others may still be null.
struct EncodeJob {
  // Input of kernels that encode from weights: BF16, of which the exponent alone is coded.
  const uint16_t* weights;  // `weight_count`; 16-byte aligned
  // Input of kernels that encode from values (encode/split.cu makes them).
  const uint8_t* values;  // one byte for each weight; 256-byte aligned, readable up to a multiple of 256
  // Input of kernels that encode from records of BF16, as above. Its chunks have the same size and the same numbers as
  // here.
  const TensorJob* input;
  uint64_t weight_count;       // 1 to 2^36
  uint32_t* counts;            // 256 for each chunk, by value
  unsigned long long* totals;  // 256, by value, TOTAL_COPIES times, then DoneChunks; zero before the count. The block
                               // that chooses the palette adds all copies up in the first.
  uint32_t* palette_counts;    // 16 for each chunk, by palette entry
  uint2* code_lengths;         // 8 bytes for each chunk, as in a record's header: its own complete code; not read for
                               // KIND_PALETTE
  uint32_t* plain_remainders;  // one for each chunk: the inverted remainder of its plain bytes, if the input is values
                               // or records; null for a field that is not the first
  uint8_t* plain;              // the plain plane, if its bytes are made with the records; 16-byte aligned
  uint64_t plain_limit;        // zeros complete the plain plane to this length, a multiple of 16
  unsigned long long* look_back;  // one word for each record, zero before it is encoded (encode/look_back.cuh)
  uint32_t* record_lengths;  // one for each record, in units of 16 bytes; 16-byte aligned, writable up to a multiple of
                             // 16 bytes; for kernels that encode from records
  uint32_t* record_ends;     // one for each record, in units of 16 bytes; 16-byte aligned, writable up to a multiple of
                             // 16 bytes
  uint8_t* records;          // 16-byte aligned, 16 bytes for each unit of the last record end
  uint8_t* stored_palette;   // 16 bytes, 16-byte aligned: the palette as the payload has it
  uint32_t first_chunk;      // number in the launch of the tensor's first record
  uint32_t chunk_count;      // ceil(weight_count / 2^chunk_size_log2)
  uint32_t chunk_size_log2;  // 12 to 16
  uint32_t kind;             // KIND_HUFFMAN or KIND_PALETTE
  uint8_t field;             // its number among the coded fields
  uint8_t field_count;       // coded fields of the tensor
  uint8_t value_bits;        // width of the field, 1 to 8
  uint8_t plain_bits;        // plain bits of a weight, 1 to 64
  uint32_t unused;
  uint8_t palette[PALETTE_ENTRIES];  // 16 ascending values; written by the block that counts last (encode/palette.cuh)

  // Chunks that have reached a point. Whoever counts the last one knows that all others have, too.
  struct DoneChunks {
    uint32_t counted;   // their counts are in the totals
    uint32_t measured;  // their record_lengths are written
  };
  __device__ __forceinline__ DoneChunks* done() const {
    return reinterpret_cast<DoneChunks*>(totals + TOTAL_COPIES * FIELD_VALUES);
  }
};

static_assert(offsetof(EncodeJob, weights) == 0);
static_assert(offsetof(EncodeJob, values) == 8);
static_assert(offsetof(EncodeJob, input) == 16);
static_assert(offsetof(EncodeJob, weight_count) == 24);
static_assert(offsetof(EncodeJob, counts) == 32);
static_assert(offsetof(EncodeJob, totals) == 40);
static_assert(offsetof(EncodeJob, palette_counts) == 48);
static_assert(offsetof(EncodeJob, code_lengths) == 56);
static_assert(offsetof(EncodeJob, plain_remainders) == 64);
static_assert(offsetof(EncodeJob, plain) == 72);
static_assert(offsetof(EncodeJob, plain_limit) == 80);
static_assert(offsetof(EncodeJob, look_back) == 88);
static_assert(offsetof(EncodeJob, record_lengths) == 96);
static_assert(offsetof(EncodeJob, record_ends) == 104);
static_assert(offsetof(EncodeJob, records) == 112);
static_assert(offsetof(EncodeJob, stored_palette) == 120);
static_assert(offsetof(EncodeJob, first_chunk) == 128);
static_assert(offsetof(EncodeJob, chunk_count) == 132);
static_assert(offsetof(EncodeJob, chunk_size_log2) == 136);
static_assert(offsetof(EncodeJob, kind) == 140);
static_assert(offsetof(EncodeJob, field) == 144);
static_assert(offsetof(EncodeJob, field_count) == 145);
static_assert(offsetof(EncodeJob, value_bits) == 146);
static_assert(offsetof(EncodeJob, plain_bits) == 147);
static_assert(offsetof(EncodeJob, palette) == 152);
static_assert(sizeof(EncodeJob) == 168);

}  // namespace unweight::abi
