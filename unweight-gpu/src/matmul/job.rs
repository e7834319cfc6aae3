//! What the kernels are told: the twins of the structures in `kernels/abi/matmul_jobs.cuh`, and of
//! `LargeMatmulJob` in `kernels/matmul/large_batch_matmul.cu`.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::DeviceRepr;
use unweight_format::Palette;

use super::layout::Shape;
use super::tensor_map::TensorMap;

/// A palette in words, as kernels have it.
pub(super) type PaletteWords = [u32; 4];

pub(super) fn words_of(palette: &Palette) -> PaletteWords {
    let (words, _) = palette.exponents().as_chunks();
    std::array::from_fn(|word| u32::from_le_bytes(words[word]))
}

/// Between a row-major matrix and fragment form. Pointers are addresses of the device.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FragmentsJob {
    /// The row-major matrix.
    pub matrix: u64,
    /// Units.
    pub weights: u64,
    /// Patches of all strips.
    pub patches: u64,
    /// Where each strip's patches end.
    pub patch_ends: u64,
    /// Rows of the matrix.
    pub rows: u32,
    /// Units of a strip.
    pub units: u32,
    /// The palette.
    pub palette: PaletteWords,
}

impl FragmentsJob {
    /// Of a matrix of this shape and palette; addresses are to be filled in.
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

/// Between planes and fragment form. Pointers are addresses of the device.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PlanesJob {
    /// The plane of exponents.
    pub exponents: u64,
    /// The plane of sign-mantissa bytes.
    pub sign_mantissa: u64,
    /// The rest; it has no matrix.
    pub fragments: FragmentsJob,
}

/// A product. Pointers are addresses of the device.
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
    /// The rows of x behind these.
    pub(super) fn skip_batch(&mut self) {
        self.x += 2 * u64::from(self.batch) * u64::from(self.columns);
        self.y += 2 * u64::from(self.batch) * u64::from(self.rows);
    }
}

/// A product of the kernels for many rows of x.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct LargeMatmulJob {
    /// Where the copy engine finds x.
    pub(super) x: TensorMap,
    pub(super) product: MatmulJob,
    /// Tiles that are one block's each.
    pub(super) whole: u32,
    /// Units of the others.
    pub(super) line: u32,
    /// Of the line.
    pub(super) parts: u32,
}

/// A product of the kernels that read planes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanesMatmulJob {
    pub(super) exponents: u64,
    pub(super) sign_mantissa: u64,
    /// Without weights and patches.
    pub(super) product: MatmulJob,
}

// SAFETY: of all: plain numbers, in the order and with the alignment that C gives the kernels' structures.
unsafe impl DeviceRepr for FragmentsJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for MatmulJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for LargeMatmulJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for PlanesJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for PlanesMatmulJob {}
