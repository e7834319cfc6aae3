//! The activations of a matmul.

use crate::layout::Shape;
use crate::{MatmulError, View, ViewMut};

/// The activations of a matmul: x.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    /// `batch` rows of as many values as the matrix has columns, BF16 and row-major.
    pub values: View<'a>,
    /// The number of rows.
    pub batch: u32,
}

/// Returns an error unless x and y have the lengths that the shape says.
pub(crate) fn require_lengths(
    shape: Shape,
    x: Activations<'_>,
    y: &ViewMut<'_>,
) -> Result<(), MatmulError> {
    x.require(shape)?;
    y.require(2 * u64::from(x.batch) * shape.rows())?;
    Ok(())
}

impl Activations<'_> {
    /// Returns an error unless x has the length that the shape says.
    pub(crate) fn require(self, shape: Shape) -> Result<(), MatmulError> {
        Ok(self.values.require(self.values_for(shape))?)
    }

    /// The number of values of x for a matrix of this shape.
    pub(crate) fn values_for(self, shape: Shape) -> u64 {
        u64::from(self.batch) * shape.columns()
    }
}
