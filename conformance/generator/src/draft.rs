//! Drafts: tensors and their forms. [`Draft::forge`] creates the file with correct checksums. This
//! is a second implementation of the layout in sections 3 and 4. The expected restored source is
//! the draft's contents.

use unweight_format::{Dtype, crc32, layout};

use crate::code::Lengths;
use crate::fields::{self, fields};
use crate::forge::{Forge, Placed};
use crate::record::{Record, longest};
use crate::source;
use crate::weights::Weights;

/// The form huffman.
pub const HUFFMAN: u8 = 1;
/// The form palette.
pub const PALETTE: u8 = 2;
/// The form constant.
pub const CONSTANT: u8 = 3;

/// A file.
#[derive(Clone, Default)]
pub struct Draft {
    /// The minor version.
    pub minor_version: u16,
    /// The source section of kind safetensors, including its length field; `None` for source kind
    /// none.
    pub source: Option<Vec<u8>>,
    /// The extensions.
    pub extensions: Vec<u8>,
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
    /// The chunk size of the entry: binary logarithm of the weights of a chunk, or 0.
    pub k: u8,
    /// The fields that are not plain, in the order of fields.
    pub stored: Vec<StoredField>,
}

/// A field that is not plain.
#[derive(Clone)]
pub struct StoredField {
    /// The number of the field, which the type does not have in some invalid files.
    pub number: usize,
    /// The form.
    pub form: u8,
    /// The palette.
    pub palette: [u8; 16],
    /// The records of a coded field, one for each chunk.
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
            k: 0,
            stored: Vec::new(),
        }
    }

    /// A raw tensor with one dimension.
    pub fn flat(name: &str, dtype: Dtype, data: Vec<u8>) -> Tensor {
        let elements = 8 * data.len() as u64 / dtype.bits();
        Tensor::raw(name, dtype, &[elements], data)
    }

    /// A raw tensor of type U8 with one dimension.
    pub fn bytes(name: &str, data: Vec<u8>) -> Tensor {
        Tensor::flat(name, Dtype::U8, data)
    }

    /// A raw BF16 tensor with one dimension.
    pub fn raw_weights(name: &str, weights: &Weights) -> Tensor {
        Tensor::flat(name, Dtype::Bf16, weights.bytes())
    }

    /// The same tensor with chunks of 2^`k` weights.
    pub fn chunks(self, k: u8) -> Tensor {
        Tensor { k, ..self }
    }

    /// The same tensor with another form of field `number`. `record` returns the record for a
    /// chunk's number and values. A record that would be longer than the verbatim one is replaced
    /// by it.
    pub fn field(
        mut self,
        number: usize,
        form: u8,
        palette: [u8; 16],
        record: impl Fn(usize, &[u8]) -> Record,
    ) -> Tensor {
        let width = fields(self.dtype)[number].width();
        let fitting = |(number, values): (usize, &[u8])| {
            let record = record(number, values);
            match record.to_bytes(&[]).len() > longest(values.len(), width) {
                true => Record::verbatim_of(values, width),
                false => record,
            }
        };
        let values = fields::values(self.dtype, &self.data, number);
        let chunks = values.chunks(1 << self.k).enumerate();
        let records = match form {
            CONSTANT => Vec::new(),
            _ => chunks.map(fitting).collect(),
        };
        let field = StoredField {
            number,
            form,
            palette,
            records,
        };
        let at = self.stored.partition_point(|stored| stored.number < number);
        self.stored.insert(at, field);
        self
    }

    /// The same tensor with field `number` in the form huffman, and this code in every record.
    pub fn huffman_field(self, number: usize, palette: [u8; 16], lengths: Lengths) -> Tensor {
        let record = |_, values: &[u8]| Record::huffman(lengths, &palette, values);
        self.field(number, HUFFMAN, palette, record)
    }

    /// The same tensor with field `number`, of at most 4 bits, in the form huffman. All values have
    /// codes of the same length.
    pub fn even_field(self, number: usize) -> Tensor {
        let width = fields(self.dtype)[number].width();
        let lengths = Lengths::of(&vec![width as u8; 1 << width]);
        self.huffman_field(number, whole_palette(width), lengths)
    }

    /// The same tensor with field `number` in the form huffman, and verbatim records.
    pub fn verbatim_field(self, number: usize, palette: [u8; 16]) -> Tensor {
        let width = fields(self.dtype)[number].width();
        self.field(number, HUFFMAN, palette, |_, values| {
            Record::verbatim_of(values, width)
        })
    }

    /// The same tensor with field `number` in the form palette.
    pub fn palette_field(self, number: usize, palette: [u8; 16]) -> Tensor {
        let record = |_, values: &[u8]| Record::palette(&palette, values);
        self.field(number, PALETTE, palette, record)
    }

    /// The same tensor with field `number` constant: all its weights have the value of the first.
    pub fn constant_field(self, number: usize) -> Tensor {
        let values = fields::values(self.dtype, &self.data, number);
        assert!(values.iter().all(|&value| value == values[0]), "constant");
        let mut palette = [0; 16];
        palette[0] = values[0];
        self.field(number, CONSTANT, palette, |_, _| unreachable!())
    }

    /// A BF16 tensor of which the exponents are in the form huffman, with chunks of 2^`k` weights.
    /// `record` returns the record for a chunk's number and exponents.
    pub fn huffman_with(
        name: &str,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        record: impl Fn(usize, &[u8]) -> Record,
    ) -> Tensor {
        let tensor = Tensor::raw_weights(name, weights).chunks(k);
        tensor.field(0, HUFFMAN, palette, record)
    }

    /// A BF16 tensor of which the exponents are in the form palette. The parameters are those of
    /// [`Tensor::huffman_with`].
    pub fn palette_with(
        name: &str,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        record: impl Fn(usize, &[u8]) -> Record,
    ) -> Tensor {
        let tensor = Tensor::raw_weights(name, weights).chunks(k);
        tensor.field(0, PALETTE, palette, record)
    }

    /// A BF16 tensor of which the exponents are in the form huffman, with this code in every
    /// record.
    pub fn huffman(
        name: &str,
        k: u8,
        palette: [u8; 16],
        weights: &Weights,
        lengths: Lengths,
    ) -> Tensor {
        let tensor = Tensor::raw_weights(name, weights).chunks(k);
        tensor.huffman_field(0, palette, lengths)
    }

    /// A BF16 tensor of which the exponents are in the form palette.
    pub fn palette(name: &str, k: u8, palette: [u8; 16], weights: &Weights) -> Tensor {
        let tensor = Tensor::raw_weights(name, weights).chunks(k);
        tensor.palette_field(0, palette)
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

    /// Number of fields with records.
    fn coded(&self) -> usize {
        let coded = |field: &&StoredField| matches!(field.form, HUFFMAN | PALETTE);
        self.stored.iter().filter(coded).count()
    }

    /// The alignment of the plain plane and the palettes (section 3.5).
    fn alignment(&self) -> usize {
        match self.data.len() {
            0..65_536 => 16,
            _ => 256,
        }
    }
}

