// Tensors of any type, for the kernels that read their weights: sample.cu and split.cu.
#pragma once
#include "abi/tensor_job.cuh"

namespace unweight::abi {

// Consecutive plain bits of a weight: `width` bits from bit `low` up are bits from `to` up of the plain value.
struct PlainRun {
  uint8_t low;
  uint8_t width;  // 1 to 63
  uint8_t to;
  uint8_t unused;
};

// A tensor to be split into its plain plane and the values of its coded fields. Twin of `SplitJob` in
// `src/encode/split.rs`, which asserts the same offsets.
struct SplitJob {
  const uint8_t* weights;  // 16-byte aligned
  uint64_t weight_count;   // at least 1
  uint8_t* plain;          // the plain plane; 16-byte aligned
  uint64_t plain_limit;    // zeros complete the plain plane to this length, a multiple of 16
  uint32_t*
      plain_remainders;     // one for each chunk: the inverted remainder of its plain bytes; null if no field is coded
  uint8_t* values[FIELDS];  // of the coded fields; 256-byte aligned, writable up to a multiple of 256
  uint8_t* palettes;        // palettes of the payload, 16 bytes each, 16-byte aligned
  uint64_t constants;       // byte i: the value in palette i, if that is one of a constant field
  uint32_t first_chunk;     // number in the launch of the first chunk
  uint32_t chunk_count;
  uint8_t chunk_size_log2;    // 12 to 16
  uint8_t weight_bytes;       // 1, 2, 4 or 8
  uint8_t plain_bits;         // plain bits of a weight, 1 to 63
  uint8_t coded_count;        // at most FIELDS
  uint8_t run_count;          // at most FIELDS + 1
  uint8_t constant_palettes;  // bit i: palette i is that of a constant field
  uint8_t unused[2];
  CodedField fields[FIELDS];  // the coded ones; kind and palette are not read
  PlainRun runs[FIELDS + 1];  // ascending
  uint32_t unused_end;
};

static_assert(sizeof(PlainRun) == 4);
static_assert(offsetof(SplitJob, weights) == 0);
static_assert(offsetof(SplitJob, weight_count) == 8);
static_assert(offsetof(SplitJob, plain) == 16);
static_assert(offsetof(SplitJob, plain_limit) == 24);
static_assert(offsetof(SplitJob, plain_remainders) == 32);
static_assert(offsetof(SplitJob, values) == 40);
static_assert(offsetof(SplitJob, palettes) == 104);
static_assert(offsetof(SplitJob, constants) == 112);
static_assert(offsetof(SplitJob, first_chunk) == 120);
static_assert(offsetof(SplitJob, chunk_count) == 124);
static_assert(offsetof(SplitJob, chunk_size_log2) == 128);
static_assert(offsetof(SplitJob, weight_bytes) == 129);
static_assert(offsetof(SplitJob, plain_bits) == 130);
static_assert(offsetof(SplitJob, coded_count) == 131);
static_assert(offsetof(SplitJob, run_count) == 132);
static_assert(offsetof(SplitJob, constant_palettes) == 133);
static_assert(offsetof(SplitJob, fields) == 136);
static_assert(offsetof(SplitJob, runs) == 168);
static_assert(sizeof(SplitJob) == 208);

// A tensor whose forms are to be chosen. Twin of `SampleJob` in `src/encode/sample.rs`, which asserts the same offsets.
struct SampleJob {
  const uint8_t* weights;  // 16-byte aligned
  uint64_t weight_count;   // at least 1
  uint32_t* counts;        // FIELD_VALUES for each field; zero before the sample is counted
  uint32_t* choices;       // one for each field: IS_CODED, HAS_ONE_VALUE
  // Four words, zero before: the bits in which a weight differs from the first one, then the first one. Narrow weights
  // are repeated in them.
  uint32_t* differing;
  uint64_t sampled;           // weights of the sample, below 2^32
  uint32_t first_chunk;       // number in the launch of the tensor's first block
  uint32_t step_count;        // steps of the sample
  uint32_t chunk_weights;     // weights of the largest chunk
  uint8_t step_distance;      // of the sample's steps
  uint8_t weight_bytes;       // 1, 2, 4 or 8
  uint8_t field_count;        // fields of the type
  uint8_t kind;               // of the records: KIND_HUFFMAN or KIND_PALETTE
  CodedField fields[FIELDS];  // all fields of the type; kind and palette are not read
};

// Bits of a field's choice.
constexpr uint32_t IS_CODED = 1;
constexpr uint32_t HAS_ONE_VALUE = 2;

static_assert(offsetof(SampleJob, weights) == 0);
static_assert(offsetof(SampleJob, weight_count) == 8);
static_assert(offsetof(SampleJob, counts) == 16);
static_assert(offsetof(SampleJob, choices) == 24);
static_assert(offsetof(SampleJob, differing) == 32);
static_assert(offsetof(SampleJob, sampled) == 40);
static_assert(offsetof(SampleJob, first_chunk) == 48);
static_assert(offsetof(SampleJob, step_count) == 52);
static_assert(offsetof(SampleJob, chunk_weights) == 56);
static_assert(offsetof(SampleJob, step_distance) == 60);
static_assert(offsetof(SampleJob, weight_bytes) == 61);
static_assert(offsetof(SampleJob, field_count) == 62);
static_assert(offsetof(SampleJob, kind) == 63);
static_assert(offsetof(SampleJob, fields) == 64);
static_assert(sizeof(SampleJob) == 96);

}  // namespace unweight::abi
