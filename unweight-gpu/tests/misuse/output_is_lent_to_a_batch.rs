use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError, cudarc};

fn misuse(
    device: &Device,
    tensor: Arc<DeviceTensor>,
    output: &mut CudaSlice<u8>,
) -> Result<Batch, GpuError> {
    Batch::to_weights(device, vec![DecodeTask::new(tensor, output)])
}

fn main() {}
