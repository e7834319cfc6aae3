use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_gpu::matmul::{Product, Sequence};
use unweight_gpu::{GpuError, cudarc};

unsafe fn misuse(
    stream: &Arc<CudaStream>,
    sequence: &mut Sequence,
    products: &[Product<'_>],
) -> Result<(), GpuError> {
    let mut captured = unsafe { sequence.capture(stream, products)? };
    unsafe { sequence.run(stream, products)? };
    unsafe { captured.launch() }
}

fn main() {}
