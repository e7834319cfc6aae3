//! y = x W^T for a matrix W that stays compressed in device memory: its weights are rebuilt on the way to the tensor cores.
//!
//! - [`layout`] says what fragment form is; [`Fragments`] is a matrix in it, 1.5 bytes a weight and 4 for each patch. [`Coded`] is one that stays as its file
//!   has it, some 1.34 bytes a weight.
//! - [`Linear`] multiplies, by one of its [`Pipeline`]s and a [`Kernel`] ([`Way`] is both); [`Linear::advised`] names one that is sound, [`Stack::tune`] finds the fastest.
//! - [`Sequence`] multiplies by many matrices, and prepares those to come meanwhile.
//!
//! **Exactness.** Weights are rebuilt to the bit, products of BF16 are exact in FP32, sums are FP32 and rounded once to BF16. The order of the sums:
//!
//! - [`Pipeline::Direct`]: the heads of `kernels/matmul/small_batch_matmul.cu` and `kernels/matmul/large_batch_matmul.cu` state it; it depends on the shape, the
//!   batch, the device and the kernel alone, so results are the same from run to run.
//! - [`Pipeline::PaletteTranscode`]: as that; [`Pipeline::ExponentDecode`]: as that says of few rows of x, but that columns of a step of 16 come in another order.
//! - [`Pipeline::WholeDecode`]: cuBLASLt's on the decoded weights, to the bit.
//!
//! ```no_run
//! # fn main() -> Result<(), unweight_gpu::GpuError> {
//! # let palette = unweight_format::Palette::new(std::array::from_fn(|i| 110 + i as u8)).unwrap();
//! use unweight_gpu::matmul::{Fragments, Linear, Workspace, layout::Shape};
//! use unweight_gpu::{Device, View, ViewMut};
//!
//! let device = Device::open(0)?;
//! let stream = device.stream()?;
//! let shape = Shape::new(14_336, 4096)?;
//! // What a `Batch` decoded; the palette is its tensor's.
//! let decoded = stream.alloc_zeros::<u8>(2 * 14_336 * 4096)?;
//! let fragments = Fragments::arrange(&device, &View::slice(&decoded, &stream), shape, palette)?;
//!
//! // One for all layers, which take turns on the stream.
//! let mut workspace = Workspace::new(&device, &stream, &[shape], false)?;
//! let linear = Linear::new(&device, &fragments)?;
//! let x = stream.alloc_zeros::<u8>(2 * 16 * 4096)?;
//! let mut y = stream.alloc_zeros::<u8>(2 * 16 * 14_336)?;
//! let (x, y) = (View::slice(&x, &stream), ViewMut::slice(&mut y, &stream));
//! // SAFETY: all of it is on this stream, and there until it was waited for.
//! unsafe { linear.multiply(&stream, &mut workspace, linear.advised(16), (&x, 16), &y)? };
//! stream.synchronize()?;
//! # Ok(())
//! # }
//! ```

mod coded;
mod cublas;
mod fragments;
mod job;
mod kernels;
pub mod layout;
mod linear;
mod pipeline;
mod plan;
mod sequence;
mod stack;
mod tensor_map;
mod tuning;
mod way;
mod workspace;

pub use coded::Coded;
pub use cublas::PlainMatmul;
pub use fragments::Fragments;
pub use linear::Linear;
pub use pipeline::{Form, Pipeline};
pub use sequence::{Captured, Product, Sequence, spread};
pub use stack::{Kind, Stack};
pub use tuning::{Choice, Tuning, descend};
pub use way::{Kernel, Way};
pub use workspace::{Workspace, WorkspacePlan};

pub(crate) use fragments::FragmentsKernels;
pub(crate) use kernels::MatmulKernels;

/// What launches on the CPU need, where tests run the kernels without a GPU.
#[doc(hidden)]
pub mod host {
    pub use super::job::{FragmentsJob, PlanesJob};
}
