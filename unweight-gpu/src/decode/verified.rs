//! Decoding of a tensor in one call, with every check.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use unweight_format::Tensor;

use super::{Batch, DecodeTask, DeviceTensor};
use crate::{Device, GpuError};

/// Decodes a tensor of any type and forms, and returns its original bytes in device memory.
///
/// `payload` must be the bytes at [`Payload::extent`](unweight_format::Payload::extent). They are
/// uploaded, every chunk and block checksum is checked, every record is decoded and checked, and
/// the checksum of the weights is compared with the directory's. Waits until all of this is done.
/// Padding between the parts of the payload is not checked.
///
/// The separate steps are [`DeviceTensor::upload`], [`Batch::check_chunks`], [`Batch::decode`],
/// [`Batch::status`] and [`Batch::checksums`]. They allow decoding many tensors in one launch, or a
/// tensor repeatedly.
///
/// # Errors
/// [`GpuError::BadChunk`] and [`GpuError::Rule`] for a tensor that breaks a rule;
/// [`GpuError::WrongLength`] for a payload of the wrong length; the errors of [`Batch::decode`] for
/// the stream; the errors of the driver, including out of memory.
pub fn decode_verified(
    device: &Device,
    stream: &Arc<CudaStream>,
    tensor: &Tensor<'_>,
    payload: &[u8],
) -> Result<CudaSlice<u8>, GpuError> {
    let uploaded = Arc::new(DeviceTensor::upload(device, tensor, payload)?);
    let weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
    let mut batch = Batch::to_weights(device, vec![DecodeTask::new(uploaded, weights)])?;
    batch.check_chunks(stream)?.defer_status();
    batch.decode(stream)?.finish()?;
    tensor.require_checksum(batch.checksums()?[0])?;
    Ok(batch.into_outputs()?.remove(0))
}
