//! `unweight inspect`.
//!
//! The payload is read once, before anything is printed, so that a bad file gives no partial
//! report. Only the figures of each tensor are then held in memory. Names and shapes stay in the
//! directory, and rows are made of both while they are printed.

use std::path::Path;

use half::bf16;
use serde::{Serialize, Serializer};
use unweight::container::{Container, OpenFile, decode_tensor};
use unweight::file::open;
use unweight::{MemoryBudget, Purpose, ReadError, Storage};
use unweight_cpu::reference::ExponentCounts;
use unweight_format::{Directory, Dtype, Encoding, Payload, SourceKind, Tensor, layout};

use super::Context;
use super::inspect_words::in_words;
use crate::arguments::Inspect;
use crate::breakdown::Breakdown;
use crate::failure::Failure;
use crate::progress::{Metered, bar};
use crate::report::text;
use crate::unw_file::read;

/// Result for one tensor.
#[derive(Serialize)]
pub(super) struct TensorResult<'d> {
    pub(super) name: &'d str,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    pub(super) encoding: Encoding,
    pub(super) elements: u64,
    pub(super) data_bytes: u64,
    /// Bytes in the file, including the padding in front of them.
    pub(super) stored_bytes: u64,
    /// Stored bits for each element.
    pub(super) bits_per_element: Option<f64>,
    /// Binary logarithm of the number of weights in a chunk, for coded tensors.
    chunk_size_log2: Option<u8>,
    /// Palette, for coded tensors.
    palette: Option<[u8; layout::PALETTE_ENTRIES]>,
    /// Entropy for BF16 tensors, unless only the directory was read.
    pub(super) exponent_entropy_bits: Option<f64>,
    /// None if only the directory was read.
    breakdown: Option<Breakdown>,
}

/// Result for a file.
#[derive(Serialize)]
pub(super) struct InspectResult<'d> {
    #[serde(serialize_with = "path_as_text")]
    pub(super) file: &'d Path,
    pub(super) format_version: String,
    pub(super) file_bytes: u64,
    source_kind: SourceKind,
    pub(super) restored_bytes: u64,
    /// Bytes of header, directory, source section, their padding, and the guard.
    frame_bytes: u64,
    pub(super) tensors: Rows<'d>,
    pub(super) totals: Totals,
}

/// Totals over all coded tensors.
#[derive(Serialize)]
pub(super) struct Totals {
    pub(super) coded_tensors: usize,
    pub(super) coded_weights: u64,
    coded_stored_bytes: u64,
    pub(super) bits_per_weight: Option<f64>,
    /// Mean over the tensors, weighted by their numbers of weights. None if only the directory was
    /// read.
    pub(super) exponent_entropy_bits: Option<f64>,
    pub(super) breakdown: Option<Breakdown>,
}

/// Figures that are read from a tensor's payload.
struct Figures {
    breakdown: Breakdown,
    /// Entropy for BF16 tensors with weights.
    entropy_bits: Option<f64>,
}

/// Tensors of a file, described one at a time.
pub(super) struct Rows<'d> {
    directory: Directory<'d>,
    /// Figures of each tensor. None if only the directory was read.
    figures: Option<Vec<Figures>>,
}

pub(crate) fn run(options: &Inspect, context: &Context) -> Result<(), Failure> {
    let path = &options.file;
    let file = open(path)?;
    let length = file
        .byte_length()
        .map_err(|error| Failure::io(path, error))?;
    let bar = bar(context.silent() || options.directory, "inspect", length);
    let metered = Metered {
        file: &file,
        bar: &bar,
    };
    let failed = |error| Failure::reading(path, error);
    let reads_payload = !options.directory;
    let mut open = read(&metered, &options.memory, context).map_err(failed)?;
    // Memory is reserved only if a budget was asked for. By default the report has no limit.
    let mut reserved = 0;
    if let Some(budget) = options.memory.budget() {
        let container = open.container();
        reserved = report_bytes(container.directory(), reads_payload);
        budget
            .require(Purpose::Report, reserved)
            .map_err(|error| Failure::over_budget(path, error))?;
        let rest = MemoryBudget::of_bytes(budget.bytes() - reserved);
        open = OpenFile::read_with(&metered, |_| rest)
            .map_err(|error| failed(beside(reserved, error)))?;
    }
    let failed = |error| failed(beside(reserved, error));
    let container = open.container();
    let figures = match reads_payload {
        true => Some(read_payloads(&container, context).map_err(failed)?),
        false => None,
    };
    bar.finish_and_clear();
    let result = InspectResult::of(path, &container, figures);
    context.print_long_result(&result, |output, columns| {
        in_words(&result, output, columns)
    })
}

