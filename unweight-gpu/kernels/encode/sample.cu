// The forms of a tensor's fields (specification, section 11.2), from a sample and, for constant fields, from all
// weights.
//
// Threads:
//   count_sample     one block of 8 warps = 64 steps of the sample; a warp takes 8 of them
//   choose_forms     one block of 8 warps = one field of one tensor
//   find_differing   one block of 8 warps = 131,072 bytes of a tensor
//
// Shared memory: count_sample 8,192 bytes of counts; choose_forms 2,640 bytes.
// Preconditions: those of SampleJob. count_sample comes before choose_forms. A launch of find_differing may have other
// jobs than these, and only needs their weights, weight_count, weight_bytes, differing and first_chunk.
// Tail: missing weights of a step are not counted.
#include "encode/choose_code.cuh"
#include "encode/eight_weights.cuh"
#include "encode/palette.cuh"

namespace unweight::encode {

constexpr uint32_t SAMPLE_WARPS = 8;
constexpr uint32_t WARP_SAMPLE_STEPS = 8;
constexpr uint32_t DIFFERING_BLOCK_BYTES = 1 << 17;
// Bits that a record costs beside its codes.
constexpr uint32_t HUFFMAN_RECORD_BITS = 800;
constexpr uint32_t PALETTE_RECORD_BITS = 160;
// The form palette belongs to wider fields only.
constexpr uint32_t NARROW_BITS = 4;

template <uint32_t BYTES>
__device__ __forceinline__ void count_step(const SampleJob* job, uint64_t step, uint32_t lane, uint32_t* counts) {
  const uint64_t first = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
  if (first >= job->weight_count) return;
  const uint64_t left = job->weight_count - first;
  const uint32_t count = left < LANE_STEP_WEIGHTS ? static_cast<uint32_t>(left) : LANE_STEP_WEIGHTS;
  const EightOf<BYTES> eight(job->weights + first * BYTES, count);
#pragma unroll 1
  for (uint32_t i = 0; i < job->field_count; i++) {
    const uint2 values = eight.values(job->fields[i]);
#pragma unroll
    for (uint32_t of = 0; of < LANE_STEP_WEIGHTS; of++)
      if (of < count)
        atomicAdd(&counts[i * FIELD_VALUES + ((of < 4 ? values.x : values.y) >> 8 * (of % 4) & 0xff)], 1u);
  }
}

extern "C" __global__ void __launch_bounds__(SAMPLE_WARPS* WARP)
    count_sample(const SampleJob* jobs, uint32_t job_count) {
  DYNAMIC_SHARED(memory);
  uint32_t* counts = reinterpret_cast<uint32_t*>(memory);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const SampleJob* job = record::find_job(jobs, job_count, blockIdx.x);
  const uint32_t count = job->field_count * FIELD_VALUES;
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  const uint32_t first = ((blockIdx.x - job->first_chunk) * SAMPLE_WARPS + warp) * WARP_SAMPLE_STEPS;
#pragma unroll 1
  for (uint32_t i = first; i < min(first + WARP_SAMPLE_STEPS, job->step_count); i++) {
    const uint64_t step = static_cast<uint64_t>(i) * job->step_distance;
    switch (job->weight_bytes) {
      case 1:
        count_step<1>(job, step, lane, counts);
        break;
      case 2:
        count_step<2>(job, step, lane, counts);
        break;
      case 4:
        count_step<4>(job, step, lane, counts);
        break;
      default:
        count_step<8>(job, step, lane, counts);
        break;
    }
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x)
    if (counts[i] != 0) atomicAdd(&job->counts[i], counts[i]);
}

struct ChoiceShared {
  PaletteShared palette;
  LargestMerge merge;
  uint8_t entries[PALETTE_ENTRIES];
};

// Step 3 of section 11.2, by one warp. Lane l holds the count of palette entry l; lanes from 16 on hold 0.
__device__ __forceinline__ bool is_worth_coding(const SampleJob* job, uint32_t width, uint32_t lane, uint64_t count,
                                                LargestMerge& merge) {
  const uint64_t sampled = job->sampled, chunk = job->chunk_weights;
  uint64_t bits;
  if (job->kind == KIND_HUFFMAN) {
    const uint2 code = choose_code(merge, lane, count, sampled);
    bits = cost_of_code(code, lane, count, sampled) * chunk + HUFFMAN_RECORD_BITS * sampled;
  } else {
    if (width <= NARROW_BITS) return false;
    const uint64_t outside = sampled - sum_over_lanes(count);
    bits = (4 * sampled + PATCH_BITS * outside) * chunk + PALETTE_RECORD_BITS * sampled;
  }
  return 64 * bits < 63 * width * sampled * chunk;
}

extern "C" __global__ void __launch_bounds__(SAMPLE_WARPS* WARP) choose_forms(const SampleJob* jobs) {
  DYNAMIC_SHARED(memory);
  ChoiceShared* shared = reinterpret_cast<ChoiceShared*>(memory);
  const SampleJob* job = jobs + blockIdx.x / FIELDS;
  const uint32_t number = blockIdx.x % FIELDS, lane = threadIdx.x % WARP;
  if (number >= job->field_count) return;
  const uint32_t* counts = job->counts + number * FIELD_VALUES;
  const auto count_of = [&](uint32_t value) { return static_cast<uint64_t>(counts[value]); };
  const auto place = [&](uint32_t index, uint8_t value) { shared->entries[index] = value; };
  choose_palette(&shared->palette, count_of, [](uint32_t, uint64_t) {}, place);
  __syncthreads();
  if (threadIdx.x >= WARP) return;
  const uint64_t count = lane < PALETTE_ENTRIES ? counts[shared->entries[lane]] : 0;
  uint32_t choice = is_worth_coding(job, job->fields[number].width, lane, count, shared->merge) ? IS_CODED : 0;
  if (shared->palette.key_count == 1) choice |= HAS_ONE_VALUE;
  if (lane == 0) job->choices[number] = choice;
}

// A weight, repeated in 16 bytes.
__device__ __forceinline__ uint4 repeated(const uint8_t* weight, uint32_t bytes) {
  uint64_t word = 0;
  for (uint32_t i = 0; i < 8; i++) word |= static_cast<uint64_t>(weight[i % bytes]) << 8 * i;
  const uint32_t low = static_cast<uint32_t>(word), high = static_cast<uint32_t>(word >> 32);
  return make_uint4(low, high, low, high);
}

extern "C" __global__ void __launch_bounds__(SAMPLE_WARPS* WARP)
    find_differing(const SampleJob* jobs, uint32_t job_count) {
  const SampleJob* job = record::find_job(jobs, job_count, blockIdx.x);
  const uint64_t bytes = job->weight_count * job->weight_bytes;
  const uint64_t start = static_cast<uint64_t>(blockIdx.x - job->first_chunk) * DIFFERING_BLOCK_BYTES;
  const uint64_t block_end = start + DIFFERING_BLOCK_BYTES, end = bytes < block_end ? bytes : block_end;
  const uint4 first = repeated(job->weights, job->weight_bytes);
  uint32_t even = 0, odd = 0;
  const auto add = [&](uint4 words) {
    even |= (words.x ^ first.x) | (words.z ^ first.z);
    odd |= (words.y ^ first.y) | (words.w ^ first.w);
  };
#pragma unroll 4
  for (uint64_t at = start + threadIdx.x * 16; at + 16 <= end; at += SAMPLE_WARPS * WARP * 16)
    add(ptx::load_read_only(reinterpret_cast<const uint4*>(job->weights + at)));
  const uint64_t last = end / 16 * 16, own = last + threadIdx.x;
  if (own < end) {
    const uint32_t of_byte = (job->weights[own] ^ job->weights[own % job->weight_bytes]) << own % 4 * 8;
    (own % 8 < 4 ? even : odd) |= of_byte;
  }
  even = __reduce_or_sync(ALL_LANES, even);
  odd = __reduce_or_sync(ALL_LANES, odd);
  if (start == 0 && threadIdx.x == 0) {
    job->differing[2] = first.x;
    job->differing[3] = first.y;
  }
  if (threadIdx.x % WARP != 0 || (even | odd) == 0) return;
  atomicOr(&job->differing[0], even);
  atomicOr(&job->differing[1], odd);
}

}  // namespace unweight::encode
