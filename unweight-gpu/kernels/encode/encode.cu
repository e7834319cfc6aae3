// Weights, values or palette records to records, and weights to plain bytes (specification, sections 5, 11.5 to 11.7
// and 11.9).
//
// Data layout:
//
//   weights         | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   a step: 512 bytes, one load a lane
//   plain           | lane 0: 8 bytes  | lane 1: 8 bytes  | ... | lane 31 |   a step: 256 bytes, one store a lane
//   record, shared  | header | lane ends | lane 0: warp 0, warp 1, .. | lane 1: .. | ... | patches | 0.. |
//   records         the same bytes, 16 for each thread
//
// Threads: one block = one record; one warp = 8 of its steps, or what is left of them; thread l of a warp = lane l of
// the specification.
//
//   encode_chunks              BF16 weights of which the exponent alone is coded. Makes the plain plane too, a byte of
//                              sign and mantissa for each weight.
//   encode_chunks_of_values    any field of any type: reads 8 bytes of values for each lane and step. The plain plane
//                              and the remainders of its bytes are made before (split.cu).
//   encode_chunks_of_records   palette records of weights as of encode_chunks: reads 4 bytes of indices and 8 plain
//                              bytes for each lane and step. Its warps have 16 steps.
//
// Phases:
//   load            weights to registers; the first warp makes the code's tables (tables.cuh)
//   index           values to palette indices in registers, and the bits that they take (index_weights.cuh)
//   plan            start of every lane's stream, first bit of every warp's section, and whether the record is verbatim
//   write           codes (stream_packer.cuh), indices or values, then patches (patches.cuh), to shared memory
//   place           start of the record among those of its tensor (look_back.cuh)
//   copy            the record to device memory, and its checksum
//
// The checksum is a sum of remainders: of the plain bytes of each warp, computed while they are in registers, or of
// those of the chunk, computed before; and of shares of the record, computed while it is in shared memory.
//
// Shared memory: EncodeTables, 6,688 bytes, and space for the longest record. Words of indices, and half of the
// plain bytes of records, use that space before the record is written.
// Registers: at most 64 for blocks of 1,024 threads.
// Memory traffic for a chunk of n weights and a record of r bytes: 2n read, n + r written; from values n read, r
// written. Weights and values are read again for a verbatim record.
// Preconditions: those of EncodeJob, except counts and totals; `tensor_codes` is what choose_codes made; a block for
// each record, of a warp for every 2,048 weights of the largest chunk, or 4,096 from records, and shared memory for a
// verbatim record of 8-bit values. encode_chunks_of_records comes after count_indices (transcode.cu), which checks the
// input records, and sets record_lengths to 0 for a good one.
// Tail: the last step of a chunk may be short. Its surplus is coded as the placeholder, or as index 0, without patches.
// Its plain bytes are zero, and complete the plane to its limit. Nothing is written after the last record's
// end.
#include "encode/index_weights.cuh"
#include "encode/look_back.cuh"
#include "encode/stream_packer.cuh"

