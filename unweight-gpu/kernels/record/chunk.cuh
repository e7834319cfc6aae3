// Chunks of a launch: the job, the record and the sign-mantissa bytes of a chunk number.
#pragma once
#include "abi/tensor_job.cuh"

namespace unweight::record {

struct Chunk {
  const TensorJob* job;
  const uint8_t* record;         // 16-byte aligned, in device memory or in a copy
  uint32_t record_bytes;         // a multiple of 16, at least 16
  const uint8_t* sign_mantissa;  // first byte of the chunk
  uint32_t weights;              // 1 to 65,536
  uint32_t steps;
  uint64_t output_start;  // first weight of the chunk in the output
};

// The job of chunk `number`: the last job whose first chunk is not after it.
template <class Job>
__device__ __forceinline__ const Job* find_job(const Job* jobs, uint32_t job_count, uint32_t number) {
  uint32_t low = 0, high = job_count;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    if (jobs[middle].first_chunk <= number)
      low = middle;
    else
      high = middle;
  }
  return &jobs[low];
}

// Weights of the step that are this lane's, where its first one has position `position` in a chunk: 8, or fewer in a
// short last step.
__device__ __forceinline__ uint32_t lane_step_count(uint32_t weights, uint32_t position) {
  return position < weights ? min(weights - position, LANE_STEP_WEIGHTS) : 0;
}

__device__ __forceinline__ uint32_t round_up_record(uint32_t bytes) {
  return (bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
}

// Chunk `number` of the launch.
__device__ inline Chunk find_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t number) {
  const TensorJob* job = find_job(jobs, job_count, number);
  const uint32_t own = number - job->first_chunk + job->skipped_chunks;
  const uint32_t start = own == 0 ? 0 : job->record_ends[own - 1];
  Chunk chunk;
  chunk.job = job;
  chunk.record = job->records + static_cast<uint64_t>(start) * RECORD_ALIGNMENT;
  chunk.record_bytes = (job->record_ends[own] - start) * RECORD_ALIGNMENT;
  const uint64_t first_weight = static_cast<uint64_t>(own) << job->chunk_size_log2;
  chunk.output_start = static_cast<uint64_t>(own - job->skipped_chunks) << job->chunk_size_log2;
  chunk.sign_mantissa = job->sign_mantissa + first_weight;
  const uint64_t left = job->weights - first_weight;
  const uint32_t whole = 1u << job->chunk_size_log2;
  chunk.weights = left < whole ? static_cast<uint32_t>(left) : whole;
  chunk.steps = (chunk.weights + STEP_WEIGHTS - 1) / STEP_WEIGHTS;
  return chunk;
}

}  // namespace unweight::record
