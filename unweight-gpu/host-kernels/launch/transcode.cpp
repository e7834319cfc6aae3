// The kernels of transcode/transcode.cu, launched on the CPU.
#include "transcode/transcode.cu"

namespace unweight::transcode {

using encode::PaletteShared;

extern "C" void unweight_host_palette_record_ends(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                                  uint32_t* fallback, uint64_t seed) {
  fibers::launch((chunk_count + LENGTH_WARPS - 1) / LENGTH_WARPS, LENGTH_WARPS * WARP, 0, seed,
                 [&] { palette_record_ends(jobs, job_count, chunk_count, fallback); });
}

extern "C" void unweight_host_huffman_to_palette(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                                 uint32_t stage_bytes, const CrcConstants* constants, uint64_t seed,
                                                 unsigned long long* status, uint32_t* fallback) {
  const size_t shared_bytes = std::max<size_t>(CODES_BYTES + stage_bytes, sizeof(PaletteShared));
  fibers::launch(chunk_count, WARP, shared_bytes, seed,
                 [&] { huffman_to_palette(jobs, job_count, stage_bytes, constants, status, fallback); });
}

extern "C" void unweight_host_count_indices(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count,
                                            const CrcConstants* constants, uint64_t seed, unsigned long long* status,
                                            uint32_t* fallback) {
  fibers::launch(chunk_count, WARP, sizeof(PaletteShared), seed,
                 [&] { count_indices(jobs, job_count, constants, status, fallback); });
}

extern "C" void unweight_host_write_record_ends(const EncodeJob* job, uint64_t seed) {
  fibers::launch(1, WARP, 0, seed, [&] { write_record_ends(job, threadIdx.x); });
}

}  // namespace unweight::transcode
