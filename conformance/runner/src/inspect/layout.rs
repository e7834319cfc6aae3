//! Header, directory and parts of the payload: section 3.

use std::ops::Range;

use super::{
    bits::{align, number, slice},
    dtype::{self, Dtype},
};

/// A file, read as far as its directory.
#[derive(Debug)]
pub struct File<'a> {
    pub(super) bytes: &'a [u8],
    /// The file header (3.1).
    pub header: Header,
    tensors: Vec<Tensor>,
}

/// Fields of the file header, checksums as they stand there.
#[derive(Debug, Clone)]
#[allow(
    missing_docs,
    reason = "the names are those of the table in section 3.1"
)]
pub struct Header {
    pub major: u16,
    pub minor: u16,
    pub tensors: u32,
    pub file_length: u64,
    pub directory_length: u64,
    pub source_length: u64,
    pub directory_crc: u32,
    pub source_crc: u32,
    pub extension_length: u32,
    pub extension_crc: u32,
    pub source_kind: u8,
    pub header_crc: u32,
}

/// A directory entry with its dimensions and its name.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The name. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The type, if the code is known.
    pub dtype: Option<&'static Dtype>,
    /// The code of the type.
    pub dtype_code: u8,
    /// *k*: chunks have 2^*k* weights.
    pub chunk_size: u8,
    /// The nibbles of the forms.
    pub forms: u32,
    /// Where the payload of the tensor before ends.
    pub payload_begin: u64,
    /// Where the payload ends.
    pub payload_end: u64,
    /// The tensor checksum.
    pub tensor_crc: u32,
    /// The palette checksum.
    pub palette_crc: u32,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
}

/// Form of a field (4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are those of the table in section 4.2"
)]
pub enum Form {
    Plain,
    Huffman,
    Palette,
    Constant,
    /// A form that version 1.0 does not have.
    Unknown(u8),
}

/// Where the parts of a tensor's payload are (3.5), by the letters of the specification.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are those of section 3.5")]
pub struct Parts {
    pub weights: u64,
    pub mask: u64,
    pub plain_bits: u32,
    pub plane: Range<u64>,
    pub block_checksums: Range<u64>,
    pub palettes: u64,
    pub record_ends: u64,
    pub records: u64,
    pub chunks: u64,
    /// The number and the form of each field that is not plain.
    pub stored: Vec<(usize, Form)>,
    /// The numbers of the fields that are coded.
    pub coded: Vec<usize>,
}

impl<'a> File<'a> {
    /// Reads header and directory. The error is the first thing that makes it impossible.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if !bytes.starts_with(b"\x89UNW\r\n\x1a\n") {
            return Err("the file does not begin with the magic (3.1)".into());
        }
        let header = header(bytes).ok_or("the file ends within its header (3.1)")?;
        if header.major != 1 {
            return Err(format!(
                "major version {}, of which nothing else is known",
                header.major
            ));
        }
        let tensors = directory(bytes, &header)
            .ok_or("the directory does not hold what its entries say (3.2)")?;
        Ok(Self {
            bytes,
            header,
            tensors,
        })
    }

    /// The tensors in directory order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The source section, as far as the file has it.
    pub fn source_section(&self) -> &'a [u8] {
        let begin = 64 + u128::from(self.header.directory_length);
        range(
            self.bytes,
            begin,
            begin + u128::from(self.header.source_length),
        )
    }

    /// The extensions, as far as the file has them.
    pub fn extensions(&self) -> &'a [u8] {
        let begin =
            64 + u128::from(self.header.directory_length) + u128::from(self.header.source_length);
        range(
            self.bytes,
            begin,
            begin + u128::from(self.header.extension_length),
        )
    }

    /// The palette of a field that is not plain: the entries that its width has, one if constant.
    pub fn palette(&self, tensor: &Tensor, parts: &Parts, field: usize) -> Option<&'a [u8]> {
        let place = parts
            .stored
            .iter()
            .position(|(number, _)| *number == field)?;
        let bytes = slice(self.bytes, parts.palettes + 16 * place as u64, 16)?;
        let (high, low) = *tensor.dtype?.fields.get(field)?;
        let entries = match parts.stored[place].1 {
            Form::Constant => 1,
            _ => 16.min(1 << (high - low + 1).min(8)),
        };
        Some(&bytes[..entries])
    }
}

impl Tensor {
    /// The form of each field that the type has.
    pub fn forms(&self) -> Vec<Form> {
        let fields = self.dtype.map_or(0, |dtype| dtype.fields.len());
        (0..fields)
            .map(|field| match self.forms >> (4 * field) & 15 {
                0 => Form::Plain,
                1 => Form::Huffman,
                2 => Form::Palette,
                3 => Form::Constant,
                other => Form::Unknown(other as u8),
            })
            .collect()
    }

