// The kernels of encode/encode.cu, launched on the CPU.
#include "encode/encode.cu"

namespace unweight::encode {

// `input`: 0 for weights, 1 for values, 2 for records.
extern "C" void unweight_host_encode_chunks(const EncodeJob* jobs, uint32_t job_count, uint32_t record_count,
                                            const uint2* tensor_codes, const CrcConstants* constants, uint32_t input,
                                            uint64_t seed) {
  uint32_t largest_log2 = 0;
  for (uint32_t i = 0; i < job_count; i++) largest_log2 = std::max(largest_log2, jobs[i].chunk_size_log2);
  const uint32_t warps = (1u << largest_log2) / ((input == 2 ? RECORD_WARP_STEPS : WARP_STEPS) * STEP_WEIGHTS);
  const size_t shared_bytes = sizeof(EncodeTables) + RECORD_HEADER_BYTES + (1u << largest_log2);
  fibers::launch(record_count, warps * WARP, shared_bytes, seed, [&] {
    if (input == 0)
      encode_chunks(jobs, job_count, tensor_codes, constants);
    else if (input == 1)
      encode_chunks_of_values(jobs, job_count, tensor_codes, constants);
    else
      encode_chunks_of_records(jobs, job_count, tensor_codes, constants);
  });
}

}  // namespace unweight::encode
