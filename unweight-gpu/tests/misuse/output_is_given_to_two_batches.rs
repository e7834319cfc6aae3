use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError, cudarc};

fn misuse(
    device: &Device,
    tensor: Arc<DeviceTensor>,
    output: CudaSlice<u8>,
) -> Result<[Batch; 2], GpuError> {
    let first = Batch::to_weights(device, vec![DecodeTask::new(tensor.clone(), output)])?;
    let second = Batch::to_weights(device, vec![DecodeTask::new(tensor, output)])?;
    Ok([first, second])
}

fn main() {}
