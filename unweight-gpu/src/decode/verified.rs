//! Decoding of a coded tensor in one call, with every check.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use unweight_format::{Payload, Tensor};

use super::{Batch, DecodeTask, DeviceTensor};
use crate::{Device, GpuError};

/// Decodes a coded tensor, and returns its weights in device memory: 2 little-endian bytes each, in
/// row-major order.
///
/// `payload` must be the bytes at [`DeviceTensor::extent`]. They are uploaded, every chunk checksum
/// is checked, every record is decoded and checked, and the checksum of the weights is compared
/// with the directory's. Waits until all of this is done.
///
/// The separate steps are [`DeviceTensor::upload`], [`Batch::check_chunks`], [`Batch::decode`],
/// [`Batch::status`] and [`Batch::checksums`]. They allow decoding many tensors in one launch, or a
/// tensor repeatedly.
///
/// # Errors
/// [`GpuError::BadChunk`] and [`GpuError::Rule`] for a tensor that breaks a rule;
/// [`GpuError::WrongLength`] for a payload of the wrong length; the errors of [`Batch::decode`] for
/// the stream; the errors of the driver, including out of memory.
///
/// # Panics
/// If the tensor is raw.
pub fn decode_verified(
    device: &Device,
    stream: &Arc<CudaStream>,
    tensor: &Tensor<'_>,
    payload: &[u8],
) -> Result<CudaSlice<u8>, GpuError> {
    let Payload::Coded(planes) = tensor.payload() else {
        panic!("tensor {:?} is raw, expected a coded one", tensor.name());
    };
    let coded = Arc::new(DeviceTensor::upload(device, planes, payload)?);
    let weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
    let mut batch = Batch::to_weights(device, vec![DecodeTask::new(coded, weights)])?;
    batch.check_chunks(stream)?.defer_status();
    batch.decode(stream)?.finish()?;
    tensor.require_checksum(batch.checksums()?[0])?;
    Ok(batch.into_outputs()?.remove(0))
}
