//! What a batch decodes, and where to.

use super::Input;
use crate::memory::Output;

/// A tensor to decode, and where to.
#[derive(Debug)]
pub struct DecodeTask {
    /// The tensor, or some of its chunks.
    pub input: Input,
    /// The memory for its weights or exponents.
    pub output: Output,
}

impl DecodeTask {
    /// Decodes this input to this output.
    pub fn new(input: impl Into<Input>, output: impl Into<Output>) -> DecodeTask {
        DecodeTask {
            input: input.into(),
            output: output.into(),
        }
    }
}