/// Maximum memory of the report: the figures of each tensor, and one row at a time, as text and as
/// JSON.
fn report_bytes(directory: &Directory<'_>, reads_payload: bool) -> u64 {
    const PER_NAME_BYTE: u64 = 32;
    const PER_ROW: u64 = 32 << 10;
    let figures = match reads_payload {
        true => size_of::<Figures>() as u64 * u64::from(directory.tensor_count()),
        false => 0,
    };
    let names = directory.tensors().map(|tensor| tensor.name().len() as u64);
    figures + PER_NAME_BYTE * names.max().unwrap_or(0) + PER_ROW
}

/// Restates an error of a budget for the whole budget, of which `reserved` bytes were taken before.
fn beside(reserved: u64, error: ReadError) -> ReadError {
    match error {
        ReadError::OverBudget(mut over) => {
            over.needed_bytes += reserved;
            over.allowed_bytes += reserved;
            ReadError::OverBudget(over)
        }
        other => other,
    }
}

/// Reads the figures of all tensors.
fn read_payloads<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    context: &Context,
) -> Result<Vec<Figures>, ReadError> {
    let directory = container.directory();
    let mut figures = Vec::with_capacity(directory.tensor_count() as usize);
    for (tensor, stored_bytes) in with_stored_bytes(directory) {
        figures.push(
            read_payload(container, &tensor, stored_bytes, context)
                .map_err(|error| error.of_tensor(tensor.name()))?,
        );
    }
    Ok(figures)
}

/// Tensors, each with the bytes that it takes in the file, including the padding in front of it.
fn with_stored_bytes<'d>(directory: &Directory<'d>) -> impl Iterator<Item = (Tensor<'d>, u64)> {
    let mut end = directory.payload_start();
    directory.tensors().map(move |tensor| {
        let start = end;
        end = tensor.payload().end();
        (tensor, end - start)
    })
}

/// Reads the breakdown of a tensor's bits, and the entropy of its exponents if it is BF16.
fn read_payload<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    stored_bytes: u64,
    context: &Context,
) -> Result<Figures, ReadError> {
    let (mut breakdown, counts) = match tensor.payload() {
        Payload::Coded(planes) => {
            let (breakdown, counts) =
                Breakdown::of_coded(container, tensor, planes, &context.executor)?;
            (breakdown, Some(counts))
        }
        Payload::Raw(plane) => {
            let counts = match tensor.dtype() {
                Dtype::Bf16 => Some(count_raw(container, tensor, context)?),
                _ => None,
            };
            (Breakdown::of_raw(plane), counts)
        }
    };
    breakdown.padding_bits += 8 * stored_bytes - breakdown.total_bits();
    Ok(Figures {
        breakdown,
        entropy_bits: counts
            .filter(|counts| counts.total() > 0)
            .map(|counts| counts.entropy_bits()),
    })
}

fn count_raw<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    context: &Context,
) -> Result<ExponentCounts, ReadError> {
    let mut counts = ExponentCounts::default();
    decode_tensor(container, tensor, &context.executor, |bytes| {
        // Blocks have an even number of bytes, and so has a BF16 tensor.
        let weights: Vec<bf16> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| bf16::from_le_bytes(bytes))
            .collect();
        counts.add_weights(&weights);
        Ok::<_, ReadError>(())
    })?;
    Ok(counts)
}

