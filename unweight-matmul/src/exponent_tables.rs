//! Palettes and patches in device memory: what makes exponents of the indices in K tiles.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_format::Palette;
use unweight_gpu::kernels::DeviceBuffer;

use crate::MatmulError;

/// How a palette is stored in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPalette {
    /// One byte: the first of 16 consecutive exponents.
    Consecutive,
    /// 16 bytes, at a multiple of 4: the exponents in ascending order.
    Any,
}

impl StoredPalette {
    /// How this palette is stored, and its bytes.
    pub fn of(palette: &Palette) -> (StoredPalette, &[u8]) {
        let values = palette.padded();
        match palette.base() {
            Some(_) => (StoredPalette::Consecutive, &values[..1]),
            None => (StoredPalette::Any, values),
        }
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            StoredPalette::Consecutive => 1,
            StoredPalette::Any => 16,
        }
    }
}

/// Addresses of a palette and of patches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableAddresses {
    pub(crate) palette: u64,
    pub(crate) stored: StoredPalette,
    pub(crate) patches: u64,
    pub(crate) patch_count: u32,
    /// The end of each row panel's patches.
    pub(crate) patch_ends: u64,
}

/// The palette and the patches of a matrix, in device memory.
#[derive(Debug)]
pub(crate) struct ExponentTables {
    palette: DeviceBuffer<u8>,
    stored: StoredPalette,
    patches: DeviceBuffer<u32>,
    patch_count: u32,
    patch_ends: DeviceBuffer<u32>,
}

impl ExponentTables {
    /// This palette, which is copied, without patches. The ends of each row panel's patches are not
    /// written yet.
    ///
    /// # Errors
    /// The errors of the driver.
    pub(crate) fn new(
        stream: &Arc<CudaStream>,
        palette: &Palette,
        panels: u64,
    ) -> Result<ExponentTables, MatmulError> {
        let (stored, bytes) = StoredPalette::of(palette);
        let palette = stream.clone_htod(bytes)?;
        let patch_ends = stream.alloc_zeros::<u32>(panels as usize)?;
        Ok(ExponentTables {
            palette: DeviceBuffer::new(palette, stream),
            stored,
            patches: patches(stream, 0)?,
            patch_count: 0,
            patch_ends: DeviceBuffer::new(patch_ends, stream),
        })
    }

    /// Replaces the number of patches of each row panel, which a launch on this stream wrote, by the
    /// end of its patches. Returns their number, after a wait for the launch.
    ///
    /// # Errors
    /// The errors of the driver.
    pub(crate) fn sum_counts(&mut self, stream: &Arc<CudaStream>) -> Result<u64, MatmulError> {
        let mut ends = stream.clone_dtoh(self.patch_ends.memory())?;
        stream.synchronize()?;
        let count = ends.iter().map(|&count| u64::from(count)).sum();
        let mut end = 0_u32;
        for count in &mut ends {
            // Wraps only if the matrix has too many patches for fragment form.
            end = end.wrapping_add(*count);
            *count = end;
        }
        self.patch_ends = DeviceBuffer::new(stream.clone_htod(&ends)?, stream);
        Ok(count)
    }

    /// Makes room for patches, which others write.
    ///
    /// # Errors
    /// The errors of the driver.
    pub(crate) fn make_room(
        &mut self,
        stream: &Arc<CudaStream>,
        patch_count: u32,
    ) -> Result<(), MatmulError> {
        self.patches = patches(stream, patch_count)?;
        self.patch_count = patch_count;
        Ok(())
    }

    pub(crate) const fn addresses(&self) -> TableAddresses {
        TableAddresses {
            palette: self.palette.address(),
            stored: self.stored,
            patches: self.patches.address(),
            patch_count: self.patch_count,
            patch_ends: self.patch_ends.address(),
        }
    }

    /// The size in bytes that a palette, this many patches and the ends of each row panel's patches
    /// have.
    pub(crate) fn bytes_of(palette: &Palette, patches: u64, panels: u64) -> u64 {
        let (stored, _) = StoredPalette::of(palette);
        let words = patches.max(1) + panels;
        u64::from(stored.bytes()) + size_of::<u32>() as u64 * words
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let words = [&self.patches, &self.patch_ends].map(|words| words.memory().num_bytes());
        (words[0] + words[1] + self.palette.memory().num_bytes()) as u64
    }

    pub(crate) const fn patch_count(&self) -> u64 {
        self.patch_count as u64
    }

    /// Copies of the patches and of the ends of each row panel's, in host memory, after a wait for
    /// the stream.
    ///
    /// # Errors
    /// The errors of the driver.
    pub(crate) fn download(
        &self,
        stream: &Arc<CudaStream>,
    ) -> Result<(Vec<u32>, Vec<u32>), MatmulError> {
        let mut patches = stream.clone_dtoh(self.patches.memory())?;
        let ends = stream.clone_dtoh(self.patch_ends.memory())?;
        stream.synchronize()?;
        patches.truncate(self.patch_count as usize);
        Ok((patches, ends))
    }
}

/// Memory for this many patches, and for one at least.
fn patches(stream: &Arc<CudaStream>, count: u32) -> Result<DeviceBuffer<u32>, MatmulError> {
    let memory = stream.alloc_zeros::<u32>(count.max(1) as usize)?;
    Ok(DeviceBuffer::new(memory, stream))
}
