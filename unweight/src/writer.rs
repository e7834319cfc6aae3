//! Writer for containers of tensors in memory.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use half::bf16;
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Dtype, Extent, SourceKind};

use crate::compress::compress_to;
use crate::container::{Encoder, copy_raw_tensor};
use crate::options::CompressOptions;
use crate::{Error, Storage, StorageError, safetensors};

/// Writes tensors in memory into a container, without a safetensors file.
///
/// ```
/// # fn main() -> Result<(), unweight::Error> {
/// use half::bf16;
/// use unweight::{Dtype, Writer};
///
/// let weights: Vec<bf16> = (0..100_000).map(|i| bf16::from_f32((i as f32).sin())).collect();
/// let file: Vec<u8> = Writer::new()
///     .tensor("w", &[100, 1000], &weights)
///     .tensor_bytes("step", Dtype::U64, &[], &42u64.to_le_bytes())
///     .finish(Vec::new())?;
/// # assert!(file.len() < 150_000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Writer<'t> {
    options: CompressOptions,
    tensors: Vec<Declared<'t>>,
}

#[derive(Debug)]
struct Declared<'t> {
    name: Cow<'t, str>,
    dtype: Dtype,
    shape: Vec<u64>,
    /// Little-endian weights.
    data: Cow<'t, [u8]>,
}

impl<'t> Writer<'t> {
    /// A writer with the default options.
    pub fn new() -> Writer<'t> {
        Writer::default()
    }

    /// A writer with these options. Their memory budget and progress callback have no effect on
    /// [`Writer::finish`], because the tensors are in memory already.
    pub fn with_options(options: CompressOptions) -> Writer<'t> {
        Writer {
            options,
            tensors: Vec::new(),
        }
    }

    /// Adds a tensor of BF16 weights.
    pub fn tensor(
        self,
        name: impl Into<Cow<'t, str>>,
        shape: &[u64],
        weights: &'t [bf16],
    ) -> Writer<'t> {
        self.declared(name.into(), Dtype::Bf16, shape, little_endian(weights))
    }

    /// Adds a tensor of any type by its little-endian bytes.
    pub fn tensor_bytes(
        self,
        name: impl Into<Cow<'t, str>>,
        dtype: Dtype,
        shape: &[u64],
        bytes: &'t [u8],
    ) -> Writer<'t> {
        self.declared(name.into(), dtype, shape, Cow::Borrowed(bytes))
    }

    fn declared(
        mut self,
        name: Cow<'t, str>,
        dtype: Dtype,
        shape: &[u64],
        data: Cow<'t, [u8]>,
    ) -> Writer<'t> {
        self.tensors.push(Declared {
            name,
            dtype,
            shape: shape.to_vec(),
            data,
        });
        self
    }

    /// Writes the container into `sink`, and returns the sink. Tensors that the options select are
    /// compressed if that saves space.
    ///
    /// # Errors
    /// [`Error::WrongLength`] if a shape does not match its data; [`Error::Unwritable`] if a rule
    /// would be broken, for example by a duplicate name; the errors of the sink.
    pub fn finish<S>(self, sink: S) -> Result<S, Error>
    where
        S: Sink<Error: StdError + Send + Sync + 'static> + Send,
    {
        let CompressOptions {
            encoding,
            chunk_size_log2,
            selection,
            threads,
            ..
        } = &self.options;
        for tensor in &self.tensors {
            tensor.require_length()?;
        }
        let declarations = self.tensors.iter().map(Declared::declaration).collect();
        let name_of = |number: u32| Some(&*self.tensors.get(number as usize)?.name);
        let mut writer = ContainerWriter::new(sink, SourceKind::None, &[], declarations)
            .map_err(|error| Error::from(error).of_tensor(name_of))?;
        let encoder = Encoder::default();
        for tensor in &self.tensors {
            let bytes = &*tensor.data;
            let all = Extent {
                offset: 0,
                length: bytes.len() as u64,
            };
            match selection.has(&tensor.name) {
                true => encoder.encode_tensor(
                    &mut writer,
                    bytes,
                    all,
                    *encoding,
                    *chunk_size_log2,
                    threads,
                )?,
                false => copy_raw_tensor(&mut writer, bytes, all)?,
            }
        }
        Ok(writer.finish()?)
    }

    /// Writes the container of a safetensors file with these tensors into `sink`, and returns the
    /// sink: [`decompress`](crate::decompress) gives that file. The tensors are sorted as the library
    /// `safetensors` sorts them, and `metadata` becomes the strings of `__metadata__`, in this order.
    /// It is the file that the library would write if there is at most one string: the library
    /// writes several in random order. The memory budget and the progress callback of the options
    /// have their effect.
    ///
    /// # Errors
    /// The errors of [`Writer::finish`]; [`Error::Source`] if two tensors have the same name;
    /// [`Error::OverBudget`]; [`Error::Cancelled`].
    pub fn finish_safetensors<S>(
        mut self,
        metadata: Option<&[(String, String)]>,
        sink: S,
    ) -> Result<S, Error>
    where
        S: Sink<Error: StdError + Send + Sync + 'static> + Send,
    {
        for tensor in &self.tensors {
            tensor.require_length()?;
        }
        self.tensors.sort_by(|a, b| {
            let by_dtype = safetensors::order(b.dtype).cmp(&safetensors::order(a.dtype));
            by_dtype.then_with(|| a.name.cmp(&b.name))
        });
        let declarations: Vec<_> = self.tensors.iter().map(Declared::declaration).collect();
        let header = safetensors::write_header(&declarations, metadata)?;
        let tensors = self.tensors.iter().map(|tensor| &*tensor.data);
        let parts = Parts::new(std::iter::once(&header[..]).chain(tensors));
        compress_to(&parts, sink, &self.options)
    }
}

