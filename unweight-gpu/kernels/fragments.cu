// A matrix between row-major BF16 and fragment form. A warp works on one strip.
//
// Preconditions: those of FragmentsJob; 32 threads; a block for each strip and 256 bytes of shared memory, but
// RESTORING_WARPS blocks for each and none for `restore`. `count_patches` writes patch counts where `arrange` and `restore` have patch ends, which the
// host makes of them.
#include "patches.cuh"

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

// A lane's row of a block.
struct Place {
  uint64_t weight;  // of the matrix
  bool inside;      // rows behind the last are zeros, indices too

  __device__ __forceinline__ Place(const FragmentsJob& job, uint32_t strip, uint32_t lane, uint32_t unit, uint32_t block, uint32_t lower) {
    const uint32_t row = strip * UNIT_ROWS + lane / 4 + lower * (UNIT_ROWS / 2);
    const uint32_t column = unit * UNIT_COLUMNS + block * BLOCK_COLUMNS + lane % 4 * LANE_COLUMNS;
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

// Calls `row(block, lower, inside, eight)` for every eight weights of the lane.
template <typename Row>
__device__ __forceinline__ void for_rows_of_unit(const FragmentsJob& job, uint32_t lane, uint32_t unit, Row&& row) {
#pragma unroll
  for (uint32_t block = 0; block < UNIT_BLOCKS; block++)
#pragma unroll
    for (uint32_t lower = 0; lower < 2; lower++) {
      const Place place(job, blockIdx.x, lane, unit, block, lower);
      EightWeights eight = {};
      if (place.inside) {
        const uint4 loaded = *reinterpret_cast<const uint4*>(job.matrix + place.weight);
        eight = {{loaded.x, loaded.y, loaded.z, loaded.w}};
      }
      row(block, lower, place.inside, eight);
    }
}

extern "C" __global__ void __launch_bounds__(WARP) count_patches(const __grid_constant__ FragmentsJob job) {
  DYNAMIC_SHARED(shared);
  const uint32_t lane = threadIdx.x;
  const uint8_t* indices = index_table(job, reinterpret_cast<uint8_t*>(shared));
  uint32_t count = 0;
  for (uint32_t unit = 0; unit < job.units; unit++)
    for_rows_of_unit(job, lane, unit, [&](uint32_t, uint32_t, bool inside, const EightWeights& eight) {
#pragma unroll
      for (uint32_t i = 0; i < LANE_COLUMNS; i++) count += inside && indices[exponent_of_weight(eight, i)] == NOT_IN_PALETTE;
    });
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
    uint4* to = reinterpret_cast<uint4*>(job.weights + (static_cast<uint64_t>(blockIdx.x) * job.units + unit) * UNIT_BYTES) + lane;
    uint32_t sign_mantissa[UNIT_BLOCKS][4], indices[UNIT_BLOCKS][2];
    uint32_t missing = 0;  // a bit for each weight of the lane
    uint8_t exponents[LANE_WEIGHTS];
    for_rows_of_unit(job, lane, unit, [&](uint32_t block, uint32_t lower, bool inside, const EightWeights& eight) {
      const uint2 bytes = sign_mantissa_of(eight);
      sign_mantissa[block][2 * lower] = bytes.x;
      sign_mantissa[block][2 * lower + 1] = bytes.y;
      uint32_t word = 0;
#pragma unroll
      for (uint32_t i = 0; i < LANE_COLUMNS; i++) {
        const uint32_t exponent = exponent_of_weight(eight, i), index = inside ? table[exponent] : 0;
        const uint32_t place = block * (LANE_WEIGHTS / UNIT_BLOCKS) + place_of(lower, i);
        exponents[place] = static_cast<uint8_t>(exponent);
        if (index == NOT_IN_PALETTE) missing |= 1u << place;
        else word |= index << index_shift(i);
      }
      indices[block][lower] = word;
    });
#pragma unroll
    for (uint32_t block = 0; block < UNIT_BLOCKS; block++)
      to[block * WARP] = make_uint4(sign_mantissa[block][0], sign_mantissa[block][1], sign_mantissa[block][2], sign_mantissa[block][3]);
    to[UNIT_BLOCKS * WARP] = make_uint4(indices[0][0], indices[0][1], indices[1][0], indices[1][1]);
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
  patches.begin();
  for (uint32_t unit = first; unit < end; unit++) {
    const uint4* from = reinterpret_cast<const uint4*>(job.weights + (static_cast<uint64_t>(strip) * job.units + unit) * UNIT_BYTES) + lane;
    UnitWeights weights = rebuild(palette, load_streaming(from), load_streaming(from + WARP), load_streaming(from + 2 * WARP));
    patches.apply(unit, lane, weights);
#pragma unroll
    for (uint32_t block = 0; block < UNIT_BLOCKS; block++)
#pragma unroll
      for (uint32_t lower = 0; lower < 2; lower++) {
        const Place place(job, strip, lane, unit, block, lower);
        const uint32_t* pairs = weights.pairs + block * (LANE_WEIGHTS / 2 / UNIT_BLOCKS) + lower;
        if (place.inside) store_streaming(reinterpret_cast<uint4*>(job.matrix + place.weight), make_uint4(pairs[0], pairs[2], pairs[4], pairs[6]));
      }
  }
}
