// Decoding of one chunk by one warp: BF16 weights whose exponent alone is coded, or the values of a first coded field
// of 8 bits (specification, section 7).
//
// An output type has JOINS, which says whether it needs sign-mantissa bytes, and `at(output, start)`, which makes an
// output from the tensor's output and the chunk's first weight. An output has
//   store(position, exponents, sign_mantissa)               a lane's eight weights; the first has this position in the
//                                                           chunk
//   store_part(position, count, exponents, sign_mantissa)   the first `count` of them, 1 to 7, at the chunk's end
//   patch(position, exponent, sign_mantissa)                one weight again, after all stores
// Exponents are bytes.
#pragma once
#include "decode/readers.cuh"

namespace unweight::decode {

using record::Chunk;
using record::FieldRecord;

// All steps of a chunk. Whole steps go in groups without a branch, so that loads and look-ups of a step overlap those
// of the next. The rest go one by one.
template <class Reader, class Bytes, class Output>
__device__ __forceinline__ void decode_steps(const Chunk& chunk, uint32_t lane, Reader& reader, Bytes& sign_mantissa,
                                             const Output& output) {
  const uint32_t grouped = chunk.weights / (AHEAD * STEP_WEIGHTS) * AHEAD;
  uint32_t position = lane * LANE_STEP_WEIGHTS;
#pragma unroll 1
  for (uint32_t group = 0; group < grouped; group += AHEAD) {
    // The last group loads ahead what the tail needs, or the last step again.
#pragma unroll
    for (uint32_t d = 0; d < AHEAD; d++) {
      output.store(position, reader.step(d), sign_mantissa.ahead[d]);
      sign_mantissa.ahead[d] = sign_mantissa.load(group + AHEAD + d);
      position += STEP_WEIGHTS;
    }
  }
#pragma unroll 1
  for (uint32_t step = grouped; step < chunk.steps; step++) {
    const uint2 now = sign_mantissa.load(step);
    const uint2 exponents = reader.tail_step(step);
    if (position + LANE_STEP_WEIGHTS <= chunk.weights)
      output.store(position, exponents, now);
    else if (position < chunk.weights)
      output.store_part(position, chunk.weights - position, exponents, now);
    position += STEP_WEIGHTS;
  }
}

// Decodes a Huffman record. Returns 0, or the rule that a lane's stream breaks. `words` is the record; the caller
// passes it from shared memory where the compiler must see that it is there.
template <class Bytes, class Output>
__device__ __forceinline__ uint32_t decode_huffman(const Chunk& chunk, const FieldRecord& at, const Record& record,
                                                   uint32_t lane, const uint32_t* words, const CodeTable& table,
                                                   Bytes& sign_mantissa, const Output& output) {
  LaneReader reader(table, words, at.length / 4 - 1, 8 * (LANE_STREAMS_OFFSET + record.lane_start));
  decode_steps(chunk, lane, reader, sign_mantissa, output);
  return first_broken(reader.check_end(at.bytes, record.lane_end));
}

// Starts the copy of a record, or of several that follow one another, to shared memory. `ptx::wait_copies` waits for
// it.
__device__ __forceinline__ void copy_record(const uint8_t* record, uint32_t bytes, uint32_t lane, uint4* stage) {
  const uint4* from = reinterpret_cast<const uint4*>(record);
  for (uint32_t i = lane; i < bytes / 16; i += WARP) ptx::copy_async(stage + i, from + i);
}

// Entry `lane` of the field's palette, or entry `lane` - 16.
__device__ __forceinline__ uint8_t palette_value(const TensorJob* job, const CodedField& field, uint32_t lane) {
  return job->palettes[field.palette * PALETTE_ENTRIES + lane % PALETTE_ENTRIES];
}

// Decodes the body of a record that broke no rule so far, and applies its patches. Returns 0, or the rule that a lane's
// stream breaks.
template <class Output, class Bytes>
__device__ __forceinline__ uint32_t decode_body(const Chunk& chunk, const FieldRecord& at, const Record& record,
                                                uint32_t lane, bool staged, const WarpMemory& memory,
                                                const CodeTable& codes, Bytes& sign_mantissa) {
  const auto output = Output::at(chunk.job->output, chunk.output_start);
  const uint8_t* body = at.bytes + RECORD_HEADER_BYTES;
  uint32_t broken = 0;
  if (record.kind == KIND_HUFFMAN) {
    const uint32_t* in_stage = reinterpret_cast<const uint32_t*>(memory.stage);
    const uint32_t* in_place = reinterpret_cast<const uint32_t*>(at.bytes);
    broken = staged ? decode_huffman(chunk, at, record, lane, in_stage, codes, sign_mantissa, output)
                    : decode_huffman(chunk, at, record, lane, in_place, codes, sign_mantissa, output);
  } else if (record.kind == KIND_PALETTE) {
    PaletteReader reader(memory.values, body, lane, chunk.steps);
    decode_steps(chunk, lane, reader, sign_mantissa, output);
  } else {
    VerbatimReader reader{body, lane * LANE_STEP_WEIGHTS, chunk.weights};
    decode_steps(chunk, lane, reader, sign_mantissa, output);
  }
  // Patches come after the stores of the steps, which other lanes made.
  __syncwarp();
  const uint8_t* patches = at.bytes + record.patches_offset;
  for (uint32_t i = lane; i < record.patch_count; i += WARP)
    output.patch(record::patch_position(patches + PATCH_BYTES * i), patches[PATCH_BYTES * i + 2], chunk.plain);
  return broken;
}

// Decodes the first coded field of chunk `number` of the launch, and reports the rule that its record breaks.
template <class Output>
__device__ __forceinline__ void decode_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t number,
                                             uint32_t stage_bytes, const WarpMemory& memory,
                                             unsigned long long* status) {
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = record::find_chunk(jobs, job_count, number);
  FieldRecord at = record::find_record(chunk, 0);
  const bool staged = at.length <= stage_bytes;
  if (staged) copy_record(at.bytes, at.length, lane, memory.stage);
  // Loaded while the record is copied.
  SignMantissa<Output::JOINS> sign_mantissa(chunk, lane);
  const uint8_t value = palette_value(chunk.job, at.field, lane);
  Record record;
  uint32_t broken = record::parse_header(at, lane, record);
  CodeTable codes;
  if (broken == 0) codes = make_tables(value, record, lane, memory);
  if (staged) {
    ptx::wait_copies();
    at.bytes = reinterpret_cast<const uint8_t*>(memory.stage);
  }
  __syncwarp();
  if (broken == 0) broken = record::parse_body(at, lane, record);
  if (broken == 0) broken = decode_body<Output>(chunk, at, record, lane, staged, memory, codes, sign_mantissa);
  if (broken != 0 && lane == 0) report(status, number, 0, broken);
}

}  // namespace unweight::decode
