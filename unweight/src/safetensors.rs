//! Strict parser for the safetensors header (section 3.3). It accepts only what the safetensors
//! format allows, rejects duplicate names, and keeps the order of the data.
//!
//! The `safetensors` crate reads headers into hash maps. There a second tensor of the same name
//! replaces the first, and empty tensors lose their order. Both would prevent an exact restore.

mod file;
mod json;
mod metadata;
mod write;

use std::fmt;

use unweight_format::write::Declaration;
use unweight_format::{Directory, Dtype, Error, Expected, Extent, Rule, layout, limits};

use unweight_cpu::counts_bytes;
use unweight_cpu::reference::WHOLE_SAMPLE_WEIGHTS;

use crate::memory::{chunk_bytes, record_ends_bytes, source_bytes, writer_bytes};
use crate::{MemoryBudget, OverBudget, Purpose};
use json::{Members, Quoted};

pub(crate) use file::{SafetensorsFile, read_header};
pub(crate) use write::{header as write_header, order};

/// The name of the member of a header that is no tensor.
const METADATA: &str = "__metadata__";

/// A safetensors header: the tensors of a file, in the order of their data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Bytes of the length field and the JSON together: where the data begins.
    pub header_bytes: u64,
    /// The tensors; each begins where the one before it ends, the first at 0.
    pub tensors: Vec<SourceTensor>,
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceTensor {
    /// The name.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Where its data begins, counted from the end of the header.
    pub begin: u64,
    /// Where its data ends.
    pub end: u64,
}

impl SourceTensor {
    /// The tensor as a container declares it.
    pub fn declaration(&self) -> Declaration<'_> {
        Declaration::new(&self.name, self.dtype, &self.shape)
    }
}

impl Header {
    /// Length of the length field and the JSON of a file that begins with these 8 bytes.
    ///
    /// # Errors
    /// A [`HeaderError`] if the length exceeds the limit of a container.
    pub fn bytes_from_length(length: [u8; 8]) -> Result<u64, HeaderError> {
        let json_bytes = u64::from_le_bytes(length);
        match json_bytes.checked_add(layout::SAFETENSORS_LENGTH_BYTES) {
            Some(bytes) if bytes <= limits::SOURCE_BYTES => Ok(bytes),
            _ => Err(HeaderError {
                at: 0,
                what: format!(
                    "the header has {json_bytes} bytes, expected at most {}",
                    limits::SOURCE_BYTES - layout::SAFETENSORS_LENGTH_BYTES
                ),
            }),
        }
    }

    /// Parses a header: the length field and the JSON, with nothing behind them.
    ///
    /// # Errors
    /// A [`HeaderError`] with the position and the cause.
    pub fn parse(header: &[u8]) -> Result<Header, HeaderError> {
        let error = |at: usize, what: String| HeaderError {
            at: at as u64,
            what,
        };
        let Some((length, json)) = header.split_first_chunk() else {
            return Err(error(
                0,
                format!("{} bytes, expected at least 8", header.len()),
            ));
        };
        if u64::from_le_bytes(*length) != json.len() as u64 {
            let stated = u64::from_le_bytes(*length);
            return Err(error(
                0,
                format!("the header has {} bytes, expected {stated}", json.len()),
            ));
        }
        if json.first() != Some(&b'{') {
            return Err(error(8, "the header does not begin with '{'".to_owned()));
        }
        let json = std::str::from_utf8(json)
            .map_err(|bad| error(8 + bad.valid_up_to(), "the header is not UTF-8".to_owned()))?;
        let members: Members = serde_json::from_str(json).map_err(|bad| {
            error(
                8 + offset_of(json, bad.line(), bad.column()),
                bad.to_string(),
            )
        })?;

        let mut tensors = members.0;
        // The sort is stable: empty tensors at the same offset keep their order in the JSON.
        tensors.sort_by_key(|tensor| (tensor.begin, tensor.end));
        let mut end = 0;
        for tensor in &tensors {
            let of = |what: String| error(8, format!("tensor {} {what}", Quoted(&tensor.name)));
            if tensor.begin != end {
                let kind = if tensor.begin < end {
                    "overlaps the one before it"
                } else {
                    "leaves a hole"
                };
                return Err(of(format!(
                    "{kind}: it begins at {}, expected {end}",
                    tensor.begin
                )));
            }
            let stated = tensor.end - tensor.begin;
            match data_bytes(tensor) {
                Some(bytes) if bytes == stated => {}
                Some(bytes) => return Err(of(format!("has {stated} bytes, expected {bytes}"))),
                None => return Err(of("is not a whole number of bytes below 2^59".to_owned())),
            }
            end = tensor.end;
        }
        // The sum must fit so that every tensor has an offset in the file.
        if end.checked_add(header.len() as u64).is_none() {
            return Err(error(8, "the data ends past 2^64 bytes".to_owned()));
        }
        Ok(Header {
            header_bytes: header.len() as u64,
            tensors,
        })
    }

