//! One-call conversions from safetensors files to containers and back.

use std::error::Error as StdError;
use std::ops::RangeInclusive;
use unweight_cpu::reference::WHOLE_SAMPLE_WEIGHTS;
use unweight_format::write::{ContainerWriter, Sink};
use unweight_format::{SourceKind, layout};

use crate::container::{Encoder, OpenFile, copy_raw_tensor, restore};
use crate::options::CompressOptions;
use crate::output::MemorySink;
use crate::progress::Metered;
use crate::safetensors::{Header, SourceTensor, read_header};
use crate::threads::Threads;
use crate::{Error, MemoryBudget, Storage};

/// Compresses a safetensors file in memory.
///
/// # Errors
/// [`Error::Source`] or [`Error::SourceLength`] if the input is not a safetensors file;
/// [`Error::OverBudget`]; [`Error::Unwritable`] if a limit of the format is exceeded.
pub fn compress(safetensors: &[u8], options: &CompressOptions) -> Result<Vec<u8>, Error> {
    let plan = CompressPlan::read(safetensors, options)?;
    let sink = MemorySink::new(*plan.container_bytes().end(), &options.threads);
    Ok(plan.write(safetensors, sink)?.into_vec())
}

/// Restores the source of a container in memory, and checks every rule of the specification.
///
/// # Errors
/// The error of the broken rule; [`Error::OverBudget`].
pub fn decompress(container: &[u8]) -> Result<Vec<u8>, Error> {
    let open = OpenFile::read(container)?;
    let container = open.container();
    // No more than 64 times the container's length (section 13).
    let tensors = container.directory().tensors();
    let data_bytes: u64 = tensors.map(|tensor| tensor.data_bytes()).sum();
    let length = container.header().source().length + data_bytes;
    let likely = length.min(4 * container.header().file_length());
    let mut source = Vec::with_capacity(usize::try_from(likely).unwrap_or(0));
    restore(&container, &Threads::default(), |bytes| {
        source.extend_from_slice(bytes);
        Ok::<_, Error>(())
    })?;
    Ok(source)
}

/// Compresses the safetensors file in `source` into `sink`, and returns the sink. Most tensors are
/// read twice: once for forms and palettes, once to be written.
///
/// # Errors
/// The errors of [`compress`]; [`Error::Read`]; the errors of the sink.
pub fn compress_to<R, S>(source: &R, sink: S, options: &CompressOptions) -> Result<S, Error>
where
    R: Storage + ?Sized,
    S: Sink<Error: StdError + Send + Sync + 'static> + Send,
{
    let plan = CompressPlan::read(source, options)?;
    plan.write(source, sink)
}

/// A safetensors file whose header has been read and checked, with the options for its compression.
#[derive(Clone, Debug)]
pub struct CompressPlan {
    /// The bytes before the tensors' data.
    section: Vec<u8>,
    header: Header,
    chunks_in_work: u64,
    budget: MemoryBudget,
    options: CompressOptions,
}

