// The kernels of checksum/checksum.cu, launched on the CPU.
#include "checksum/checksum.cu"

namespace unweight::checksum {

static unsigned blocks_of(uint32_t chunk_count) { return (chunk_count + CHECKSUM_WARPS - 1) / CHECKSUM_WARPS; }

extern "C" void unweight_host_check_chunks(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                           uint32_t field, const CrcConstants* constants, uint64_t seed,
                                           unsigned long long* status) {
  fibers::launch(blocks_of(chunk_count), CHECKSUM_WARPS * WARP, 0, seed,
                 [&] { check_chunks(jobs, job_count, jobs[0].first_chunk, chunk_count, field, constants, status); });
}

extern "C" void unweight_host_check_blocks(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                           const CrcConstants* constants, uint64_t seed, unsigned long long* status) {
  fibers::launch(blocks_of(chunk_count), CHECKSUM_WARPS * WARP, 0, seed,
                 [&] { check_blocks(jobs, job_count, jobs[0].first_chunk, chunk_count, constants, status); });
}

extern "C" void unweight_host_checksum_weights(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                               const CrcConstants* constants, uint64_t seed, uint32_t* checksums) {
  fibers::launch(blocks_of(chunk_count), CHECKSUM_WARPS * WARP, 0, seed,
                 [&] { checksum_weights(jobs, job_count, chunk_count, constants, checksums); });
}

}  // namespace unweight::checksum
