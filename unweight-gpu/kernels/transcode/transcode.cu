// Records of BF16 tensors of which the exponent alone is coded to the other encoding, without exponents in device
// memory (specification, section 11.9).
//
// A canonical encoder gives a tensor the same palette in both encodings. So indices are kept, and counted on the way.
// The last block of a tensor compares the palette that the counts give with the input's (encode/palette.cuh). If they
// differ, or if a record would be verbatim in one encoding only, `fallback` is set: the output is then worthless, and
// the host has the tensors decoded to weights and encoded from these.
//
// Data layout:
//
//   record          | header | lane ends | lane 0 .... | lane 1 .... | ...    copied to shared memory if it fits
//   indices         | lane 0: 4 bytes | lane 1: 4 bytes | ... | lane 31 |     a step: 128 bytes, one store a lane
//   plain           | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   two steps: 512 bytes
//
// Threads, Huffman to palette:
//   palette_record_ends   one warp = one record; its length follows from the patches that it keeps; the last warp of a
//                         tensor adds up all lengths
//   huffman_to_palette    one block = one warp = one record; thread l = lane l of the specification
// Plain bytes are copied and indices counted beside decoding, which is a chain of look-ups. The new record is
// then read again for its remainder.
//
// Threads, palette to Huffman:
//   count_indices         one block = one warp = one record, whose remainder it computes on the way
//                         (checksum/crc32.cuh); encode.cu makes the records
//
// Checksums. A chunk's checksum is the sum of the remainders of its record and of its plain bytes, and these bytes
// do not change. So their remainder follows from the input's checksum and record, which is a third of the bytes.
// A wrong checksum stays wrong.
//
// Shared memory: for huffman_to_palette CODES_BYTES and `stage_bytes` for the record, as in decode.cu, or palette.cuh's
// 2,112 bytes if that is more; for count_indices 2,112 bytes.
// Registers: at most 80, for 24 blocks on a multiprocessor. Memory traffic for a chunk of n weights and records of r
// and q bytes: huffman_to_palette reads n + r and writes n + q, of which q are read again from caches; count_indices
// reads r.
// Preconditions: those of EncodeJob's totals, palettes, record_lengths, records, plain and input; for
// palette_record_ends, of record_ends; for count_indices, of plain_remainders and palette_counts; those of the input
// TensorJobs, which have the other encoding; `constants` is what `src/checksum/constants.rs` makes. palette_record_ends
// has a warp for each chunk, in blocks of 8, and comes before huffman_to_palette. No record is trusted: a kernel
// accesses nothing outside the record, its chunk's plain bytes and the output of both.
// Tail: steps after the last group of four are taken one by one. Surplus indices become 0, as do the bytes that
// complete the plain plane to its limit.
#include "checksum/crc32.cuh"
#include "transcode/huffman_to_indices.cuh"
#include "transcode/record_ends.cuh"

