use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError, cudarc};

fn misuse(
    device: &Device,
    tensor: Arc<DeviceTensor>,
    output: CudaSlice<u8>,
) -> Result<(), GpuError> {
    let mut batch = Batch::to_weights(device, vec![DecodeTask::new(tensor, output)])?;
    batch.decode(&device.stream()?)?.defer_status();
    drop(output);
    Ok(())
}

fn main() {}
