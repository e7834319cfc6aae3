// Chunk records to those of the other encoding, without their exponents ever standing in memory (specification, section 11.8).
//
// A canonical encoder gives a tensor the same palette in either encoding. So indices are taken over as they are, and counted on the way; whether the palette is
// the one that those counts give, the last block of a tensor finds (palette.cuh). Where it is not, or where a record would be verbatim in one encoding alone,
// `detour` is set: what was written is worth nothing then, and the host has the tensors decoded to exponent planes, and these encoded.
//
//   Huffman codes to indices:
//   palette_record_ends     one warp = one record; its length follows from how many patches it keeps, and the last warp of a tensor adds up all
//   huffman_to_palette      one block = one warp = one record; thread l = lane l of the specification
//
//   record          | header | lane ends | lane 0 .... | lane 1 .... | ...   copied to shared memory whole, if it fits
//   indices         | lane 0: 4 bytes | lane 1: 4 bytes | ... | lane 31 |   a step: 128 bytes, one store a lane
//   sign-mantissa   | lane 0: 16 bytes| lane 1: 16 bytes| ... | lane 31 |   two steps: 512 bytes
//
// Sign-mantissa bytes are copied and indices counted beside decoding, which is a chain of look-ups. Then the record that was made is read again for its remainder.
//
//   Indices to Huffman codes:
//   count_indices           one block = one warp = one record, whose remainder it computes on the way (crc32.cuh); encode.cu makes the records
//
// A chunk's checksum is a sum of what its record and its sign-mantissa bytes give, and these bytes stay: so what they give is found from the source's checksum
// and record, which are a third of the bytes. A wrong checksum stays wrong.
//
// Shared memory: huffman_to_palette CODES_BYTES, and `stage_bytes` for the record, as in decode.cu, or palette.cuh's 2,112 if that is more; count_indices these
// 2,112.
// Bytes moved for a chunk of n weights and records of r and q bytes: huffman_to_palette reads n + r and writes n + q, of which q are read back from caches;
// count_indices reads r.
//
// Preconditions: what encode_layout.cuh says of EncodeJob's totals, palette, record_lengths, records, sign_mantissa and source, for palette_record_ends
// record_ends, for count_indices counts and palette_counts; what layout.cuh says of the TensorJobs that are the sources, of the other encoding; `constants` is
// what src/crc_constants.rs makes. palette_record_ends has a warp for each chunk, in blocks of 8; huffman_to_palette comes after it.
// Whatever a record holds, nothing outside of it, of its chunk's sign-mantissa bytes and of the places of what is made of these is touched.
//
// The tail: steps behind the last whole four are taken one by one. Surplus indices become 0, and what completes the sign-mantissa plane to a multiple of 256.
#include "checksum/crc32.cuh"
#include "decode/decode_chunk.cuh"
#include "encode/palette.cuh"
#include "encode/record_input.cuh"
#include "encode/value_counts.cuh"

constexpr uint32_t LENGTH_WARPS = 8;
// The tables of a record's codes, or how often each exponent occurs in a verbatim one.
constexpr uint32_t CODES_BYTES = EXPONENTS * 4;
static_assert(TABLES_BYTES <= CODES_BYTES);
constexpr uint32_t GROUP_STEPS = 4;

// Of a record that this kernel is not to write.
constexpr uint32_t NO_RECORD_BYTES = RECORD_ALIGNMENT;

// A record's patches, as its steps go by: what has one becomes the index of its exponent, or 0 if the palette does not hold it.
struct PatchCursor {
  const uint8_t* next;
  uint32_t left;
  uint32_t next_step;
  uint32_t own_exponent;  // lane l has palette entry l's
  uint32_t outside;       // how many the palette does not hold, of those that went by

  // `words` is the record, where the compiler sees whether it stands in shared memory.
  __device__ __forceinline__ PatchCursor(const Chunk& chunk, const uint32_t* words, const Record& record, uint32_t lane)
      : next(reinterpret_cast<const uint8_t*>(words) + record.patches_offset), left(record.patch_count), outside(0) {
    own_exponent = lane < PALETTE_ENTRIES ? chunk.job->palette[lane] : ~0u;
    find_step();
  }

  __device__ __forceinline__ void find_step() { next_step = left == 0 ? ~0u : patch_position(next) / STEP_WEIGHTS; }

