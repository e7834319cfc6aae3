//! Results of operations on files.

use std::path::{Path, PathBuf};

use unweight_format::Dtype;

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
    /// The number of tensors of the container that are not raw.
    pub compressed_tensors: u32,
    /// Totals of the tensors of each type that the file has, in the order of their codes.
    pub dtypes: Vec<DtypeReport>,
    /// The reason why compressing did not make the file smaller. None if it did.
    pub no_gain: Option<NoGain>,
    /// Whether the output was compared with the input.
    pub verified: bool,
    /// Whether the output is from an earlier run. It was compared with the input in this case.
    pub kept: bool,
}

/// Totals of a file's tensors of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DtypeReport {
    /// The type.
    pub dtype: Dtype,
    /// The number of tensors.
    pub tensors: u32,
    /// The number of their elements.
    pub elements: u64,
    /// Their original bytes.
    pub data_bytes: u64,
    /// The bytes of their payloads in the container.
    pub payload_bytes: u64,
}

impl DtypeReport {
    /// Stored bits for each element; None without elements.
    pub fn bits_per_element(&self) -> Option<f64> {
        (self.elements > 0).then(|| 8.0 * self.payload_bytes as f64 / self.elements as f64)
    }
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
        let compressed = tensors().filter(|tensor| !tensor.forms().is_raw());
        FileReport {
            input: input.0.to_owned(),
            output: output.0.to_owned(),
            input_bytes: input.1,
            output_bytes: output.1,
            tensors: container.directory().tensor_count(),
            compressed_tensors: compressed.count() as u32,
            dtypes: of_dtypes(container),
            no_gain: None,
            verified: false,
            kept: false,
        }
    }
}

fn of_dtypes<S: Storage + ?Sized>(container: &Container<'_, S>) -> Vec<DtypeReport> {
    let none = |&dtype| DtypeReport {
        dtype,
        tensors: 0,
        elements: 0,
        data_bytes: 0,
        payload_bytes: 0,
    };
    let mut reports: Vec<DtypeReport> = Dtype::ALL.iter().map(none).collect();
    for tensor in container.directory().tensors() {
        let of_dtype = |report: &&mut DtypeReport| report.dtype == tensor.dtype();
        if let Some(report) = reports.iter_mut().find(of_dtype) {
            report.tensors += 1;
            // A valid file has fewer bytes than 2^64, but it may restore to more.
            report.elements = report.elements.saturating_add(tensor.element_count());
            report.data_bytes = report.data_bytes.saturating_add(tensor.data_bytes());
            report.payload_bytes += tensor.payload().extent().length;
        }
    }
    reports.retain(|report| report.tensors > 0);
    reports
}
