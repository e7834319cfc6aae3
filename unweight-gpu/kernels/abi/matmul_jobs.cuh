// Matrices and matmuls for the kernels of matmul/. Twins of the structures in `src/matmul/job.rs`.
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

constexpr uint32_t PALETTE_WORDS = 4;

// A row-major matrix and its fragment form (matmul/fragments.cuh).
struct FragmentsJob {
  uint16_t* matrix;      // rows * columns, 16-byte aligned
  uint8_t* weights;      // K tiles, by row panel, then by columns
  uint32_t* patches;     // patches of all row panels
  uint32_t* patch_ends;  // end of each row panel's patches
  uint32_t rows;
  uint32_t k_tiles;  // K tiles of a row panel
  uint32_t palette[PALETTE_WORDS];
};

// Planes to fragment form.
struct PlanesJob {
  const uint8_t* exponents;      // rows * columns; 16-byte aligned
  const uint8_t* sign_mantissa;  // likewise
  FragmentsJob fragments;        // `matrix` is not used; patches are written already
};

// y = x * W^T with W in fragment form.
struct MatmulJob {
  const uint8_t* weights;      // K tiles, by row panel, then by columns; 16-byte aligned
  const uint32_t* patches;     // patches of all row panels
  const uint32_t* patch_ends;  // end of each row panel's patches
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
  uint32_t palette[PALETTE_WORDS];
};

// y = x * W^T with W in two row-major planes.
struct PlanesMatmulJob {
  const uint8_t* exponents;      // rows * columns; 16-byte aligned
  const uint8_t* sign_mantissa;  // likewise
  MatmulJob matmul;              // `weights`, `patches`, `patch_ends` and `palette` are not used
};

}  // namespace unweight::abi
