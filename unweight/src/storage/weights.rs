//! Sources of the weights that are to be encoded.

use std::io;

use half::bf16;
use unweight_format::Extent;

use crate::{Storage, read_extent};

/// The weights of one tensor, in row-major order, readable from several threads at once.
pub trait Weights: Sync {
    /// Number of weights.
    fn count(&self) -> u64;

    /// Reads `weights.len()` weights, beginning with number `first`, into `weights`. The range must
    /// lie within the tensor.
    ///
    /// # Errors
    /// The errors of the storage.
    fn read(&self, first: u64, weights: &mut [bf16]) -> io::Result<()>;

    /// Returns the little-endian bytes of `count` weights, beginning with number `first`. The bytes
    /// are borrowed from the storage or read into `buffer`. The range must lie within the tensor.
    ///
    /// # Errors
    /// The errors of the storage.
    fn read_bytes<'a>(
        &'a self,
        first: u64,
        count: usize,
        buffer: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        let mut weights = vec![bf16::ZERO; count];
        self.read(first, &mut weights)?;
        buffer.clear();
        buffer.extend(weights.iter().flat_map(|weight| weight.to_le_bytes()));
        Ok(buffer)
    }
}

impl Weights for [bf16] {
    fn count(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, first: u64, weights: &mut [bf16]) -> io::Result<()> {
        weights.copy_from_slice(&self[first as usize..][..weights.len()]);
        Ok(())
    }

    #[cfg(target_endian = "little")]
    fn read_bytes<'a>(
        &'a self,
        first: u64,
        count: usize,
        _: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        Ok(bytemuck::cast_slice(&self[first as usize..][..count]))
    }
}

/// Weights stored as little-endian bytes in a storage, for example in a safetensors file.
#[derive(Debug)]
pub struct StoredWeights<'s, S: ?Sized> {
    storage: &'s S,
    data: Extent,
}

impl<'s, S: Storage + ?Sized> StoredWeights<'s, S> {
    /// The weights in extent `data`, whose length must be a multiple of 2.
    pub fn new(storage: &'s S, data: Extent) -> Self {
        StoredWeights { storage, data }
    }
}

impl<S: Storage + ?Sized> Weights for StoredWeights<'_, S> {
    fn count(&self) -> u64 {
        self.data.length / 2
    }

    fn read(&self, first: u64, weights: &mut [bf16]) -> io::Result<()> {
        let extent = Extent {
            offset: self.data.offset + 2 * first,
            length: 2 * weights.len() as u64,
        };
        let mut buffer = Vec::new();
        let bytes = read_extent(self.storage, extent, &mut buffer)?;
        for (weight, &bytes) in weights.iter_mut().zip(bytes.as_chunks().0) {
            *weight = bf16::from_le_bytes(bytes);
        }
        Ok(())
    }

    fn read_bytes<'a>(
        &'a self,
        first: u64,
        count: usize,
        buffer: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        let extent = Extent {
            offset: self.data.offset + 2 * first,
            length: 2 * count as u64,
        };
        Ok(read_extent(self.storage, extent, buffer)?)
    }
}
