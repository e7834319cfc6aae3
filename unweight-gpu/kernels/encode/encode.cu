// Weights to chunk records and sign-mantissa bytes (specification, sections 5 and 11.4 to 11.6), or planes or records of another encoding to these (11.8).
//
//   encode_chunks   one block = one chunk; one warp = 8 of its steps, or what is left of them; thread l of a warp = lane l of the specification;
//                   encode_chunks_of_planes where the source is an exponent plane and a sign-mantissa plane, 8 bytes of each a lane and step, in
//                   place of weights; encode_chunks_of_records where it is palette records, 4 bytes in place of exponents (record_source.cuh), and a
//                   warp has 16 steps
//
//   weights         | lane 0: 16 bytes| lane 1: 16 bytes| ... | lane 31 |   a step: 512 bytes, one load a lane
//   sign-mantissa   | lane 0: 8 bytes | lane 1: 8 bytes | ... | lane 31 |   a step: 256 bytes, one store a lane
//   record, shared  | header | lane ends | lane 0: warp 0, warp 1, .. | lane 1: .. | ... | patches | 0.. |   as it will stand, of any kind
//   records         | the same |                                         16 bytes a thread
//
// First a lane replaces its exponents by palette indices, kept in registers, and adds up what they will take (lane_indices.cuh): so it is known where every lane's
// stream stands, to the bit where every warp's piece of it begins, and whether the record will be verbatim, before a byte of it is written. A code is the
// tensor's or the chunk's own, whichever costs less (encode_tables.cuh). Then it packs codes from the indices (piece_packer.cuh), which are a palette record's
// body as they stand, and writes the patches (encode_patches.cuh). Weights are read again for a verbatim record. Where the record begins is known last
// (record_place.cuh).
//
// A chunk's checksum is a sum of what its record and its sign-mantissa bytes give. Each warp computes what its own of these give, while it has them in registers;
// some warps what the record gives, while it stands in shared memory.
//
// Shared memory: encode_chunks 256 words of codes by pairs of indices, 16 by one, one for each lane of 32 warps, 40 for checksums, 256 of patches; 256 bytes of
// entries by exponent, 64 besides: 6,688 bytes; and room for the longest record, in which words of indices, and half of the sign-mantissa bytes of records, wait
// before.
// Bytes moved for a chunk of n weights and a record of r bytes: 2n read, n + r written.
//
// Preconditions: what encode_layout.cuh says of EncodeJob but for counts and totals; `tensor_codes` is what choose_codes made. encode_chunks has a block for
// each chunk, of a warp for every 2,048 weights of the largest, or 4,096 where the source is records, and shared memory for the largest's verbatim record;
// encode_chunks_of_records comes after count_indices (transcode.cu), which has checked the sources, and left record_lengths 0 where one is good.
//
// The tail: the last step of a chunk may be short. Its surplus is coded as the placeholder, or as index 0, without patches; its
// sign-mantissa bytes are zero, and complete the plane to a multiple of 256. Nothing is written behind the last record's end.
#include "encode/stream_packer.cuh"
#include "encode/look_back.cuh"

template <class Source>
__device__ inline void write_verbatim(const SourceChunk& chunk, const Source& source, uint32_t lane, uint8_t* body) {
  const auto write_eight = [&](uint32_t place, const typename Source::Eight& eight) {
    *reinterpret_cast<uint2*>(body + place) = Source::exponent_bytes(eight);
  };
  const uint32_t last = for_whole_steps<1>(source, chunk.weight_count, lane, write_eight);
  // Zeros complete the record to a multiple of 16.
  if (last < round_up(chunk.weight_count)) write_eight(last, source.part(last, lane_step_count(chunk.weight_count, last)));
}

// What a chunk's sign-mantissa bytes give for its checksum, on any of its first warp's lanes. Those of records stay as they are, and count_indices (transcode.cu) has
// found what they give from the source's checksum and record: so a wrong checksum stays wrong.
template <class Source>
__device__ __forceinline__ uint32_t remainder_of_rest(const SourceChunk& chunk, const EncodeTables* tables) {
  if constexpr (LaneWeights<Source>::OF_RECORDS) return chunk.job->counts[static_cast<uint64_t>(chunk.own) * EXPONENTS];
  uint32_t sum = ~0u;
  for (uint32_t warp = 0; warp < blockDim.x / WARP; warp++) sum ^= tables->remainders[warp];
  return sum;
}

