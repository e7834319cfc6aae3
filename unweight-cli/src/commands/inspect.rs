//! `unweight inspect`.

use std::path::Path;

use half::bf16;
use serde::Serialize;
use unweight_cpu::reference::ExponentCounts;
use unweight_cpu::{Container, Purpose, ReadError, Storage, decode_tensor};
use unweight_format::{Dtype, Encoding, FileHeader, Payload, SourceKind, Tensor, layout};

use super::Context;
use crate::arguments::Inspect;
use crate::breakdown::Breakdown;
use crate::failure::Failure;
use crate::input::open;
use crate::progress::{Metered, bar};
use crate::report::{bytes, percent, table, text};
use crate::unw_file::read;

/// One tensor.
#[derive(Serialize)]
struct TensorResult {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    encoding: Encoding,
    elements: u64,
    data_bytes: u64,
    /// With the padding in front of it.
    stored_bytes: u64,
    /// Stored bits for each element.
    bits_per_element: Option<f64>,
    /// Binary logarithm of the chunk's weights, of coded tensors.
    chunk_size_log2: Option<u8>,
    /// The palette, of coded tensors.
    palette: Option<[u8; layout::PALETTE_ENTRIES]>,
    /// Of BF16 tensors, unless only the directory was read.
    exponent_entropy_bits: Option<f64>,
    /// Unless only the directory was read.
    breakdown: Option<Breakdown>,
}

/// A file.
#[derive(Serialize)]
struct InspectResult {
    file: String,
    format_version: String,
    file_bytes: u64,
    source_kind: SourceKind,
    restored_bytes: u64,
    /// Header, directory, source section, their padding, and the guard.
    frame_bytes: u64,
    tensors: Vec<TensorResult>,
    totals: Totals,
}

/// All coded tensors together.
#[derive(Serialize)]
struct Totals {
    coded_tensors: usize,
    coded_weights: u64,
    coded_stored_bytes: u64,
    bits_per_weight: Option<f64>,
    /// Weighted by weights; unless only the directory was read.
    exponent_entropy_bits: Option<f64>,
    breakdown: Option<Breakdown>,
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
    let open = read(&metered, &options.memory, context).map_err(failed)?;
    let container = Container::parse(&open).map_err(failed)?;
    if let Some(budget) = options.memory.budget() {
        // Only where it was asked for: by default the report may take what it takes.
        let needed = report_bytes(container.header());
        budget
            .require(Purpose::Report, needed)
            .map_err(|error| Failure::over_budget(path, error))?;
    }
    let result = inspect(path, &container, !options.directory, context).map_err(failed)?;
    bar.finish_and_clear();
    context.print_result(&result, || in_words(&result))
}

/// What the report on a file takes at most, as a table or as JSON: a row for each tensor, and its name and shape several times.
fn report_bytes(header: &FileHeader) -> u64 {
    const PER_TENSOR: u64 = 8 << 10;
    const PER_DIRECTORY_BYTE: u64 = 64;
    PER_TENSOR * u64::from(header.tensor_count()) + PER_DIRECTORY_BYTE * header.directory().length
}

fn inspect<S: Storage + ?Sized>(
    path: &Path,
    container: &Container<'_, S>,
    reads_payload: bool,
    context: &Context,
) -> Result<InspectResult, ReadError> {
    let header = container.header();
    let directory = container.directory();
    let mut tensors = Vec::new();
    let mut end = directory.payload_start();
    for tensor in directory.tensors() {
        let stored_bytes = tensor.payload().end() - end;
        end = tensor.payload().end();
        let payload = match reads_payload {
            true => Some(
                read_payload(container, &tensor, stored_bytes, context)
                    .map_err(|error| error.of_tensor(tensor.name()))?,
            ),
            false => None,
        };
        tensors.push(describe(&tensor, stored_bytes, payload));
    }
    Ok(InspectResult {
        file: text(path),
        format_version: format!("{}.{}", layout::MAJOR_VERSION, header.minor_version()),
        file_bytes: header.file_length(),
        source_kind: header.source_kind(),
        restored_bytes: header.source().length
            + tensors.iter().map(|tensor| tensor.data_bytes).sum::<u64>(),
        frame_bytes: directory.payload_start() + layout::GUARD_BYTES,
        totals: Totals::of(&tensors),
        tensors,
    })
}

