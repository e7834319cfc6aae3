// The kernels of encode/encode.cu, launched on the CPU.
#include "encode/encode.cu"

// Of a source of weights, planes or records: 0, 1 or 2.
extern "C" void unweight_host_encode_chunks(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, const uint2* tensor_codes,
                                            const CrcConstants* constants, uint32_t source, uint64_t seed) {
  uint32_t largest_log2 = 0;
  for (uint32_t i = 0; i < job_count; i++) largest_log2 = std::max(largest_log2, jobs[i].chunk_size_log2);
  const uint32_t warps = (1u << largest_log2) / ((source == 2 ? RECORD_WARP_STEPS : WARP_STEPS) * STEP_WEIGHTS);
  const size_t shared_bytes = sizeof(EncodeTables) + RECORD_HEADER_BYTES + (1u << largest_log2);
  fibers::launch(chunk_count, warps * WARP, shared_bytes, seed, [&] {
    if (source == 0) encode_chunks(jobs, job_count, tensor_codes, constants);
    else if (source == 1) encode_chunks_of_planes(jobs, job_count, tensor_codes, constants);
    else encode_chunks_of_records(jobs, job_count, tensor_codes, constants);
  });
}
