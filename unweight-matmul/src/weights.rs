//! The matrix of a linear layer, in any of its forms.

use std::sync::Arc;

use cudarc::driver::CudaContext;
use serde::{Deserialize, Serialize};

use crate::layout::Shape;
use crate::{CompressedMatrix, Fragments, FragmentsRef};

/// A matrix in device memory. Linear layers borrow it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Weights<'a> {
    /// A matrix in fragment form.
    Fragments(FragmentsRef<'a>),
    /// A matrix in the layout of its file, whatever the forms of its fields.
    Coded(&'a CompressedMatrix),
}

impl<'a> From<&'a Fragments> for Weights<'a> {
    fn from(matrix: &'a Fragments) -> Weights<'a> {
        Weights::Fragments(matrix.by_ref())
    }
}

impl<'a> From<FragmentsRef<'a>> for Weights<'a> {
    fn from(matrix: FragmentsRef<'a>) -> Weights<'a> {
        Weights::Fragments(matrix)
    }
}

impl<'a> From<&'a CompressedMatrix> for Weights<'a> {
    fn from(matrix: &'a CompressedMatrix) -> Weights<'a> {
        Weights::Coded(matrix)
    }
}

impl<'a> Weights<'a> {
    /// The shape.
    pub const fn shape(&self) -> Shape {
        match self {
            Weights::Fragments(fragments) => fragments.shape(),
            Weights::Coded(matrix) => matrix.shape(),
        }
    }

    /// The form.
    pub const fn form(&self) -> WeightForm {
        match self {
            Weights::Fragments(_) => WeightForm::Fragments,
            Weights::Coded(matrix) => matrix.form(),
        }
    }

    /// The address of the weights, if they are decoded.
    pub(crate) const fn decoded_at(&self) -> Option<u64> {
        match self {
            Weights::Fragments(_) => None,
            Weights::Coded(matrix) => matrix.decoded_at(),
        }
    }

    pub(crate) fn context(&self) -> &'a Arc<CudaContext> {
        match self {
            Weights::Fragments(fragments) => fragments.context(),
            Weights::Coded(matrix) => matrix.context(),
        }
    }
}

/// The form of a matrix in device memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WeightForm {
    /// Fragment form: [`Fragments`].
    #[default]
    Fragments,
    /// The layout of the file, with a coded exponent and all else plain: [`CompressedMatrix`].
    Coded,
    /// The layout of the file, with other forms of the fields, or raw: [`CompressedMatrix`].
    Fields,
}

impl WeightForm {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            WeightForm::Fragments => "fragments",
            WeightForm::Coded => "coded",
            WeightForm::Fields => "fields",
        }
    }
}
