// The kernels of encode/split.cu, launched on the CPU.
#include "encode/split.cu"

namespace unweight::encode {

extern "C" void unweight_host_split(const SplitJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                    const CrcConstants* constants, uint64_t seed) {
  fibers::launch(chunk_count, SPLIT_WARPS * WARP, sizeof(SplitShared), seed,
                 [&] { split(jobs, job_count, constants); });
}

}  // namespace unweight::encode
