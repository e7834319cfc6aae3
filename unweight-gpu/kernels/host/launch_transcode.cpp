// The kernels from records to records, launched on the CPU. `launch.cpp` has the switch between fibers.
#define UNWEIGHT_HOST
#include "../transcode.cu"

extern "C" void unweight_host_palette_record_lengths(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint32_t* detour, uint64_t seed) {
  fibers::launch((chunk_count + LENGTH_WARPS - 1) / LENGTH_WARPS, LENGTH_WARPS * WARP, 0, seed,
                 [&] { palette_record_lengths(jobs, job_count, chunk_count, detour); });
}

extern "C" void unweight_host_huffman_to_palette(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint32_t stage_bytes,
                                                 const CrcConstants* constants, uint64_t seed, unsigned long long* status) {
  fibers::launch(chunk_count, WARP, CODES_BYTES + stage_bytes, seed,
                 [&] { huffman_to_palette(jobs, job_count, stage_bytes, constants, status); });
}

extern "C" void unweight_host_count_indices(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, const CrcConstants* constants,
                                            uint64_t seed, unsigned long long* status) {
  fibers::launch(chunk_count, COUNT_SHARES * WARP, sizeof(CountingShared), seed, [&] { count_indices(jobs, job_count, constants, status); });
}
