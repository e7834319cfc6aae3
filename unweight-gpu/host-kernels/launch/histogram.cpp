// The kernels of encode/histogram.cu, launched on the CPU.
#include "encode/histogram.cu"

namespace unweight::encode {

extern "C" void unweight_host_count_exponents(EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                              uint32_t threads, bool of_planes, uint64_t seed) {
  fibers::launch(chunk_count, threads, sizeof(Counting), seed, [&] {
    if (of_planes)
      count_exponents_of_planes(jobs, job_count);
    else
      count_exponents(jobs, job_count);
  });
}

}  // namespace unweight::encode
