// A chunk to be encoded, and helpers of the kernels of encode/ and transcode/.
#pragma once
#include "abi/encode_job.cuh"
#include "record/chunk.cuh"

namespace unweight::encode {

struct InputChunk {
  const EncodeJob* job;
  uint32_t own;           // its number in the tensor
  uint32_t weight_count;  // 1 to 65,536
  uint32_t steps;
  uint64_t first_weight;

  __device__ __forceinline__ uint8_t* sign_mantissa() const { return job->sign_mantissa + first_weight; }
};

// Chunk `number` of the launch, which is one of this job.
__device__ __forceinline__ InputChunk input_chunk(const EncodeJob* job, uint32_t number) {
  InputChunk chunk;
  chunk.job = job;
  chunk.own = number - job->first_chunk;
  chunk.first_weight = static_cast<uint64_t>(chunk.own) << job->chunk_size_log2;
  const uint64_t left = job->weight_count - chunk.first_weight;
  const uint32_t whole = 1u << job->chunk_size_log2;
  chunk.weight_count = left < whole ? static_cast<uint32_t>(left) : whole;
  chunk.steps = (chunk.weight_count + STEP_WEIGHTS - 1) / STEP_WEIGHTS;
  return chunk;
}

// Chunk `number` of the launch.
__device__ inline InputChunk find_input_chunk(const EncodeJob* jobs, uint32_t job_count, uint32_t number) {
  return input_chunk(record::find_job(jobs, job_count, number), number);
}

// Writes the chunk's word, by one warp. The last chunk completes the words with zeros to a multiple of 16 bytes.
__device__ __forceinline__ void write_chunk_word(uint32_t* words, const InputChunk& chunk, uint32_t lane,
                                                 uint32_t word) {
  const uint32_t chunk_count = chunk.job->chunk_count;
  if (chunk.own + lane < (chunk_count + 3) / 4 * 4 && (lane == 0 || chunk.own + 1 == chunk_count))
    words[chunk.own + lane] = lane == 0 ? word : 0;
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
