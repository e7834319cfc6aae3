// A matrix between row-major BF16 and fragment form. A warp works on one strip.
//
// Preconditions: those of FragmentsJob or PlanesJob; 32 threads; a block for each strip and 256 bytes of shared memory, but
// RESTORING_WARPS blocks for each for `restore` and `arrange_planes`, and no shared memory for `restore`. `count_patches`
// writes patch counts where `arrange` and `restore` have patch ends, which the host makes of them.
#include "matmul/patches.cuh"

// `src/matmul/job.rs` has its twin.
struct FragmentsJob {
  uint16_t* matrix;      // rows * columns, 16-byte aligned
  uint8_t* weights;      // units, by strip, then by columns
  uint32_t* patches;     // of all strips
  uint32_t* patch_ends;  // of each strip
  uint32_t rows;
  uint32_t units;        // of a strip
  uint32_t palette[PALETTE_WORDS];
};

// Eight columns that a lane loads or stores: the rows g and g + 8 of lane 4g + t, and of each a piece in both halves of the unit.
constexpr uint32_t PIECE_COLUMNS = 8;
constexpr uint32_t UNIT_HALVES = 2;
constexpr uint32_t HALF_PIECES = UNIT_COLUMNS / PIECE_COLUMNS / UNIT_HALVES;
constexpr uint32_t STEP_PIECES = UNIT_COLUMNS / PIECE_COLUMNS / UNIT_STEPS;

struct Place {
  uint64_t weight;  // of the matrix
  bool inside;      // rows behind the last are zeros, indices too

  __device__ __forceinline__ Place(const FragmentsJob& job, uint32_t strip, uint32_t lane, uint32_t unit, uint32_t half, uint32_t lower) {
    const uint32_t row = strip * UNIT_ROWS + lane / 4 + lower * (UNIT_ROWS / 2);
    const uint32_t column = unit * UNIT_COLUMNS + (half * HALF_PIECES + lane % 4) * PIECE_COLUMNS;
    inside = row < job.rows;
    weight = static_cast<uint64_t>(row) * job.units * UNIT_COLUMNS + column;
  }
};

constexpr uint32_t NOT_IN_PALETTE = 0xff;
// That share a strip.
constexpr uint32_t RESTORING_WARPS = 16;

// The index of every exponent, in shared memory.
__device__ inline const uint8_t* index_table(const FragmentsJob& job, uint8_t* table) {
  const uint32_t lane = threadIdx.x;
  for (uint32_t exponent = lane; exponent < 256; exponent += WARP) table[exponent] = NOT_IN_PALETTE;
  __syncwarp();
  if (lane < 4 * PALETTE_WORDS) table[job.palette[lane / 4] >> 8 * (lane % 4) & 0xff] = static_cast<uint8_t>(lane);
  __syncwarp();
  return table;
}

__device__ __forceinline__ EightWeights load_piece(const FragmentsJob& job, const Place& place) {
  if (!place.inside) return {};
  const uint4 loaded = *reinterpret_cast<const uint4*>(job.matrix + place.weight);
  return {{loaded.x, loaded.y, loaded.z, loaded.w}};
}

// Four lanes have four pairs each: lane t gets the t-th of each lane. In every step, what lane t ^ step has for it.
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
// Where a lane's pair of a piece stands among its pairs of the unit.
__device__ __forceinline__ uint32_t pair_of(uint32_t half, uint32_t piece, uint32_t lower) {
  const uint32_t of_unit = half * HALF_PIECES + piece;
  return of_unit / STEP_PIECES * STEP_PAIRS + of_unit % STEP_PIECES * 2 + lower;
}

