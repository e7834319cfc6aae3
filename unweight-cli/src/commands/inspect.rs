//! `unweight inspect`.
//!
//! The payload is read once, before anything is printed, so that a bad file gives no partial
//! report. Only the figures of each tensor are then held in memory. Names and shapes stay in the
//! directory, and rows are made of both while they are printed.

use std::path::Path;

use serde::{Serialize, Serializer};
use unweight::breakdown::{FileBreakdown, TensorBreakdown, Totals};
use unweight::container::Container;
use unweight::file::open;
use unweight::{Purpose, Storage};
use unweight_format::{Directory, Dtype, Form, Forms, SourceKind, Tensor, layout};

use super::Context;
use super::inspect_json::{FieldRow, FieldSum, Stored};
use super::inspect_words::{coding, in_words};
use crate::arguments::Inspect;
use crate::failure::Failure;
use crate::progress::{Metered, bar};
use crate::report::text;
use crate::version::FORMAT_STATUS;

/// Result for one tensor. What is read from its payload is None if only the directory was read.
#[derive(Serialize)]
pub(super) struct TensorResult<'d> {
    pub(super) name: &'d str,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    /// The forms of the fields in short, such as `huffman 1 of 3`.
    pub(super) coding: String,
    forms: Vec<Form>,
    /// Binary logarithm of the number of weights in a chunk, for coded tensors.
    chunk_size_log2: Option<u8>,
    elements: u64,
    weights: u64,
    pub(super) data_bytes: u64,
    /// Bytes in the file, including the padding in front of them.
    pub(super) stored_bytes: u64,
    pub(super) bits_per_weight: Option<f64>,
    /// Entropy of the fields in bits per weight.
    pub(super) entropy_bits: Option<f64>,
    /// Stored bits per weight above the entropy.
    pub(super) over_bits: Option<f64>,
    fields: Option<Vec<FieldRow>>,
    /// What is stored for no field.
    others: Option<Stored>,
}

/// Result for a file.
#[derive(Serialize)]
pub(super) struct InspectResult<'d> {
    #[serde(serialize_with = "path_as_text")]
    pub(super) file: &'d Path,
    pub(super) format_version: String,
    format_status: &'static str,
    pub(super) file_bytes: u64,
    source_kind: SourceKind,
    pub(super) restored_bytes: u64,
    /// Bytes of header, directory, source section, extensions, their padding, and the guard.
    pub(super) frame_bytes: u64,
    pub(super) tensors: Rows<'d>,
    pub(super) totals: TotalsResult,
    /// Sums over each field of all tensors of a type. None if only the directory was read.
    pub(super) fields: Option<Vec<FieldSum>>,
}

/// Totals of a file.
#[derive(Serialize)]
pub(super) struct TotalsResult {
    /// Tensors that are not raw.
    pub(super) compressed: Sum,
    /// All tensors.
    pub(super) tensors: Sum,
    /// The whole file.
    pub(super) file: Sum,
}

/// Totals of several tensors.
#[derive(Clone, Serialize)]
pub(super) struct Sum {
    pub(super) tensors: u64,
    pub(super) weights: u64,
    pub(super) original_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) bits_per_weight: Option<f64>,
    /// Mean of the tensors' entropies in bits per weight. None if only the directory was read.
    pub(super) entropy_bits: Option<f64>,
    pub(super) over_bits: Option<f64>,
    /// None if only the directory was read.
    pub(super) stored_bits: Option<Stored>,
}

/// Tensors of a file, described one at a time.
pub(super) struct Rows<'d> {
    directory: Directory<'d>,
    /// None if only the directory was read.
    breakdown: Option<FileBreakdown<'d>>,
}

pub(crate) fn run(options: &Inspect, context: &Context) -> Result<(), Failure> {
    let path = &options.file;
    let file = open(path)?;
    let length = file
        .byte_length()
        .map_err(|error| Failure::io(path, error))?;
    let bar = bar(context.silent() || options.directory, "inspect", length);
    let metered = Metered {
        file,
        bar: bar.clone(),
    };
    let failed = |error| Failure::converting(path, path, error);
    let model = context.reading(&options.memory, None).open_storage(metered);
    let model = model.map_err(failed)?;
    let container = model.container();
    let rows_bytes = rows_bytes(container.directory());
    // Beside the directory, which is held as long as the container is open.
    let needed = container.header().directory().length + rows_bytes;
    let budget = container.budget();
    (budget.require(Purpose::Report, needed)).map_err(|error| failed(error.into()))?;
    let container = container.beside(rows_bytes);
    let breakdown = match options.directory {
        true => None,
        false => {
            let breakdown = container.breakdown(&context.executor);
            Some(breakdown.map_err(|error| failed(error.into()))?)
        }
    };
    bar.finish_and_clear();
    let result = InspectResult::of(path, &container, breakdown);
    context.print_long_result(&result, |output, columns| {
        in_words(&result, output, columns)
    })
}

/// Memory of one row of the report, as text and as JSON.
fn rows_bytes(directory: &Directory<'_>) -> u64 {
    const PER_NAME_BYTE: u64 = 32;
    const PER_ROW: u64 = 64 << 10;
    let names = directory.tensors().map(|tensor| tensor.name().len() as u64);
    PER_NAME_BYTE * names.max().unwrap_or(0) + PER_ROW
}

