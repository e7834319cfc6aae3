// Chunks of tensors of any type and forms to weights (specification, section 7). decode.cu is faster for BF16 of which
// the exponent alone is coded.
//
// Data layout:
//
//   plain plane     | lane 0: W bytes | lane 1: W bytes | ... | lane 31 |   a step: 32 W bytes (decode/plain_bits.cuh)
//   records         | first coded field: header | lane ends | lane 0 ... | second coded field: ...
//                                                           a chunk's follow one another; copied to shared memory
//                                                           together, if they fit
//   weights         | lane 0: 8 SIZE bytes | lane 1 | ... | lane 31 |       a step
//
// Threads: one warp = one chunk; thread l = lane l of the specification. A block is one warp, or in the kernel
// `..._in_few_blocks` up to 16 warps. A group is as many steps as make 64 bytes of weights for each lane. They are kept
// in registers from their plain bits to the last coded field, and then stored. So nothing is read again but weights
// with patches.
// Shared memory of a warp: FIELD_BYTES for each of `most_fields` coded fields, and `stage_bytes` for records. Longer
// ones are read from device memory.
// Preconditions, which the host checks (src/decode): those of TensorJob; weights have SIZE bytes, and no tensor has
// more coded fields than `most_fields`; `stage_bytes` is a multiple of 16; a block for each chunk from `first_chunk`
// on, of 32 threads, or a few blocks of up to 16 warps, with shared memory for each warp.
// No record is trusted: a kernel accesses nothing outside the records, the chunk's output, and the chunk's plain bytes
// with what TensorJob allows behind them.
// Tail: steps after the last group are taken one by one. Surplus weights of a short last step are decoded and not
// stored.
#include "decode/decode_chunk.cuh"
#include "decode/field_values.cuh"

namespace unweight::decode {

// Steps of a group.
template <uint32_t SIZE>
constexpr uint32_t GROUP_STEPS = 8 / SIZE;

template <uint32_t SIZE>
struct WeightType;
template <>
struct WeightType<1> {
  typedef uint8_t Weight;
};
template <>
struct WeightType<2> {
  typedef uint16_t Weight;
};
template <>
struct WeightType<4> {
  typedef uint32_t Weight;
};
template <>
struct WeightType<8> {
  typedef uint64_t Weight;
};

// The chunk's weights in the output.
template <uint32_t SIZE>
struct FieldsOutput {
  typedef typename WeightType<SIZE>::Weight Weight;
  uint8_t* bytes;

  // A lane's weights of a step, `steps` steps after that of the weight at `position`.
  __device__ __forceinline__ void store(uint32_t position, uint32_t steps, const Eight<SIZE>& eight) const {
    uint8_t* to = bytes + position * SIZE;
    to += steps * (STEP_WEIGHTS * SIZE);
    if constexpr (SIZE == 1) {
      ptx::store_streaming(reinterpret_cast<uint2*>(to), make_uint2(eight.words[0], eight.words[1]));
    } else {
#pragma unroll
      for (uint32_t i = 0; i < 2 * SIZE; i += 4)
        ptx::store_streaming(reinterpret_cast<uint4*>(to) + i / 4,
                             make_uint4(eight.words[i], eight.words[i + 1], eight.words[i + 2], eight.words[i + 3]));
    }
  }
  // The first `count` weights, 1 to 7.
  __device__ __forceinline__ void store_part(uint32_t position, uint32_t count, const Eight<SIZE>& eight) const {
    Weight* to = reinterpret_cast<Weight*>(bytes) + position;
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++) {
      uint64_t weight = eight.words[i * SIZE / 4] >> 8 * (i * SIZE % 4);
      if constexpr (SIZE == 8) weight |= static_cast<uint64_t>(eight.words[2 * i + 1]) << 32;
      if (i < count) to[i] = static_cast<Weight>(weight);
    }
  }
  __device__ __forceinline__ void patch(uint32_t position, const CodedField& field, uint32_t value) const {
    Weight* weight = reinterpret_cast<Weight*>(bytes) + position;
    const uint64_t mask = static_cast<uint64_t>((1u << field.width) - 1) << field.low;
    *weight = static_cast<Weight>((*weight & ~mask) | static_cast<uint64_t>(value) << field.low);
  }
};

