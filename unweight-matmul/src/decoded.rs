//! Weights of BF16 tensors in any forms, and the palettes of their exponents.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_format::{Dtype, Palette, Palettes};
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError};

use crate::MatmulError;
use crate::layout::Shape;

/// The exponent's number among the fields of BF16, and its lowest bit.
const EXPONENT: usize = 0;
const EXPONENT_SHIFT: u32 = 7;
/// The number of values of an exponent.
const EXPONENTS: usize = 256;
/// The number of entries of its palette.
const ENTRIES: usize = 16;
/// Bytes that are copied to the host at a time, so that a large matrix needs no host memory.
const PIECE_BYTES: usize = 16 << 20;

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

/// A palette of the exponents that these BF16 weights have most often. Waits for copies of all
/// weights to the host.
///
/// # Errors
/// The errors of the driver.
pub(crate) fn most_frequent_exponents(weights: &CudaSlice<u8>) -> Result<Palette, GpuError> {
    let stream = weights.stream();
    let mut counts = [0; EXPONENTS];
    let mut piece = vec![0; weights.len().min(PIECE_BYTES)];
    for start in (0..weights.len()).step_by(PIECE_BYTES) {
        let end = weights.len().min(start + PIECE_BYTES);
        let piece = &mut piece[..end - start];
        stream.memcpy_dtoh(&weights.slice(start..end), piece)?;
        stream.synchronize()?;
        for &weight in piece.as_chunks().0 {
            let exponent = (u16::from_le_bytes(weight) >> EXPONENT_SHIFT) as u8;
            counts[usize::from(exponent)] += 1;
        }
    }
    Ok(palette_of(&counts))
}

/// The 16 exponents with the greatest counts. If fewer occur, the next ones below the greatest that
/// occurs complete the palette, because kernels are faster with consecutive exponents.
fn palette_of(counts: &[u64; EXPONENTS]) -> Palette {
    let greatest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    let mut exponents: Vec<usize> = (0..EXPONENTS).collect();
    exponents.sort_by_key(|&exponent| {
        let (count, is_above) = (counts[exponent], exponent > greatest);
        (
            std::cmp::Reverse(count),
            is_above,
            exponent.abs_diff(greatest),
        )
    });
    exponents.truncate(ENTRIES);
    exponents.sort_unstable();
    let values = std::array::from_fn(|entry| exponents[entry] as u8);
    Palette::new(u8::BITS, values).expect("sorted, and no exponent twice")
}

#[cfg(test)]
mod tests {
    use unweight_format::Encoding;

    use super::*;

    fn palette_with(counted: &[(usize, u64)]) -> Palette {
        let mut counts = [0; EXPONENTS];
        for &(exponent, count) in counted {
            counts[exponent] = count;
        }
        palette_of(&counts)
    }

    #[test]
    fn a_palette_has_the_most_frequent_exponents() {
        let counted: Vec<(usize, u64)> = (0..20).map(|i| (10 * i, 5 + i as u64)).collect();
        let palette = palette_with(&counted);
        assert!(
            palette
                .values()
                .iter()
                .map(|&v| usize::from(v))
                .eq((4..20).map(|i| 10 * i))
        );
    }

    #[test]
    fn a_palette_of_few_exponents_is_consecutive() {
        assert_eq!(palette_with(&[(120, 1)]).base(), Some(105));
        assert_eq!(
            palette_with(&[(118, 9), (120, 1), (117, 9)]).base(),
            Some(105)
        );
        // Fewer than 15 exponents are below the greatest one.
        assert_eq!(palette_with(&[(3, 7), (0, 1)]).base(), Some(0));
        assert_eq!(palette_with(&[]).base(), Some(0));
        assert_eq!(palette_with(&[(255, 1)]).base(), Some(240));
    }

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
