// The kernels of matmul/fragments.cu, launched on the CPU.
#include "matmul/fragments.cu"

extern "C" uint32_t unweight_host_fragments_job_bytes() { return sizeof(FragmentsJob); }

extern "C" void unweight_host_count_patches(const FragmentsJob* job, uint32_t strips, uint64_t seed) {
  fibers::launch(strips, WARP, 256, seed, [&] { count_patches(*job); });
}

extern "C" void unweight_host_arrange(const FragmentsJob* job, uint32_t strips, uint64_t seed) {
  fibers::launch(strips, WARP, 256, seed, [&] { arrange(*job); });
}

extern "C" void unweight_host_restore(const FragmentsJob* job, uint32_t strips, uint64_t seed) {
  fibers::launch(strips * RESTORING_WARPS, WARP, 0, seed, [&] { restore(*job); });
}

extern "C" uint32_t unweight_host_planes_job_bytes() { return sizeof(PlanesJob); }

extern "C" void unweight_host_arrange_planes(const PlanesJob* job, uint32_t strips, uint64_t seed) {
  fibers::launch(strips * RESTORING_WARPS, WARP, 256, seed, [&] { arrange_planes(*job); });
}
