//! Conversion of coded tensors to the other encoding.

mod batch;
mod by_weights;
mod direct;
mod kernels;
mod launch;
mod plan;

pub use batch::{TranscodeBatch, TranscodeTask};