namespace unweight::transcode {

using checksum::advance_bytes;
using checksum::PlainBytes;
using checksum::remainder_of;

constexpr uint32_t LENGTH_WARPS = 8;
// Bytes of the tables of a record's codes, or of the counts of a verbatim record's exponents.
constexpr uint32_t CODES_BYTES = FIELD_VALUES * 4;
static_assert(decode::TABLES_BYTES <= CODES_BYTES);

extern "C" __global__ void __launch_bounds__(LENGTH_WARPS* WARP, 4)
    palette_record_ends(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint32_t* fallback) {
  const uint32_t number = blockIdx.x * LENGTH_WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (number >= chunk_count) return;
  const InputChunk target = find_only_chunk(jobs, job_count, number);
  const uint32_t record_bytes = palette_record_bytes(input_of(target), lane, fallback);
  encode::write_record_word(target.job->record_lengths, target, lane, record_bytes / RECORD_ALIGNMENT);
  __syncwarp();
  uint32_t is_last = 0;
  if (lane == 0) {
    // The length is visible before it counts as written.
    __threadfence();
    is_last = atomicAdd(&target.job->done()->measured, 1u) == target.job->chunk_count - 1;
  }
  if (__shfl_sync(ALL_LANES, is_last, 0) == 0) return;
  __threadfence();
  write_record_ends(target.job, lane);
}

// Address and length of the chunk's new record.
__device__ __forceinline__ uint8_t* target_record(const InputChunk& target, uint32_t& record_bytes) {
  const uint32_t start = target.own == 0 ? 0 : target.job->record_ends[target.own - 1];
  record_bytes = (target.job->record_ends[target.own] - start) * RECORD_ALIGNMENT;
  return target.job->records + static_cast<uint64_t>(start) * RECORD_ALIGNMENT;
}

// Copies a verbatim record, checksum included, and its plain bytes, and counts its exponents.
__device__ __forceinline__ void copy_verbatim(const Chunk& chunk, const FieldRecord& at, const InputChunk& target,
                                              uint32_t number, uint32_t lane, uint8_t* to, uint32_t* counts) {
  for (uint32_t i = lane; i < at.length / 16; i += WARP)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(at.bytes)[i];
  copy_sign_mantissa(chunk, target.job, target.sign_mantissa(), 0, lane);
  count_verbatim(at, lane, counts, totals_of(target, number));
}

__device__ __forceinline__ void transcode_to_palette(const InputChunk& target, uint32_t number, uint32_t lane,
                                                     uint4* shared, uint32_t stage_bytes, const CrcConstants* constants,
                                                     unsigned long long* status) {
  uint8_t* codes_memory = reinterpret_cast<uint8_t*>(shared);
  uint4* stage = shared + CODES_BYTES / 16;
  const Chunk chunk = input_of(target);
  FieldRecord at = only_record(chunk);
  const bool staged = at.length <= stage_bytes;
  if (staged) {
    decode::copy_record(at.bytes, at.length, lane, stage);
    ptx::wait_copies();
    __syncwarp();
    at.bytes = reinterpret_cast<const uint8_t*>(stage);
  }

  Record record;
  uint32_t broken = record::parse_record(at, lane, record);
  uint32_t record_bytes;
  uint8_t* to = target_record(target, record_bytes);
  if (broken == 0 && record_bytes == NO_RECORD_BYTES) return;
  if (broken == 0 && record.kind == KIND_VERBATIM) {
    copy_verbatim(chunk, at, target, number, lane, to, reinterpret_cast<uint32_t*>(codes_memory));
    return;
  }
  ValueCounts counts;
  uint32_t outside;
  if (broken == 0) {
    const decode::WarpMemory memory{codes_memory, codes_memory + CODE_TABLE_ENTRIES, stage};
    CodeTable codes = decode::make_tables(static_cast<uint8_t>(lane % PALETTE_ENTRIES), record, lane, memory);
    // One register for both addresses.
    codes.values = codes.lengths - CODE_TABLE_ENTRIES;
    __syncwarp();
    const uint32_t* in_stage = reinterpret_cast<const uint32_t*>(stage);
    const uint32_t* in_place = reinterpret_cast<const uint32_t*>(at.bytes);
    broken = staged ? decode_to_indices(chunk, at, record, target, number, lane, in_stage, codes, to, counts, outside)
                    : decode_to_indices(chunk, at, record, target, number, lane, in_place, codes, to, counts, outside);
  }
  if (broken != 0) {
    if (lane == 0) report(status, number, 0, broken);
    return;
  }

  const uint32_t count = counts.of_value(lane, chunk.weights - outside);
  if (count != 0) ptx::reduce_add(&totals_of(target, number)[palette_of(chunk.job)[lane]], count);
  // The record is read after the stores of other lanes.
  __syncwarp();
  // The record's address is computed again, because registers are scarce while a record is decoded.
  to = target_record(target, record_bytes);
  // The new checksum is the input's plus the difference of the records' remainders.
  uint32_t sum = remainder_of(constants, lane, PlainBytes{to}, record_bytes, RECORD_CHECKED_FROM, ~0u);
  sum ^= remainder_of<2>(constants, lane, PlainBytes{at.bytes}, at.length, RECORD_CHECKED_FROM, ~0u);
  const uint32_t change = advance_bytes(constants->power, sum, chunk.weights, lane);
  if (lane == 0) *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(at.bytes) ^ change;
}

extern "C" __global__ void __launch_bounds__(WARP, 24)
    huffman_to_palette(const EncodeJob* jobs, uint32_t job_count, uint32_t stage_bytes, const CrcConstants* constants,
                       unsigned long long* status, uint32_t* fallback) {
  DYNAMIC_SHARED(shared);
  const InputChunk target = find_only_chunk(jobs, job_count, blockIdx.x);
  transcode_to_palette(target, blockIdx.x, threadIdx.x, shared, stage_bytes, constants, status);
  confirm_palette(const_cast<EncodeJob*>(target.job), shared, fallback);
}

// Message of a palette record whose indices are counted while its remainder is computed.
struct CountedRecord {
  const uint8_t* data;
  uint32_t body_end;  // 0 if there are no indices
  uint32_t weights;
  ValueCounts* counts;

