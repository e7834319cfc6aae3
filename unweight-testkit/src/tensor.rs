//! Tensors with their bytes, and how a container stores them.

use half::bf16;
use unweight_format::write::Declaration;
use unweight_format::{Dtype, Encoding};

use crate::weights::{bytes_of, weights_in};

/// A tensor of a safetensors file or a container.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions.
    pub shape: Vec<u64>,
    /// The original bytes.
    pub data: Vec<u8>,
    /// How [`container`](crate::container) stores it.
    pub form: Form,
}

/// The form in which a container stores a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The encoding of coded fields of more than 4 bits.
    pub encoding: Encoding,
    /// The chunk size of a coded tensor.
    pub chunk_size_log2: u8,
    /// What is stored of the tensor.
    pub records: Records,
}

/// What is stored of a tensor.
#[derive(Clone, Copy, Debug)]
pub enum Records {
    /// Its bytes as they are.
    Raw,
    /// What section 11 says, by the encoder under test. The tensor is raw where that is shorter.
    Canonical,
    /// The first field coded, with a verbatim record for each chunk, which no canonical encoder
    /// writes for a whole tensor. All other fields are plain.
    Verbatim,
    /// Any forms and records that sections 4 and 5 allow: fields that are plain, coded or, if all
    /// weights agree, constant; records that are verbatim, or with a palette, codes and patches
    /// unrelated to the weights.
    Odd {
        /// The seed of all choices.
        seed: u64,
    },
    /// These forms of the fields, in the order of fields as a directory entry has them, with any
    /// records as in `Odd`. Constant fields must be so in the data.
    Forms {
        /// The forms, 4 bits each.
        bits: u32,
        /// The seed of all other choices.
        seed: u64,
    },
}

impl Form {
    /// Stored as it is.
    pub const RAW: Form = Form {
        encoding: Encoding::Huffman,
        chunk_size_log2: unweight::DEFAULT_CHUNK_SIZE_LOG2,
        records: Records::Raw,
    };

    /// What an encoder writes.
    pub const fn canonical(encoding: Encoding, chunk_size_log2: u8) -> Form {
        Form {
            encoding,
            chunk_size_log2,
            records: Records::Canonical,
        }
    }
}

/// A tensor of any type, stored raw. The type is named as in safetensors files.
pub fn tensor(name: &str, dtype: &str, shape: &[u64], data: Vec<u8>) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dtype: Dtype::from_name(dtype).expect("a type of safetensors files"),
        shape: shape.to_vec(),
        data,
        form: Form::RAW,
    }
}

/// A vector of BF16 weights, stored as `unweight::compress` does by default.
pub fn bf16(name: &str, weights: &[bf16]) -> Tensor {
    let form = Form::canonical(Encoding::Huffman, unweight::DEFAULT_CHUNK_SIZE_LOG2);
    let shape = [weights.len() as u64];
    tensor(name, "BF16", &shape, bytes_of(weights)).stored(form)
}

/// Vectors of BF16 weights with names of their numbers, stored in this form.
pub fn bf16_tensors<'w>(
    tensors: impl IntoIterator<Item = &'w Vec<bf16>>,
    form: impl Fn(usize) -> Form,
) -> Vec<Tensor> {
    let numbered = tensors.into_iter().enumerate();
    numbered
        .map(|(number, weights)| bf16(&format!("t{number:06}"), weights).stored(form(number)))
        .collect()
}

impl Tensor {
    /// This tensor, stored in another form.
    pub fn stored(self, form: Form) -> Tensor {
        Tensor { form, ..self }
    }

    /// Its declaration.
    pub fn declaration(&self) -> Declaration<'_> {
        Declaration::new(&self.name, self.dtype, &self.shape)
    }

    /// The weights of a BF16 tensor.
    pub fn weights(&self) -> Vec<bf16> {
        weights_in(&self.data)
    }
}
