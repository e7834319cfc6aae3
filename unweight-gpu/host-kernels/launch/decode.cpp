// The kernels of decode/decode.cu, launched on the CPU.
#include "decode/decode.cu"

namespace unweight::decode {

// Number `number` of the bitstream as the kernels have it, in the order of abi/bitstream.cuh; last the size of a
// TensorJob.
extern "C" uint32_t unweight_host_layout(uint32_t number) {
  const uint32_t numbers[] = {STEP_WEIGHTS,
                              LANES,
                              LANE_STEP_WEIGHTS,
                              PALETTE_ENTRIES,
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
                              sizeof(TensorJob)};
  return number < sizeof numbers / sizeof *numbers ? numbers[number] : ~0u;
}

extern "C" void unweight_host_decode(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                     uint32_t stage_bytes, bool exponents, uint64_t seed, unsigned long long* status) {
  fibers::launch(chunk_count, WARP, TABLES_BYTES + stage_bytes, seed, [&] {
    if (exponents)
      decode_exponents(jobs, job_count, stage_bytes, status);
    else
      decode_weights(jobs, job_count, stage_bytes, status);
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