// A lane's pairs of a unit, out of the pieces of rows that `piece(place, lower)` gives.
template <typename Piece>
__device__ __forceinline__ UnitWeights gather(const FragmentsJob& job, uint32_t strip, uint32_t lane, uint32_t unit, Piece&& piece) {
  UnitWeights weights;
#pragma unroll
  for (uint32_t half = 0; half < UNIT_HALVES; half++)
#pragma unroll
    for (uint32_t lower = 0; lower < 2; lower++) {
      EightWeights eight = piece(Place(job, strip, lane, unit, half, lower), lower);
      transpose(eight.pairs, lane % 4);
#pragma unroll
      for (uint32_t i = 0; i < HALF_PIECES; i++) weights.pairs[pair_of(half, i, lower)] = eight.pairs[i];
    }
  return weights;
}
__device__ __forceinline__ void store_unit(const FragmentsJob& job, uint32_t strip, uint32_t lane, uint32_t unit,
                                           const uint32_t (&words)[UNIT_STEPS][STEP_WORDS]) {
  uint4* to = reinterpret_cast<uint4*>(job.weights + (static_cast<uint64_t>(strip) * job.units + unit) * UNIT_BYTES) + lane;
#pragma unroll
  for (uint32_t part = 0; part < UNIT_PARTS; part++) to[part * WARP] = make_uint4(words[0][part], words[1][part], words[2][part], words[3][part]);
}

extern "C" __global__ void __launch_bounds__(WARP) count_patches(const __grid_constant__ FragmentsJob job) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x;
  const uint8_t* indices = index_table(job, reinterpret_cast<uint8_t*>(shared));
  uint32_t count = 0;
  for (uint32_t unit = 0; unit < job.units; unit++)
#pragma unroll
    for (uint32_t half = 0; half < UNIT_HALVES; half++)
#pragma unroll
      for (uint32_t lower = 0; lower < 2; lower++) {
        const Place place(job, blockIdx.x, lane, unit, half, lower);
        const EightWeights eight = load_piece(job, place);
#pragma unroll
        for (uint32_t i = 0; i < PIECE_COLUMNS; i++) count += place.inside && indices[exponent_of_weight(eight, i)] == NOT_IN_PALETTE;
      }
#pragma unroll
  for (uint32_t distance = WARP / 2; distance > 0; distance /= 2) count += __shfl_xor_sync(ALL_LANES, count, distance);
  if (lane == 0) job.patch_ends[blockIdx.x] = count;
}

extern "C" __global__ void __launch_bounds__(WARP) arrange(const __grid_constant__ FragmentsJob job) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x;
  const uint8_t* table = index_table(job, reinterpret_cast<uint8_t*>(shared));
  uint32_t patch = blockIdx.x == 0 ? 0 : job.patch_ends[blockIdx.x - 1];
  for (uint32_t unit = 0; unit < job.units; unit++) {
    bool inside[2];
    const UnitWeights weights = gather(job, blockIdx.x, lane, unit, [&](const Place& place, uint32_t lower) {
      inside[lower] = place.inside;
      return load_piece(job, place);
    });

    uint32_t missing = 0;  // a bit for each weight of the lane
    uint8_t exponents[LANE_WEIGHTS];
    uint32_t words[UNIT_STEPS][STEP_WORDS];
#pragma unroll
    for (uint32_t step = 0; step < UNIT_STEPS; step++) {
      uint32_t pairs[STEP_PAIRS];
#pragma unroll
      for (uint32_t j = 0; j < STEP_PAIRS; j++) {
        const uint32_t pair = weights.pairs[step * STEP_PAIRS + j];
        pairs[j] = pair & ~EXPONENT_BITS;
#pragma unroll
        for (uint32_t odd = 0; odd < 2; odd++) {
          const uint32_t exponent = pair >> (odd ? 23 : 7) & 0xff, index = inside[j % 2] ? table[exponent] : 0;
          const uint32_t place = (step * STEP_PAIRS + j) * 2 + odd;
          exponents[place] = static_cast<uint8_t>(exponent);
          if (index == NOT_IN_PALETTE) missing |= 1u << place;
          else pairs[j] |= index << (odd ? 23 : 7);
        }
      }
      pack(pairs, words[step]);
    }
    store_unit(job, blockIdx.x, lane, unit, words);

    if (!__any_sync(ALL_LANES, missing != 0)) continue;
#pragma unroll
    for (uint32_t place = 0; place < LANE_WEIGHTS; place++) {
      const bool own = (missing >> place & 1) != 0;
      const uint32_t lanes = __ballot_sync(ALL_LANES, own);
      if (own)
        job.patches[patch + static_cast<uint32_t>(__popc(lanes & ((1u << lane) - 1)))] =
            unit << PATCH_UNIT_SHIFT | lane << PATCH_LANE_SHIFT | place << PATCH_PLACE_SHIFT | exponents[place];
      patch += static_cast<uint32_t>(__popc(lanes));
    }
  }
}

