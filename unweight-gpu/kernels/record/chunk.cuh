// Chunks of a launch: the job, the records and the plain bytes of a chunk number.
#pragma once
#include "abi/tensor_job.cuh"

namespace unweight::record {

struct Chunk {
  const TensorJob* job;
  uint32_t own;      // its number in the tensor
  uint32_t weights;  // 1 to 65,536
  uint32_t steps;
  const uint8_t* plain;   // first byte of the chunk; 256-byte aligned
  uint64_t output_start;  // first weight of the chunk in the output
};

// The record of one coded field in one chunk.
struct FieldRecord {
  const uint8_t* bytes;  // 16-byte aligned, in device memory or in a copy
  uint32_t length;       // a multiple of 16, at least 16
  uint32_t weights;      // those of the chunk
  uint32_t steps;
  CodedField field;
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

// Chunk `number` of the launch, which is one of this job.
__device__ __forceinline__ Chunk chunk_of(const TensorJob* job, uint32_t number) {
  Chunk chunk;
  chunk.job = job;
  chunk.own = number - job->first_chunk + job->skipped_chunks;
  const uint32_t log2 = job->chunk_size_log2;
  const uint64_t first_weight = static_cast<uint64_t>(chunk.own) << log2;
  const uint64_t left = job->weights - first_weight;
  const uint32_t whole = 1u << log2;
  chunk.weights = left < whole ? static_cast<uint32_t>(left) : whole;
  chunk.steps = (chunk.weights + STEP_WEIGHTS - 1) / STEP_WEIGHTS;
  // A chunk has a multiple of 512 bytes for each plain bit, if it is not the last.
  chunk.plain = job->plain + (static_cast<uint64_t>(chunk.own) << (log2 - 3)) * job->plain_bits;
  chunk.output_start = static_cast<uint64_t>(chunk.own - job->skipped_chunks) << log2;
  return chunk;
}

// Chunk `number` of the launch.
__device__ __forceinline__ Chunk find_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t number) {
  return chunk_of(find_job(jobs, job_count, number), number);
}

// Bytes of the plain plane of a chunk.
__device__ __forceinline__ uint32_t plain_bytes(const Chunk& chunk) {
  return (chunk.weights * chunk.job->plain_bits + 7) / 8;
}

// The record of coded field `number`. The first one of a chunk begins where the last one of the chunk before ends.
__device__ __forceinline__ FieldRecord find_record(const Chunk& chunk, uint32_t number) {
  const TensorJob* job = chunk.job;
  const uint64_t index = static_cast<uint64_t>(chunk.own) * job->coded_count + number;
  const uint32_t start = index == 0 ? 0 : job->record_ends[index - 1];
  FieldRecord record;
  record.bytes = job->records + static_cast<uint64_t>(start) * RECORD_ALIGNMENT;
  record.length = (job->record_ends[index] - start) * RECORD_ALIGNMENT;
  record.weights = chunk.weights;
  record.steps = chunk.steps;
  record.field = job->fields[number];
  return record;
}

// The records of all coded fields of a chunk, which follow one another.
struct ChunkRecords {
  const uint8_t* bytes;
  uint32_t length;  // 0 without coded fields
};

__device__ __forceinline__ ChunkRecords find_records(const Chunk& chunk) {
  const TensorJob* job = chunk.job;
  if (job->coded_count == 0) return ChunkRecords{nullptr, 0};
  const uint64_t index = static_cast<uint64_t>(chunk.own) * job->coded_count;
  const uint32_t start = index == 0 ? 0 : job->record_ends[index - 1];
  const uint32_t end = job->record_ends[index + job->coded_count - 1];
  return ChunkRecords{job->records + static_cast<uint64_t>(start) * RECORD_ALIGNMENT, (end - start) * RECORD_ALIGNMENT};
}

}  // namespace unweight::record