  // For steps from `first_step` on, in front of `end_step`. Calls outside_palette(position, exponent) on all lanes.
  template <class Outside>
  __device__ __forceinline__ void apply(uint32_t (&words)[GROUP_STEPS], uint32_t first_step, uint32_t end_step, uint32_t lane,
                                        const Outside& outside_palette) {
#pragma unroll 1
    while (next_step < end_step) {
      const uint32_t position = patch_position(next), exponent = next[2];
      const uint32_t entries = __ballot_sync(ALL_LANES, own_exponent == exponent);
      const uint32_t index = entries == 0 ? 0 : static_cast<uint32_t>(__ffs(static_cast<int>(entries))) - 1;
      const uint32_t shift = position % LANE_STEP_WEIGHTS * 4;
      const bool is_own = position / LANE_STEP_WEIGHTS % WARP == lane;
#pragma unroll
      for (uint32_t d = 0; d < GROUP_STEPS; d++)
        if (is_own && first_step + d == next_step) words[d] = (words[d] & ~(15u << shift)) | index << shift;
      if (entries == 0) {
        outside_palette(position, exponent);
        outside++;
      }
      next += PATCH_BYTES;
      left--;
      find_step();
    }
  }
};

// Eight palette indices, which stand where tables have exponents otherwise.
__device__ __forceinline__ uint32_t index_word(LaneReader& reader) {
  const uint32_t first = reader.four<4>();
  return reader.four<4>() * 65536 + first;
}

// Without those of the surplus.
__device__ __forceinline__ uint32_t first_indices(uint32_t word, uint32_t count) { return count >= LANE_STEP_WEIGHTS ? word : word & ((1u << 4 * count) - 1); }

__device__ __forceinline__ unsigned long long* totals_of(const SourceChunk& chunk, uint32_t number) {
  return chunk.job->totals + number % TOTAL_COPIES * EXPONENTS;
}

// How often each exponent occurs in a verbatim record, in 256 words of shared memory.
__device__ inline void count_verbatim(const Chunk& chunk, uint32_t lane, uint32_t* counts, unsigned long long* totals) {
  for (uint32_t exponent = lane; exponent < EXPONENTS; exponent += WARP) counts[exponent] = 0;
  __syncwarp();
  for (uint32_t i = lane; i < chunk.weights; i += WARP) atomicAdd(&counts[chunk.record[RECORD_HEADER_BYTES + i]], 1u);
  __syncwarp();
  for (uint32_t exponent = lane; exponent < EXPONENTS; exponent += WARP)
    if (counts[exponent] != 0) add_to_global(&totals[exponent], counts[exponent]);
}

// PALETTE_ENTRIES if the palette does not hold it.
__device__ __forceinline__ uint32_t index_of(const uint8_t* palette, uint32_t exponent) {
  uint32_t index = PALETTE_ENTRIES;
  for (uint32_t entry = 0; entry < PALETTE_ENTRIES; entry++)
    if (palette[entry] == exponent) index = entry;
  return index;
}

// A tensor's record ends: sums of its record lengths, 512 chunks at a time. By one warp, once all lengths are there.
__device__ inline void write_record_ends(const EncodeJob* job, uint32_t lane) {
  constexpr uint32_t FOURS = 4, OF_LANE = 4 * FOURS;
  // Zeros complete the plane to a multiple of 16 bytes.
  const uint32_t padded = (job->chunk_count + 3) / 4 * 4;
  uint32_t before = 0;  // the end of the last record of the chunks before
#pragma unroll 1
  for (uint32_t base = 0; base < padded; base += WARP * OF_LANE) {
    const uint32_t first = base + lane * OF_LANE;
    uint4 fours[FOURS];
#pragma unroll
    for (uint32_t i = 0; i < FOURS; i++)
      fours[i] = first + 4 * i < padded ? observed(reinterpret_cast<const uint4*>(job->record_lengths + first) + i) : make_uint4(0, 0, 0, 0);
    uint32_t ends[OF_LANE], own = 0;
#pragma unroll
    for (uint32_t i = 0; i < OF_LANE; i++) {
      const uint4 four = fours[i / 4];
      own += i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
      ends[i] = own;
    }
    const uint32_t up_to = sum_up_to(own, lane), start = before + up_to - own;
    before += __shfl_sync(ALL_LANES, up_to, WARP - 1);
#pragma unroll
    for (uint32_t i = 0; i < OF_LANE; i++) ends[i] = first + i < job->chunk_count ? start + ends[i] : 0;
#pragma unroll
    for (uint32_t i = 0; i < FOURS; i++)
      if (first + 4 * i < padded)
        reinterpret_cast<uint4*>(job->record_ends + first)[i] = make_uint4(ends[4 * i], ends[4 * i + 1], ends[4 * i + 2], ends[4 * i + 3]);
  }
}

