// The kernels, launched on the CPU. Signatures are those of src/lib.rs of unweight-gpu-host.
#define UNWEIGHT_HOST
#include "../decode.cu"
#include "../checksum.cu"

asm(".text\n"
    ".globl unweight_switch_fiber\n"
    "unweight_switch_fiber:\n"
    "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n  ret\n");

// What the kernels take for the bitstream's numbers, in the order of layout.cuh; then the size of their job.
extern "C" uint32_t unweight_host_layout(uint32_t number) {
  const uint32_t numbers[] = {STEP_WEIGHTS,         LANES,        LANE_STEP_WEIGHTS,   PALETTE_ENTRIES, RECORD_ALIGNMENT, RECORD_HEADER_BYTES,
                              RECORD_CHECKED_FROM,  LANE_STREAMS_OFFSET, STEP_INDEX_BYTES, PATCH_BYTES, KIND_VERBATIM, KIND_HUFFMAN,
                              KIND_PALETTE,         LONGEST_CODE_BITS, NO_CODE, sizeof(TensorJob)};
  return number < sizeof numbers / sizeof *numbers ? numbers[number] : ~0u;
}

extern "C" void unweight_host_decode(const TensorJob* jobs, uint32_t job_count, uint32_t chunk_count, uint32_t stage_bytes, bool exponents,
                                     uint64_t seed, unsigned long long* status) {
  fibers::launch(chunk_count, WARP, TABLES_BYTES + stage_bytes, seed, [&] {
    if (exponents) decode_exponents(jobs, job_count, stage_bytes, status);
    else decode_weights(jobs, job_count, stage_bytes, status);
  });
}

extern "C" void unweight_host_decode_in_few_blocks(const TensorJob* job, uint32_t chunk_count, uint32_t blocks, uint32_t warps, uint32_t stage_bytes,
                                                   bool exponents, uint64_t seed, unsigned long long* status) {
  fibers::launch(blocks, warps * WARP, warps * (TABLES_BYTES + stage_bytes), seed, [&] {
    if (exponents) decode_exponents_in_few_blocks(*job, chunk_count, blocks, warps, stage_bytes, status);
    else decode_weights_in_few_blocks(*job, chunk_count, blocks, warps, stage_bytes, status);
  });
}

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
