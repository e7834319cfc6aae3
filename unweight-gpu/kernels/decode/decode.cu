// Chunks of BF16 tensors to weights, or to their exponents (specification, section 7). Exponents are those of any
// tensor whose first coded field is the exponent. Weights are those of tensors of which nothing else is coded or
// constant, so that their plain bytes are sign-mantissa bytes; fields.cu makes all other weights.
//
// Data layout:
//
//   sign-mantissa   | lane 0: 8 bytes  | lane 1: 8 bytes  | ... | lane 31 |   a step: 256 bytes, one load a lane
//   record          | header | lane ends | lane 0 .... | lane 1 .... | ...    copied to shared memory if it fits
//   weights         | lane 0: 16 bytes | lane 1: 16 bytes | ... | lane 31 |   a step: 512 bytes, one store a lane
//
// Threads: one warp = one chunk; thread l = lane l of the specification. A block is one warp, or in the kernels
// `..._in_few_blocks` up to 16 warps.
// Shared memory: TABLES_BYTES and `stage_bytes` for each warp. A longer record is read from device memory.
// Preconditions, which the host checks (src/decode): those of TensorJob; `stage_bytes` is a multiple of 16; a block for
// each chunk from `first_chunk` on, of 32 threads, or a few blocks of up to 16 warps, with shared memory for each warp.
// No record is trusted: a kernel accesses nothing outside the record, the chunk's sign-mantissa bytes and the chunk's
// output. parse_header and parse_body check every offset, and reads of a lane's stream are clamped to the record.
// Tail: the last step of a chunk may be short. Its surplus weights are decoded and not stored.
#include "decode/decode_chunk.cuh"
#include "record/weights.cuh"

namespace unweight::decode {

using record::EightWeights;

// Stores weights.
struct ToWeights {
  uint16_t* weights;

  __device__ __forceinline__ void store(uint32_t position, uint2 exponents, uint2 sign_mantissa) const {
    const EightWeights eight = record::join(record::widen(exponents), sign_mantissa);
    ptx::store_streaming(reinterpret_cast<uint4*>(weights + position),
                         make_uint4(eight.pairs[0], eight.pairs[1], eight.pairs[2], eight.pairs[3]));
  }
  __device__ __forceinline__ void store_part(uint32_t position, uint32_t count, uint2 exponents,
                                             uint2 sign_mantissa) const {
    const EightWeights eight = record::join(record::widen(exponents), sign_mantissa);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count) weights[position + i] = static_cast<uint16_t>(eight.pairs[i / 2] >> 16 * (i % 2));
  }
  __device__ __forceinline__ void patch(uint32_t position, uint32_t exponent, const uint8_t* sign_mantissa) const {
    const uint32_t byte = sign_mantissa[position];
    weights[position] = static_cast<uint16_t>((byte & 0x80) << 8 | exponent << 7 | (byte & 0x7f));
  }
};

// Stores the exponent plane: one byte for each weight.
struct ToExponents {
  uint8_t* bytes;

  __device__ __forceinline__ void store(uint32_t position, uint2 exponents, uint2) const {
    ptx::store_streaming(reinterpret_cast<uint2*>(bytes + position), exponents);
  }
  __device__ __forceinline__ void store_part(uint32_t position, uint32_t count, uint2 exponents, uint2) const {
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count) bytes[position + i] = static_cast<uint8_t>((i < 4 ? exponents.x : exponents.y) >> 8 * (i % 4));
  }
  __device__ __forceinline__ void patch(uint32_t position, uint32_t exponent, const uint8_t*) const {
    bytes[position] = static_cast<uint8_t>(exponent);
  }
};

struct Weights {
  static constexpr bool JOINS = true;
  __device__ static ToWeights at(uint8_t* output, uint64_t start) {
    return ToWeights{reinterpret_cast<uint16_t*>(output) + start};
  }
};
struct ExponentPlane {
  static constexpr bool JOINS = false;
  __device__ static ToExponents at(uint8_t* output, uint64_t start) { return ToExponents{output + start}; }
};

// Order of a block's shared memory by alignment: all tables of values, all tables of lengths, all records.
__device__ __forceinline__ WarpMemory memory_of_warp(uint4* shared, uint32_t warp, uint32_t warps,
                                                     uint32_t stage_bytes) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(shared);
  return WarpMemory{bytes + warp * CODE_TABLE_ENTRIES, bytes + warps * CODE_TABLE_ENTRIES + warp * LENGTHS,
                    shared + (warps * TABLES_BYTES + warp * stage_bytes) / 16};
}

template <class Output>
__device__ __forceinline__ void decode_one_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t number,
                                                 uint32_t stage_bytes, unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  decode_chunk<Output>(jobs, job_count, number, stage_bytes, memory_of_warp(shared, 0, 1, stage_bytes), status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_weights(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t stage_bytes,
                   unsigned long long* status) {
  decode_one_chunk<Weights>(jobs, job_count, first_chunk + blockIdx.x, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_exponents(const TensorJob* jobs, uint32_t job_count, uint32_t first_chunk, uint32_t stage_bytes,
                     unsigned long long* status) {
  decode_one_chunk<ExponentPlane>(jobs, job_count, first_chunk + blockIdx.x, stage_bytes, status);
}

// One tensor, with its job by value: a caller whose output moves from launch to launch keeps no jobs on the device.
extern "C" __global__ void __launch_bounds__(WARP)
    decode_weights_of(const __grid_constant__ TensorJob job, uint32_t stage_bytes, unsigned long long* status) {
  decode_one_chunk<Weights>(&job, 1, blockIdx.x, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_exponents_of(const __grid_constant__ TensorJob job, uint32_t stage_bytes, unsigned long long* status) {
  decode_one_chunk<ExponentPlane>(&job, 1, blockIdx.x, stage_bytes, status);
}

// Most warps of a block of the kernels below.
constexpr uint32_t MOST_WARPS = 16;

// The same by few blocks of many warps. Blocks that fill a multiprocessor leave the other multiprocessors to other
// launches.
template <class Output>
__device__ __forceinline__ void decode_chunks(const TensorJob& job, uint32_t chunk_count, uint32_t blocks,
                                              uint32_t warps, uint32_t stage_bytes, unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  const uint32_t warp = threadIdx.x / WARP;
  const WarpMemory memory = memory_of_warp(shared, warp, warps, stage_bytes);
#pragma unroll 1
  for (uint32_t chunk = blockIdx.x * warps + warp; chunk < chunk_count; chunk += blocks * warps) {
    decode_chunk<Output>(&job, 1, chunk, stage_bytes, memory, status);
    // The last reads of the tables and of the record come before the next chunk's writes.
    __syncwarp();
  }
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS* WARP, 1)
    decode_weights_in_few_blocks(const __grid_constant__ TensorJob job, uint32_t chunk_count, uint32_t blocks,
                                 uint32_t warps, uint32_t stage_bytes, unsigned long long* status) {
  decode_chunks<Weights>(job, chunk_count, blocks, warps, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS* WARP, 1)
    decode_exponents_in_few_blocks(const __grid_constant__ TensorJob job, uint32_t chunk_count, uint32_t blocks,
                                   uint32_t warps, uint32_t stage_bytes, unsigned long long* status) {
  decode_chunks<ExponentPlane>(job, chunk_count, blocks, warps, stage_bytes, status);
}

}  // namespace unweight::decode