// Parses the records of the chunk's coded fields, and prepares their decoding. Reports the first rule that one breaks.
__device__ __forceinline__ bool prepare_fields(const Chunk& chunk, uint32_t number, uint32_t lane,
                                               const uint8_t* in_place, bool staged, const FieldsMemory& memory,
                                               unsigned long long* status) {
  const uint8_t* stage = reinterpret_cast<const uint8_t*>(memory.stage);
#pragma unroll 1
  for (uint32_t i = 0; i < chunk.job->coded_count; i++) {
    FieldRecord at = record::find_record(chunk, i);
    const uint32_t offset = static_cast<uint32_t>(at.bytes - in_place);
    const uint8_t value = palette_value(chunk.job, at.field, lane);
    Record record;
    uint32_t broken = record::parse_header(at, lane, record);
    if (broken == 0) make_tables(value, record, lane, memory.memory_of(i));
    if (staged) {
      ptx::wait_copies();
      at.bytes = stage + offset;
    }
    __syncwarp();
    if (broken == 0) broken = record::parse_body(at, lane, record);
    if (broken != 0) {
      if (lane == 0) report(status, number, i, broken);
      return false;
    }
    memory.lane_bits_of(i)[lane] = 8 * (LANE_STREAMS_OFFSET + record.lane_start);
    if (lane == 0)
      memory.fields[i] =
          FieldOfChunk{offset, at.length, record.kind, record.patches_offset, record.patch_count, at.field, {0, 0}};
  }
  __syncwarp();
  return true;
}

// Adds all coded fields to a lane's weights of STEPS steps from `step` on.
template <uint32_t STEPS, uint32_t SIZE>
__device__ __forceinline__ void add_fields(Eight<SIZE> (&eights)[STEPS], const FieldsMemory& memory,
                                           uint32_t field_count, const uint8_t* in_place, bool staged, uint32_t step,
                                           uint32_t lane) {
#pragma unroll 1
  for (uint32_t field = 0; field < field_count; field++) {
    if (staged)
      add_field<STEPS>(eights, memory, field, reinterpret_cast<const uint8_t*>(memory.stage), step, lane);
    else
      add_field<STEPS>(eights, memory, field, in_place, step, lane);
  }
}

// All steps of a chunk.
template <uint32_t SIZE>
__device__ __forceinline__ void decode_steps_of_fields(const Chunk& chunk, uint32_t lane, PlainReader<SIZE>& plain,
                                                       const FieldsMemory& memory, const uint8_t* in_place, bool staged,
                                                       const FieldsOutput<SIZE>& output) {
  constexpr uint32_t STEPS = GROUP_STEPS<SIZE>;
  const uint32_t field_count = chunk.job->coded_count;
  const uint32_t grouped = chunk.weights / (STEPS * STEP_WEIGHTS) * STEPS;
  uint32_t position = lane * LANE_STEP_WEIGHTS;
  PlainWords<SIZE> ahead[STEPS];
#pragma unroll
  for (uint32_t d = 0; d < STEPS; d++) ahead[d] = plain.load(d);
#pragma unroll 1
  for (uint32_t group = 0; group < grouped; group += STEPS) {
    Eight<SIZE> eights[STEPS];
    // The last group loads ahead what the tail needs, or the last step again.
    plain.place_steps(eights, ahead, group + STEPS);
    add_fields<STEPS>(eights, memory, field_count, in_place, staged, group, lane);
#pragma unroll
    for (uint32_t d = 0; d < STEPS; d++) output.store(position, d, eights[d]);
    position += STEPS * STEP_WEIGHTS;
  }
#pragma unroll 1
  for (uint32_t step = grouped; step < chunk.steps; step++) {
    Eight<SIZE> eights[1] = {plain.place(plain.load(step))};
    add_fields<1>(eights, memory, field_count, in_place, staged, step, lane);
    if (position + LANE_STEP_WEIGHTS <= chunk.weights)
      output.store(position, 0, eights[0]);
    else if (position < chunk.weights)
      output.store_part(position, chunk.weights - position, eights[0]);
    position += STEP_WEIGHTS;
  }
}

// Checks the ends of lanes, and applies patches.
template <uint32_t SIZE>
__device__ __forceinline__ void finish_fields(const Chunk& chunk, uint32_t number, uint32_t lane,
                                              const FieldsMemory& memory, const uint8_t* records,
                                              const FieldsOutput<SIZE>& output, unsigned long long* status) {
#pragma unroll 1
  for (uint32_t i = 0; i < chunk.job->coded_count; i++) {
    const FieldOfChunk of = memory.fields[i];
    const uint8_t* record = records + of.offset;
    if (of.kind == KIND_HUFFMAN) {
      const uint32_t lane_end = reinterpret_cast<const uint16_t*>(record + RECORD_HEADER_BYTES)[lane];
      const uint32_t broken = first_broken(check_lane_end(memory.lane_bits_of(i)[lane], record, lane_end));
      if (broken != 0) {
        if (lane == 0) report(status, number, i, broken);
        return;
      }
    }
    // Patches come after the stores of other lanes: those of the steps, and patches of the field before.
    __syncwarp();
#pragma unroll 1
    for (uint32_t p = lane; p < of.patch_count; p += WARP) {
      const uint8_t* patch = record + of.patches_offset + PATCH_BYTES * p;
      output.patch(record::patch_position(patch), of.field, patch[2]);
    }
  }
}