impl<'d> InspectResult<'d> {
    fn of<S: Storage + ?Sized>(
        path: &'d Path,
        container: &Container<'d, S>,
        figures: Option<Vec<Figures>>,
    ) -> InspectResult<'d> {
        let header = container.header();
        let directory = *container.directory();
        let data_bytes = directory.tensors().map(|tensor| tensor.data_bytes());
        let tensors = Rows { directory, figures };
        InspectResult {
            file: path,
            format_version: format!("{}.{}", layout::MAJOR_VERSION, header.minor_version()),
            file_bytes: header.file_length(),
            source_kind: header.source_kind(),
            restored_bytes: header.source().length + data_bytes.sum::<u64>(),
            frame_bytes: directory.payload_start() + layout::GUARD_BYTES,
            totals: Totals::of(&tensors),
            tensors,
        }
    }
}

impl<'d> Rows<'d> {
    pub(super) fn count(&self) -> u32 {
        self.directory.tensor_count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TensorResult<'d>> {
        let figures = self.figures.as_deref();
        let tensors = with_stored_bytes(&self.directory).enumerate();
        tensors.map(move |(number, (tensor, stored_bytes))| {
            let figures = figures.map(|figures| &figures[number]);
            describe(&tensor, stored_bytes, figures)
        })
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

fn describe<'d>(
    tensor: &Tensor<'d>,
    stored_bytes: u64,
    figures: Option<&Figures>,
) -> TensorResult<'d> {
    let planes = match tensor.payload() {
        Payload::Coded(planes) => Some(planes),
        Payload::Raw(_) => None,
    };
    let elements = tensor.element_count();
    TensorResult {
        name: tensor.name(),
        dtype: tensor.dtype(),
        shape: tensor.shape().collect(),
        encoding: tensor.encoding(),
        elements,
        data_bytes: tensor.data_bytes(),
        stored_bytes,
        bits_per_element: (elements > 0).then(|| 8.0 * stored_bytes as f64 / elements as f64),
        chunk_size_log2: planes.map(|planes| planes.chunk_size_log2()),
        palette: planes.map(|planes| *planes.palette().exponents()),
        exponent_entropy_bits: figures.and_then(|figures| figures.entropy_bits),
        breakdown: figures.map(|figures| figures.breakdown),
    }
}

impl Totals {
    /// Sums over all rows in one pass, because a row is made again each time that it is used.
    fn of(tensors: &Rows<'_>) -> Totals {
        let mut totals = Totals {
            coded_tensors: 0,
            coded_weights: 0,
            coded_stored_bytes: 0,
            bits_per_weight: None,
            exponent_entropy_bits: None,
            breakdown: None,
        };
        let mut entropy = Some(0.0);
        let mut breakdown = Some(Breakdown::default());
        let is_coded = |tensor: &TensorResult<'_>| tensor.encoding != Encoding::Raw;
        for tensor in tensors.iter().filter(is_coded) {
            totals.coded_tensors += 1;
            totals.coded_weights += tensor.elements;
            totals.coded_stored_bytes += tensor.stored_bytes;
            let of_tensor = tensor.exponent_entropy_bits;
            let of_tensor = of_tensor.map(|bits| bits * tensor.elements as f64);
            entropy = entropy.zip(of_tensor).map(|(sum, bits)| sum + bits);
            breakdown = breakdown.zip(tensor.breakdown).map(|(mut sum, parts)| {
                sum += parts;
                sum
            });
        }
        let weights = totals.coded_weights;
        let per_weight = |bits: f64| (weights > 0).then(|| bits / weights as f64);
        Totals {
            bits_per_weight: per_weight(8.0 * totals.coded_stored_bytes as f64),
            exponent_entropy_bits: entropy.and_then(per_weight),
            breakdown,
            ..totals
        }
    }
}
