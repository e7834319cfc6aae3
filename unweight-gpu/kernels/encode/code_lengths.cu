// The codes of fields and of their chunks (specification, section 11.4). encode.cu chooses which of the two a record
// uses.
//
// Threads: one warp = one code (choose_code.cuh): first those of the jobs, then those of the records; blocks of 8
// warps.
// Shared memory: 4,096 bytes for a block.
// Preconditions: those of EncodeJob's weight_count, palette, kind and chunk fields; for tensors, of totals; for chunks,
// of palette_counts and code_lengths. If `gathers`, also of counts: the kernel then takes palette_counts from there;
// otherwise they are written already. `tensor_codes` has 8 bytes for each job. The launch comes after the kernel that
// chooses palettes, with a warp for each job and each record. Palette jobs are skipped, and their pointers not
// followed.
// Tail: warps after the last record do nothing.
#include "encode/choose_code.cuh"
#include "encode/input_chunk.cuh"

namespace unweight::encode {

constexpr uint32_t CODE_WARPS = 8;

extern "C" __global__ void __launch_bounds__(CODE_WARPS* WARP)
    choose_codes(const EncodeJob* jobs, uint32_t job_count, uint32_t record_count, uint2* tensor_codes,
                 uint32_t gathers) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  LargestMerge* own_shared = reinterpret_cast<LargestMerge*>(shared) + warp;
  Merge<uint32_t>& merge = *reinterpret_cast<Merge<uint32_t>*>(own_shared);
  const uint32_t number = blockIdx.x * CODE_WARPS + warp, entry = lane % PALETTE_ENTRIES;
  const EncodeJob* job;
  uint64_t count, total;
  uint2* to;
  if (number < job_count) {
    job = &jobs[number];
    if (job->kind != KIND_HUFFMAN) return;
    total = job->weight_count;
    count = job->totals[job->palette[entry]];
    to = &tensor_codes[number];
  } else {
    if (number - job_count >= record_count) return;
    const InputChunk chunk = find_input_chunk(jobs, job_count, number - job_count);
    job = chunk.job;
    if (job->kind != KIND_HUFFMAN) return;
    total = chunk.weight_count;
    uint32_t* palette_counts = job->palette_counts + static_cast<uint64_t>(chunk.own) * PALETTE_ENTRIES;
    const uint32_t of_entry = gathers
                                  ? job->counts[static_cast<uint64_t>(chunk.own) * FIELD_VALUES + job->palette[entry]]
                                  : palette_counts[entry];
    if (gathers && lane < PALETTE_ENTRIES) palette_counts[entry] = of_entry;
    count = of_entry;
    to = &job->code_lengths[chunk.own];
  }
  if (lane >= PALETTE_ENTRIES) count = 0;
  const uint2 code = total < FEW_WEIGHTS ? choose_code(merge, lane, static_cast<uint32_t>(count), total)
                                         : choose_code(*own_shared, lane, count, total);
  if (lane == 0) *to = code;
}

}  // namespace unweight::encode
