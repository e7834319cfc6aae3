// The kernels of matmul/grouped_panels.cu, launched on the CPU.
#include "matmul/grouped_panels.cu"

namespace unweight::matmul {

extern "C" void unweight_host_grouped_panels(const GroupedMatmulJob* job, uint32_t tile_rows, bool consecutive,
                                             uint32_t shared_bytes, uint64_t seed) {
  const auto launch = [&](auto kernel) {
    fibers::launch(job->blocks, PANEL_THREADS, shared_bytes, seed, [&] { kernel(*job); });
  };
  switch (tile_rows) {
    case 8:
      return launch(consecutive ? grouped_panels_8_consecutive : grouped_panels_8_any);
    case 16:
      return launch(consecutive ? grouped_panels_16_consecutive : grouped_panels_16_any);
  }
  std::abort();
}

}  // namespace unweight::matmul