  __device__ __forceinline__ uint4 sixteen(uint32_t at) const {
    return ptx::load_streaming(reinterpret_cast<const uint4*>(data + at));
  }
  __device__ __forceinline__ uint32_t byte(uint32_t at) const { return data[at]; }
  __device__ __forceinline__ void visit(uint32_t at, uint4 words) const {
    // All lanes count together, so bytes outside the body count as zeros.
    const uint32_t mask = at < RECORD_HEADER_BYTES || at >= body_end ? 0 : ~0u;
    uint32_t indices[GROUP_STEPS] = {words.x & mask, words.y & mask, words.z & mask, words.w & mask};
    const uint32_t first = (at - RECORD_HEADER_BYTES) * 2;
    if (first + GROUP_STEPS * LANE_STEP_WEIGHTS > weights) {
#pragma unroll
      for (uint32_t i = 0; i < GROUP_STEPS; i++)
        indices[i] = first_indices(indices[i], lane_step_count(weights, first + i * LANE_STEP_WEIGHTS));
    }
#pragma unroll
    for (uint32_t i = 0; i < GROUP_STEPS; i++) counts->add(indices[i]);
  }
};

// Returns what patches add to the count of palette entry `lane`, modulo 2^32. Adds exponents outside the palette to the
// totals. `changes` has a word for each lane.
__device__ inline uint32_t count_patches(const Chunk& chunk, const FieldRecord& at, const Record& record, uint32_t lane,
                                         uint32_t* changes, unsigned long long* totals) {
  changes[lane] = 0;
  __syncwarp();
#pragma unroll 1
  for (uint32_t i = lane; i < record.patch_count; i += WARP) {
    const uint8_t* patch = at.bytes + record.patches_offset + PATCH_BYTES * i;
    const uint32_t position = patch_position(patch), exponent = patch[2];
    atomicAdd(&changes[at.bytes[RECORD_HEADER_BYTES + position / 2] >> position % 2 * 4 & 15], ~0u);
    const uint32_t index = index_of(palette_of(chunk.job), exponent);
    if (index == PALETTE_ENTRIES)
      ptx::reduce_add(&totals[exponent], 1);
    else
      atomicAdd(&changes[index], 1u);
  }
  __syncwarp();
  return changes[lane];
}

// Counts the exponents of a palette record, and stores the remainder of its plain bytes. `memory` has 256
// words.
__device__ __forceinline__ void count_record(const InputChunk& target, uint32_t number, uint32_t lane, uint32_t* memory,
                                             const CrcConstants* constants, unsigned long long* status) {
  const Chunk chunk = input_of(target);
  const FieldRecord at = only_record(chunk);
  Record record;
  const uint32_t broken = record::parse_record(at, lane, record);
  // encode_chunks_of_records skips a record that has a length already.
  if (lane == 0) target.job->record_lengths[target.own] = broken == 0 ? 0 : NO_RECORD_BYTES / RECORD_ALIGNMENT;
  uint32_t* palette_counts = target.job->palette_counts + static_cast<uint64_t>(target.own) * PALETTE_ENTRIES;
  if (broken != 0) {
    // choose_codes reads the counts.
    if (lane < PALETTE_ENTRIES) palette_counts[lane] = 0;
    if (lane == 0) report(status, number, 0, broken);
    return;
  }
  const bool is_verbatim = record.kind == KIND_VERBATIM;
  unsigned long long* totals = totals_of(target, number);
  ValueCounts counts;
  const CountedRecord counted{at.bytes, is_verbatim ? 0 : record.patches_offset, chunk.weights, &counts};
  const uint32_t sum = remainder_of<2>(constants, lane, counted, at.length, RECORD_CHECKED_FROM, ~0u);
  // The remainder of the plain bytes, for encode_chunks_of_records.
  const uint32_t rest =
      *reinterpret_cast<const uint32_t*>(at.bytes) ^ advance_bytes(constants->power, sum, chunk.weights, lane);
  if (lane == 0) target.job->plain_remainders[target.own] = rest;
  const uint32_t exponent = palette_of(chunk.job)[lane % PALETTE_ENTRIES];
  uint32_t count;
  if (is_verbatim) {
    count_verbatim(at, lane, memory, totals);
    count = memory[exponent];
  } else {
    count = counts.of_value(lane, chunk.weights) + count_patches(chunk, at, record, lane, memory, totals);
    if (lane < PALETTE_ENTRIES && count != 0) ptx::reduce_add(&totals[exponent], count);
  }
  if (lane < PALETTE_ENTRIES) palette_counts[lane] = count;
}

extern "C" __global__ void __launch_bounds__(WARP, 24)
    count_indices(const EncodeJob* jobs, uint32_t job_count, const CrcConstants* constants, unsigned long long* status,
                  uint32_t* fallback) {
  DYNAMIC_SHARED(shared);
  const InputChunk target = find_only_chunk(jobs, job_count, blockIdx.x);
  count_record(target, blockIdx.x, threadIdx.x, reinterpret_cast<uint32_t*>(shared), constants, status);
  confirm_palette(const_cast<EncodeJob*>(target.job), shared, fallback);
}

}  // namespace unweight::transcode