    /// The number of chunks, at least one, that may be in work at a time when the file with this
    /// header is compressed into chunks of 2^`chunk_size_log2` weights within this budget.
    ///
    /// # Errors
    /// [`OverBudget`] if not even one fits.
    pub fn chunks_in_work(
        &self,
        budget: MemoryBudget,
        chunk_size_log2: u8,
    ) -> Result<u64, OverBudget> {
        let directory_bytes: u64 = self
            .tensors
            .iter()
            .map(|tensor| {
                let dimensions = layout::DIMENSION_BYTES * tensor.shape.len() as u64;
                layout::ENTRY_BYTES + dimensions + tensor.name.len() as u64
            })
            .sum();
        // Forms are chosen later, and may be other than plain for all fields. A tensor may also
        // finally be stored raw, and its written bytes are then read again.
        let tensors = self.tensors.iter();
        let kept = tensors
            .clone()
            .map(|tensor| kept_bytes(tensor, chunk_size_log2));
        let chunks = tensors.map(|tensor| {
            let block = layout::BLOCK_BYTES.min(tensor.end - tensor.begin);
            let data_bytes = read_at_once(tensor, chunk_size_log2).max(block);
            chunk_bytes(data_bytes, tensor.dtype.fields().len())
        });
        let held = source_bytes(self.header_bytes)
            + writer_bytes(self.tensors.len() as u64, directory_bytes)
            + kept.max().unwrap_or(0);
        let largest_chunk = chunks.max().unwrap_or(chunk_bytes(0, 0));
        budget.chunks_beside(Purpose::Compress, held, largest_chunk)
    }

    /// Checks that a header of this many bytes can be read within a budget.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn require_within(budget: MemoryBudget, header_bytes: u64) -> Result<(), OverBudget> {
        budget.require(Purpose::Source, source_bytes(header_bytes))
    }

    /// Length of the data behind the header in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.last().map_or(0, |tensor| tensor.end)
    }

    /// The extent of a tensor's data in the file.
    pub fn data(&self, tensor: &SourceTensor) -> Extent {
        Extent {
            offset: self.header_bytes + tensor.begin,
            length: tensor.end - tensor.begin,
        }
    }
}

/// An error in a safetensors header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderError {
    /// Offset from the start of the file.
    pub at: u64,
    /// The value that was found and the value that was expected.
    pub what: String,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "safetensors header at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for HeaderError {}

/// Checks that a source section is a safetensors header that describes exactly the tensors of the
/// directory.
///
/// # Errors
/// `source-header`, at `offset` (the start of the source section) plus the position of the error
/// within the section.
pub fn check_source_matches_directory(
    source: &[u8],
    offset: u64,
    directory: &Directory<'_>,
) -> Result<(), Error> {
    let broken = |at: u64, found: u64, expected| {
        Err(Error::new(Rule::SourceHeader, offset + at, found, expected))
    };
    let header = match Header::parse(source) {
        Ok(header) => header,
        Err(bad) => {
            let found = source.get(bad.at as usize).copied().unwrap_or(0);
            return broken(
                bad.at,
                found.into(),
                Expected::Words("a valid safetensors header"),
            );
        }
    };
    if header.tensors.len() as u64 != u64::from(directory.tensor_count()) {
        let expected = Expected::Exactly(directory.tensor_count().into());
        return broken(0, header.tensors.len() as u64, expected);
    }
    for (tensor, source) in directory.tensors().zip(&header.tensors) {
        let same = tensor.name() == source.name
            && tensor.dtype() == source.dtype
            && tensor.shape().eq(source.shape.iter().copied())
            && tensor.data_bytes() == source.end - source.begin;
        if !same {
            let expected =
                Expected::Words("the name, dtype and shape of this tensor number in the directory");
            return broken(0, tensor.number().into(), expected);
        }
    }
    Ok(())
}

/// Need of what is kept for all chunks of a tensor while it is encoded: counts and record ends.
fn kept_bytes(tensor: &SourceTensor, chunk_size_log2: u8) -> u64 {
    let bytes = (tensor.end - tensor.begin).min(limits::CODED_BYTES);
    let weights = bytes / tensor.dtype.weight_bytes() as u64;
    let chunks = weights.div_ceil(1 << chunk_size_log2);
    let records = chunks * tensor.dtype.fields().len() as u64;
    counts_bytes(tensor.dtype, chunks) + record_ends_bytes(records)
}

/// The original bytes of a tensor that are in memory at once for each chunk in work: the chunk, or
/// the whole of a tensor that is read once.
fn read_at_once(tensor: &SourceTensor, chunk_size_log2: u8) -> u64 {
    let weights = WHOLE_SAMPLE_WEIGHTS.max(1 << chunk_size_log2);
    (tensor.end - tensor.begin).min(weights * tensor.dtype.weight_bytes() as u64)
}

/// Size in bytes of a tensor with this shape and type, if it is a whole number of bytes and within
/// the limit on elements.
fn data_bytes(tensor: &SourceTensor) -> Option<u64> {
    let bits = tensor.declaration().element_count()? * tensor.dtype.bits();
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// Offset of a one-based line and column, as `serde_json` reports them.
fn offset_of(json: &str, line: usize, column: usize) -> usize {
    let lines_before: usize = json
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (lines_before + column.saturating_sub(1)).min(json.len())
}