namespace unweight::encode {

using checksum::advance_bytes;
using checksum::PlainBytes;
using checksum::remainder_of;
using checksum::Share;
using record::round_up_record;

// Chunk of record `number` of the launch, which is one of this job.
template <class Input>
__device__ __forceinline__ InputChunk chunk_of(const EncodeJob* job, uint32_t number) {
  if constexpr (Input::IS_ONLY_FIELD) return only_chunk(job, number);
  return input_chunk(job, number);
}

// Stores the remainder of a warp's plain bytes, advanced to the chunk's end. Zeros complete the last row.
__device__ __forceinline__ void store_remainder(EncodeTables* tables, uint32_t lane, uint32_t warp,
                                                const InputChunk& chunk, const InputChunk& part, uint32_t first_step,
                                                const CrcState<8>& crc, const CrcConstants* constants) {
  const uint32_t end = (first_step + (part.steps + 1) / 2 * 2) * STEP_WEIGHTS, count = chunk.weight_count;
  uint32_t of_rest = crc.remainder(constants, lane);
  of_rest = end <= count ? advance_bytes(constants->power, of_rest, count - end, lane)
                         : advance_bytes(constants->inverse, of_rest, end - count, lane);
  if (lane == 0) tables->remainders[warp] = part.steps == 0 ? 0 : of_rest;
}

// Writes a warp's exponents, read again. Zeros complete the record to a multiple of 16 bytes.
template <class Input>
__device__ inline void write_verbatim(const InputChunk& part, const Input& input, uint32_t lane, uint8_t* body) {
  const auto write_eight = [&](uint32_t position, const typename Input::Eight& eight) {
    *reinterpret_cast<uint2*>(body + position) = Input::value_bytes(eight);
  };
  const uint32_t last = for_whole_steps<1>(input, part.weight_count, lane, write_eight);
  if (last < round_up_record(part.weight_count))
    write_eight(last, input.part(last, lane_step_count(part.weight_count, last)));
}

// Same for values of any width: eight of them take as many bytes as one has bits. The record ends `end` bytes after
// `body`, which is not after the part's last step, because a step takes a multiple of 16 bytes.
__device__ inline void write_verbatim(const InputChunk& part, const ValueInput& input, uint32_t lane, uint8_t* body,
                                      uint32_t end) {
  const uint32_t bits = part.job->value_bits;
#pragma unroll 1
  for (uint32_t step = 0; step < part.steps; step++) {
    const uint32_t position = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
    const uint2 eight = input.part(position, lane_step_count(part.weight_count, position));
    uint64_t packed = 0;
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      packed |= static_cast<uint64_t>(ValueInput::value_of(eight, i)) << bits * i;
    const uint32_t start = (step * WARP + lane) * bits;
#pragma unroll 1
    for (uint32_t at = start; at < min(start + bits, end); at++, packed >>= 8) body[at] = static_cast<uint8_t>(packed);
  }
}

// Writes lane ends, lane streams and patches. `before` are the bits of this lane in the warps before this one.
template <uint32_t STEPS, class WritePatches>
__device__ __forceinline__ void write_huffman(EncodeTables* tables, uint4* record, uint32_t* record_words,
                                              uint32_t lane, uint32_t warp, const InputChunk& part, uint32_t length,
                                              uint32_t lane_end, uint32_t lane_bytes, uint32_t before,
                                              const LaneIndices<STEPS>& indices, const WritePatches& write_patches) {
  for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) record[i] = make_uint4(0, 0, 0, 0);
  __syncthreads();
  if (warp == 0) reinterpret_cast<uint16_t*>(record + RECORD_HEADER_BYTES / 16)[lane] = static_cast<uint16_t>(lane_end);
  const uint32_t first_bit = 8 * (LANE_STREAMS_OFFSET + lane_end - lane_bytes) + (before & 0xffff);
  StreamPacker packer{ptx::shared_address(record_words) + first_bit / 32 * 4, 0, first_bit % 32};
  packer.pack(indices, part.steps, ptx::shared_address(tables->pairs));
  write_patches();
  __syncthreads();
  if (packer.bits != 0) atomicOr(record_words + (packer.word - ptx::shared_address(record_words)) / 4, packer.bits);
}

// Writes indices, patches and padding.
template <uint32_t STEPS, class WritePatches>
__device__ __forceinline__ void write_palette(uint32_t* record_words, uint8_t* record_bytes, uint32_t lane,
                                              uint32_t warp, const InputChunk& part, uint32_t first_step,
                                              uint32_t contents_end, uint32_t length, const LaneIndices<STEPS>& indices,
                                              const WritePatches& write_patches) {
  uint32_t* body = record_words + RECORD_HEADER_BYTES / 4 + first_step * WARP;
#pragma unroll
  for (uint32_t step = 0; step < STEPS; step++)
    if (step < part.steps) body[step * WARP + lane] = indices.words[step];
  write_patches();
  if (warp == 0 && contents_end + lane < length) record_bytes[contents_end + lane] = 0;
}

// The inverted remainder of a chunk's plain bytes, on the lanes of its first warp; that of none for a field that is not
// the first. Those of records do not change: count_indices (transcode.cu) has derived it from the input's checksum and
// record, so a wrong checksum stays wrong.
template <class Input>
__device__ __forceinline__ uint32_t remainder_of_plain(const InputChunk& chunk, const EncodeTables* tables) {
  if constexpr (!Input::HAS_PLAIN || LaneWeights<Input>::OF_RECORDS)
    return chunk.job->plain_remainders == nullptr ? ~0u : chunk.job->plain_remainders[chunk.own];
  uint32_t sum = ~0u;
  for (uint32_t warp = 0; warp < blockDim.x / WARP; warp++) sum ^= tables->remainders[warp];
  return sum;
}

// Bytes of the plain plane that the record's checksum covers.
template <class Input>
__device__ __forceinline__ uint32_t checked_plain_bytes(const InputChunk& chunk) {
  if constexpr (Input::IS_ONLY_FIELD) return chunk.weight_count;
  return chunk.job->field == 0 ? plain_bytes_of(chunk) : 0;
}

// Layout of a record. It is the same for all threads, but for the two fields of a lane.
struct RecordLayout {
  uint32_t lane_bytes;  // of the lane's stream
  uint32_t lane_end;    // end of the lane's stream, from LANE_STREAMS_OFFSET on
  uint32_t patch_count;
  uint32_t body_end;      // start of the patches
  uint32_t contents_end;  // end of the patches
  uint32_t length;        // a multiple of RECORD_ALIGNMENT
  bool verbatim;
};

