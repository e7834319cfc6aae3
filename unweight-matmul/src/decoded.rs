//! Weights of BF16 tensors in any forms, and the palettes of their exponents.

#![expect(unsafe_code, reason = "kernel launches")]

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_format::{Dtype, Palette, Palettes};
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError};

use crate::layout::{Shape, most_frequent};
use crate::{MatmulDevice, MatmulError, View, ViewMut};

/// The exponent's number among the fields of BF16, and its lowest bit.
const EXPONENT: usize = 0;
/// The number of values of an exponent.
const EXPONENTS: usize = 256;

/// Returns an error unless the tensor is one of BF16 with as many weights as the shape.
///
/// # Errors
/// [`MatmulError::NotBf16`]; [`GpuError::WrongLength`].
pub(crate) fn require_matrix(tensor: &DeviceTensor, shape: Shape) -> Result<(), MatmulError> {
    let payload = tensor.payload();
    let dtype = payload.forms().dtype();
    if dtype != Dtype::Bf16 {
        return Err(MatmulError::NotBf16(dtype));
    }
    if payload.weights() != shape.weights() {
        return Err(MatmulError::Gpu(GpuError::WrongLength {
            needed_bytes: 2 * shape.weights(),
            given_bytes: 2 * payload.weights(),
        }));
    }
    Ok(())
}

/// The weights of a tensor in any forms, in device memory, after a check of every record and of all
/// chunk and block checksums. Waits for that.
///
/// # Errors
/// [`GpuError::BadChunk`]; [`GpuError::OtherContext`]; the errors of the driver.
pub(crate) fn decode(
    device: &Device,
    tensor: &Arc<DeviceTensor>,
) -> Result<CudaSlice<u8>, GpuError> {
    let stream = device.stream()?;
    let weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
    let mut batch = Batch::to_weights(device, vec![DecodeTask::new(tensor, weights)])?;
    batch.check_chunks(&stream)?.defer_status();
    batch.decode(&stream)?.finish()?;
    Ok(batch.into_outputs()?.remove(0))
}

/// The palette of a tensor's exponents, if they are coded.
pub(crate) fn coded_exponents(palettes: &Palettes) -> Option<&Palette> {
    let is_coded = palettes.forms().form(EXPONENT).encoding().is_some();
    // It is the first field, so also the first coded one.
    is_coded.then(|| palettes.coded(0)).flatten()
}

/// A palette of the exponents that these BF16 weights have most often. Waits for the count.
///
/// # Errors
/// The errors of the driver.
pub(crate) fn most_frequent_exponents(
    device: &Device,
    weights: &CudaSlice<u8>,
    shape: Shape,
) -> Result<Palette, MatmulError> {
    let stream = weights.stream();
    let mut counts = stream.alloc_zeros::<u8>(8 * EXPONENTS)?;
    let matrix = View::slice(weights, stream);
    // SAFETY: all of it is on this stream, which is waited for.
    unsafe {
        let counts = ViewMut::slice(&mut counts, stream);
        MatmulDevice::new(device)?.count_exponents(stream, &matrix, shape, &counts)?;
    }
    let counted = stream.clone_dtoh(&counts)?;
    stream.synchronize()?;
    let (counted, _) = counted.as_chunks();
    let counts = std::array::from_fn(|exponent| u64::from_le_bytes(counted[exponent]));
    Ok(most_frequent(&counts))
}

#[cfg(test)]
mod tests {
    use unweight_format::Encoding;

    use super::*;

    #[test]
    fn a_coded_mantissa_is_not_taken_for_the_exponent() {
        let raw = Palettes::raw(Dtype::Bf16);
        let mantissa = raw
            .with_coded(1, Encoding::Huffman, Palette::lowest(3))
            .unwrap();
        assert_eq!(coded_exponents(&mantissa), None);
        let constant = mantissa.with_constant(0, 120).unwrap();
        assert_eq!(coded_exponents(&constant), None);
        let exponents = Palette::new(8, std::array::from_fn(|i| 110 + i as u8)).unwrap();
        let both = mantissa
            .with_coded(0, Encoding::Palette, exponents)
            .unwrap();
        assert_eq!(coded_exponents(&both), Some(&exponents));
    }
}
