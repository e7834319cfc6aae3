// A chunk to be encoded, and helpers of the kernels of encode/ and transcode/.
#pragma once
#include "abi/encode_job.cuh"
#include "record/chunk.cuh"

namespace unweight::encode {

struct InputChunk {
  const EncodeJob* job;
  uint32_t own;           // its number in the tensor
  uint32_t record;        // number of its record in the tensor
  uint32_t weight_count;  // 1 to 65,536
  uint32_t steps;
  uint64_t first_weight;

  // The first byte of the plain plane of BF16 weights whose exponent alone is coded.
  __device__ __forceinline__ uint8_t* sign_mantissa() const { return job->plain + first_weight; }
};

__device__ __forceinline__ InputChunk input_chunk(const EncodeJob* job, uint32_t own, uint32_t record) {
  InputChunk chunk;
  chunk.job = job;
  chunk.own = own;
  chunk.record = record;
  chunk.first_weight = static_cast<uint64_t>(own) << job->chunk_size_log2;
  const uint64_t left = job->weight_count - chunk.first_weight;
  const uint32_t whole = 1u << job->chunk_size_log2;
  chunk.weight_count = left < whole ? static_cast<uint32_t>(left) : whole;
  chunk.steps = (chunk.weight_count + STEP_WEIGHTS - 1) / STEP_WEIGHTS;
  return chunk;
}

// Chunk of record `number` of the launch, which is one of this job.
__device__ __forceinline__ InputChunk input_chunk(const EncodeJob* job, uint32_t number) {
  const uint32_t record = number - job->first_chunk;
  return input_chunk(job, record / job->field_count, record);
}

// Same as `input_chunk`, for a tensor with one coded field.
__device__ __forceinline__ InputChunk only_chunk(const EncodeJob* job, uint32_t number) {
  const uint32_t own = number - job->first_chunk;
  return input_chunk(job, own, own);
}

// Chunk of record `number` of the launch.
__device__ inline InputChunk find_input_chunk(const EncodeJob* jobs, uint32_t job_count, uint32_t number) {
  // The jobs of a tensor have the same first record, and the last of them is found.
  const EncodeJob* last = record::find_job(jobs, job_count, number);
  const uint32_t record = number - last->first_chunk, count = last->field_count, own = record / count;
  return input_chunk(last - (count - 1) + (record - own * count), own, record);
}

// Same as `find_input_chunk`, for tensors with one coded field.
__device__ inline InputChunk find_only_chunk(const EncodeJob* jobs, uint32_t job_count, uint32_t number) {
  return only_chunk(record::find_job(jobs, job_count, number), number);
}

// Bytes of the plain plane that belong to a chunk.
__device__ __forceinline__ uint32_t plain_bytes_of(const InputChunk& chunk) {
  return (chunk.weight_count * chunk.job->plain_bits + 7) / 8;
}

// Bytes of the body of the verbatim record of a chunk.
__device__ __forceinline__ uint32_t verbatim_bytes_of(const InputChunk& chunk) {
  return (chunk.weight_count * chunk.job->value_bits + 7) / 8;
}

// Writes the word of the chunk's record, by one warp. The last record completes the words with zeros to a multiple of
// 16 bytes.
__device__ __forceinline__ void write_record_word(uint32_t* words, const InputChunk& chunk, uint32_t lane,
                                                  uint32_t word) {
  const uint32_t record_count = chunk.job->chunk_count * chunk.job->field_count;
  if (chunk.record + lane < (record_count + 3) / 4 * 4 && (lane == 0 || chunk.record + 1 == record_count))
    words[chunk.record + lane] = lane == 0 ? word : 0;
}

// The sum of `value` over the lanes up to this one.
__device__ __forceinline__ uint32_t inclusive_sum(uint32_t value, uint32_t lane) {
#pragma unroll
  for (uint32_t distance = 1; distance < WARP; distance *= 2) {
    const uint32_t before = __shfl_up_sync(ALL_LANES, value, distance);
    if (lane >= distance) value += before;
  }
  return value;
}

}  // namespace unweight::encode