impl<'d> InspectResult<'d> {
    fn of<S: Storage + ?Sized>(
        path: &'d Path,
        container: &Container<'d, S>,
        breakdown: Option<FileBreakdown<'d>>,
    ) -> InspectResult<'d> {
        let header = container.header();
        let directory = *container.directory();
        let data_bytes = directory.tensors().map(|tensor| tensor.data_bytes());
        let source_bytes = header.source().length;
        let restored_bytes = data_bytes.fold(source_bytes, u64::saturating_add);
        let fields = breakdown.as_ref().map(FileBreakdown::fields);
        let tensors = Rows {
            directory,
            breakdown,
        };
        InspectResult {
            file: path,
            format_version: format!("{}.{}", layout::MAJOR_VERSION, header.minor_version()),
            format_status: FORMAT_STATUS,
            file_bytes: header.file_length(),
            source_kind: header.source_kind(),
            restored_bytes,
            frame_bytes: directory.payload_start() + directory.guard().length,
            totals: TotalsResult::of(&tensors, header.file_length(), restored_bytes),
            tensors,
            fields: fields.map(|fields| fields.iter().map(FieldSum::of).collect()),
        }
    }
}

impl<'d> Rows<'d> {
    pub(super) fn count(&self) -> u32 {
        self.directory.tensor_count()
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = TensorResult<'d>> + '_> {
        match &self.breakdown {
            Some(breakdown) => {
                let tensors = breakdown.tensors();
                Box::new(tensors.map(|(tensor, parts)| describe(&tensor, Some(&parts))))
            }
            None => Box::new(
                self.directory
                    .tensors()
                    .map(|tensor| describe(&tensor, None)),
            ),
        }
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(path))
}

fn describe<'d>(tensor: &Tensor<'d>, parts: Option<&TensorBreakdown>) -> TensorResult<'d> {
    let (forms, payload): (Forms, _) = (tensor.forms(), tensor.payload());
    let stored_bytes = stored_bytes(tensor);
    let weights = payload.weights();
    let bits_per_weight = (weights > 0).then(|| 8.0 * stored_bytes as f64 / weights as f64);
    let entropy_bits = parts.and_then(TensorBreakdown::entropy_bits);
    TensorResult {
        name: tensor.name(),
        dtype: tensor.dtype(),
        shape: tensor.shape().collect(),
        coding: coding(forms),
        forms: forms.iter().map(|(_, form)| form).collect(),
        chunk_size_log2: forms.is_coded().then(|| payload.chunk_size_log2()),
        elements: tensor.element_count(),
        weights,
        data_bytes: tensor.data_bytes(),
        stored_bytes,
        bits_per_weight,
        entropy_bits,
        over_bits: over(bits_per_weight, entropy_bits),
        fields: parts.map(|parts| parts.fields.iter().map(FieldRow::of).collect()),
        others: parts.map(|parts| Stored(parts.others)),
    }
}

/// The bytes that a tensor takes in the file, including the padding in front of it.
fn stored_bytes(tensor: &Tensor<'_>) -> u64 {
    let [before, ..] = tensor.padding();
    before.length + tensor.payload().extent().length
}

fn over(bits: Option<f64>, entropy: Option<f64>) -> Option<f64> {
    bits.zip(entropy).map(|(bits, entropy)| bits - entropy)
}

impl TotalsResult {
    fn of(rows: &Rows<'_>, file_bytes: u64, restored_bytes: u64) -> TotalsResult {
        let sum = |counts: fn(&Tensor<'_>) -> bool, read: fn(&FileBreakdown<'_>) -> Totals| {
            Sum::of(
                rows.directory.tensors().filter(counts),
                rows.breakdown.as_ref().map(read),
            )
        };
        let tensors = sum(|_| true, |breakdown| breakdown.totals());
        let file = Sum {
            original_bytes: restored_bytes,
            ..tensors.clone().with_stored_bytes(file_bytes)
        };
        TotalsResult {
            compressed: sum(
                |tensor| !tensor.forms().is_raw(),
                |breakdown| breakdown.compressed_totals(),
            ),
            tensors,
            file,
        }
    }
}

impl Sum {
    /// The sum over these tensors, of which these totals were read.
    fn of<'d>(tensors: impl Iterator<Item = Tensor<'d>>, totals: Option<Totals>) -> Sum {
        let mut sum = Sum {
            tensors: 0,
            weights: 0,
            original_bytes: 0,
            stored_bytes: 0,
            bits_per_weight: None,
            entropy_bits: None,
            over_bits: None,
            stored_bits: totals.map(|totals| Stored(totals.stored)),
        };
        let mut bytes = 0u64;
        for tensor in tensors {
            sum.tensors += 1;
            sum.weights = sum.weights.saturating_add(tensor.payload().weights());
            sum.original_bytes = sum.original_bytes.saturating_add(tensor.data_bytes());
            bytes += stored_bytes(&tensor);
        }
        if sum.weights > 0 {
            sum.entropy_bits = totals.map(|totals| totals.entropy_bits());
        }
        sum.with_stored_bytes(bytes)
    }

    fn with_stored_bytes(mut self, bytes: u64) -> Sum {
        self.stored_bytes = bytes;
        let bits = 8.0 * bytes as f64 / self.weights as f64;
        self.bits_per_weight = (self.weights > 0).then_some(bits);
        self.over_bits = over(self.bits_per_weight, self.entropy_bits);
        self
    }
}