/// Where a tensor's bits go, and the counts of its exponents if it is BF16.
fn read_payload<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    stored_bytes: u64,
    context: &Context,
) -> Result<(Breakdown, Option<ExponentCounts>), ReadError> {
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
    Ok((breakdown, counts))
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

fn describe(
    tensor: &Tensor<'_>,
    stored_bytes: u64,
    payload: Option<(Breakdown, Option<ExponentCounts>)>,
) -> TensorResult {
    let planes = match tensor.payload() {
        Payload::Coded(planes) => Some(planes),
        Payload::Raw(_) => None,
    };
    let elements = tensor.element_count();
    let (breakdown, counts) = payload.unzip();
    TensorResult {
        name: tensor.name().to_owned(),
        dtype: tensor.dtype(),
        shape: tensor.shape().collect(),
        encoding: tensor.encoding(),
        elements,
        data_bytes: tensor.data_bytes(),
        stored_bytes,
        bits_per_element: (elements > 0).then(|| 8.0 * stored_bytes as f64 / elements as f64),
        chunk_size_log2: planes.map(|planes| planes.chunk_size_log2()),
        palette: planes.map(|planes| *planes.palette().exponents()),
        exponent_entropy_bits: counts
            .flatten()
            .filter(|counts| counts.total() > 0)
            .map(|counts| counts.entropy_bits()),
        breakdown,
    }
}

impl Totals {
    fn of(tensors: &[TensorResult]) -> Totals {
        let coded = || {
            tensors
                .iter()
                .filter(|tensor| tensor.encoding != Encoding::Raw)
        };
        let weights: u64 = coded().map(|tensor| tensor.elements).sum();
        let stored: u64 = coded().map(|tensor| tensor.stored_bytes).sum();
        let per_weight = |bits: f64| (weights > 0).then(|| bits / weights as f64);
        let entropy = coded()
            .map(|tensor| Some(tensor.exponent_entropy_bits? * tensor.elements as f64))
            .sum::<Option<f64>>();
        let breakdown = coded().try_fold(Breakdown::default(), |mut total, tensor| {
            total += tensor.breakdown?;
            Some(total)
        });
        Totals {
            coded_tensors: coded().count(),
            coded_weights: weights,
            coded_stored_bytes: stored,
            bits_per_weight: per_weight(8.0 * stored as f64),
            exponent_entropy_bits: entropy.and_then(per_weight),
            breakdown,
        }
    }
}

fn in_words(result: &InspectResult) -> String {
    let mut text = format!(
        "{}: Unweight {}, {} bytes; restores {} bytes ({}), {} tensors\n",
        result.file,
        result.format_version,
        bytes(result.file_bytes),
        bytes(result.restored_bytes),
        percent(result.file_bytes, result.restored_bytes),
        result.tensors.len()
    );
    let rows = result.tensors.iter().map(tensor_row).collect();
    let heads = [
        "tensor",
        "dtype",
        "shape",
        "encoding",
        "bits/elem.",
        "ratio",
        "entropy",
        "over",
    ];
    text.push('\n');
    text.push_str(&table(&heads, 4, rows));
    text.push_str(&totals_in_words(&result.totals));
    text
}

fn tensor_row(tensor: &TensorResult) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
    let over = tensor
        .exponent_entropy_bits
        .zip(tensor.bits_per_element)
        .map(|(entropy, bits)| bits - 8.0 - entropy);
    vec![
        // Names come from the file; a control character must not reach a terminal.
        tensor.name.escape_debug().to_string(),
        tensor.dtype.to_string(),
        format!("[{}]", shape.join(", ")),
        tensor.encoding.to_string(),
        number(tensor.bits_per_element),
        percent(tensor.stored_bytes, tensor.data_bytes),
        number(tensor.exponent_entropy_bits),
        number(over),
    ]
}

fn totals_in_words(totals: &Totals) -> String {
    let Some(bits_per_weight) = totals.bits_per_weight else {
        return "\n\nNo tensor is coded.".to_owned();
    };
    let mut text = format!(
        "\n\n{} coded tensors, {} weights, {bits_per_weight:.4} bits/weight",
        totals.coded_tensors,
        bytes(totals.coded_weights),
    );
    let (Some(breakdown), Some(entropy)) = (totals.breakdown, totals.exponent_entropy_bits) else {
        return text;
    };
    text.push_str(&format!(
        ": 8 + {entropy:.4} of exponent entropy + {:.4} over it\n\n",
        bits_per_weight - 8.0 - entropy
    ));
    let total = breakdown.total_bits();
    let row = |(name, bits): (&str, u64)| {
        vec![
            name.to_owned(),
            bytes(bits.div_ceil(8)),
            format!("{:.4}", bits as f64 / totals.coded_weights as f64),
            percent(bits, total),
        ]
    };
    let present = breakdown.parts().into_iter().filter(|&(_, bits)| bits > 0);
    let rows = present.map(row).collect();
    text.push_str(&table(
        &["where the bits go", "bytes", "bits/weight", "share"],
        1,
        rows,
    ));
    text
}