/// The palette of a field of at most 4 bits (section 3.5).
pub fn whole_palette(width: u32) -> [u8; 16] {
    std::array::from_fn(|i| if i < 1 << width { i as u8 } else { 0 })
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
        edit(&mut self.tensors[0].stored[0].records[0]);
        self
    }

    /// The same draft with these extension items: kind and contents.
    pub fn with_items(self, items: &[(u32, &[u8])]) -> Draft {
        let mut extensions = Vec::new();
        for (kind, contents) in items {
            extensions.extend(kind.to_le_bytes());
            extensions.extend((contents.len() as u32).to_le_bytes());
            extensions.extend(*contents);
            align(&mut extensions, 8);
        }
        Draft { extensions, ..self }
    }

    /// Whether the file is only for decoders of profile full.
    pub fn has_palette(&self) -> bool {
        let fields = self.tensors.iter().flat_map(|tensor| &tensor.stored);
        fields.into_iter().any(|field| field.form == PALETTE)
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
        let directory_length = (40 * self.tensors.len() + 8 * dims + names).next_multiple_of(8);

        let mut bytes = vec![0; 64 + directory_length];
        bytes.extend(&source);
        bytes.extend(&self.extensions);
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
        Forge::new(
            bytes,
            placed,
            directory_length,
            source.len(),
            self.extensions.len(),
        )
        .stamp()
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
        header.extend((self.extensions.len() as u32).to_le_bytes());
        header.extend([0; 4]);
        header.push(u8::from(self.source.is_some()));
        header.extend([0; 3]);
        header
    }

    /// Writes the directory of section 3.2 without the checksums of palettes.
    fn directory(&self, placed: &[Placed]) -> Vec<u8> {
        let mut by_name: Vec<u32> = (0..self.tensors.len() as u32).collect();
        by_name.sort_by_key(|&number| &self.tensors[number as usize].name);
        let mut directory = Vec::new();
        let (mut dims_end, mut name_end) = (0, 0);
        for ((tensor, placed), number) in self.tensors.iter().zip(placed).zip(by_name) {
            dims_end += tensor.shape.len() as u32;
            name_end += tensor.name.len() as u32;
            let forms = tensor.stored.iter().fold(0, |forms, field| {
                forms | u32::from(field.form) << (4 * field.number)
            });
            directory.extend([tensor.dtype.code(), tensor.k, 0, 0]);
            directory.extend(forms.to_le_bytes());
            directory.extend((placed.end as u64).to_le_bytes());
            directory.extend(crc32(&tensor.data).to_le_bytes());
            directory.extend([0; 4]);
            directory.extend(dims_end.to_le_bytes());
            directory.extend(name_end.to_le_bytes());
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
    /// Writes the payload of section 3.5 without the checksums of blocks.
    fn put_payload(&self, bytes: &mut Vec<u8>) -> Placed {
        if self.data.is_empty() {
            return Placed {
                begin: bytes.len(),
                end: bytes.len(),
                ..Placed::default()
            };
        }
        align(bytes, self.alignment());
        let numbers: Vec<usize> = self.stored.iter().map(|field| field.number).collect();
        let plane = fields::plain_plane(self.dtype, &self.data, &numbers);
        let begin = bytes.len();
        bytes.extend(&plane);
        let mut placed = Placed {
            begin,
            plain: begin..bytes.len(),
            ..Placed::default()
        };
        if self.coded() == 0 && plane.len() > 65_536 {
            align(bytes, 4);
            placed.checksums = bytes.len();
            placed.blocks = plane.len().div_ceil(65_536);
            bytes.resize(bytes.len() + 4 * placed.blocks, 0);
        }
        if !self.stored.is_empty() {
            align(bytes, self.alignment());
            placed.palettes = bytes.len()..bytes.len() + 16 * self.stored.len();
            for field in &self.stored {
                bytes.extend(field.palette);
            }
        }
        if self.coded() > 0 {
            self.put_records(bytes, &mut placed);
        }
        placed.end = bytes.len();
        placed
    }

    /// Writes record ends and records.
    fn put_records(&self, bytes: &mut Vec<u8>, placed: &mut Placed) {
        let numbers: Vec<usize> = self.stored.iter().map(|field| field.number).collect();
        let plain_bits = fields::plain_bits(self.dtype, &numbers) as usize;
        let coded: Vec<&StoredField> = self
            .stored
            .iter()
            .filter(|field| matches!(field.form, HUFFMAN | PALETTE))
            .collect();
        let chunks = coded[0].records.len();
        let index = bytes.len();
        placed.record_ends = index;
        bytes.resize(index + 4 * chunks * coded.len(), 0);
        align(bytes, 16);
        let records = bytes.len();
        for chunk in 0..chunks {
            // A chunk of 2^k weights has whole bytes of the plain plane.
            let plain = placed.plain.start + (chunk << self.k) * plain_bits / 8;
            let plain_end = plain + (1 << self.k) * plain_bits / 8;
            let mut covered = plain..plain_end.min(placed.plain.end);
            for field in &coded {
                let start = bytes.len();
                let record = field.records[chunk].to_bytes(&bytes[covered.clone()]);
                bytes.extend(record);
                let end = ((bytes.len() - records) / 16) as u32;
                bytes[index + 4 * placed.records.len()..][..4].copy_from_slice(&end.to_le_bytes());
                placed.records.push(start..bytes.len());
                placed.covered.push(covered);
                covered = 0..0;
            }
        }
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}