    /// The number of original bytes, if it is a number of 64 bits.
    pub fn original_length(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |product, &d| product.checked_mul(d))?;
        Some(elements.checked_mul(self.dtype?.element_bits)? / 8)
    }

    /// The parts of the payload. The error says what makes them unknown.
    pub fn parts(&self) -> Result<Parts, String> {
        let dtype = self
            .dtype
            .ok_or(format!("dtype code {} is unknown", self.dtype_code))?;
        let length = self
            .original_length()
            .ok_or("the shape has too many elements")?;
        let weights = length / dtype.weight_bytes;
        let (mut mask, mut stored, mut coded) = (u64::MAX, Vec::new(), Vec::new());
        mask >>= 64 - 8 * dtype.weight_bytes;
        for (field, form) in self.forms().into_iter().enumerate() {
            let (high, low) = dtype.fields[field];
            match form {
                Form::Plain => continue,
                Form::Unknown(form) => return Err(format!("form {form} is unknown")),
                Form::Huffman | Form::Palette => coded.push(field),
                Form::Constant => {}
            }
            stored.push((field, form));
            mask &= !((u64::MAX >> (63 - (high - low))) << low);
        }
        if !coded.is_empty() && !(12..=16).contains(&self.chunk_size) {
            return Err(format!("chunk size {} is not 12 to 16", self.chunk_size));
        }
        let plain_bits = mask.count_ones();
        let (n, q, m) = (
            u128::from(weights),
            coded.len() as u128,
            stored.len() as u128,
        );
        let alignment = if length >= 65_536 { 256 } else { 16 };
        let plane = (n * u128::from(plain_bits)).div_ceil(8);
        let chunks = if q > 0 {
            n.div_ceil(1 << self.chunk_size)
        } else {
            0
        };
        let blocks = if q == 0 && plane > 65_536 {
            plane.div_ceil(65_536)
        } else {
            0
        };
        let b = align(self.payload_begin.into(), alignment);
        let c = align(b + plane, 4);
        let g = align(c + 4 * blocks, alignment);
        let ends = g + 16 * m;
        let r = align(ends + 4 * chunks * q, 16);
        let narrow =
            |offset: u128| u64::try_from(offset).map_err(|_| "a part lies beyond 2^64".to_owned());
        Ok(Parts {
            weights,
            mask,
            plain_bits,
            plane: narrow(b)?..narrow(b + plane)?,
            block_checksums: narrow(c)?..narrow(c + 4 * blocks)?,
            palettes: narrow(g)?,
            record_ends: narrow(ends)?,
            records: narrow(r)?,
            chunks: narrow(chunks)?,
            stored,
            coded,
        })
    }
}

fn range(bytes: &[u8], begin: u128, end: u128) -> &[u8] {
    let clip = |offset: u128| usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
    &bytes[clip(begin)..clip(end)]
}

fn header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..64)?;
    let field = |at, count| number(bytes, at, count).unwrap_or(0);
    Some(Header {
        major: field(8, 2) as u16,
        minor: field(10, 2) as u16,
        tensors: field(12, 4) as u32,
        file_length: field(16, 8),
        directory_length: field(24, 8),
        source_length: field(32, 8),
        directory_crc: field(40, 4) as u32,
        source_crc: field(44, 4) as u32,
        extension_length: field(48, 4) as u32,
        extension_crc: field(52, 4) as u32,
        source_kind: field(56, 1) as u8,
        header_crc: field(60, 4) as u32,
    })
}

fn directory(bytes: &[u8], header: &Header) -> Option<Vec<Tensor>> {
    let directory = slice(bytes, 64, header.directory_length)?;
    let count = u64::from(header.tensors);
    let dimensions_at = 40 * count;
    let entry = |i: u64, at: u64, size: u64| number(directory, 40 * i + at, size);
    let last_dims_end = match count {
        0 => 0,
        _ => entry(count - 1, 24, 4)?,
    };
    let names_at = dimensions_at + 8 * last_dims_end;
    let start = 64
        + u128::from(header.directory_length)
        + u128::from(header.source_length)
        + u128::from(header.extension_length);
    let mut payload_begin = u64::try_from(align(start, 256)).ok()?;
    let (mut dims_begin, mut name_begin) = (0, 0);
    let mut tensors = Vec::new();
    for i in 0..count {
        let (dims_end, name_end) = (entry(i, 24, 4)?, entry(i, 28, 4)?);
        let dimension = |d| number(directory, dimensions_at + 8 * d, 8);
        let name_length = name_end.checked_sub(name_begin)?;
        let name = slice(directory, names_at + name_begin, name_length)?;
        let dtype_code = entry(i, 0, 1)? as u8;
        let payload_end = entry(i, 8, 8)?;
        tensors.push(Tensor {
            name: String::from_utf8_lossy(name).into_owned(),
            dtype: dtype::dtype(dtype_code),
            dtype_code,
            chunk_size: entry(i, 1, 1)? as u8,
            forms: entry(i, 4, 4)? as u32,
            payload_begin,
            payload_end,
            tensor_crc: entry(i, 16, 4)? as u32,
            palette_crc: entry(i, 20, 4)? as u32,
            shape: (dims_begin..dims_end)
                .map(dimension)
                .collect::<Option<_>>()?,
        });
        (dims_begin, name_begin, payload_begin) = (dims_end, name_end, payload_end);
    }
    Some(tensors)
}
