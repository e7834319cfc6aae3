// A matrix between row-major BF16, or row-major planes, and fragment form.
//
// Data layout: fragments.cuh. A lane loads and stores 8 columns of a row at a time, and four lanes exchange pairs:
//
//   row g, row g + 8     | lane 4g: 8 columns | 4g + 1 | 4g + 2 | 4g + 3 |   half a K tile
//
// Threads: one warp = one row panel; for restore and arrange_planes, RESTORING_WARPS warps share a row panel.
// Shared memory: 256 bytes; 1,024 for count_matrix_exponents, none for restore.
// Preconditions: those of the job; blocks of 32 threads, one for each row panel, or RESTORING_WARPS for each.
// count_patches writes numbers of patches where arrange and restore have patch ends, which are made of them in between.
// The contents that restore reads may be anything, as in MatmulJob.
// Tail: rows after the last are zeros with index 0, and are not stored.
#include "matmul/patches.cuh"
#include "ptx/memory.cuh"

namespace unweight::matmul {

using record::EightWeights;

// Columns of a row that a lane loads at once.
constexpr uint32_t PIECE_COLUMNS = 8;
constexpr uint32_t TILE_HALVES = 2;
constexpr uint32_t HALF_PIECES = K_TILE_COLUMNS / PIECE_COLUMNS / TILE_HALVES;
constexpr uint32_t STEP_PIECES = K_TILE_COLUMNS / PIECE_COLUMNS / MMA_STEPS;

// Position of a lane's piece in the matrix.
struct Place {
  uint64_t weight;  // number of the first weight
  bool inside;      // false for rows after the last

  template <typename Job>
  __device__ __forceinline__ Place(const Job& job, uint32_t panel, uint32_t lane, uint32_t k_tile, uint32_t half,
                                   uint32_t lower) {
    const uint32_t row = panel * PANEL_ROWS + lane / 4 + lower * (PANEL_ROWS / 2);
    const uint32_t column = k_tile * K_TILE_COLUMNS + (half * HALF_PIECES + lane % 4) * PIECE_COLUMNS;
    inside = row < job.rows;
    weight = static_cast<uint64_t>(row) * job.k_tiles * K_TILE_COLUMNS + column;
  }
};

constexpr uint32_t NOT_IN_PALETTE = 0xff;
// Warps that share a row panel.
constexpr uint32_t RESTORING_WARPS = 16;

// Fills the table of indices by exponent, in shared memory.
__device__ inline const uint8_t* index_table(const FragmentsJob& job, uint8_t* table) {
  const uint32_t lane = threadIdx.x;
  for (uint32_t exponent = lane; exponent < 256; exponent += WARP) table[exponent] = NOT_IN_PALETTE;
  __syncwarp();
  const AnyPalette palette = AnyPalette::load(job.palette, job.exponents);
  if (lane < PALETTE_EXPONENTS) table[palette.word(lane / 4) >> 8 * (lane % 4) & 0xff] = static_cast<uint8_t>(lane);
  __syncwarp();
  return table;
}

template <typename Job>
__device__ __forceinline__ EightWeights load_piece(const Job& job, const Place& place) {
  if (!place.inside) return {};
  const uint4 loaded = *reinterpret_cast<const uint4*>(job.matrix + place.weight);
  return {{loaded.x, loaded.y, loaded.z, loaded.w}};
}

// Transposes four pairs of four lanes: lane t receives pair t of each lane. In each step lane t exchanges with lane
// t ^ step.
__device__ __forceinline__ void transpose(uint32_t (&pairs)[4], uint32_t t) {
  uint32_t transposed[4];
#pragma unroll
  for (uint32_t step = 0; step < 4; step++) {
    const uint32_t other = t ^ step;
    const uint32_t given = other == 0 ? pairs[0] : other == 1 ? pairs[1] : other == 2 ? pairs[2] : pairs[3];
    const uint32_t got = __shfl_xor_sync(ALL_LANES, given, step);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
      if (i == other) transposed[i] = got;
  }
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) pairs[i] = transposed[i];
}

// Number of a lane's pair in the K tile, from the half, the piece and the upper or lower row that it comes from.
__device__ __forceinline__ uint32_t pair_number(uint32_t half, uint32_t piece, uint32_t lower) {
  const uint32_t of_tile = half * HALF_PIECES + piece;
  return of_tile / STEP_PIECES * STEP_PAIRS + of_tile % STEP_PIECES * 2 + lower;
}

// A lane's pairs of a K tile, from the pieces of rows that `piece(place, lower)` returns.
template <typename Piece>
__device__ __forceinline__ TileWeights gather(const FragmentsJob& job, uint32_t panel, uint32_t lane, uint32_t k_tile,
                                              Piece&& piece) {
  TileWeights weights;
#pragma unroll
  for (uint32_t half = 0; half < TILE_HALVES; half++)
#pragma unroll
    for (uint32_t lower = 0; lower < 2; lower++) {
      EightWeights eight = piece(Place(job, panel, lane, k_tile, half, lower), lower);
      transpose(eight.pairs, lane % 4);
#pragma unroll
      for (uint32_t i = 0; i < HALF_PIECES; i++) weights.pairs[pair_number(half, i, lower)] = eight.pairs[i];
    }
  return weights;
}