impl CompressPlan {
    /// Reads the header of `source`, and compares the length that it states with the true one.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::SourceLength`], [`Error::OverBudget`], [`Error::Read`].
    pub fn read<R: Storage + ?Sized>(
        source: &R,
        options: &CompressOptions,
    ) -> Result<CompressPlan, Error> {
        let length = source.byte_length().map_err(Error::Read)?;
        let default = || MemoryBudget::for_file(length, &options.threads);
        let budget = options.memory.unwrap_or_else(default);
        let (section, header) = read_header(source, length, budget)?;
        Ok(CompressPlan {
            chunks_in_work: header.chunks_in_work(budget, options.chunk_size_log2)?,
            section,
            header,
            budget,
            options: options.clone(),
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Compresses `source` into `sink`, and returns the sink. `source` must be the storage whose
    /// header was read.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if a limit of the format is exceeded; [`Error::Read`]; the errors of
    /// the sink.
    pub fn write<R, S>(&self, source: &R, sink: S) -> Result<S, Error>
    where
        R: Storage + ?Sized,
        S: Sink<Error: StdError + Send + Sync + 'static> + Send,
    {
        let CompressPlan {
            header, options, ..
        } = self;
        let source = &Metered::new(source, options.progress.clone(), self.bytes_to_read());
        let mut writer = self.writer(sink)?;
        let encoder = Encoder::default().chunks_in_work(self.chunks_in_work);
        for tensor in &header.tensors {
            let data = header.data(tensor);
            match options.selection.has(&tensor.name) {
                true => encoder.encode_tensor(
                    &mut writer,
                    source,
                    data,
                    options.encoding,
                    options.chunk_size_log2,
                    &options.threads,
                )?,
                false => copy_raw_tensor(&mut writer, source, data)?,
            }
        }
        Ok(writer.finish()?)
    }

    /// Estimate of the bytes that [`CompressPlan::write`] reads.
    pub fn bytes_to_read(&self) -> u64 {
        let tensors = self.header.tensors.iter();
        let bytes = tensors.map(|tensor| {
            let bytes = tensor.end - tensor.begin;
            let weights = bytes / tensor.dtype.weight_bytes() as u64;
            let is_read_twice = self.may_be_compressed(tensor) && weights > WHOLE_SAMPLE_WEIGHTS;
            (1 + u64::from(is_read_twice)) * bytes
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// Bounds of the container's length in bytes: the start is the minimum, the end the maximum.
    pub fn container_bytes(&self) -> RangeInclusive<u64> {
        // Padding before and after a plain plane.
        const PADDING: u64 = layout::LARGE_TENSOR_ALIGNMENT + layout::BLOCK_CHECKSUM_BYTES;
        let frame = self.frame_bytes();
        let (mut at_least, mut at_most) = (frame, frame.saturating_add(layout::PAYLOAD_ALIGNMENT));
        for tensor in &self.header.tensors {
            let data = tensor.end - tensor.begin;
            let checksums = data.div_ceil(layout::BLOCK_BYTES) * layout::BLOCK_CHECKSUM_BYTES;
            let kept = match self.may_be_compressed(tensor) {
                // Bits without a field are always stored.
                true => {
                    let fields = tensor.dtype.fields().iter().map(|field| field.width());
                    let weight_bits = 8 * tensor.dtype.weight_bytes() as u64;
                    let plain_bits = weight_bits - u64::from(fields.sum::<u32>());
                    data / weight_bits * plain_bits
                }
                false => data,
            };
            at_least = at_least.saturating_add(kept);
            at_most = at_most.saturating_add(checksums + PADDING + data);
        }
        at_least..=at_most
    }

    /// Checks that a container can hold the tensors.
    ///
    /// # Errors
    /// [`Error::Unwritable`].
    pub(crate) fn require_writable(&self) -> Result<(), Error> {
        self.writer(Vec::new())?;
        Ok(())
    }

    fn writer<S: Sink>(&self, sink: S) -> Result<ContainerWriter<'_, S>, Error>
    where
        S::Error: StdError + Send + Sync + 'static,
    {
        let tensors = &self.header.tensors;
        let mut declarations = Vec::with_capacity(tensors.len());
        declarations.extend(tensors.iter().map(|tensor| tensor.declaration()));
        let name_of = |number: u32| {
            let tensor = tensors.get(number as usize);
            tensor.map(|tensor| tensor.name.as_str())
        };
        ContainerWriter::new(sink, SourceKind::Safetensors, &self.section, declarations)
            .map_err(|error| Error::from(error).of_tensor(name_of))
    }

    /// The memory budget.
    pub(crate) const fn budget(&self) -> MemoryBudget {
        self.budget
    }

    /// Bytes of header, directory, source section and guard in the container, without padding.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let fixed = layout::FILE_HEADER_BYTES + self.header.header_bytes + layout::GUARD_BYTES;
        self.header.tensors.iter().fold(fixed, |bytes, tensor| {
            let entry = layout::ENTRY_BYTES
                + layout::DIMENSION_BYTES * tensor.shape.len() as u64
                + tensor.name.len() as u64;
            bytes.saturating_add(entry)
        })
    }

    /// Whether the options and the type allow that this tensor becomes smaller.
    pub fn may_be_compressed(&self, tensor: &SourceTensor) -> bool {
        !tensor.dtype.fields().is_empty() && self.options.selection.has(&tensor.name)
    }
}
