// The kernels of encode/histogram.cu, launched on the CPU.
#include "encode/histogram.cu"

namespace unweight::encode {

// Exponents of weights, or values of fields.
extern "C" void unweight_host_count_values(EncodeJob* jobs, uint32_t job_count, uint32_t record_count, uint32_t threads,
                                           bool of_values, uint64_t seed) {
  fibers::launch(record_count, threads, sizeof(Counting), seed, [&] {
    if (of_values)
      count_values(jobs, job_count);
    else
      count_exponents(jobs, job_count);
  });
}

}  // namespace unweight::encode
