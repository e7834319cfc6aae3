//! Drafts: tensors and their form of storage. [`Draft::forge`] creates the file with correct
//! checksums. This is a second implementation of the layout in sections 3 and 4. The expected
//! restored source is the draft's contents.
//! source is the draft's contents.

use unweight_format::{Dtype, crc32, layout};

use crate::code::Lengths;
use crate::forge::{Forge, Placed};
use crate::record::Record;
use crate::source;
use crate::weights::Weights;

/// A file.
#[derive(Clone, Default)]
pub struct Draft {
    /// The minor version.
    pub minor_version: u16,
    /// The source section of kind safetensors, including its length field; `None` for source kind
    /// none.
    pub source: Option<Vec<u8>>,
    /// The tensors in directory order.
    pub tensors: Vec<Tensor>,
}

/// A tensor.
#[derive(Clone)]
pub struct Tensor {
    /// The name, which is not UTF-8 in some invalid files.
    pub name: Vec<u8>,
    /// The type.
    pub dtype: Dtype,
    /// The dimensions.
    pub shape: Vec<u64>,
    /// The original bytes.
    pub data: Vec<u8>,
    /// The form of storage.
    pub stored: Stored,
}

/// The form of storage of a tensor.
#[derive(Clone)]
pub enum Stored {
    /// Raw.
    Raw,
    /// Coded, huffman or palette.
    Coded(Coded),
}

/// A coded tensor.
#[derive(Clone)]
pub struct Coded {
    /// The encoding: 1 is huffman, 2 is palette.
    pub encoding: u8,
    /// Binary logarithm of the weights of a chunk.
    pub k: u8,
    /// The palette.
    pub palette: [u8; 16],
    /// The sign-mantissa plane.
    pub sign_mantissa: Vec<u8>,
    /// The records, one for each chunk.
    pub records: Vec<Record>,
}

impl Tensor {
    /// A raw tensor.
    pub fn raw(name: &str, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Tensor {
        Tensor {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            data,
            stored: Stored::Raw,
        }
    }

    /// A raw tensor of type U8 with one dimension.
    pub fn bytes(name: &str, data: Vec<u8>) -> Tensor {
        Tensor::raw(name, Dtype::U8, &[data.len() as u64], data)
    }

    /// A raw BF16 tensor with one dimension.
    pub fn raw_weights(name: &str, weights: &Weights) -> Tensor {
        Tensor::raw(name, Dtype::Bf16, &[weights.len() as u64], weights.bytes())
    }

    /// A tensor of encoding huffman with chunks of 2^`k` weights. `record` returns the record for a
    /// chunk's number and exponents.
    pub fn huffman_with(
        name: &str,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        record: impl Fn(usize, &[u8]) -> Record,
    ) -> Tensor {
        Tensor::coded(name, 1, k, palette, weights, record)
    }

    /// A tensor of encoding palette. The parameters are those of [`Tensor::huffman_with`].
    pub fn palette_with(
        name: &str,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        record: impl Fn(usize, &[u8]) -> Record,
    ) -> Tensor {
        Tensor::coded(name, 2, k, palette, weights, record)
    }

    /// A huffman tensor with this code in every record.
    pub fn huffman(
        name: &str,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        lengths: Lengths,
    ) -> Tensor {
        let record = |_, exponents: &[u8]| Record::huffman(lengths, &palette, exponents);
        Tensor::huffman_with(name, k, palette, weights, record)
    }

    /// A palette tensor.
    pub fn palette(name: &str, k: u8, palette: [u8; 16], weights: &Weights) -> Tensor {
        let record = |_, exponents: &[u8]| Record::palette(&palette, exponents);
        Tensor::palette_with(name, k, palette, weights, record)
    }

    fn coded(
        name: &str,
        encoding: u8,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        record: impl Fn(usize, &[u8]) -> Record,
    ) -> Tensor {
        let longest = |exponents: &[u8]| (16 + exponents.len()).next_multiple_of(16);
        let fitting = |(number, exponents): (usize, &[u8])| {
            let record = record(number, exponents);
            // No record may be longer than the verbatim one (5.1), so few other records fit in
            // short chunks.
            match record.to_bytes(&[]).len() > longest(exponents) {
                true => Record::verbatim(exponents),
                false => record,
            }
        };
        let chunks = weights.exponents.chunks(1 << k).enumerate();
        Tensor {
            stored: Stored::Coded(Coded {
                encoding,
                k,
                palette,
                sign_mantissa: weights.sign_mantissa.clone(),
                records: chunks.map(fitting).collect(),
            }),
            ..Tensor::raw_weights(name, weights)
        }
    }

    /// The same tensor with another name.
    pub fn named(self, name: impl Into<Vec<u8>>) -> Tensor {
        Tensor {
            name: name.into(),
            ..self
        }
    }

    /// The same bytes with another shape.
    pub fn shaped(self, shape: &[u64]) -> Tensor {
        Tensor {
            shape: shape.to_vec(),
            ..self
        }
    }

    /// The parts of the coded tensor.
    pub fn coded_mut(&mut self) -> &mut Coded {
        match &mut self.stored {
            Stored::Coded(coded) => coded,
            Stored::Raw => panic!("the tensor is raw"),
        }
    }
}

impl Draft {
    /// A draft of these tensors without a source.
    pub fn of(tensors: impl Into<Vec<Tensor>>) -> Draft {
        Draft {
            tensors: tensors.into(),
            ..Draft::default()
        }
    }

