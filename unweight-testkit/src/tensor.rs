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
    /// `Raw` means raw. A coded tensor with canonical records is stored raw where that is shorter.
    pub encoding: Encoding,
    /// The chunk size of a coded tensor.
    pub chunk_size_log2: u8,
    /// The records of a coded tensor.
    pub records: Records,
}

/// The kind of records of a coded tensor.
#[derive(Clone, Copy, Debug)]
pub enum Records {
    /// The records of section 11, by the encoder under test.
    Canonical,
    /// A verbatim record for each chunk, which no canonical encoder writes for a whole tensor.
    Verbatim,
    /// Any records that section 5 allows: verbatim, or with a palette, codes and patches unrelated
    /// to the weights.
    Odd {
        /// The seed of all choices.
        seed: u64,
    },
}

impl Form {
    /// Stored as it is.
    pub const RAW: Form = Form::canonical(Encoding::Raw, unweight::DEFAULT_CHUNK_SIZE_LOG2);

    /// With the records that an encoder writes.
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
