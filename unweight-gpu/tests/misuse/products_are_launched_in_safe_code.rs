use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_gpu::matmul::{Captured, Linear, Pipeline, Product, Sequence, Workspace};
use unweight_gpu::{GpuError, View, ViewMut, cudarc};

fn launch(
    stream: &Arc<CudaStream>,
    linear: Linear<'_>,
    workspace: &mut Workspace,
    x: &View<'_>,
    y: &ViewMut<'_>,
) -> Result<(), GpuError> {
    linear.multiply(stream, workspace, Pipeline::Direct, (x, 1), y)
}

fn run(
    stream: &Arc<CudaStream>,
    sequence: &mut Sequence,
    products: &[Product<'_>],
) -> Result<(), GpuError> {
    sequence.run(stream, products)
}

fn launch_captured(captured: &mut Captured<'_>) -> Result<(), GpuError> {
    captured.launch()
}

fn main() {}
