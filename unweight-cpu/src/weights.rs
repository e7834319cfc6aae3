//! Where the weights to be encoded come from.

use std::io;

use half::bf16;
use unweight_format::Extent;

#[cfg(target_endian = "little")]
use crate::fast::output::bytes_of;
use crate::{Storage, read_extent};

/// The weights of one tensor, in row-major order, readable from several threads at once.
pub trait Weights: Sync {
    /// Number of weights.
    fn count(&self) -> u64;

    /// Puts the weights from number `first` on into `weights`. They lie within the tensor.
    ///
    /// # Errors
    /// Whatever the storage behind it reports.
    fn read(&self, first: u64, weights: &mut [bf16]) -> io::Result<()>;

    /// The little-endian bytes of `count` weights from number `first` on, all of them: borrowed, or read into `buffer`. They lie within
    /// the tensor.
    ///
    /// # Errors
    /// Whatever the storage behind it reports.
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
        Ok(bytes_of(&self[first as usize..][..count]))
    }
}

/// Weights that stand as little-endian bytes in a storage, a safetensors file for instance.
#[derive(Debug)]
pub struct StoredWeights<'s, S: ?Sized> {
    storage: &'s S,
    data: Extent,
}

impl<'s, S: Storage + ?Sized> StoredWeights<'s, S> {
    /// The weights at `data`, whose length is a multiple of 2.
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
