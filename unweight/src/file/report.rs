//! Results of operations on files.

use std::path::{Path, PathBuf};

use unweight_format::{Dtype, Encoding, Tensor};

use super::gain::NoGain;
use crate::Storage;
use crate::container::Container;

/// The result of compressing or decompressing a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// The path of the input.
    pub input: PathBuf,
    /// The path of the output.
    pub output: PathBuf,
    /// The length of the input.
    pub input_bytes: u64,
    /// The length of the output.
    pub output_bytes: u64,
    /// The number of tensors.
    pub tensors: u32,
    /// The number of coded tensors of the container.
    pub coded_tensors: u32,
    /// The number of weights of all BF16 tensors.
    pub bf16_weights: u64,
    /// The bytes that the container has for these weights, coded or raw.
    pub bf16_payload_bytes: u64,
    /// The reason why compressing did not make the file smaller. None if it did.
    pub no_gain: Option<NoGain>,
    /// Whether the output was compared with the input.
    pub verified: bool,
    /// Whether the output is from an earlier run. It was compared with the input in this case.
    pub kept: bool,
}

impl FileReport {
    /// The report on a conversion between `container` and its source, without a
    /// [`NoGain`].
    pub(super) fn new<S: Storage + ?Sized>(
        input: (&Path, u64),
        output: (&Path, u64),
        container: &Container<'_, S>,
    ) -> FileReport {
        let tensors = || container.directory().tensors();
        let bf16 = || tensors().filter(|tensor| tensor.dtype() == Dtype::Bf16);
        let coded = tensors().filter(|tensor| tensor.encoding() != Encoding::Raw);
        let payload = |tensor: Tensor<'_>| tensor.payload().end() - tensor.payload().start();
        FileReport {
            input: input.0.to_owned(),
            output: output.0.to_owned(),
            input_bytes: input.1,
            output_bytes: output.1,
            tensors: container.directory().tensor_count(),
            coded_tensors: coded.count() as u32,
            bf16_weights: bf16().map(|tensor| tensor.element_count()).sum(),
            bf16_payload_bytes: bf16().map(payload).sum(),
            no_gain: None,
            verified: false,
            kept: false,
        }
    }
}
