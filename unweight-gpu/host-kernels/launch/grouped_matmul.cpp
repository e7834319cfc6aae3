// The kernels of matmul/grouped_matmul.cu, launched on the CPU.
#include "matmul/grouped_matmul.cu"

namespace unweight::matmul {

extern "C" void unweight_host_grouped_matmul(const GroupedMatmulJob* job, uint32_t tile_rows, bool consecutive,
                                             uint32_t shared_bytes, uint64_t seed) {
  const auto launch = [&](auto kernel) {
    fibers::launch(job->blocks, SMALL_THREADS, shared_bytes, seed, [&] { kernel(*job); });
  };
  switch (tile_rows) {
    case 8:
      return launch(consecutive ? grouped_matmul_8_consecutive : grouped_matmul_8_any);
    case 16:
      return launch(consecutive ? grouped_matmul_16_consecutive : grouped_matmul_16_any);
    case 32:
      return launch(consecutive ? grouped_matmul_32_consecutive : grouped_matmul_32_any);
    case 64:
      return launch(consecutive ? grouped_matmul_64_consecutive : grouped_matmul_64_any);
  }
  std::abort();
}

}  // namespace unweight::matmul
