//! Declarations of the tensors of a container, made before anything is written.

use alloc::vec::Vec;

use crate::dtype::Dtype;
use crate::limits;
use crate::validate::Tensor;

/// Declaration of one tensor.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Declaration<'a> {
    /// The name, unique in the container.
    pub name: &'a str,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions.
    pub shape: Shape<'a>,
}

impl<'a> Declaration<'a> {
    /// A tensor of this name, type and shape. The shape is an array such as `&[100, 1000]`, a slice
    /// or a vector.
    pub fn new(name: &'a str, dtype: Dtype, shape: impl Into<Shape<'a>>) -> Declaration<'a> {
        Declaration {
            name,
            dtype,
            shape: shape.into(),
        }
    }

    /// The product of the dimensions, or `None` above the limit.
    pub fn element_count(&self) -> Option<u64> {
        limits::element_count(self.shape.dimensions())
    }

    /// The number of weights; `None` if the tensor has more elements than the limit or does not
    /// fill whole bytes.
    pub fn weights(&self) -> Option<u64> {
        let bits = self.element_count()? * self.dtype.bits();
        let weights = bits / 8 / self.dtype.weight_bytes() as u64;
        bits.is_multiple_of(8).then_some(weights)
    }

    /// Bytes of the tensor; `None` as [`weights`](Declaration::weights).
    pub fn data_bytes(&self) -> Option<u64> {
        Some(self.weights()? * self.dtype.weight_bytes() as u64)
    }
}

/// The declaration of a tensor of an existing container.
impl<'a> From<&Tensor<'a>> for Declaration<'a> {
    fn from(tensor: &Tensor<'a>) -> Declaration<'a> {
        Declaration {
            name: tensor.name(),
            dtype: tensor.dtype(),
            shape: Shape(Dimensions::Stored(tensor.stored_shape())),
        }
    }
}

/// The dimensions of a tensor, outermost first, borrowed as numbers or as a directory's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a>(Dimensions<'a>);

#[derive(Clone, Copy, Debug)]
enum Dimensions<'a> {
    Numbers(&'a [u64]),
    /// The dimensions as little-endian u64.
    Stored(&'a [[u8; 8]]),
}

impl<'a> Shape<'a> {
    /// Number of dimensions.
    pub const fn rank(&self) -> usize {
        match self.0 {
            Dimensions::Numbers(numbers) => numbers.len(),
            Dimensions::Stored(bytes) => bytes.len(),
        }
    }

    /// The dimensions, outermost first.
    pub fn dimensions(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let (numbers, stored): (&[u64], &[[u8; 8]]) = match self.0 {
            Dimensions::Numbers(numbers) => (numbers, &[]),
            Dimensions::Stored(bytes) => (&[], bytes),
        };
        let stored = stored.iter().map(|&bytes| u64::from_le_bytes(bytes));
        numbers.iter().copied().chain(stored)
    }
}

impl<'a> From<&'a [u64]> for Shape<'a> {
    fn from(dimensions: &'a [u64]) -> Self {
        Shape(Dimensions::Numbers(dimensions))
    }
}

impl<'a, const RANK: usize> From<&'a [u64; RANK]> for Shape<'a> {
    fn from(dimensions: &'a [u64; RANK]) -> Self {
        Shape(Dimensions::Numbers(dimensions))
    }
}

impl<'a> From<&'a Vec<u64>> for Shape<'a> {
    fn from(dimensions: &'a Vec<u64>) -> Self {
        Shape(Dimensions::Numbers(dimensions))
    }
}
