//! y = x W^T for a matrix W that stays compressed in device memory: its weights are rebuilt on the way to the tensor cores.
//!
//! - [`layout`] says what fragment form is; [`Fragments`] is a matrix in it, 1.5 bytes a weight and 4 for each patch.
//! - [`Linear`] multiplies, by one of its [`Pipeline`]s; [`Linear::advised`] names one that is sound, [`Stack::tune`] finds the fastest.
//!
//! **Exactness.** Weights are rebuilt to the bit, products of BF16 are exact in FP32, sums are FP32 and rounded once to BF16. The order of the sums:
//!
//! - [`Pipeline::Direct`]: the heads of `kernels/small_batch_matmul.cu` and `kernels/large_batch_matmul.cu` state it; it depends on the shape, the
//!   batch and the device's number of multiprocessors alone, so results are the same from run to run.
//! - [`Pipeline::WholeDecode`]: cuBLASLt's on the decoded weights, to the bit.

mod cublas;
mod fragments;
mod job;
mod kernels;
pub mod layout;
mod linear;
mod plan;
mod stack;
mod tuning;
mod workspace;

pub use cublas::PlainMatmul;
pub use fragments::Fragments;
pub use linear::{Linear, Pipeline};
pub use stack::Stack;
pub use tuning::{Choice, Tuning, descend};
pub use workspace::Workspace;

pub(crate) use fragments::FragmentsKernels;
pub(crate) use kernels::MatmulKernels;

/// What launches on the CPU need, where tests run the kernels without a GPU.
#[doc(hidden)]
pub mod host {
    pub use super::job::FragmentsJob;
}