// Of the record that huffman_to_palette is to write, in bytes: NO_RECORD_BYTES of one that breaks a rule, or takes the detour.
__device__ __forceinline__ uint32_t palette_record_bytes(const Chunk& chunk, uint32_t lane, uint32_t* detour) {
  Record record;
  if (parse_record(chunk, lane, record) != 0) return NO_RECORD_BYTES;
  const bool is_verbatim = record.kind == KIND_VERBATIM;
  const uint8_t* exponents = chunk.record + (is_verbatim ? RECORD_HEADER_BYTES : record.patches_offset + 2);
  const uint32_t count = is_verbatim ? chunk.weights : record.patch_count, stride = is_verbatim ? 1 : PATCH_BYTES;
  uint32_t outside = 0;
#pragma unroll 1
  for (uint32_t i = lane; i < count; i += WARP) outside += index_of(chunk.job->palette, exponents[i * stride]) == PALETTE_ENTRIES;
  const uint32_t bytes = round_up(RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES + PATCH_BYTES * __reduce_add_sync(ALL_LANES, outside));
  const uint32_t verbatim_bytes = round_up(RECORD_HEADER_BYTES + chunk.weights);
  if ((bytes > verbatim_bytes) == is_verbatim) return is_verbatim ? verbatim_bytes : bytes;
  if (lane == 0) *detour = 1;
  return NO_RECORD_BYTES;
}

extern "C" __global__ void __launch_bounds__(LENGTH_WARPS* WARP, 4)
    palette_record_ends(const EncodeJob* jobs, uint32_t job_count, uint32_t chunk_count, uint32_t* detour) {
  const uint32_t number = blockIdx.x * LENGTH_WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (number >= chunk_count) return;
  const SourceChunk target = find_source_chunk(jobs, job_count, number);
  const uint32_t record_bytes = palette_record_bytes(source_record(target), lane, detour);
  write_of_chunk(target.job->record_lengths, target, lane, record_bytes / RECORD_ALIGNMENT);
  __syncwarp();
  uint32_t is_last = 0;
  if (lane == 0) {
    // It is there before it is counted among those that are.
    __threadfence();
    is_last = atomicAdd(&target.job->done()->measured, 1u) == target.job->chunk_count - 1;
  }
  if (__shfl_sync(ALL_LANES, is_last, 0) == 0) return;
  __threadfence();
  write_record_ends(target.job, lane);
}

// The sign-mantissa bytes of 16 weights, at `place` and on, of which some may be surplus.
__device__ __forceinline__ void copy_last_sixteen(const Chunk& chunk, uint8_t* to, uint32_t place) {
  const uint2* from = reinterpret_cast<const uint2*>(chunk.sign_mantissa + place);
#pragma unroll
  for (uint32_t half = 0; half < 2; half++)
    reinterpret_cast<uint2*>(to + place)[half] = first_of(from[half], lane_step_count(chunk.weights, place + half * LANE_STEP_WEIGHTS));
}

// The sign-mantissa bytes of a group of steps, on their way: 16 bytes to a lane and two steps.
struct GroupCopy {
  static constexpr uint32_t EIGHTS = GROUP_STEPS / 2;
  uint4 words[EIGHTS];

  __device__ __forceinline__ void load(const uint8_t* from, uint32_t lane) {
#pragma unroll
    for (uint32_t i = 0; i < EIGHTS; i++) words[i] = load_streaming(reinterpret_cast<const uint4*>(from) + i * WARP + lane);
  }
  __device__ __forceinline__ void store(uint8_t* to, uint32_t lane) const {
#pragma unroll
    for (uint32_t i = 0; i < EIGHTS; i++) store_streaming(reinterpret_cast<uint4*>(to) + i * WARP + lane, words[i]);
  }
};

// From step `first_step` on.
__device__ inline void copy_sign_mantissa(const Chunk& chunk, uint8_t* to, uint32_t first_step, uint32_t lane) {
  const uint32_t first = first_step * STEP_WEIGHTS, bytes = GROUP_STEPS * STEP_WEIGHTS, end = chunk.weights - (chunk.weights - first) % bytes;
  GroupCopy copy;
#pragma unroll 4
  for (uint32_t place = first; place < end; place += bytes) {
    copy.load(chunk.sign_mantissa + place, lane);
    copy.store(to + place, lane);
  }
#pragma unroll 1
  for (uint32_t place = end + lane * 16; place < chunk.steps * STEP_WEIGHTS; place += WARP * 16) copy_last_sixteen(chunk, to, place);
}