    /// The same tensors with the safetensors header that describes them.
    pub fn with_source(self) -> Draft {
        let json = source::describe(&self.tensors);
        self.with_json(json)
    }

    /// The same tensors with this JSON as the source section.
    pub fn with_json(self, json: impl Into<Vec<u8>>) -> Draft {
        let json = json.into();
        let length = json.len() as u64;
        Draft {
            source: Some([&length.to_le_bytes()[..], &json].concat()),
            ..self
        }
    }

    /// The same draft with record 0 of tensor 0 changed.
    pub fn edit_record(mut self, edit: impl FnOnce(&mut Record)) -> Draft {
        edit(&mut self.tensors[0].coded_mut().records[0]);
        self
    }

    /// Whether the file is only for decoders of profile full.
    pub fn has_palette(&self) -> bool {
        let is_palette =
            |tensor: &Tensor| matches!(&tensor.stored, Stored::Coded(coded) if coded.encoding == 2);
        self.tensors.iter().any(is_palette)
    }

    /// The restored source: the source section, then the original bytes of all tensors.
    pub fn restored(&self) -> Vec<u8> {
        let mut restored = self.source.clone().unwrap_or_default();
        for tensor in &self.tensors {
            restored.extend(&tensor.data);
        }
        restored
    }

    /// Creates the file.
    pub fn forge(&self) -> Forge {
        let source = self.source.clone().unwrap_or_default();
        let dims: usize = self.tensors.iter().map(|tensor| tensor.shape.len()).sum();
        let names: usize = self.tensors.iter().map(|tensor| tensor.name.len()).sum();
        let directory_length = (48 * self.tensors.len() + 8 * dims + names).next_multiple_of(8);

        let mut bytes = vec![0; 64 + directory_length];
        bytes.extend(&source);
        align(&mut bytes, 256);
        let placed: Vec<Placed> = self
            .tensors
            .iter()
            .map(|tensor| tensor.put_payload(&mut bytes))
            .collect();
        let payload_end = bytes.len();
        bytes.resize(payload_end + 64, 0);

        let directory = self.directory(&placed);
        bytes[64..64 + directory.len()].copy_from_slice(&directory);
        let header = self.header(bytes.len(), directory_length, source.len());
        bytes[..60].copy_from_slice(&header);
        Forge::new(bytes, placed, directory_length, source.len()).stamp()
    }