__device__ __forceinline__ void store_k_tile(const FragmentsJob& job, uint32_t panel, uint32_t lane, uint32_t k_tile,
                                             const uint32_t (&words)[MMA_STEPS][STEP_WORDS]) {
  uint8_t* const tile = job.weights + (static_cast<uint64_t>(panel) * job.k_tiles + k_tile) * K_TILE_BYTES;
  uint4* to = reinterpret_cast<uint4*>(tile) + lane;
#pragma unroll
  for (uint32_t piece = 0; piece < K_TILE_PIECES; piece++)
    to[piece * WARP] = make_uint4(words[0][piece], words[1][piece], words[2][piece], words[3][piece]);
}

// Calls `use(eight)` for the weights of a row panel, eight of a row at a time.
template <typename Job, typename Use>
__device__ __forceinline__ void for_each_piece(const Job& job, uint32_t panel, uint32_t lane, Use&& use) {
  for (uint32_t k_tile = 0; k_tile < job.k_tiles; k_tile++)
#pragma unroll
    for (uint32_t half = 0; half < TILE_HALVES; half++)
#pragma unroll
      for (uint32_t lower = 0; lower < 2; lower++) {
        const Place place(job, panel, lane, k_tile, half, lower);
        if (place.inside) use(load_piece(job, place));
      }
}

// Adds the counts of the matrix's exponents.
extern "C" __global__ void __launch_bounds__(WARP)
    count_matrix_exponents(const __grid_constant__ ExponentCountsJob job) {
  DYNAMIC_SHARED(shared);
  uint32_t* const counts = reinterpret_cast<uint32_t*>(shared);
  const uint32_t lane = threadIdx.x;
  for (uint32_t exponent = lane; exponent < 256; exponent += WARP) counts[exponent] = 0;
  __syncwarp();
  for_each_piece(job, blockIdx.x, lane, [&](const EightWeights& eight) {
#pragma unroll
    for (uint32_t i = 0; i < PIECE_COLUMNS; i++) atomicAdd(counts + record::exponent_of_weight(eight, i), 1);
  });
  __syncwarp();
  for (uint32_t exponent = lane; exponent < 256; exponent += WARP)
    if (counts[exponent] > 0) atomicAdd(job.counts + exponent, static_cast<unsigned long long>(counts[exponent]));
}

// Writes the number of patches of each row panel.
extern "C" __global__ void __launch_bounds__(WARP) count_patches(const __grid_constant__ FragmentsJob job) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x;
  const uint8_t* indices = index_table(job, reinterpret_cast<uint8_t*>(shared));
  uint32_t count = 0;
  for_each_piece(job, blockIdx.x, lane, [&](const EightWeights& eight) {
#pragma unroll
    for (uint32_t i = 0; i < PIECE_COLUMNS; i++)
      count += indices[record::exponent_of_weight(eight, i)] == NOT_IN_PALETTE;
  });
#pragma unroll
  for (uint32_t distance = WARP / 2; distance > 0; distance /= 2) count += __shfl_xor_sync(ALL_LANES, count, distance);
  if (lane == 0) job.patch_ends[blockIdx.x] = count;
}

// Writes K tiles and patches from a row-major matrix. A weight with a patch has index 0.
extern "C" __global__ void __launch_bounds__(WARP) arrange(const __grid_constant__ FragmentsJob job) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x;
  const uint8_t* table = index_table(job, reinterpret_cast<uint8_t*>(shared));
  uint32_t patch = blockIdx.x == 0 ? 0 : job.patch_ends[blockIdx.x - 1];
  for (uint32_t k_tile = 0; k_tile < job.k_tiles; k_tile++) {
    bool inside[2];
    const TileWeights weights = gather(job, blockIdx.x, lane, k_tile, [&](const Place& place, uint32_t lower) {
      inside[lower] = place.inside;
      return load_piece(job, place);
    });

    uint32_t missing = 0;  // a bit for each weight of the lane that takes a patch
    uint8_t exponents[LANE_WEIGHTS];
    uint32_t words[MMA_STEPS][STEP_WORDS];
#pragma unroll
    for (uint32_t step = 0; step < MMA_STEPS; step++) {
      uint32_t pairs[STEP_PAIRS];
#pragma unroll
      for (uint32_t j = 0; j < STEP_PAIRS; j++) {
        const uint32_t pair = weights.pairs[step * STEP_PAIRS + j];
        pairs[j] = pair & ~EXPONENT_BITS;
#pragma unroll
        for (uint32_t odd = 0; odd < 2; odd++) {
          const uint32_t exponent = pair >> (odd ? 23 : 7) & 0xff, index = inside[j % 2] ? table[exponent] : 0;
          const uint32_t number = (step * STEP_PAIRS + j) * 2 + odd;
          exponents[number] = static_cast<uint8_t>(exponent);
          if (index == NOT_IN_PALETTE)
            missing |= 1u << number;
          else
            pairs[j] |= index << (odd ? 23 : 7);
        }
      }
      pack(pairs, words[step]);
    }
    store_k_tile(job, blockIdx.x, lane, k_tile, words);

    if (!__any_sync(ALL_LANES, missing != 0)) continue;
#pragma unroll
    for (uint32_t number = 0; number < LANE_WEIGHTS; number++) {
      const bool own = (missing >> number & 1) != 0;
      const uint32_t lanes = __ballot_sync(ALL_LANES, own);
      const uint32_t at = patch + static_cast<uint32_t>(__popc(lanes & ((1u << lane) - 1)));
      // More than were counted, if the matrix was changed meanwhile, have no place.
      if (own && at < job.patch_count)
        job.patches[at] =
            k_tile << PATCH_K_TILE_SHIFT | lane << PATCH_LANE_SHIFT | number << PATCH_WEIGHT_SHIFT | exponents[number];
      patch += static_cast<uint32_t>(__popc(lanes));
    }
  }
}

