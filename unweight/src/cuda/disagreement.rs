//! A device and the CPU that say different things of a tensor.

use std::error::Error as StdError;
use std::fmt;

use unweight_gpu::GpuError;

/// The device reports that a tensor breaks a rule, and the CPU, which has the last word, finds
/// nothing wrong with it.
///
/// The device or this crate is faulty, or the file was changed meanwhile. The CPU alone decodes the
/// tensor: [`Backend::Auto`](crate::Backend::Auto).
#[derive(Debug)]
#[non_exhaustive]
pub struct Disagreement {
    /// The name of the tensor.
    pub tensor: String,
    /// What the device reports. A chunk is numbered in its tensor.
    pub report: GpuError,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tensor {:?}: the CUDA device reports \"{}\", but the CPU finds nothing wrong with it; decode it on the CPU",
            self.tensor, self.report
        )
    }
}

impl StdError for Disagreement {
    /// The message has the text of the report already, so this is what lies behind that one.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.report.source()
    }
}