// Decodes to the record's place, all but the header, and gives the rule that a lane breaks. `words` is the record, which may stand in shared memory: the
// compiler is to see that it does.
__device__ __forceinline__ uint32_t decode_to_indices(const Chunk& chunk, const Record& record, const SourceChunk& target, uint32_t number, uint32_t lane,
                                                      const uint32_t* words, const CodeTable& codes, uint8_t* to, ValueCounts& counts, uint32_t& outside) {
  LaneReader reader(codes, words, chunk.record_bytes / 4 - 1, 8 * (LANE_STREAMS_OFFSET + record.lane_start));
  PatchCursor patches(chunk, words, record, lane);
  unsigned long long* totals = totals_of(target, number);
  uint32_t* body = reinterpret_cast<uint32_t*>(to + RECORD_HEADER_BYTES);
  uint8_t* kept = to + RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES;
  const auto keep = [&](uint32_t position, uint32_t exponent) {
    if (lane < PATCH_BYTES) kept[lane] = static_cast<uint8_t>(lane == 2 ? exponent : position >> 8 * lane);
    if (lane == 0) add_to_global(&totals[exponent], 1);
    kept += PATCH_BYTES;
  };
  const uint32_t grouped = chunk.weights / (GROUP_STEPS * STEP_WEIGHTS) * GROUP_STEPS;
  uint8_t* to_rest = target.sign_mantissa();
  // A group ahead.
  GroupCopy copy;
  if (grouped > 0) copy.load(chunk.sign_mantissa, lane);
#pragma unroll 1
  for (uint32_t step = 0; step < grouped; step += GROUP_STEPS) {
    uint32_t indices[GROUP_STEPS];
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) indices[d] = index_word(reader);
    patches.apply(indices, step, step + GROUP_STEPS, lane, keep);
#pragma unroll
    for (uint32_t d = 0; d < GROUP_STEPS; d++) {
      body[(step + d) * WARP + lane] = indices[d];
      counts.add(indices[d]);
    }
    copy.store(to_rest + step * STEP_WEIGHTS, lane);
    if (step + GROUP_STEPS < grouped) copy.load(chunk.sign_mantissa + (step + GROUP_STEPS) * STEP_WEIGHTS, lane);
  }
  copy_sign_mantissa(chunk, to_rest, grouped, lane);
#pragma unroll 1
  for (uint32_t step = grouped; step < chunk.steps; step++) {
    const uint32_t count = lane_step_count(chunk.weights, step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS);
    uint32_t indices[GROUP_STEPS] = {first_indices(index_word(reader), count), 0, 0, 0};
    patches.apply(indices, step, step + 1, lane, keep);
    body[step * WARP + lane] = indices[0];
    counts.add(indices[0]);
  }
  const uint32_t contents_bytes = static_cast<uint32_t>(kept - to);
  if (contents_bytes + lane < round_up(contents_bytes)) to[contents_bytes + lane] = 0;
  if (lane == 0) *reinterpret_cast<uint4*>(to) = make_uint4(0, KIND_PALETTE | patches.outside << 16, 0, 0);
  outside = patches.outside;
  return first_broken(broken_lane(reader, chunk.record, record.lane_end));
}

// A record of indices, counted while its remainder is computed.
struct CountedRecord {
  const uint8_t* data;
  uint32_t body_end;  // 0 if there are no indices
  uint32_t weights;
  ValueCounts* counts;

  __device__ __forceinline__ uint4 sixteen(uint32_t at) const { return load_streaming(reinterpret_cast<const uint4*>(data + at)); }
  __device__ __forceinline__ uint32_t byte(uint32_t at) const { return data[at]; }
  __device__ __forceinline__ void passes(uint32_t at, uint4 words) const {
    // All lanes count together.
    const uint32_t mask = at < RECORD_HEADER_BYTES || at >= body_end ? 0 : ~0u;
    uint32_t indices[GROUP_STEPS] = {words.x & mask, words.y & mask, words.z & mask, words.w & mask};
    const uint32_t first = (at - RECORD_HEADER_BYTES) * 2;
    if (first + GROUP_STEPS * LANE_STEP_WEIGHTS > weights) {
#pragma unroll
      for (uint32_t i = 0; i < GROUP_STEPS; i++) indices[i] = first_indices(indices[i], lane_step_count(weights, first + i * LANE_STEP_WEIGHTS));
    }
#pragma unroll
    for (uint32_t i = 0; i < GROUP_STEPS; i++) counts->add(indices[i]);
  }
};

