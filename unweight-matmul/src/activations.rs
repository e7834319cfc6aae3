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
    let batch = u64::from(x.batch);
    x.values.require(batch * shape.columns())?;
    y.require(2 * batch * shape.rows())?;
    Ok(())
}
