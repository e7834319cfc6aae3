// The kernels of decode/decode.cu, launched on the CPU.
#include "decode/decode.cu"

#include "abi/crc_constants.cuh"
#include "abi/encode_job.cuh"

namespace unweight::decode {

// Numbers of the bitstream as the kernels have them, in the order of abi/bitstream.cuh; then the sizes of abi/'s
// structures, of the totals of an EncodeJob, and the offsets of its and a TensorJob's last field.
extern "C" const uint32_t* unweight_host_layout(uint32_t* count) {
  static const uint32_t numbers[] = {
      STEP_WEIGHTS,
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
      KIND_BYTES,
      sizeof(TensorJob),
      offsetof(TensorJob, palette),
      sizeof(EncodeJob),
      offsetof(EncodeJob, palette),
      TOTAL_COPIES * EXPONENTS * sizeof(*EncodeJob::totals) + sizeof(EncodeJob::DoneChunks),
      sizeof(CrcConstants)};
  *count = sizeof numbers / sizeof *numbers;
  return numbers;
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
