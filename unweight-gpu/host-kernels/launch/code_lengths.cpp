// The kernels of encode/code_lengths.cu, launched on the CPU.
#include "encode/code_lengths.cu"

namespace unweight::encode {

extern "C" void unweight_host_choose_codes(const EncodeJob* jobs, uint32_t job_count, uint32_t record_count,
                                           uint2* tensor_codes, uint32_t gathers, uint64_t seed) {
  fibers::launch((job_count + record_count + CODE_WARPS - 1) / CODE_WARPS, CODE_WARPS * WARP,
                 CODE_WARPS * sizeof(LargestMerge), seed,
                 [&] { choose_codes(jobs, job_count, record_count, tensor_codes, gathers); });
}

}  // namespace unweight::encode
