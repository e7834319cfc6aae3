use std::sync::Arc;

use cudarc::driver::CudaSlice;
use unweight_format::{Dtype, Encoding};
use unweight_gpu::{Device, EncodeBatch, EncodeTask, GpuError, cudarc};

fn misuse(
    device: &Device,
    source: Arc<CudaSlice<u8>>,
    output: CudaSlice<u8>,
) -> Result<(), GpuError> {
    let stream = device.stream()?;
    let tasks = vec![EncodeTask::new(Dtype::Bf16, source.clone(), output)];
    let mut batch = EncodeBatch::new(device, tasks, Encoding::Huffman, 15)?;
    batch.encode(&stream)?;
    stream.memset_zeros(&mut *source)?;
    Ok(())
}

fn main() {}
