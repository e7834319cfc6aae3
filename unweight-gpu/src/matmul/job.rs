//! Arguments of the matmul kernels. They mirror the structures in `kernels/abi/matmul_jobs.cuh`,
//! and `LargeMatmulJob` in `kernels/matmul/large_batch_matmul.cu`.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::DeviceRepr;
use unweight_format::Palette;

use super::layout::Shape;
use super::tensor_map::TensorMap;

/// A palette in words, in the kernels' layout.
pub(super) type PaletteWords = [u32; 4];

pub(super) fn words_of(palette: &Palette) -> PaletteWords {
    let (words, _) = palette.exponents().as_chunks();
    std::array::from_fn(|word| u32::from_le_bytes(words[word]))
}

/// A conversion between a row-major matrix and fragment form. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FragmentsJob {
    /// The row-major matrix.
    pub matrix: u64,
    /// The K tiles.
    pub weights: u64,
    /// The patches of all row panels.
    pub patches: u64,
    /// The end of each row panel's patches.
    pub patch_ends: u64,
    /// Rows of the matrix.
    pub rows: u32,
    /// The number of K tiles in a row panel.
    pub units: u32,
    /// The palette.
    pub palette: PaletteWords,
}

impl FragmentsJob {
    /// A job for a matrix of this shape and palette. Addresses must be filled in.
    pub(super) fn new(shape: Shape, palette: &Palette) -> FragmentsJob {
        FragmentsJob {
            matrix: 0,
            weights: 0,
            patches: 0,
            patch_ends: 0,
            rows: shape.rows() as u32,
            units: shape.units() as u32,
            palette: words_of(palette),
        }
    }
}

/// A conversion between planes and fragment form. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PlanesJob {
    /// The plane of exponents.
    pub exponents: u64,
    /// The plane of sign-mantissa bytes.
    pub sign_mantissa: u64,
    /// The other arguments. This job has no row-major matrix.
    pub fragments: FragmentsJob,
}

/// A matmul. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct MatmulJob {
    pub(super) weights: u64,
    pub(super) patches: u64,
    pub(super) patch_ends: u64,
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) partials: u64,
    pub(super) arrived: u64,
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) batch: u32,
    pub(super) units: u32,
    pub(super) part: u32,
    pub(super) longer_parts: u32,
    pub(super) palette: PaletteWords,
}

impl MatmulJob {
    /// Advances to the next rows of x.
    pub(super) fn skip_batch(&mut self) {
        self.x += 2 * u64::from(self.batch) * u64::from(self.columns);
        self.y += 2 * u64::from(self.batch) * u64::from(self.rows);
    }
}

/// A matmul by a large-batch kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct LargeMatmulJob {
    /// The copy engine's description of x.
    pub(super) x: TensorMap,
    pub(super) product: MatmulJob,
    /// Number of tiles that a single block computes.
    pub(super) whole: u32,
    /// Number of K tiles in the other tiles, which the stream-K schedule divides.
    pub(super) line: u32,
    /// Number of tile ranges of the stream-K schedule.
    pub(super) parts: u32,
}

/// A matmul by a kernel that reads planes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanesMatmulJob {
    pub(super) exponents: u64,
    pub(super) sign_mantissa: u64,
    /// The matmul, without weights and patches.
    pub(super) product: MatmulJob,
}

// SAFETY: for all jobs: the fields are plain numbers, with the order and the alignment of the
// kernels' structures in C.
unsafe impl DeviceRepr for FragmentsJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for MatmulJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for LargeMatmulJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for PlanesJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for PlanesMatmulJob {}
