// Palette indices of exponents, and counts for the totals of a tensor's exponents.
#pragma once
#include "encode/palette.cuh"
#include "encode/record_input.cuh"
#include "record/record.cuh"

namespace unweight::transcode {

using encode::find_only_chunk;
using encode::inclusive_sum;
using encode::input_of;
using encode::InputChunk;
using encode::only_record;
using encode::palette_of;
using record::Chunk;
using record::FieldRecord;
using record::lane_step_count;
using record::patch_position;
using record::Record;
using record::round_up_record;

// The palette index of an exponent; PALETTE_ENTRIES if the palette does not hold it.
__device__ __forceinline__ uint32_t index_of(const uint8_t* palette, uint32_t exponent) {
  uint32_t index = PALETTE_ENTRIES;
  for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++)
    if (palette[entry] == exponent) index = entry;
  return index;
}

// The first `count` indices of a word, and zeros.
__device__ __forceinline__ uint32_t first_indices(uint32_t word, uint32_t count) {
  return count >= LANE_STEP_WEIGHTS ? word : word & ((1u << 4 * count) - 1);
}

// The copy of the totals that chunk `number` of the launch adds to.
__device__ __forceinline__ unsigned long long* totals_of(const InputChunk& chunk, uint32_t number) {
  return chunk.job->totals + number % TOTAL_COPIES * FIELD_VALUES;
}

// Counts the exponents of a verbatim record in 256 words of shared memory, and adds them to the totals.
__device__ inline void count_verbatim(const FieldRecord& at, uint32_t lane, uint32_t* counts,
                                      unsigned long long* totals) {
  for (uint32_t exponent = lane; exponent < FIELD_VALUES; exponent += WARP) counts[exponent] = 0;
  __syncwarp();
  for (uint32_t i = lane; i < at.weights; i += WARP) atomicAdd(&counts[at.bytes[RECORD_HEADER_BYTES + i]], 1u);
  __syncwarp();
  for (uint32_t exponent = lane; exponent < FIELD_VALUES; exponent += WARP)
    if (counts[exponent] != 0) ptx::reduce_add(&totals[exponent], counts[exponent]);
}

// Compares the palette that the totals give with the input's, in the last block of a tensor. Sets `fallback` if they
// differ. All threads of a block call it after the chunk's counts are in the totals.
__device__ __forceinline__ void confirm_palette(EncodeJob* job, uint4* shared, uint32_t* fallback) {
  encode::PaletteShared* palette_shared = reinterpret_cast<encode::PaletteShared*>(shared);
  if (!encode::is_last_of_field(job, palette_shared)) return;
  encode::choose_palette_of(job, palette_shared);
  __syncthreads();
  if (threadIdx.x < PALETTE_ENTRIES && job->palette[threadIdx.x] != palette_of(job->input)[threadIdx.x]) *fallback = 1;
}

}  // namespace unweight::transcode
