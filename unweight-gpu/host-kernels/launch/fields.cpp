// The kernels of decode/fields.cu, launched on the CPU.
#include "decode/fields.cu"

namespace unweight::decode {

// Jobs whose weights have `weight_bytes` bytes. Chunks are numbered from the first job's on.
extern "C" void unweight_host_decode_fields(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                            uint32_t weight_bytes, uint32_t stage_bytes, uint32_t most_fields,
                                            uint64_t seed, unsigned long long* status) {
  const auto kernel = weight_bytes == 1   ? decode_fields_1
                      : weight_bytes == 2 ? decode_fields_2
                      : weight_bytes == 4 ? decode_fields_4
                                          : decode_fields_8;
  fibers::launch(chunk_count, WARP, most_fields * FIELD_BYTES + stage_bytes, seed,
                 [&] { kernel(jobs, job_count, jobs[0].first_chunk, stage_bytes, most_fields, status); });
}

extern "C" void unweight_host_decode_fields_in_few_blocks(const TensorJob* job, uint32_t chunk_count, uint32_t blocks,
                                                          uint32_t warps, uint32_t stage_bytes, uint32_t most_fields,
                                                          uint64_t seed, unsigned long long* status) {
  fibers::launch(blocks, warps * WARP, warps * (most_fields * FIELD_BYTES + stage_bytes), seed, [&] {
    decode_fields_2_in_few_blocks(*job, chunk_count, blocks, warps, stage_bytes, most_fields, status);
  });
}

// The most runs of ones in the plain mask of a type with so many bytes.
extern "C" uint32_t unweight_host_most_runs(uint32_t weight_bytes) {
  return weight_bytes == 1   ? MOST_RUNS<1>
         : weight_bytes == 2 ? MOST_RUNS<2>
         : weight_bytes == 4 ? MOST_RUNS<4>
                             : MOST_RUNS<8>;
}

}  // namespace unweight::decode
