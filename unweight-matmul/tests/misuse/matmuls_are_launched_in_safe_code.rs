use std::sync::Arc;

use unweight_gpu::cudarc::driver::CudaStream;
use unweight_matmul::{
    Activations, Captured, Matmul, MatmulError, Plan, Sequence, ViewMut, Workspace,
};

fn launch(
    stream: &Arc<CudaStream>,
    plan: Plan<'_>,
    workspace: &mut Workspace,
    x: Activations<'_>,
    y: &ViewMut<'_>,
) -> Result<(), MatmulError> {
    plan.multiply(stream, workspace, x, y)
}

fn run(
    stream: &Arc<CudaStream>,
    sequence: &mut Sequence,
    matmuls: &[Matmul<'_>],
) -> Result<(), MatmulError> {
    sequence.run(stream, matmuls)
}

fn launch_captured(captured: &mut Captured<'_>) -> Result<(), MatmulError> {
    captured.launch()
}

fn main() {}
