// The kernels of encode/sample.cu, launched on the CPU.
#include "encode/sample.cu"

namespace unweight::encode {

extern "C" void unweight_host_count_sample(const SampleJob* jobs, uint32_t job_count, uint32_t blocks, uint64_t seed) {
  fibers::launch(blocks, SAMPLE_WARPS * WARP, FIELDS * FIELD_VALUES * sizeof(uint32_t), seed,
                 [&] { count_sample(jobs, job_count); });
}

extern "C" void unweight_host_choose_forms(const SampleJob* jobs, uint32_t job_count, uint64_t seed) {
  fibers::launch(job_count * FIELDS, SAMPLE_WARPS * WARP, sizeof(ChoiceShared), seed, [&] { choose_forms(jobs); });
}

extern "C" void unweight_host_find_differing(const SampleJob* jobs, uint32_t job_count, uint32_t blocks,
                                             uint64_t seed) {
  fibers::launch(blocks, SAMPLE_WARPS * WARP, 0, seed, [&] { find_differing(jobs, job_count); });
}

}  // namespace unweight::encode
