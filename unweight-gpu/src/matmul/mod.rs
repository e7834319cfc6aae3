//! y = x W^T for a matrix W that stays compressed in device memory. Its weights are rebuilt on the
//! way to the tensor cores.
//!
//! - [`layout`] defines fragment form. [`Fragments`] is a matrix in it, with 1.5 bytes for each
//!   weight and 4 for each patch. [`Coded`] is a matrix in the layout of its file, with some 1.34
//!   bytes for each weight.
//! - [`Linear`] multiplies with one of its [`Pipeline`]s and a [`Kernel`] ([`Way`] has both).
//!   [`Linear::advised`] returns a good choice, [`Stack::tune`] finds the fastest.
//! - [`Sequence`] multiplies by many matrices, and prepares the next ones meanwhile.
//!
//! **Exactness.** Weights are rebuilt exactly, products of BF16 values are exact in FP32, and sums
//! are FP32 and rounded once to BF16. The order of the sums:
//!
//! - [`Pipeline::Direct`]: the order stated at the heads of `kernels/matmul/small_batch_matmul.cu`
//!   and `kernels/matmul/large_batch_matmul.cu`. It depends only on the shape, the batch, the
//!   device and the kernel, so results are the same from run to run.
//! - [`Pipeline::PaletteTranscode`]: the same order. [`Pipeline::ExponentDecode`]: the order of the
//!   small-batch kernel, except for the columns within an MMA step of 16.
//! - [`Pipeline::WholeDecode`]: the order of cuBLASLt on the decoded weights, with identical bits.
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

/// Parts that launches on the CPU need, for tests that run the kernels without a GPU.
#[doc(hidden)]
pub mod host {
    pub use super::job::{FragmentsJob, PlanesJob};
}