/// Parts of a file that are in memory, one after the other.
struct Parts<'t> {
    /// The end of each part in the file, and its bytes.
    parts: Vec<(u64, &'t [u8])>,
}

impl<'t> Parts<'t> {
    fn new(parts: impl Iterator<Item = &'t [u8]>) -> Parts<'t> {
        let mut end = 0;
        let parts = parts.map(|part| {
            end += part.len() as u64;
            (end, part)
        });
        Parts {
            parts: parts.collect(),
        }
    }
}

impl Storage for Parts<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.parts.last().map_or(0, |&(end, _)| end))
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let first = (self.parts).partition_point(|&(end, _)| end <= extent.offset);
        let mut at = extent.offset;
        buffer.clear();
        for &(end, part) in &self.parts[first..] {
            let from = (at - (end - part.len() as u64)) as usize;
            let length = (end - at).min(extent.end() - at) as usize;
            let bytes = &part[from..from + length];
            if length as u64 == extent.length {
                return Ok(bytes);
            }
            buffer.extend_from_slice(bytes);
            at += length as u64;
            if at == extent.end() {
                return Ok(buffer);
            }
        }
        let nothing: &[u8] = &[];
        match extent.length {
            0 => Ok(nothing),
            _ => Err(StorageError::ends_at(extent, self.byte_length()?).into()),
        }
    }
}

/// The little-endian bytes of weights.
fn little_endian(weights: &[bf16]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(bytemuck::cast_slice(weights)),
        false => weights
            .iter()
            .flat_map(|weight| weight.to_le_bytes())
            .collect(),
    }
}

impl Declared<'_> {
    fn declaration(&self) -> Declaration<'_> {
        Declaration::new(&self.name, self.dtype, &self.shape)
    }

    /// Checks that the shape matches the data. The container's writer checks the limits.
    fn require_length(&self) -> Result<(), Error> {
        let found = self.data.len() as u64;
        let elements = self.declaration().element_count();
        match elements.map(|count| (count * self.dtype.bits()).div_ceil(8)) {
            Some(expected) if expected != found => Err(Error::WrongLength {
                tensor: self.name.to_string(),
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }
}
