//! Where the bits of a file go: what is stored of each field of each tensor, and how much its
//! values need.
//!
//! [`Model::breakdown`](crate::Model::breakdown) reads a whole file;
//! [`Tensor::breakdown`](crate::Tensor::breakdown) reads one tensor.
//!
//! ```
//! # fn main() -> Result<(), unweight::Error> {
//! # let weights: Vec<_> = (0..5000).map(|i| half::bf16::from_f32(1.0 + i as f32)).collect();
//! # let writer = unweight::Writer::new().tensor("w", &[5000], &weights);
//! # let bytes = writer.finish(Vec::new())?;
//! let model = unweight::OpenOptions::new().open_bytes(bytes)?;
//! let breakdown = model.breakdown()?;
//! for field in breakdown.fields() {
//!     // "BF16 exponent [14..7]", and so on.
//!     println!("{} {}: {:.3} bits", field.dtype, field.name(), field.totals.bits_per_weight());
//! }
//! let totals = breakdown.totals();
//! println!("{:.3} bits over the entropy", totals.bits_per_weight() - totals.entropy_bits());
//! # assert_eq!(8 * model.header().file_length(), breakdown.file_bits());
//! # Ok(())
//! # }
//! ```
//!
//! The *entropy of the fields* of a tensor is the sum of the Shannon entropies of its fields, each
//! for itself, and of the bits that are in no field. An encoder that codes each field with one code
//! for a tensor cannot need less. Codes of single chunks can, a little.

mod field_kind;
mod figures;
mod file;
mod stored_bits;
mod tensor;
mod totals;

pub use field_kind::FieldKind;
pub(crate) use figures::Figures;
pub use file::FileBreakdown;
pub use stored_bits::StoredBits;
pub use tensor::{FieldBreakdown, TensorBreakdown};
pub use totals::{FieldTotals, Totals};
