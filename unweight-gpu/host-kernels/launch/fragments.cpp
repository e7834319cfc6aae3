// The kernels of matmul/fragments.cu, launched on the CPU.
#include "matmul/fragments.cu"

namespace unweight::matmul {

// Bytes of the table of indices by exponent.
constexpr size_t TABLE_BYTES = 256;
constexpr size_t COUNTS_BYTES = 1024;

extern "C" uint32_t unweight_host_fragments_job_bytes() { return sizeof(FragmentsJob); }
extern "C" uint32_t unweight_host_planes_job_bytes() { return sizeof(PlanesJob); }

extern "C" void unweight_host_count_matrix_exponents(const ExponentCountsJob* job, uint32_t panels, uint64_t seed) {
  fibers::launch(panels, WARP, COUNTS_BYTES, seed, [&] { count_matrix_exponents(*job); });
}

extern "C" void unweight_host_count_patches(const FragmentsJob* job, uint32_t panels, uint64_t seed) {
  fibers::launch(panels, WARP, TABLE_BYTES, seed, [&] { count_patches(*job); });
}

extern "C" void unweight_host_arrange(const FragmentsJob* job, uint32_t panels, uint64_t seed) {
  fibers::launch(panels, WARP, TABLE_BYTES, seed, [&] { arrange(*job); });
}

extern "C" void unweight_host_restore(const FragmentsJob* job, uint32_t panels, uint64_t seed) {
  fibers::launch(panels * RESTORING_WARPS, WARP, 0, seed, [&] { restore(*job); });
}

extern "C" void unweight_host_arrange_planes(const PlanesJob* job, uint32_t panels, uint64_t seed) {
  fibers::launch(panels * RESTORING_WARPS, WARP, TABLE_BYTES, seed, [&] { arrange_planes(*job); });
}

}  // namespace unweight::matmul