__device__ __forceinline__ uint8_t* place_of(const SourceChunk& target, uint32_t& record_bytes) {
  const uint32_t start = target.own == 0 ? 0 : target.job->record_ends[target.own - 1];
  record_bytes = (target.job->record_ends[target.own] - start) * RECORD_ALIGNMENT;
  return target.job->records + static_cast<uint64_t>(start) * RECORD_ALIGNMENT;
}

// By all threads of a block whose chunk is in the totals: the last of its tensor looks whether the palette that these give is the source's.
__device__ __forceinline__ void confirm_palette(EncodeJob* job, uint4* shared, uint32_t* detour) {
  PaletteShared* palette_shared = reinterpret_cast<PaletteShared*>(shared);
  if (!is_last_of_tensor(job, palette_shared)) return;
  choose_palette(job, palette_shared);
  __syncthreads();
  if (threadIdx.x < PALETTE_ENTRIES && job->palette[threadIdx.x] != job->source->palette[threadIdx.x]) *detour = 1;
}

__device__ __forceinline__ void transcode_to_palette(const SourceChunk& target, uint32_t number, uint32_t lane, uint4* shared, uint32_t stage_bytes,
                                                     const CrcConstants* constants, unsigned long long* status) {
  uint8_t* codes_memory = reinterpret_cast<uint8_t*>(shared);
  uint4* stage = shared + CODES_BYTES / 16;
  Chunk chunk = source_record(target);
  const bool staged = chunk.record_bytes <= stage_bytes;
  if (staged) {
    const uint4* from = reinterpret_cast<const uint4*>(chunk.record);
    for (uint32_t i = lane; i < chunk.record_bytes / 16; i += WARP) copy_async(stage + i, from + i);
    copies_done();
    __syncwarp();
    chunk.record = reinterpret_cast<const uint8_t*>(stage);
  }

  Record record;
  uint32_t broken = parse_record(chunk, lane, record);
  uint32_t record_bytes;
  uint8_t* to = place_of(target, record_bytes);
  if (broken == 0 && record_bytes == NO_RECORD_BYTES) return;
  if (broken == 0 && record.kind == KIND_VERBATIM) {
    // It stays as it is, checksum included.
    for (uint32_t i = lane; i < chunk.record_bytes / 16; i += WARP)
      reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(chunk.record)[i];
    copy_sign_mantissa(chunk, target.sign_mantissa(), 0, lane);
    count_verbatim(chunk, lane, reinterpret_cast<uint32_t*>(codes_memory), totals_of(target, number));
    return;
  }
  ValueCounts counts;
  uint32_t outside;
  if (broken == 0) {
    const WarpMemory memory{codes_memory, codes_memory + CODE_TABLE_ENTRIES, stage};
    CodeTable codes = make_tables(static_cast<uint8_t>(lane % PALETTE_ENTRIES), record, lane, memory);
    // One register for both.
    codes.exponents = codes.lengths - CODE_TABLE_ENTRIES;
    __syncwarp();
    broken = staged ? decode_to_indices(chunk, record, target, number, lane, reinterpret_cast<const uint32_t*>(stage), codes, to, counts, outside)
                    : decode_to_indices(chunk, record, target, number, lane, reinterpret_cast<const uint32_t*>(chunk.record), codes, to, counts, outside);
  }
  if (broken != 0) {
    if (lane == 0) report(status, number, broken);
    return;
  }

  const uint32_t count = counts.of_value(lane, chunk.weights - outside);
  if (count != 0) add_to_global(&totals_of(target, number)[chunk.job->palette[lane]], count);
  // Behind the stores, which other lanes made.
  __syncwarp();
  // Read again: registers are scarce while a record is decoded.
  to = place_of(target, record_bytes);
  uint32_t sum = remainder_of(constants, lane, PlainBytes{to}, record_bytes, RECORD_CHECKED_FROM, ~0u);
  sum ^= remainder_of<2>(constants, lane, PlainBytes{chunk.record}, chunk.record_bytes, RECORD_CHECKED_FROM, ~0u);
  // As encode.cu seals.
  const uint32_t change = advance_bytes(constants->power, sum, chunk.weights, lane);
  if (lane == 0) *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(chunk.record) ^ change;
}