    /// Writes the header of section 3.1 without the checksums.
    fn header(&self, file_length: usize, directory_length: usize, source_length: usize) -> Vec<u8> {
        let mut header = layout::MAGIC.to_vec();
        header.extend(1u16.to_le_bytes());
        header.extend(self.minor_version.to_le_bytes());
        header.extend((self.tensors.len() as u32).to_le_bytes());
        for length in [file_length, directory_length, source_length] {
            header.extend((length as u64).to_le_bytes());
        }
        header.extend([0; 8]);
        header.push(u8::from(self.source.is_some()));
        header.extend([0; 11]);
        header
    }

    /// Writes the directory of section 3.2.
    fn directory(&self, placed: &[Placed]) -> Vec<u8> {
        let mut by_name: Vec<u32> = (0..self.tensors.len() as u32).collect();
        by_name.sort_by_key(|&number| &self.tensors[number as usize].name);
        let mut directory = Vec::new();
        let (mut dims_end, mut name_end) = (0, 0);
        for ((tensor, placed), number) in self.tensors.iter().zip(placed).zip(by_name) {
            dims_end += tensor.shape.len() as u32;
            name_end += tensor.name.len() as u32;
            let (encoding, k, palette) = match &tensor.stored {
                Stored::Raw => (0, 0, [0; 16]),
                Stored::Coded(coded) => (coded.encoding, coded.k, coded.palette),
            };
            directory.extend([tensor.dtype.code(), encoding, k, 0]);
            directory.extend(crc32(&tensor.data).to_le_bytes());
            directory.extend(dims_end.to_le_bytes());
            directory.extend(name_end.to_le_bytes());
            directory.extend((placed.end as u64).to_le_bytes());
            directory.extend(palette);
            directory.extend(number.to_le_bytes());
            directory.extend([0; 4]);
        }
        for dim in self.tensors.iter().flat_map(|tensor| &tensor.shape) {
            directory.extend(dim.to_le_bytes());
        }
        for tensor in &self.tensors {
            directory.extend(&tensor.name);
        }
        directory
    }
}

impl Tensor {
    /// Writes the payload of section 3.4 without the checksums of raw blocks.
    fn put_payload(&self, bytes: &mut Vec<u8>) -> Placed {
        if self.data.is_empty() {
            return Placed {
                begin: bytes.len(),
                end: bytes.len(),
                ..Placed::default()
            };
        }
        align(bytes, 256);
        let begin = bytes.len();
        let mut placed = Placed {
            begin,
            ..Placed::default()
        };
        match &self.stored {
            Stored::Raw => {
                bytes.extend(&self.data);
                placed.data = begin..bytes.len();
                align(bytes, 4);
                placed.checksums = bytes.len();
                bytes.resize(bytes.len() + 4 * self.data.len().div_ceil(65_536), 0);
            }
            Stored::Coded(coded) => {
                bytes.extend(&coded.sign_mantissa);
                align(bytes, 256);
                placed.record_ends = bytes.len();
                let index = bytes.len();
                bytes.resize(index + 4 * coded.records.len(), 0);
                align(bytes, 16);
                let records = bytes.len();
                let chunks = coded.sign_mantissa.chunks(1 << coded.k);
                let mut first = begin;
                for (number, (record, chunk)) in coded.records.iter().zip(chunks).enumerate() {
                    let start = bytes.len();
                    bytes.extend(record.to_bytes(chunk));
                    placed.records.push(start..bytes.len());
                    placed.chunks.push(first..first + chunk.len());
                    first += chunk.len();
                    let end = ((bytes.len() - records) / 16) as u32;
                    bytes[index + 4 * number..][..4].copy_from_slice(&end.to_le_bytes());
                }
            }
        }
        placed.end = bytes.len();
        placed
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}