template <class Source>
__device__ __forceinline__ void encode_chunk(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, uint4* shared,
                                             const CrcConstants* constants) {
  constexpr uint32_t STEPS = LaneWeights<Source>::STEPS;
  EncodeTables* tables = reinterpret_cast<EncodeTables*>(shared);
  uint4* record = shared + sizeof(EncodeTables) / 16;
  uint8_t* record_bytes = reinterpret_cast<uint8_t*>(record);
  uint32_t* record_words = reinterpret_cast<uint32_t*>(record);
  const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  SourceChunk chunk = find_source_chunk(jobs, job_count, blockIdx.x);
  uint32_t first_step;
  SourceChunk part = part_of(chunk, warp, STEPS, first_step);
  const bool huffman = chunk.job->kind == KIND_HUFFMAN;
  // On its way while the first warp makes tables.
  LaneWeights<Source> weights;
  // Behind the spare words of index_weights.
  uint4* room = record + chunk.steps * (STEP_INDEX_BYTES / 16) + warp * (STEPS * STEP_WEIGHTS / 2 / 16);
  const bool loaded = weights.load(part, room, lane);
  // All of them on their way, before one is looked at: otherwise the compiler runs out of registers.
  __syncwarp();
  const bool fit = loaded && weights.fit(part, lane);
  if (warp == 0) make_source_tables(chunk, jobs, tensor_codes, lane, tables);
  CrcState<8> crc;
  if (fit) weights.store_sign_mantissa(part, room, constants, lane, crc);
  __syncthreads();
  // Read again, so that they take no registers while there are few.
  chunk = source_chunk(chunk.job, blockIdx.x);
  part = part_of(chunk, warp, STEPS, first_step);
  if (huffman) make_pairs(tables);

  LaneIndices<STEPS> indices;
  index_weights<Source>(part, fit, weights, first_step, lane, *tables, record_words + first_step * WARP, indices, constants, crc);
  tables->sums[warp][lane] = indices.sum;
  __syncthreads();

  // 65,536 weights make at most 16,384 bits of a lane, and 2,048 patches: no sum runs over.
  uint32_t sum = 0, before = 0;
  for (uint32_t other = 0; other < blockDim.x / WARP; other++) {
    if (other == warp) before = sum;
    sum += tables->sums[other][lane];
  }
  const uint32_t lane_bytes = ((sum & 0xffff) + 7) / 8;
  const uint32_t lane_end = sum_up_to(lane_bytes, lane);
  const uint32_t patch_count = __reduce_add_sync(ALL_LANES, sum >> 16);
  const uint32_t streams_end = LANE_STREAMS_OFFSET + __shfl_sync(ALL_LANES, lane_end, WARP - 1);
  const uint32_t body_end = huffman ? streams_end : RECORD_HEADER_BYTES + chunk.steps * STEP_INDEX_BYTES;
  const uint32_t contents_end = body_end + PATCH_BYTES * patch_count;
  const uint32_t verbatim_end = RECORD_HEADER_BYTES + chunk.weight_count;
  const bool verbatim = round_up(contents_end) > round_up(verbatim_end);
  const uint32_t length = round_up(verbatim ? verbatim_end : contents_end);
  if (threadIdx.x == 0) {
    publish(&chunk.job->places[chunk.own], HAS_LENGTH | length / RECORD_ALIGNMENT);
    const uint2 code_lengths = verbatim ? make_uint2(0, 0) : tables->code_lengths;
    record[0] = make_uint4(0, verbatim ? KIND_VERBATIM : chunk.job->kind | patch_count << 16, code_lengths.x, code_lengths.y);
  }

  if constexpr (!LaneWeights<Source>::OF_RECORDS) {
    // Only now, as others wait for the length. Zeros complete the last row.
    const uint32_t end = (first_step + (part.steps + 1) / 2 * 2) * STEP_WEIGHTS, count = chunk.weight_count;
    uint32_t of_rest = crc.remainder(constants, lane);
    of_rest = end <= count ? advance_bytes(constants->power, of_rest, count - end, lane) : advance_bytes(constants->inverse, of_rest, end - count, lane);
    if (lane == 0) tables->remainders[warp] = part.steps == 0 ? 0 : of_rest;
  }

  const auto write_all_patches = [&] {
    if (patch_count == 0) return;
    uint8_t* patches = record_bytes + body_end;
    if (patch_count <= LISTED_PATCHES) {
      write_listed_patches(*tables, patch_count, patches);
    } else {
      uint8_t* own = patches + PATCH_BYTES * __reduce_add_sync(ALL_LANES, before >> 16);
      write_patches(chunk, Source::OfExponents::of(chunk), lane, tables->entries, first_step, part.steps, own, patches + PATCH_BYTES * patch_count);
    }
  };
  if (verbatim) {
    // What is read again is read for its exponents.
    if (part.steps != 0) write_verbatim(part, Source::OfExponents::of(part), lane, record_bytes + RECORD_HEADER_BYTES + first_step * STEP_WEIGHTS);
  } else if (huffman) {
    for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) record[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();
    if (warp == 0) reinterpret_cast<uint16_t*>(record + RECORD_HEADER_BYTES / 16)[lane] = static_cast<uint16_t>(lane_end);
    const uint32_t first_bit = 8 * (LANE_STREAMS_OFFSET + lane_end - lane_bytes) + (before & 0xffff);
    PiecePacker packer{place_in_shared(record_words) + first_bit / 32 * 4, 0, first_bit % 32};
    packer.pack(indices, part.steps, place_in_shared(tables->pairs));
    write_all_patches();
    __syncthreads();
    if (packer.bits != 0) atomicOr(record_words + (packer.word - place_in_shared(record_words)) / 4, packer.bits);
  } else {
    uint32_t* body = record_words + RECORD_HEADER_BYTES / 4 + first_step * WARP;
#pragma unroll
    for (uint32_t step = 0; step < STEPS; step++)
      if (step < part.steps) body[step * WARP + lane] = indices.words[step];
    write_all_patches();
    if (warp == 0 && contents_end + lane < length) record_bytes[contents_end + lane] = 0;
  }
  __syncthreads();

  const Share share{warp, min(blockDim.x / WARP, LaneWeights<Source>::OF_RECORDS ? SEAL_WARPS : SEAL_WARPS / 2)};
  if (warp < share.of) {
    const uint32_t of_share = remainder_of<1>(constants, lane, PlainBytes{record_bytes}, length, RECORD_CHECKED_FROM, ~0u, share);
    if (lane == 0) tables->of_record[warp] = of_share;
  }
  // As above.
  chunk = source_chunk(chunk.job, blockIdx.x);
  // As late as can be: those before may not know their lengths yet.
  if (threadIdx.x + WARP >= blockDim.x) find_place(chunk, length / RECORD_ALIGNMENT, lane, &tables->start);
  __syncthreads();
  uint4* to = reinterpret_cast<uint4*>(chunk.job->records) + tables->start;
  for (uint32_t i = 1 + threadIdx.x; i < length / RECORD_ALIGNMENT; i += blockDim.x) to[i] = record[i];
  if (warp != 0) return;
  uint32_t of_record = 0;
  for (uint32_t i = 0; i < share.of; i++) of_record ^= tables->of_record[i];
  const uint32_t checksum = remainder_of_rest<Source>(chunk, tables) ^ advance_bytes(constants->power, of_record, chunk.weight_count, lane);
  const uint4 header = record[0];
  if (lane == 0) to[0] = make_uint4(checksum, header.y, header.z, header.w);
}

