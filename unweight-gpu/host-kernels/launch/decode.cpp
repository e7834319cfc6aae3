// The kernels of decode/decode.cu, launched on the CPU.
#include "decode/decode.cu"

#include "abi/crc_constants.cuh"

namespace unweight::decode {

// Numbers of the bitstream as the kernels have them, in the order of abi/bitstream.cuh; then those of TensorJob, and
// the size of the constants of checksums.
extern "C" const uint32_t* unweight_host_layout(uint32_t* count) {
  static const uint32_t numbers[] = {STEP_WEIGHTS,
                                     LANES,
                                     LANE_STEP_WEIGHTS,
                                     FIELDS,
                                     PALETTE_ENTRIES,
                                     BLOCK_BYTES,
                                     RECORD_ALIGNMENT,
                                     RECORD_HEADER_BYTES,
                                     RECORD_CHECKED_FROM,
                                     LANE_STREAMS_OFFSET,
                                     STEP_INDEX_BYTES,
                                     PATCH_BYTES,
                                     KIND_VERBATIM,
                                     KIND_HUFFMAN,
                                     KIND_PALETTE,
                                     LONGEST_CODE_BITS,
                                     NO_CODE,
                                     PLAIN_SLACK_BYTES,
                                     sizeof(TensorJob),
                                     offsetof(TensorJob, fields),
                                     sizeof(CrcConstants)};
  *count = sizeof numbers / sizeof *numbers;
  return numbers;
}

// Chunks are numbered from the first job's on, as in a launch of some of a batch's jobs.
extern "C" void unweight_host_decode(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                     uint32_t stage_bytes, bool exponents, uint64_t seed, unsigned long long* status) {
  const uint32_t first_chunk = jobs[0].first_chunk;
  fibers::launch(chunk_count, WARP, TABLES_BYTES + stage_bytes, seed, [&] {
    if (exponents)
      decode_exponents(jobs, job_count, first_chunk, stage_bytes, status);
    else
      decode_weights(jobs, job_count, first_chunk, stage_bytes, status);
  });
}

extern "C" void unweight_host_decode_in_few_blocks(const TensorJob* job, uint32_t chunk_count, uint32_t blocks,
                                                   uint32_t warps, uint32_t stage_bytes, bool exponents, uint64_t seed,
                                                   unsigned long long* status) {
  fibers::launch(blocks, warps * WARP, warps * (TABLES_BYTES + stage_bytes), seed, [&] {
    if (exponents)
      decode_exponents_in_few_blocks(*job, chunk_count, blocks, warps, stage_bytes, status);
    else
      decode_weights_in_few_blocks(*job, chunk_count, blocks, warps, stage_bytes, status);
  });
}

}  // namespace unweight::decode
