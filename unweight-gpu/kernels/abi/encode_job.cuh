// A tensor to be encoded, for the kernels of encode/ and transcode/.
#pragma once
#include "abi/tensor_job.cuh"

namespace unweight::abi {

// Copies of a tensor's totals. Chunks add to different ones, so that they wait less for each other.
constexpr uint32_t TOTAL_COPIES = 4;

// A BF16 tensor in device memory, as weights, as two planes, or in another encoding, and its output planes. Twin of
// `EncodeJob` in `src/encode/job.rs`, which asserts the same offsets.
//
// A kernel reads only the fields that the head of its file names. The others may still be null.
struct EncodeJob {
  // Input of kernels that encode from weights.
  const uint16_t* weights;  // `weight_count`; 16-byte aligned
  // Input of kernels that encode from planes.
  const uint8_t* exponents;            // `weight_count`; 256-byte aligned, readable up to a multiple of 256
  const uint8_t* input_sign_mantissa;  // likewise
  // Input of kernels that encode from records. Its chunks have the same size and the same numbers as here.
  const TensorJob* input;
  uint64_t weight_count;       // 1 to 2^35
  uint32_t* counts;            // 256 for each chunk, by exponent; from records, the first one: see count_indices
  unsigned long long* totals;  // 256, by exponent, TOTAL_COPIES times, then DoneChunks; zero before the count. The
                               // block that chooses the palette adds all copies up in the first.
  uint32_t* palette_counts;    // 16 for each chunk, by palette entry
  uint2* code_lengths;         // 8 bytes for each chunk, as in a record's header: its own complete code; not read for
                               // KIND_PALETTE
  uint8_t* sign_mantissa;      // 256-byte aligned, writable up to a multiple of 256
  unsigned long long* look_back;  // one word for each chunk, zero before its record is encoded (encode/look_back.cuh)
  uint32_t* record_lengths;  // one for each chunk, in units of 16 bytes; 16-byte aligned, writable up to a multiple of
                             // 16 bytes; for kernels that encode from records
  uint32_t* record_ends;     // one for each chunk, in units of 16 bytes; writable up to a multiple of 16 bytes
  uint8_t* records;          // 16-byte aligned, 16 bytes for each unit of the last record end
  uint32_t first_chunk;      // number in the launch of the first chunk
  uint32_t chunk_count;      // ceil(weight_count / 2^chunk_size_log2)
  uint32_t chunk_size_log2;  // 12 to 16
  uint32_t kind;             // KIND_HUFFMAN or KIND_PALETTE
  uint8_t palette[PALETTE_ENTRIES];  // ascending; written by the block that counts last (encode/palette.cuh)

  // Chunks that have reached a point. Whoever counts the last one knows that all others have, too.
  struct DoneChunks {
    uint32_t counted;   // their counts are in the totals
    uint32_t measured;  // their record_lengths are written
  };
  __device__ __forceinline__ DoneChunks* done() const {
    return reinterpret_cast<DoneChunks*>(totals + TOTAL_COPIES * EXPONENTS);
  }
};

static_assert(offsetof(EncodeJob, weights) == 0);
static_assert(offsetof(EncodeJob, exponents) == 8);
static_assert(offsetof(EncodeJob, input_sign_mantissa) == 16);
static_assert(offsetof(EncodeJob, input) == 24);
static_assert(offsetof(EncodeJob, weight_count) == 32);
static_assert(offsetof(EncodeJob, counts) == 40);
static_assert(offsetof(EncodeJob, totals) == 48);
static_assert(offsetof(EncodeJob, palette_counts) == 56);
static_assert(offsetof(EncodeJob, code_lengths) == 64);
static_assert(offsetof(EncodeJob, sign_mantissa) == 72);
static_assert(offsetof(EncodeJob, look_back) == 80);
static_assert(offsetof(EncodeJob, record_lengths) == 88);
static_assert(offsetof(EncodeJob, record_ends) == 96);
static_assert(offsetof(EncodeJob, records) == 104);
static_assert(offsetof(EncodeJob, first_chunk) == 112);
static_assert(offsetof(EncodeJob, chunk_count) == 116);
static_assert(offsetof(EncodeJob, chunk_size_log2) == 120);
static_assert(offsetof(EncodeJob, kind) == 124);
static_assert(offsetof(EncodeJob, palette) == 128);
static_assert(sizeof(EncodeJob) == 144);

}  // namespace unweight::abi
