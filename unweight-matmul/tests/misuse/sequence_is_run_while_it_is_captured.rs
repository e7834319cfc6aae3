use std::sync::Arc;

use unweight_gpu::cudarc::driver::CudaStream;
use unweight_matmul::{Matmul, MatmulError, Sequence};

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
