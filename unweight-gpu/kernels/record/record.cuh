// A chunk and its record: found, and held to the rules of sections 5 and 6 but those of the lane streams' contents.
// All lanes of a warp work on one record and leave with the same verdict.
#pragma once
#include "abi/layout.cuh"

struct Chunk {
  const TensorJob* job;
  const uint8_t* record;         // 16-byte aligned, in device memory or where it was copied to
  uint32_t record_bytes;         // a multiple of 16, at least 16
  const uint8_t* sign_mantissa;  // of its first weight
  uint32_t weights;              // 1 to 65,536
  uint32_t steps;
  uint64_t output_start;         // where its weights begin in the output, in weights
};

// The job of chunk `number` of the launch: the last whose first chunk is not behind it.
__device__ __forceinline__ const TensorJob* find_job(const TensorJob* jobs, uint32_t job_count, uint32_t number) {
  uint32_t low = 0, high = job_count;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    if (jobs[middle].first_chunk <= number) low = middle; else high = middle;
  }
  return &jobs[low];
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

// A record that kept the rules.
struct Record {
  uint32_t kind;
  uint32_t lane_start, lane_end;  // of this lane, in bytes from LANE_STREAMS_OFFSET; huffman alone
  uint32_t patches_offset, patch_count;
  uint2 code_lengths;
};

__device__ __forceinline__ uint32_t length_of(uint2 code_lengths, uint32_t entry) {
  const uint32_t word = entry < 8 ? code_lengths.x : code_lengths.y;
  return word >> (entry % 8 * 4) & 15;
}

// Lane l has that of entry l, and those from 16 on no code.
__device__ __forceinline__ uint32_t length_of_lane(uint2 code_lengths, uint32_t lane) {
  return lane < PALETTE_ENTRIES ? length_of(code_lengths, lane) : NO_CODE;
}

// Section 6: a code of L bits owns 2^(8-L) of the 256 strings of 8 bits, first bit highest, one behind the other in canonical order: by length, then by entry.
// Gives the first of those of this lane's code, which has `length` bits; without a code, 0. Tells `taken(bits, strings)` how many strings the codes of at most
// so many bits own, for 0 to 8 bits.
template <class Taken>
__device__ __forceinline__ uint32_t first_string(uint32_t length, uint32_t lane, const Taken& taken) {
  uint32_t strings = 0, first = 0;
#pragma unroll
  for (uint32_t bits = 0; bits <= LONGEST_CODE_BITS; bits++) {
    const uint32_t entries = __ballot_sync(ALL_LANES, length == bits);
    if (length == bits) first = strings + static_cast<uint32_t>(__popc(entries & ((1u << lane) - 1))) * (CODE_TABLE_ENTRIES >> bits);
    strings += static_cast<uint32_t>(__popc(entries)) * (CODE_TABLE_ENTRIES >> bits);
    taken(bits, strings);
  }
  return first;
}

// Section 6: 0, or the rule that the code lengths break.
__device__ inline uint32_t broken_code(uint2 code_lengths, uint32_t lane) {
  const uint32_t length = length_of_lane(code_lengths, lane);
  const bool unknown = length > LONGEST_CODE_BITS && length != NO_CODE;
  const uint32_t sum = __reduce_add_sync(ALL_LANES, length <= LONGEST_CODE_BITS ? CODE_TABLE_ENTRIES >> length : 0);
  if (__any_sync(ALL_LANES, unknown)) return CODE_LENGTH;
  if (sum > CODE_TABLE_ENTRIES) return CODE_OVERSUBSCRIBED;
  return sum < CODE_TABLE_ENTRIES ? CODE_INCOMPLETE : 0;
}

__device__ __forceinline__ uint32_t patch_position(const uint8_t* patch) { return patch[0] | patch[1] << 8; }

// Section 5.5. The first bad patch decides.
__device__ inline uint32_t broken_patches(const Chunk& chunk, const Record& record, uint32_t lane) {
  if (record.patch_count == 0) return 0;
  const uint8_t* patches = chunk.record + record.patches_offset;
  uint32_t first = ~0u;  // patch number << 1 | 1 if its position is what is wrong
  for (uint32_t i = lane; i < record.patch_count; i += WARP) {
    const uint32_t position = patch_position(patches + PATCH_BYTES * i);
    const bool follows = i == 0 || position > patch_position(patches + PATCH_BYTES * (i - 1));
    if (!follows) first = min(first, i << 1);
    else if (position >= chunk.weights) first = min(first, i << 1 | 1);
  }
  first = __reduce_min_sync(ALL_LANES, first);
  if (first == ~0u) return 0;
  return first & 1 ? PATCH_POSITION : PATCH_ORDER;
}

// The record's header: 0, or the first rule that it breaks.
__device__ inline uint32_t parse_header(const Chunk& chunk, uint32_t lane, Record& record) {
  const uint4 header = *reinterpret_cast<const uint4*>(chunk.record);
  record.kind = header.y & 0xff;
  record.patch_count = header.y >> 16;
  record.code_lengths = make_uint2(header.z, header.w);

  if (record.kind > KIND_PALETTE) return RECORD_KIND;
  if (record.kind != KIND_VERBATIM && record.kind != chunk.job->kind) return RECORD_ENCODING;
  if (header.y >> 8 & 0xff) return RECORD_RESERVED;
  if (record.kind == KIND_VERBATIM && record.patch_count != 0) return RECORD_RESERVED;
  if (record.kind != KIND_HUFFMAN && (header.z | header.w) != 0) return RECORD_RESERVED;
  return record.kind == KIND_HUFFMAN ? broken_code(record.code_lengths, lane) : 0;
}

// What is behind a header that broke no rule. Gives 0, or the first rule that is broken; `record` is whole only with 0. Lanes differ in lane_start and
// lane_end alone.
__device__ inline uint32_t parse_body(const Chunk& chunk, uint32_t lane, Record& record) {
  record.lane_start = record.lane_end = 0;
  uint32_t body_end = RECORD_HEADER_BYTES;
  if (record.kind == KIND_HUFFMAN) {
    if (chunk.record_bytes < LANE_STREAMS_OFFSET) return RECORD_LENGTH;
    record.lane_end = reinterpret_cast<const uint16_t*>(chunk.record + RECORD_HEADER_BYTES)[lane];
    const uint32_t before = __shfl_up_sync(ALL_LANES, record.lane_end, 1);
    record.lane_start = lane == 0 ? 0 : before;
    if (__any_sync(ALL_LANES, record.lane_end < record.lane_start)) return LANE_ENDS;
    body_end = LANE_STREAMS_OFFSET + __shfl_sync(ALL_LANES, record.lane_end, LANES - 1);
  } else if (record.kind == KIND_PALETTE) {
    body_end += chunk.steps * STEP_INDEX_BYTES;
  } else {
    body_end += chunk.weights;
  }
  const uint32_t contents_end = body_end + record.patch_count * PATCH_BYTES;
  if (chunk.record_bytes != (contents_end + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT)
    return RECORD_LENGTH;
  const bool padding = contents_end + lane < chunk.record_bytes && chunk.record[contents_end + lane] != 0;
  if (__any_sync(ALL_LANES, padding)) return RECORD_PADDING;
  record.patches_offset = body_end;
  return broken_patches(chunk, record, lane);
}

// Gives 0, or the first rule that is broken.
__device__ inline uint32_t parse_record(const Chunk& chunk, uint32_t lane, Record& record) {
  const uint32_t broken = parse_header(chunk, lane, record);
  return broken != 0 ? broken : parse_body(chunk, lane, record);
}
