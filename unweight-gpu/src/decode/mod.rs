//! Decoding of coded tensors.

mod checked;
mod kernels;

pub use checked::{CheckedTensor, DecodedTensor};
pub(crate) use kernels::DecodeKernels;