// Writes the row-major matrix.
extern "C" __global__ void __launch_bounds__(WARP) restore(const __grid_constant__ FragmentsJob job) {
  const uint32_t lane = threadIdx.x;
  const AnyPalette palette = AnyPalette::load(job.palette, job.exponents);
  Patches<FragmentsJob> patches(job);
  const uint32_t panel = blockIdx.x / RESTORING_WARPS, share = blockIdx.x % RESTORING_WARPS;
  const uint32_t first = job.k_tiles * share / RESTORING_WARPS, end = job.k_tiles * (share + 1) / RESTORING_WARPS;
  patches.seek(panel, first, lane);
  patches.begin(first);
  for (uint32_t k_tile = first; k_tile < end; k_tile++) {
    const uint8_t* const tile = job.weights + (static_cast<uint64_t>(panel) * job.k_tiles + k_tile) * K_TILE_BYTES;
    const uint4* from = reinterpret_cast<const uint4*>(tile) + lane;
    TileWeights weights = rebuild(palette, ptx::load_streaming(from), ptx::load_streaming(from + WARP),
                                  ptx::load_streaming(from + 2 * WARP));
    patches.apply(k_tile, lane, weights);
#pragma unroll
    for (uint32_t half = 0; half < TILE_HALVES; half++)
#pragma unroll
      for (uint32_t lower = 0; lower < 2; lower++) {
        uint32_t pairs[HALF_PIECES];
#pragma unroll
        for (uint32_t piece = 0; piece < HALF_PIECES; piece++)
          pairs[piece] = weights.pairs[pair_number(half, piece, lower)];
        transpose(pairs, lane % 4);
        const Place place(job, panel, lane, k_tile, half, lower);
        if (place.inside)
          ptx::store_streaming(reinterpret_cast<uint4*>(job.matrix + place.weight),
                               make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
      }
  }
}

// Writes K tiles from row-major planes. A weight with a patch has index 0.
extern "C" __global__ void __launch_bounds__(WARP) arrange_planes(const __grid_constant__ PlanesJob planes) {
  DYNAMIC_SHARED(shared);
  const FragmentsJob& job = planes.fragments;
  const uint32_t lane = threadIdx.x;
  const uint8_t* table = index_table(job, reinterpret_cast<uint8_t*>(shared));
  const uint32_t panel = blockIdx.x / RESTORING_WARPS, share = blockIdx.x % RESTORING_WARPS;
  const uint32_t first = job.k_tiles * share / RESTORING_WARPS, end = job.k_tiles * (share + 1) / RESTORING_WARPS;
  for (uint32_t k_tile = first; k_tile < end; k_tile++) {
    const TileWeights weights = gather(job, panel, lane, k_tile, [&](const Place& place, uint32_t) {
      EightWeights eight = {};
      if (place.inside) {
        const uint2 exponents = ptx::load_streaming(reinterpret_cast<const uint2*>(planes.exponents + place.weight));
        const uint2 sign_mantissa =
            ptx::load_streaming(reinterpret_cast<const uint2*>(planes.sign_mantissa + place.weight));
        record::Exponents indices;
#pragma unroll
        for (uint32_t i = 0; i < PIECE_COLUMNS / 2; i++) {
          const uint32_t two = (i < 2 ? exponents.x : exponents.y) >> 16 * (i % 2);
          const uint32_t even = table[two & 0xff], odd = table[two >> 8 & 0xff];
          indices.pairs[i] = (even == NOT_IN_PALETTE ? 0 : even) << 7 | (odd == NOT_IN_PALETTE ? 0 : odd) << 23;
        }
        eight = record::join(indices, sign_mantissa);
      }
      return eight;
    });
    uint32_t words[MMA_STEPS][STEP_WORDS];
#pragma unroll
    for (uint32_t step = 0; step < MMA_STEPS; step++) pack(weights.pairs + step * STEP_PAIRS, words[step]);
    store_k_tile(job, panel, lane, k_tile, words);
  }
}

}  // namespace unweight::matmul
