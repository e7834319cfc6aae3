use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError, cudarc};

fn misuse(
    device: &Device,
    tensor: Arc<DeviceTensor>,
    output: CudaSlice<u8>,
) -> Result<Vec<u8>, GpuError> {
    let stream = device.stream()?;
    let mut batch = Batch::to_weights(device, vec![DecodeTask::new(tensor, output)])?;
    batch.decode(&stream)?.defer_status();
    Ok(stream.clone_dtoh(&output)?)
}

fn main() {}
