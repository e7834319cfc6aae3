// Chunk records to weights, or to their exponents (specification, section 7).
//
//   one block = one warp = one chunk; thread l = lane l of the specification
//
//   sign-mantissa   | lane 0: 8 bytes | lane 1: 8 bytes | ... | lane 31 |   a step: 256 bytes, one load a lane
//   record          | header | lane ends | lane 0 .... | lane 1 .... | ...   copied to shared memory whole, if it fits
//   weights         | lane 0: 16 bytes| lane 1: 16 bytes| ... | lane 31 |   a step: 512 bytes, one store a lane
//
// Shared memory: for each warp TABLES_BYTES of the tables of its codes, and `stage_bytes` for the record. A record that does not fit is read where it stands.
//
// Preconditions, which the host has checked (src/plan.rs, src/resident.rs): what layout.cuh says of TensorJob; `stage_bytes` is
// a multiple of 16; the launch has a block for each chunk, of 32 threads, or few blocks of up to 16 warps, with shared memory
// for each. Whatever a record holds, nothing outside of it, of the chunk's sign-mantissa bytes and of the chunk's output is
// touched: what locates anything is checked in parse_header and parse_body, and a lane's reads are clamped to the record.
//
// The tail: the last step of a chunk may be short. Its surplus weights are decoded and not stored.
#include "decode/decode_chunk.cuh"

// Where a chunk's weights go.
struct ToWeights {
  uint16_t* weights;

  __device__ __forceinline__ void store(uint32_t place, uint2 exponents, uint2 sign_mantissa) const {
    const EightWeights eight = join(widened(exponents), sign_mantissa);
    store_streaming(reinterpret_cast<uint4*>(weights + place), make_uint4(eight.pairs[0], eight.pairs[1], eight.pairs[2], eight.pairs[3]));
  }
  // The first `count` of a lane's eight weights, 1 to 7.
  __device__ __forceinline__ void store_part(uint32_t place, uint32_t count, uint2 exponents, uint2 sign_mantissa) const {
    const EightWeights eight = join(widened(exponents), sign_mantissa);
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count) weights[place + i] = static_cast<uint16_t>(eight.pairs[i / 2] >> 16 * (i % 2));
  }
  __device__ __forceinline__ void patch(uint32_t place, uint32_t exponent, const uint8_t* sign_mantissa) const {
    const uint32_t byte = sign_mantissa[place];
    weights[place] = static_cast<uint16_t>((byte & 0x80) << 8 | exponent << 7 | (byte & 0x7f));
  }
};

// The exponent plane: a byte for each weight.
struct ToExponents {
  uint8_t* bytes;

  __device__ __forceinline__ void store(uint32_t place, uint2 exponents, uint2) const {
    store_streaming(reinterpret_cast<uint2*>(bytes + place), exponents);
  }
  __device__ __forceinline__ void store_part(uint32_t place, uint32_t count, uint2 exponents, uint2) const {
#pragma unroll
    for (uint32_t i = 0; i < LANE_STEP_WEIGHTS; i++)
      if (i < count) bytes[place + i] = static_cast<uint8_t>((i < 4 ? exponents.x : exponents.y) >> 8 * (i % 4));
  }
  __device__ __forceinline__ void patch(uint32_t place, uint32_t exponent, const uint8_t*) const {
    bytes[place] = static_cast<uint8_t>(exponent);
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

// What is aligned to most stands first.
__device__ __forceinline__ WarpMemory memory_of_warp(uint4* shared, uint32_t warp, uint32_t warps, uint32_t stage_bytes) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(shared);
  return WarpMemory{bytes + warp * CODE_TABLE_ENTRIES, bytes + warps * CODE_TABLE_ENTRIES + warp * LENGTHS,
                    shared + (warps * TABLES_BYTES + warp * stage_bytes) / 16};
}

template <class Output>
__device__ __forceinline__ void decode_one_chunk(const TensorJob* jobs, uint32_t job_count, uint32_t stage_bytes, unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  decode_chunk<Output>(jobs, job_count, blockIdx.x, stage_bytes, memory_of_warp(shared, 0, 1, stage_bytes), status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_weights(const TensorJob* jobs, uint32_t job_count, uint32_t stage_bytes, unsigned long long* status) {
  decode_one_chunk<Weights>(jobs, job_count, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_exponents(const TensorJob* jobs, uint32_t job_count, uint32_t stage_bytes, unsigned long long* status) {
  decode_one_chunk<ExponentPlane>(jobs, job_count, stage_bytes, status);
}

// One tensor, its job by value: whoever decodes it to ever other places has no jobs to keep on the device.
extern "C" __global__ void __launch_bounds__(WARP)
    decode_weights_of(const __grid_constant__ TensorJob job, uint32_t stage_bytes, unsigned long long* status) {
  decode_one_chunk<Weights>(&job, 1, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(WARP)
    decode_exponents_of(const __grid_constant__ TensorJob job, uint32_t stage_bytes, unsigned long long* status) {
  decode_one_chunk<ExponentPlane>(&job, 1, stage_bytes, status);
}

// As these, by few blocks of many warps, each with shared memory of its own as above: blocks that fill a multiprocessor leave the others to other launches.
constexpr uint32_t MOST_WARPS = 16;

template <class Output>
__device__ __forceinline__ void decode_chunks(const TensorJob& job, uint32_t chunk_count, uint32_t blocks, uint32_t warps, uint32_t stage_bytes,
                                              unsigned long long* status) {
  DYNAMIC_SHARED(shared);
  const uint32_t warp = threadIdx.x / WARP;
  const WarpMemory memory = memory_of_warp(shared, warp, warps, stage_bytes);
#pragma unroll 1
  for (uint32_t chunk = blockIdx.x * warps + warp; chunk < chunk_count; chunk += blocks * warps) {
    decode_chunk<Output>(&job, 1, chunk, stage_bytes, memory, status);
    // Behind the last reads of the table and the record.
    __syncwarp();
  }
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS * WARP, 1)
    decode_weights_in_few_blocks(const __grid_constant__ TensorJob job, uint32_t chunk_count, uint32_t blocks, uint32_t warps, uint32_t stage_bytes,
                                 unsigned long long* status) {
  decode_chunks<Weights>(job, chunk_count, blocks, warps, stage_bytes, status);
}

extern "C" __global__ void __launch_bounds__(MOST_WARPS * WARP, 1)
    decode_exponents_in_few_blocks(const __grid_constant__ TensorJob job, uint32_t chunk_count, uint32_t blocks, uint32_t warps, uint32_t stage_bytes,
                                   unsigned long long* status) {
  decode_chunks<ExponentPlane>(job, chunk_count, blocks, warps, stage_bytes, status);
}