extern "C" __global__ void __launch_bounds__(MOST_ENCODE_WARPS* WARP)
    encode_chunks(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  encode_chunk<WeightSource>(jobs, job_count, tensor_codes, shared, constants);
}

extern "C" __global__ void __launch_bounds__(MOST_ENCODE_WARPS* WARP)
    encode_chunks_of_planes(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  encode_chunk<PlaneSource>(jobs, job_count, tensor_codes, shared, constants);
}

extern "C" __global__ void __launch_bounds__(MOST_ENCODE_WARPS / 2 * WARP, 2)
    encode_chunks_of_records(const EncodeJob* jobs, uint32_t job_count, const uint2* tensor_codes, const CrcConstants* constants) {
  DYNAMIC_SHARED(shared);
  const SourceChunk chunk = find_source_chunk(jobs, job_count, blockIdx.x);
  const uint32_t length = chunk.job->record_lengths[chunk.own];
  if (length != 0) {
    uint32_t* start = reinterpret_cast<uint32_t*>(shared);
    if (threadIdx.x == 0) publish(&chunk.job->places[chunk.own], HAS_LENGTH | length);
    if (threadIdx.x < WARP) find_place(chunk, length, threadIdx.x, start);
    return;
  }
  encode_chunk<RecordSource>(jobs, job_count, tensor_codes, shared, constants);
}
