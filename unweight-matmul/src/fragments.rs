//! A matrix in fragment form, in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DevicePtr};
use unweight_format::Palette;
use unweight_gpu::kernels::{DeviceBuffer, Handover, WaitAtEnd, require_context};
use unweight_gpu::{Device, DeviceTensor};

use crate::decoded::{coded_exponents, decode, most_frequent_exponents, require_matrix};
use crate::exponent_tables::ExponentTables;
use crate::kernels::MatmulKernels;
use crate::layout::{Arranged, Shape};
use crate::{FragmentsRef, MatmulError, View, ViewMut};

/// A matrix in [fragment form](crate::layout), in device memory.
#[derive(Debug)]
pub struct Fragments {
    kernels: Arc<MatmulKernels>,
    shape: Shape,
    palette: Palette,
    k_tiles: DeviceBuffer<u8>,
    tables: ExponentTables,
}

impl Fragments {
    /// Decodes a BF16 tensor of this shape in any forms, with a check of every record and of all
    /// chunk and block checksums, and converts it to fragment form. The palette is that of the
    /// tensor's exponents if these are coded, and otherwise one of the most frequent exponents.
    /// Waits for that, so it is meant for load time. It takes 2 bytes of device memory for each
    /// weight meanwhile.
    ///
    /// # Errors
    /// [`MatmulError::NotBf16`] for a tensor of another type;
    /// [`GpuError::BadChunk`](unweight_gpu::GpuError::BadChunk); the errors of
    /// [`Fragments::arrange`].
    pub fn of_tensor(
        device: &Device,
        tensor: &Arc<DeviceTensor>,
        shape: Shape,
    ) -> Result<Fragments, MatmulError> {
        require_matrix(tensor, shape)?;
        let weights = decode(device, tensor)?;
        let palette = match coded_exponents(tensor.palettes()) {
            Some(palette) => *palette,
            None => most_frequent_exponents(device, &weights, shape)?,
        };
        let matrix = View::slice(&weights, weights.stream());
        Fragments::arrange(device, &matrix, shape, palette)
    }

    /// Converts a row-major BF16 matrix to fragment form with this palette of exponents, for
    /// instance that of its tensor. Waits for that, so it is meant for load time.
    ///
    /// # Errors
    /// [`MatmulError::NotOfExponents`] for the palette of another field;
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) if the length of the matrix does not match the shape;
    /// [`MatmulError::TooManyPatches`] if the palette lacks the exponents of more than one weight
    /// in 16; [`GpuError::OtherContext`](unweight_gpu::GpuError::OtherContext); [`GpuError::NoKernels`](unweight_gpu::GpuError::NoKernels) and [`GpuError::Compile`](unweight_gpu::GpuError::Compile); the
    /// errors of the driver.
    pub fn arrange(
        device: &Device,
        matrix: &View<'_>,
        shape: Shape,
        palette: Palette,
    ) -> Result<Fragments, MatmulError> {
        matrix.require(shape.weights())?;
        if palette.width() != u8::BITS {
            return Err(MatmulError::NotOfExponents(palette.width()));
        }
        // SAFETY: nobody captures the stream, and its memory stays in this type.
        let stream = unsafe { device.private_stream() };
        if let Some(memory) = matrix.memory() {
            require_context(memory.context(), device.context())?;
            let handover = Handover::new(device.context())?;
            // The matrix may still be in the process of being written.
            let _ = memory.device_ptr(handover.stream());
            handover.finish()?;
        }
        // The matrix is borrowed, and two launches assume that it does not change between them.
        let _waiting = WaitAtEnd(stream);
        // SAFETY: `arrange` writes every byte before anything reads them.
        let k_tiles = unsafe { stream.alloc::<u8>(shape.k_tile_bytes() as usize)? };
        let mut fragments = Fragments {
            kernels: device.kernels()?,
            shape,
            palette,
            k_tiles: DeviceBuffer::new(k_tiles, stream),
            tables: ExponentTables::new(stream, &palette, shape.panels())?,
        };
        // SAFETY: all of it is on this stream, which is waited for.
        unsafe { fragments.by_ref().count_patches(stream, matrix)? };
        let patches = fragments.tables.sum_counts(stream)?;
        shape.require_few_patches(patches)?;
        fragments.tables.make_room(stream, patches as u32)?;
        // SAFETY: as above.
        unsafe { fragments.by_ref().arrange(stream, matrix)? };
        // A matmul may read weights before the previous launch has ended, so they must be complete
        // here.
        stream.synchronize()?;
        Ok(fragments)
    }

    /// Launches the conversion back to the row-major BF16 matrix. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an output that is too short; the errors of the driver.
    ///
    /// # Safety
    /// The matrix and the output must exist, and nobody else may use the output, until
    /// the launch is done. If the stream is capturing, that holds until the last launch of the
    /// graph is done.
    pub unsafe fn restore(
        &self,
        stream: &Arc<CudaStream>,
        to: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.by_ref().restore(stream, to) }
    }

    /// The matrix for launches.
    pub fn by_ref(&self) -> FragmentsRef<'_> {
        FragmentsRef::new(
            &self.kernels,
            self.context(),
            self.shape,
            self.k_tiles.address(),
            self.tables.addresses(),
        )
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The palette of the indices.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Its size in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.k_tiles.memory().num_bytes() as u64 + self.tables.bytes()
    }

    /// The number of weights whose exponents the palette lacks.
    pub const fn patch_count(&self) -> u64 {
        self.tables.patch_count()
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        self.k_tiles.memory().context()
    }

    /// A copy in host memory. Waits for the copy.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn download(&self) -> Result<Arranged, MatmulError> {
        // The stream is the device's own.
        let stream = self.k_tiles.memory().stream();
        let k_tiles = stream.clone_dtoh(self.k_tiles.memory())?;
        let (patches, patch_ends) = self.tables.download(stream)?;
        Ok(Arranged {
            k_tiles,
            patches,
            patch_ends,
        })
    }

    pub(crate) fn into_tables(self) -> ExponentTables {
        self.tables
    }
}