extern "C" __global__ void __launch_bounds__(WARP) restore(const __grid_constant__ FragmentsJob job) {
  const uint32_t lane = threadIdx.x;
  const AnyPalette palette(job.palette);
  Patches<FragmentsJob> patches(job);
  const uint32_t strip = blockIdx.x / RESTORING_WARPS, share = blockIdx.x % RESTORING_WARPS;
  const uint32_t first = job.units * share / RESTORING_WARPS, end = job.units * (share + 1) / RESTORING_WARPS;
  patches.seek(strip, first, lane);
  patches.begin(first);
  for (uint32_t unit = first; unit < end; unit++) {
    const uint4* from = reinterpret_cast<const uint4*>(job.weights + (static_cast<uint64_t>(strip) * job.units + unit) * UNIT_BYTES) + lane;
    UnitWeights weights = rebuild(palette, load_streaming(from), load_streaming(from + WARP), load_streaming(from + 2 * WARP));
    patches.apply(unit, lane, weights);
#pragma unroll
    for (uint32_t half = 0; half < UNIT_HALVES; half++)
#pragma unroll
      for (uint32_t lower = 0; lower < 2; lower++) {
        uint32_t pairs[HALF_PIECES];
#pragma unroll
        for (uint32_t piece = 0; piece < HALF_PIECES; piece++) pairs[piece] = weights.pairs[pair_of(half, piece, lower)];
        transpose(pairs, lane % 4);
        const Place place(job, strip, lane, unit, half, lower);
        if (place.inside) store_streaming(reinterpret_cast<uint4*>(job.matrix + place.weight), make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
      }
  }
}

// `src/matmul/job.rs` has its twin.
struct PlanesJob {
  const uint8_t* exponents;      // of rows * columns weights, as sign-mantissa bytes; both 16-byte aligned
  const uint8_t* sign_mantissa;
  FragmentsJob fragments;        // no matrix; patches are there already
};

// Units out of planes. Weights that have patches get index 0, as in `arrange`.
extern "C" __global__ void __launch_bounds__(WARP) arrange_planes(const __grid_constant__ PlanesJob planes) {
  DYNAMIC_SHARED(shared);
  const FragmentsJob& job = planes.fragments;
  const uint32_t lane = threadIdx.x;
  const uint8_t* table = index_table(job, reinterpret_cast<uint8_t*>(shared));
  const uint32_t strip = blockIdx.x / RESTORING_WARPS, share = blockIdx.x % RESTORING_WARPS;
  const uint32_t first = job.units * share / RESTORING_WARPS, end = job.units * (share + 1) / RESTORING_WARPS;
  for (uint32_t unit = first; unit < end; unit++) {
    const UnitWeights weights = gather(job, strip, lane, unit, [&](const Place& place, uint32_t) {
      EightWeights eight = {};
      if (place.inside) {
        const uint2 exponents = load_streaming(reinterpret_cast<const uint2*>(planes.exponents + place.weight));
        const uint2 sign_mantissa = load_streaming(reinterpret_cast<const uint2*>(planes.sign_mantissa + place.weight));
        Exponents indices;
#pragma unroll
        for (uint32_t i = 0; i < PIECE_COLUMNS / 2; i++) {
          const uint32_t two = (i < 2 ? exponents.x : exponents.y) >> 16 * (i % 2);
          const uint32_t even = table[two & 0xff], odd = table[two >> 8 & 0xff];
          indices.pairs[i] = (even == NOT_IN_PALETTE ? 0 : even) << 7 | (odd == NOT_IN_PALETTE ? 0 : odd) << 23;
        }
        eight = join(indices, sign_mantissa);
      }
      return eight;
    });
    uint32_t words[UNIT_STEPS][STEP_WORDS];
#pragma unroll
    for (uint32_t step = 0; step < UNIT_STEPS; step++) pack(weights.pairs + step * STEP_PAIRS, words[step]);
    store_unit(job, strip, lane, unit, words);
  }
}