extern "C" __global__ void __launch_bounds__(WARP, 24)
    huffman_to_palette(const EncodeJob* jobs, uint32_t job_count, uint32_t stage_bytes, const CrcConstants* constants, unsigned long long* status,
                       uint32_t* detour) {
  DYNAMIC_SHARED(shared);
  const SourceChunk target = find_source_chunk(jobs, job_count, blockIdx.x);
  transcode_to_palette(target, blockIdx.x, threadIdx.x, shared, stage_bytes, constants, status);
  confirm_palette(const_cast<EncodeJob*>(target.job), shared, detour);
}

// What patches change: how often more than counted each palette entry occurs, on its lane. Those of others go to `totals`. `changes` has a word for each lane.
__device__ inline uint32_t count_patches(const Chunk& chunk, const Record& record, uint32_t lane, uint32_t* changes, unsigned long long* totals) {
  changes[lane] = 0;
  __syncwarp();
#pragma unroll 1
  for (uint32_t i = lane; i < record.patch_count; i += WARP) {
    const uint8_t* patch = chunk.record + record.patches_offset + PATCH_BYTES * i;
    const uint32_t position = patch_position(patch), exponent = patch[2];
    atomicAdd(&changes[chunk.record[RECORD_HEADER_BYTES + position / 2] >> position % 2 * 4 & 15], ~0u);
    const uint32_t index = index_of(chunk.job->palette, exponent);
    if (index == PALETTE_ENTRIES) add_to_global(&totals[exponent], 1); else atomicAdd(&changes[index], 1u);
  }
  __syncwarp();
  return changes[lane];
}

// `memory` has 256 words.
__device__ __forceinline__ void count_record(const SourceChunk& target, uint32_t number, uint32_t lane, uint32_t* memory, const CrcConstants* constants,
                                             unsigned long long* status) {
  const Chunk chunk = source_record(target);
  Record record;
  const uint32_t broken = parse_record(chunk, lane, record);
  // encode_chunks_of_records passes over a record that has a length already.
  if (lane == 0) target.job->record_lengths[target.own] = broken == 0 ? 0 : NO_RECORD_BYTES / RECORD_ALIGNMENT;
  uint32_t* palette_counts = target.job->palette_counts + static_cast<uint64_t>(target.own) * PALETTE_ENTRIES;
  if (broken != 0) {
    // choose_codes looks at them.
    if (lane < PALETTE_ENTRIES) palette_counts[lane] = 0;
    if (lane == 0) report(status, number, broken);
    return;
  }
  const bool is_verbatim = record.kind == KIND_VERBATIM;
  unsigned long long* totals = totals_of(target, number);
  ValueCounts counts;
  const CountedRecord counted{chunk.record, is_verbatim ? 0 : record.patches_offset, chunk.weights, &counts};
  const uint32_t sum = remainder_of<2>(constants, lane, counted, chunk.record_bytes, RECORD_CHECKED_FROM, ~0u);
  // What the sign-mantissa bytes give, for encode_chunks_of_records.
  const uint32_t rest = *reinterpret_cast<const uint32_t*>(chunk.record) ^ advance_bytes(constants->power, sum, chunk.weights, lane);
  if (lane == 0) target.job->counts[static_cast<uint64_t>(target.own) * EXPONENTS] = rest;
  const uint32_t exponent = chunk.job->palette[lane % PALETTE_ENTRIES];
  uint32_t count;
  if (is_verbatim) {
    count_verbatim(chunk, lane, memory, totals);
    count = memory[exponent];
  } else {
    count = counts.of_value(lane, chunk.weights) + count_patches(chunk, record, lane, memory, totals);
    if (lane < PALETTE_ENTRIES && count != 0) add_to_global(&totals[exponent], count);
  }
  if (lane < PALETTE_ENTRIES) palette_counts[lane] = count;
}

extern "C" __global__ void __launch_bounds__(WARP, 24)
    count_indices(const EncodeJob* jobs, uint32_t job_count, const CrcConstants* constants, unsigned long long* status, uint32_t* detour) {
  DYNAMIC_SHARED(shared);
  const SourceChunk target = find_source_chunk(jobs, job_count, blockIdx.x);
  count_record(target, blockIdx.x, threadIdx.x, reinterpret_cast<uint32_t*>(shared), constants, status);
  confirm_palette(const_cast<EncodeJob*>(target.job), shared, detour);
}
