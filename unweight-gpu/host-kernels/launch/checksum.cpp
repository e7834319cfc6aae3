// The kernels of checksum/checksum.cu, launched on the CPU.
#include "checksum/checksum.cu"

extern "C" void unweight_host_check_chunks(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                                           uint64_t seed, unsigned long long* status) {
  const unsigned blocks = (chunk_count + CHECKSUM_WARPS - 1) / CHECKSUM_WARPS;
  fibers::launch(blocks, CHECKSUM_WARPS * WARP, 0, seed,
                 [&] { check_chunks(jobs, job_count, chunk_count, constants, status); });
}

extern "C" void unweight_host_checksum_weights(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                                               bool of_planes, uint64_t seed, uint32_t* checksums) {
  const unsigned blocks = (chunk_count + CHECKSUM_WARPS - 1) / CHECKSUM_WARPS;
  fibers::launch(blocks, CHECKSUM_WARPS * WARP, 0, seed, [&] {
    if (of_planes) checksum_planes(jobs, job_count, chunk_count, constants, checksums);
    else checksum_weights(jobs, job_count, chunk_count, constants, checksums);
  });
}
