// Matrices and matmuls for the kernels of matmul/. Twins of the structures in `src/job.rs`; both assert the layout.
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

// A row-major matrix and its fragment form (matmul/fragments.cuh).
struct FragmentsJob {
  uint16_t* matrix;        // rows * columns, 16-byte aligned
  uint8_t* weights;        // K tiles, by row panel, then by columns
  uint32_t* patches;       // patches of all row panels
  uint32_t* patch_ends;    // end of each row panel's patches
  const uint8_t* palette;  // exponents
  uint32_t rows;
  uint32_t k_tiles;      // K tiles of a row panel
  uint32_t exponents;    // length of the palette: 16 (4-byte aligned), or 1, the first of consecutive ones
  uint32_t patch_count;  // length of `patches`
};
static_assert(offsetof(FragmentsJob, matrix) == 0);
static_assert(offsetof(FragmentsJob, weights) == 8);
static_assert(offsetof(FragmentsJob, patches) == 16);
static_assert(offsetof(FragmentsJob, patch_ends) == 24);
static_assert(offsetof(FragmentsJob, palette) == 32);
static_assert(offsetof(FragmentsJob, rows) == 40);
static_assert(offsetof(FragmentsJob, k_tiles) == 44);
static_assert(offsetof(FragmentsJob, exponents) == 48);
static_assert(offsetof(FragmentsJob, patch_count) == 52);
static_assert(sizeof(FragmentsJob) == 56);

// Counts of a row-major matrix's exponents.
struct ExponentCountsJob {
  const uint16_t* matrix;      // rows * columns, 16-byte aligned
  unsigned long long* counts;  // of each exponent, 256; the kernel adds to them
  uint32_t rows;
  uint32_t k_tiles;  // K tiles of a row panel
};
static_assert(offsetof(ExponentCountsJob, matrix) == 0);
static_assert(offsetof(ExponentCountsJob, counts) == 8);
static_assert(offsetof(ExponentCountsJob, rows) == 16);
static_assert(offsetof(ExponentCountsJob, k_tiles) == 20);
static_assert(sizeof(ExponentCountsJob) == 24);

// Planes to fragment form.
struct PlanesJob {
  const uint8_t* exponents;      // rows * columns; 16-byte aligned
  const uint8_t* sign_mantissa;  // likewise
  FragmentsJob fragments;        // `matrix` is not used; patches are written already
};
static_assert(offsetof(PlanesJob, exponents) == 0);
static_assert(offsetof(PlanesJob, sign_mantissa) == 8);
static_assert(offsetof(PlanesJob, fragments) == 16);
static_assert(sizeof(PlanesJob) == 72);

// A residual and the first half of an RMS norm after a matmul (matmul/norm.cuh). Rows of these have `rows` values, and
// are 16-byte aligned.
struct ResidualJob {
  const uint16_t* residual;  // `batch` rows
  uint16_t* sum;             // `batch` rows: y + residual; null without a residual, and then the others are not used
  const uint16_t* weight;    // the norm's factors, one row
  float* squares;            // for each row of x and each row panel of W, the sum of the squares of y + residual
};
static_assert(offsetof(ResidualJob, residual) == 0);
static_assert(offsetof(ResidualJob, sum) == 8);
static_assert(offsetof(ResidualJob, weight) == 16);
static_assert(offsetof(ResidualJob, squares) == 24);
static_assert(sizeof(ResidualJob) == 32);

// The second half of an RMS norm, in the matmul after it.
struct ScaleJob {
  const float* squares;  // those of the ResidualJob before, whose rows are these columns; null without a norm
  float epsilon;
  uint32_t reserved;
};
static_assert(offsetof(ScaleJob, squares) == 0);
static_assert(offsetof(ScaleJob, epsilon) == 8);
static_assert(sizeof(ScaleJob) == 16);

// Rows of x that sums can be scaled for in one launch.
constexpr uint32_t MOST_SCALED_BATCH = 256;

// y = x * W^T + bias with W in fragment form. The contents of the matrix's memory may be anything: wrong ones give
// wrong results, and nothing else.
struct MatmulJob {
  const uint8_t* weights;      // K tiles, by row panel, then by columns; 16-byte aligned
  const uint32_t* patches;     // patches of all row panels
  const uint32_t* patch_ends;  // end of each row panel's patches
  const uint8_t* palette;      // exponents, as in FragmentsJob; the kernel's name says how many
  const uint16_t* bias;        // a value for each row of W, which is added before sums are rounded; or null
  const uint16_t* x;           // `batch` rows of `columns`; 16-byte aligned
  uint16_t* y;                 // `batch` rows of `rows`
  float* partials;             // partial sums: two slots for each block
  uint32_t* arrived;       // for each panel group, blocks that have stored their partial sums; zero between launches
  uint32_t rows;           // rows of W
  uint32_t columns;        // columns of W: `k_tiles` * K_TILE_COLUMNS
  uint32_t batch;          // rows of x
  uint32_t k_tiles;        // K tiles of a row panel
  uint32_t range_tiles;    // K tiles in a block's range of the stream-K schedule
  uint32_t longer_ranges;  // the first blocks, whose ranges have one K tile more
  uint32_t patch_count;    // length of `patches`
  uint32_t gated;          // 1: y = silu(gate) * up, `batch` rows of `rows` / 2, where gate is x times the first half
                           // of W's rows and up x times the second. `rows` is a multiple of 64 then, without a bias
  ResidualJob residual;  // with it, `rows` are a multiple of PANEL_ROWS, `gated` is 0, and y is (y + residual) * weight
  ScaleJob scale;        // with it, sums are divided by the norm of x's rows; at most MOST_SCALED_BATCH rows
};
static_assert(offsetof(MatmulJob, weights) == 0);
static_assert(offsetof(MatmulJob, patches) == 8);
static_assert(offsetof(MatmulJob, patch_ends) == 16);
static_assert(offsetof(MatmulJob, palette) == 24);
static_assert(offsetof(MatmulJob, bias) == 32);
static_assert(offsetof(MatmulJob, x) == 40);
static_assert(offsetof(MatmulJob, y) == 48);
static_assert(offsetof(MatmulJob, partials) == 56);
static_assert(offsetof(MatmulJob, arrived) == 64);
static_assert(offsetof(MatmulJob, rows) == 72);
static_assert(offsetof(MatmulJob, columns) == 76);
static_assert(offsetof(MatmulJob, batch) == 80);
static_assert(offsetof(MatmulJob, k_tiles) == 84);
static_assert(offsetof(MatmulJob, range_tiles) == 88);
static_assert(offsetof(MatmulJob, longer_ranges) == 92);
static_assert(offsetof(MatmulJob, patch_count) == 96);
static_assert(offsetof(MatmulJob, gated) == 100);
static_assert(offsetof(MatmulJob, residual) == 104);
static_assert(offsetof(MatmulJob, scale) == 136);
static_assert(sizeof(MatmulJob) == 152);

// y = x * W^T with W in two row-major planes.
struct PlanesMatmulJob {
  const uint8_t* exponents;      // rows * columns; 16-byte aligned
  const uint8_t* sign_mantissa;  // likewise
  MatmulJob matmul;              // `weights`, `patches`, `patch_ends` and `palette` are not used
};
static_assert(offsetof(PlanesMatmulJob, exponents) == 0);
static_assert(offsetof(PlanesMatmulJob, sign_mantissa) == 8);
static_assert(offsetof(PlanesMatmulJob, matmul) == 16);
static_assert(sizeof(PlanesMatmulJob) == 168);

}  // namespace unweight::abi