// Decodes chunk `number` of the launch, and reports the first rule that one of its records breaks.
template <uint32_t SIZE>
__device__ __forceinline__ void decode_fields(const TensorJob* jobs, uint32_t job_count, uint32_t number,
                                              uint32_t stage_bytes, const FieldsMemory& memory,
                                              unsigned long long* status) {
  const uint32_t lane = threadIdx.x % WARP;
  const Chunk chunk = record::find_chunk(jobs, job_count, number);
  const record::ChunkRecords records = record::find_records(chunk);
  const bool staged = records.length <= stage_bytes;
  if (staged) copy_record(records.bytes, records.length, lane, memory.stage);
  PlainReader<SIZE> plain(chunk, lane);
  if (!prepare_fields(chunk, number, lane, records.bytes, staged, memory, status)) return;
  const FieldsOutput<SIZE> output{chunk.job->output + chunk.output_start * SIZE};
  decode_steps_of_fields(chunk, lane, plain, memory, records.bytes, staged, output);
  const uint8_t* read = staged ? reinterpret_cast<const uint8_t*>(memory.stage) : records.bytes;
  finish_fields(chunk, number, lane, memory, read, output, status);
}

// Order of a block's shared memory by alignment: all tables, all fields, all records.
__device__ __forceinline__ FieldsMemory fields_memory(uint4* shared, uint32_t warp, uint32_t warps,
                                                      uint32_t most_fields, uint32_t stage_bytes) {
  uint8_t* tables = reinterpret_cast<uint8_t*>(shared);
  uint8_t* fields = tables + warps * most_fields * FIELD_TABLES_BYTES;
  uint8_t* stages = fields + warps * most_fields * sizeof(FieldOfChunk);
  return FieldsMemory{tables + warp * most_fields * FIELD_TABLES_BYTES,
                      reinterpret_cast<FieldOfChunk*>(fields) + warp * most_fields,
                      reinterpret_cast<uint4*>(stages + warp * stage_bytes)};
}

template <uint32_t SIZE>
__device__ __forceinline__ void decode_fields_of_block(const TensorJob* jobs, uint32_t job_count, uint32_t number,
                                                       uint32_t stage_bytes, uint32_t most_fields,
                                                       unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  const FieldsMemory memory = fields_memory(shared, 0, 1, most_fields, stage_bytes);
  decode_fields<SIZE>(jobs, job_count, number, stage_bytes, memory, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_fields_1(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t stage_bytes,
                    uint32_t most_fields, unsigned long long* status) {
  decode_fields_of_block<1>(jobs, job_count, first_chunk + blockIdx.x, stage_bytes, most_fields, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_fields_2(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t stage_bytes,
                    uint32_t most_fields, unsigned long long* status) {
  decode_fields_of_block<2>(jobs, job_count, first_chunk + blockIdx.x, stage_bytes, most_fields, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_fields_4(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t stage_bytes,
                    uint32_t most_fields, unsigned long long* status) {
  decode_fields_of_block<4>(jobs, job_count, first_chunk + blockIdx.x, stage_bytes, most_fields, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_fields_8(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t stage_bytes,
                    uint32_t most_fields, unsigned long long* status) {
  decode_fields_of_block<8>(jobs, job_count, first_chunk + blockIdx.x, stage_bytes, most_fields, status);
}

// One tensor, with its job by value: a caller whose output moves from launch to launch keeps no jobs on the device.
extern "C" __global__ void __launch_bounds__(WARP)
    decode_fields_2_of(const __grid_constant__ TensorJob job, uint32_t stage_bytes, uint32_t most_fields,
                       unsigned long long* status) {
  decode_fields_of_block<2>(&job, 1, blockIdx.x, stage_bytes, most_fields, status);
}

// Most warps of a block of the kernel below.
constexpr uint32_t MOST_WARPS = 16;

// The same by few blocks of many warps. Blocks that fill a multiprocessor leave the other multiprocessors to other
// launches.
template <uint32_t SIZE>
__device__ __forceinline__ void decode_chunks_of_fields(const TensorJob& job, uint32_t chunk_count, uint32_t blocks,
                                                        uint32_t warps, uint32_t stage_bytes, uint32_t most_fields,
                                                        unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  const uint32_t warp = threadIdx.x / WARP;
  const FieldsMemory memory = fields_memory(shared, warp, warps, most_fields, stage_bytes);
#pragma unroll 1
  for (uint32_t chunk = blockIdx.x * warps + warp; chunk < chunk_count; chunk += blocks * warps) {
    decode_fields<SIZE>(&job, 1, chunk, stage_bytes, memory, status);
    // The last reads of shared memory come before the next chunk's writes.
    __syncwarp();
  }
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS* WARP, 1)
    decode_fields_2_in_few_blocks(const __grid_constant__ TensorJob job, uint32_t chunk_count, uint32_t blocks,
                                  uint32_t warps, uint32_t stage_bytes, uint32_t most_fields,
                                  unsigned long long* status) {
  decode_chunks_of_fields<2>(job, chunk_count, blocks, warps, stage_bytes, most_fields, status);
}

}  // namespace unweight::decode
