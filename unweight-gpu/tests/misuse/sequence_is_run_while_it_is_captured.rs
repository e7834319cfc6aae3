use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_gpu::cudarc;
use unweight_gpu::matmul::{Matmul, MatmulError, Sequence};

unsafe fn misuse(
    stream: &Arc<CudaStream>,
    sequence: &mut Sequence,
    matmuls: &[Matmul<'_>],
) -> Result<(), MatmulError> {
    let mut captured = unsafe { sequence.capture(stream, matmuls)? };
    unsafe { sequence.run(stream, matmuls)? };
    unsafe { captured.launch() }
}

fn main() {}
