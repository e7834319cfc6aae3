//! Error for contradictory results of a device and the CPU.

use std::error::Error as StdError;
use std::fmt;

use unweight_gpu::GpuError;

/// The device reports that a tensor breaks a rule, but the CPU, whose result is authoritative,
/// finds no error.
///
/// Either the device or this crate is faulty, or the file was changed in the meantime.
/// [`Backend::Auto`](crate::Backend::Auto) decodes the tensor on the CPU alone.
#[derive(Debug)]
#[non_exhaustive]
pub struct Disagreement {
    /// The name of the tensor.
    pub tensor: String,
    /// The report of the device.
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
    /// The message already contains the text of the report, so `source` skips to the cause of the
    /// report.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.report.source()
    }
}