// Plans the record. `sum` holds the bits of the lane in all warps, and the number of its patches << 16.
template <class Input>
__device__ __forceinline__ RecordLayout plan_record(const InputChunk& chunk, bool huffman, uint32_t sum,
                                                    uint32_t lane) {
  const uint32_t lane_bytes = ((sum & 0xffff) + 7) / 8;
  const uint32_t lane_end = inclusive_sum(lane_bytes, lane);
  const uint32_t patch_count = __reduce_add_sync(ALL_LANES, sum >> 16);
  const uint32_t streams_end = LANE_STREAMS_OFFSET + __shfl_sync(ALL_LANES, lane_end, WARP - 1);
  const uint32_t body_end = huffman ? streams_end : RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES;
  const uint32_t contents_end = body_end + PATCH_BYTES * patch_count;
  const uint32_t verbatim_end =
      RECORD_HEADER_BYTES + (Input::IS_ONLY_FIELD ? chunk.weight_count : verbatim_bytes_of(chunk));
  const bool verbatim = round_up_record(contents_end) > round_up_record(verbatim_end);
  const uint32_t length = round_up_record(verbatim ? verbatim_end : contents_end);
  return {lane_bytes, lane_end, patch_count, body_end, contents_end, length, verbatim};
}

// Encodes a record. The phases load, place and copy, and the sum over the warps, are in this function. In all forms
// that were tried with load or that sum as a function, or with publishing, place and copy as functions, encode_chunks
// spilled registers (CUDA 13.0, sm_90a).
template <class Input>
__device__ __forceinline__ void encode_chunk(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes,
                                             uint4* shared, const CrcConstants* constants) {
  constexpr uint32_t STEPS = LaneWeights<Input>::STEPS;
  EncodeTables* tables = reinterpret_cast<EncodeTables*>(shared);
  uint4* record = shared + sizeof(EncodeTables) / 16;
  uint8_t* record_bytes = reinterpret_cast<uint8_t*>(record);
  uint32_t* record_words = reinterpret_cast<uint32_t*>(record);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  InputChunk chunk = Input::IS_ONLY_FIELD ? find_only_chunk(jobs, job_count, blockIdx.x)
                                          : find_input_chunk(jobs, job_count, blockIdx.x);
  uint32_t first_step;
  InputChunk part = warp_part(chunk, warp, STEPS, first_step);
  const bool huffman = chunk.job->kind == KIND_HUFFMAN;

  // Load: weights are in flight while the first warp makes tables.
  LaneWeights<Input> weights;
  // After the spare words of index_weights.
  uint4* buffer = record + chunk.steps * (STEP_INDEX_BYTES / 16) + warp * (STEPS * STEP_WEIGHTS / 2 / 16);
  const bool loaded = weights.load(part, buffer, lane);
  // Keeps all loads before the first use: otherwise the compiler runs out of registers.
  __syncwarp();
  const bool fit = loaded && weights.fit(part, lane);
  if (warp == 0) make_entry_tables(chunk, jobs, tensor_codes, lane, tables);
  CrcState<8> crc;
  if (fit) weights.make_words_and_plain(part, buffer, constants, lane, crc);
  __syncthreads();
  // Computed again, so that they take no registers while registers are scarce.
  chunk = chunk_of<Input>(chunk.job, blockIdx.x);
  part = warp_part(chunk, warp, STEPS, first_step);
  if (huffman) make_pair_table(tables);

  // Index.
  LaneIndices<STEPS> indices;
  index_weights<Input>(part, fit, weights, first_step, lane, *tables, record_words + first_step * WARP, indices,
                       constants, crc);
  tables->sums[warp][lane] = indices.sum;
  __syncthreads();

  // Plan. No overflow: 65,536 weights make at most 16,384 bits of a lane, and 2,048 patches.
  uint32_t sum = 0, before = 0;  // bits of the lane, and patches << 16: of all warps, and of the warps before this one
  for (uint32_t other = 0; other < blockDim.x / WARP; other++) {
    if (other == warp) before = sum;
    sum += tables->sums[other][lane];
  }
  const RecordLayout layout = plan_record<Input>(chunk, huffman, sum, lane);
  const uint32_t lane_bytes = layout.lane_bytes, lane_end = layout.lane_end, patch_count = layout.patch_count;
  const uint32_t body_end = layout.body_end, contents_end = layout.contents_end, length = layout.length;
  const bool verbatim = layout.verbatim;
  if (threadIdx.x == 0) {
    publish_length(chunk, length / RECORD_ALIGNMENT);
    // The header's checksum is zero until the end.
    const uint2 code_lengths = verbatim ? make_uint2(0, 0) : tables->code_lengths;
    record[0] =
        make_uint4(0, verbatim ? KIND_VERBATIM : chunk.job->kind | patch_count << 16, code_lengths.x, code_lengths.y);
  }
  // After the length is published, because other blocks wait for it.
  if constexpr (Input::HAS_PLAIN && !LaneWeights<Input>::OF_RECORDS)
    store_remainder(tables, lane, warp, chunk, part, first_step, crc, constants);

  // Write.
  const auto write_all_patches = [&] {
    if (patch_count == 0) return;
    uint8_t* patches = record_bytes + body_end;
    if (patch_count <= LISTED_PATCHES) {
      write_listed_patches(*tables, patch_count, patches);
    } else {
      uint8_t* own = patches + PATCH_BYTES * __reduce_add_sync(ALL_LANES, before >> 16);
      write_found_patches(chunk, Input::Values::of(chunk), lane, tables->entries, first_step, part.steps, own,
                          patches + PATCH_BYTES * patch_count);
    }
  };
  if (verbatim) {
    // Only values are read again.
    uint8_t* body = record_bytes + RECORD_HEADER_BYTES;
    if constexpr (Input::IS_ONLY_FIELD) {
      if (part.steps != 0) write_verbatim(part, Input::Values::of(part), lane, body + first_step * STEP_WEIGHTS);
    } else if (part.steps != 0) {
      const uint32_t before_part = first_step * WARP * chunk.job->value_bits;
      write_verbatim(part, Input::of(part), lane, body + before_part, length - RECORD_HEADER_BYTES - before_part);
    }
  } else if (huffman) {
    write_huffman(tables, record, record_words, lane, warp, part, length, lane_end, lane_bytes, before, indices,
                  write_all_patches);
  } else {
    write_palette(record_words, record_bytes, lane, warp, part, first_step, contents_end, length, indices,
                  write_all_patches);
  }
  __syncthreads();

  // Place: shares of the record's remainder first, because blocks before this one may not have published their lengths
  // yet.
  const Share share{warp, min(blockDim.x / WARP, LaneWeights<Input>::OF_RECORDS ? SEAL_WARPS : SEAL_WARPS / 2)};
  if (warp < share.of) {
    const uint32_t of_share =
        remainder_of<1>(constants, lane, PlainBytes{record_bytes}, length, RECORD_CHECKED_FROM, ~0u, share);
    if (lane == 0) tables->record_remainders[warp] = of_share;
  }
  // Computed again, as above.
  chunk = chunk_of<Input>(chunk.job, blockIdx.x);
  if (threadIdx.x + WARP >= blockDim.x) look_back(chunk, length / RECORD_ALIGNMENT, lane, &tables->start);
  __syncthreads();

  // Copy.
  uint4* to = reinterpret_cast<uint4*>(chunk.job->records) + tables->start;
  for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) to[i] = record[i];
  if (warp != 0) return;
  uint32_t of_record = 0;
  for (uint32_t i = 0; i < share.of; i++) of_record ^= tables->record_remainders[i];
  const uint32_t checksum = remainder_of_plain<Input>(chunk, tables) ^
                            advance_bytes(constants->power, of_record, checked_plain_bytes<Input>(chunk), lane);
  const uint4 header = record[0];
  if (lane == 0) to[0] = make_uint4(checksum, header.y, header.z, header.w);
}

extern "C" __global__ void __launch_bounds__(MOST_ENCODE_WARPS* WARP)
    encode_chunks(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  encode_chunk<WeightInput>(jobs, job_count, tensor_codes, shared, constants);
}

extern "C" __global__ void __launch_bounds__(MOST_ENCODE_WARPS* WARP)
    encode_chunks_of_values(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes,
                            const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  encode_chunk<ValueInput>(jobs, job_count, tensor_codes, shared, constants);
}

extern "C" __global__ void __launch_bounds__(MOST_ENCODE_WARPS / 2 * WARP, 2)
    encode_chunks_of_records(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes,
                             const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  const InputChunk chunk = find_only_chunk(jobs, job_count, blockIdx.x);
  const uint32_t length = chunk.job->record_lengths[chunk.own];
  if (length != 0) {
    // The input record broke a rule, and has a length already: only its place is passed on.
    uint32_t* start = reinterpret_cast<uint32_t*>(shared);
    if (threadIdx.x == 0) publish_length(chunk, length);
    if (threadIdx.x < WARP) look_back(chunk, length, threadIdx.x, start);
    return;
  }
  encode_chunk<RecordInput>(jobs, job_count, tensor_codes, shared, constants);
}

}  // namespace unweight::encode
