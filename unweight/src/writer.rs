//! Writer for containers of tensors in memory.

use std::borrow::Cow;
use std::error::Error as StdError;

use half::bf16;
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Dtype, Encoding, Extent, SourceKind};

use crate::container::{Encoder, copy_raw_tensor};
use crate::options::CompressOptions;
use crate::{Error, Storage};

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
///     .raw_tensor("step", Dtype::U64, &[], &42u64.to_le_bytes())
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
    data: Data<'t>,
}

#[derive(Debug)]
enum Data<'t> {
    Weights(&'t [bf16]),
    Bytes(&'t [u8]),
}

impl<'t> Writer<'t> {
    /// A writer with the default options.
    pub fn new() -> Writer<'t> {
        Writer::default()
    }

    /// A writer with these options. Their memory budget and progress callback have no effect,
    /// because the tensors are in memory already.
    pub fn with_options(options: CompressOptions) -> Writer<'t> {
        Writer {
            options,
            tensors: Vec::new(),
        }
    }

    /// Adds a BF16 tensor, which is coded if that saves space.
    pub fn tensor(
        mut self,
        name: impl Into<Cow<'t, str>>,
        shape: &[u64],
        weights: &'t [bf16],
    ) -> Writer<'t> {
        self.tensors.push(Declared {
            name: name.into(),
            dtype: Dtype::Bf16,
            shape: shape.to_vec(),
            data: Data::Weights(weights),
        });
        self
    }

    /// Adds a tensor of any type by its little-endian bytes, which are stored as they are.
    pub fn raw_tensor(
        mut self,
        name: impl Into<Cow<'t, str>>,
        dtype: Dtype,
        shape: &[u64],
        bytes: &'t [u8],
    ) -> Writer<'t> {
        self.tensors.push(Declared {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            data: Data::Bytes(bytes),
        });
        self
    }

    /// Writes the container into `sink`, and returns the sink.
    ///
    /// # Errors
    /// [`Error::WrongLength`] if a shape does not match its data; [`Error::Unwritable`] if a rule
    /// would be broken, for example by a duplicate name; the errors of the sink.
    pub fn finish<S>(self, sink: S) -> Result<S, Error>
    where
        S: Sink<Error: StdError + Send + Sync + 'static> + Send,
    {
        let executor = &self.options.threads;
        for tensor in &self.tensors {
            tensor.require_length()?;
        }
        let declarations = self.tensors.iter().map(Declared::declaration).collect();
        let mut writer = ContainerWriter::new(sink, SourceKind::None, &[], declarations)?;
        let encoder = Encoder::default();
        for tensor in &self.tensors {
            let encoding = match self.options.selection.has(&tensor.name) {
                true => self.options.encoding,
                false => Encoding::Raw,
            };
            match tensor.data {
                Data::Weights(weights) => {
                    let chunk = self.options.chunk_size_log2;
                    encoder.encode_tensor(&mut writer, weights, encoding, chunk, executor)?;
                }
                Data::Bytes(bytes) => {
                    let all = Extent {
                        offset: 0,
                        length: bytes.len() as u64,
                    };
                    copy_raw_tensor(&mut writer, bytes, all)?;
                }
            }
        }
        Ok(writer.finish()?)
    }
}

impl Declared<'_> {
    fn declaration(&self) -> Declaration<'_> {
        Declaration::new(&self.name, self.dtype, &self.shape)
    }

    /// Checks that the shape matches the data. The container's writer checks the limits.
    fn require_length(&self) -> Result<(), Error> {
        let found = match self.data {
            Data::Weights(weights) => 2 * weights.len() as u64,
            Data::Bytes(bytes) => bytes.byte_length().unwrap_or(0),
        };
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
