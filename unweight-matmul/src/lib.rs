//! y = x W^T for a matrix W that stays compressed in device memory. Its weights are rebuilt on the
//! way to the tensor cores.
//!
//! - [`layout`] defines fragment form. [`Fragments`] is a matrix in it, with 1.5 bytes for each
//!   weight and 4 for each patch. [`CompressedMatrix`] is a matrix in the layout of its file, with
//!   some 1.34 bytes for each weight, or fewer if mantissas are coded or constant too.
//! - Both take BF16 tensors in any forms (section 4.2 of the specification), and no other types.
//! - [`FragmentsRef`] is a matrix in fragment form in memory that another library owns, such as
//!   PyTorch, and [`Direct::multiply_on`] takes its streams.
//! - [`GroupedMatmul`] multiplies tokens by the matrices of their experts (mixture of experts).
//! - A [`Plan`] is a matrix and one of its pipelines: [`Direct`], [`PaletteTranscode`],
//!   [`ExponentDecode`] or [`WholeDecode`]. It multiplies.
//! - [`Linear`] has the plans of a matrix. [`Linear::advised`] returns a good one, [`Stack::tune`]
//!   finds the fastest.
//! - [`Sequence`] multiplies by many matrices, and prepares the next ones meanwhile.
//!
//! | pipeline | matrix | forms of its fields |
//! | --- | --- | --- |
//! | [`Direct`] | [`Fragments`] | any |
//! | [`WholeDecode`] | [`Fragments`] or [`CompressedMatrix`] | any |
//! | [`ExponentDecode`], [`PaletteTranscode`] | [`CompressedMatrix`] | exponent coded, all else plain |
//!
//! **Exactness.** Weights are rebuilt exactly, products of BF16 values are exact in FP32, and sums
//! are FP32 and rounded once to BF16. The order of the sums:
//!
//! - [`Direct`]: the order stated at the heads of `kernels/matmul/small_batch_matmul.cu` and
//!   `kernels/matmul/large_batch_matmul.cu`. It depends only on the shape, the batch, the device
//!   and the kernel, so results are the same from run to run.
//! - [`PaletteTranscode`]: the same order. [`ExponentDecode`]: the order of the small-batch kernel,
//!   except for the columns within an MMA step of 16.
//! - [`WholeDecode`]: the order of cuBLASLt on the decoded weights, with identical bits.
//!
//! ```no_run
//! # type Tensor = std::sync::Arc<unweight_gpu::DeviceTensor>;
//! # fn multiply(tensor: Tensor) -> Result<(), unweight_matmul::MatmulError> {
//! use unweight_gpu::Device;
//! use unweight_matmul::{Activations, Fragments, Linear, Shape, View, ViewMut, Workspace};
//!
//! let device = Device::open(0)?;
//! let stream = device.stream()?;
//! let shape = Shape::new(14_336, 4096)?;
//! // `tensor` is a `DeviceTensor` of unweight-gpu: what a file has of a BF16 tensor.
//! let fragments = Fragments::of_tensor(&device, &tensor, shape)?;
//!
//! let plan = Linear::new(&fragments).advised(16);
//! // One for all layers, which take turns on the stream.
//! let mut workspace = Workspace::new(&device, &stream, &[plan.workspace_need()])?;
//! let x = stream.alloc_zeros::<u8>(2 * 16 * 4096)?;
//! let mut y = stream.alloc_zeros::<u8>(2 * 16 * 14_336)?;
//! let x = Activations { values: View::slice(&x, &stream), batch: 16 };
//! let y = ViewMut::slice(&mut y, &stream);
//! // SAFETY: all of it is on this stream, and there until it was waited for.
//! unsafe { plan.multiply(&stream, &mut workspace, x, &y)? };
//! stream.synchronize()?;
//! # Ok(())
//! # }
//! ```

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod activations;
mod compressed_matrix;
mod cublas;
mod decoded;
mod error;
mod exponent_tables;
mod fragments;
mod fragments_kernels;
mod fragments_ref;
mod fused;
mod grouped;
mod job;
mod kernels;
pub mod layout;
mod linear;
mod modules;
mod pipelines;
mod plan;
mod plan_name;
mod schedule;
mod sequence;
mod shared_workspace;
mod stack;
mod tensor_map;
mod tuning;
mod view;
mod weights;
mod workspace;

/// The version of `unweight-gpu` whose devices and tensors this crate uses.
pub use unweight_gpu;

pub use activations::Activations;
pub use compressed_matrix::CompressedMatrix;
pub use cublas::PlainMatmul;
pub use error::{MatmulError, NoPlan};
pub use exponent_tables::StoredPalette;
pub use fragments::Fragments;
pub use fragments_ref::{FragmentsMemory, FragmentsRef, MatmulDevice};
pub use fused::{FusedMatmul, NormedRows, Residual};
pub use grouped::{
    Experts, GroupedActivations, GroupedMatmul, RoutingShape, RowsOfX, TokenExperts,
};
pub use layout::Shape;
pub use linear::Linear;
pub use pipelines::{Direct, ExponentDecode, PaletteTranscode, WholeDecode};
pub use plan::Plan;
pub use plan_name::{Kernel, Pipeline, PlanName};
pub use sequence::{Captured, Matmul, Sequence, spread};
pub use shared_workspace::SharedWorkspace;
pub use stack::{Stack, TuningStep};
pub use tuning::{Choice, Tuning};
pub use view::{View, ViewMut};
pub use weights::{WeightForm, Weights};
pub use workspace::{Workspace, WorkspaceLayout, WorkspaceNeed};

/// Parts that launches on the CPU need, for tests that run the kernels without a GPU. This module is
/// not part of the interface.
#[doc(hidden)]
pub mod host {
    pub use crate::grouped::{GroupedKernel, GroupedMatmulJob, RoutingJob, RoutingTiles};
    pub use crate::job::{ExponentCountsJob, FragmentsJob, PlanesJob};
}
