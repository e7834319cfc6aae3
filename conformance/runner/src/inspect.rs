//! The inner values of an Unweight file: layout, palettes, codes, lanes, patches, and the costs by
//! which an encoder chose. A small reader of the runner's own, in the order of the specification.
//!
//! It shows, and judges nothing: no outcome of a case depends on it. It also restores a valid file,
//! so that a report can name the first weight that differs where the manifest has digests alone; what
//! it restores is used only if its SHA-256 is that of the manifest.

mod bits;
mod code;
mod costs;
mod crc;
mod dtype;
mod explain;
mod layout;
mod record;
mod tensor;
#[cfg(all(test, feature = "embedded"))]
mod tests;
mod weight;

pub(crate) use crc::crc32;
pub use dtype::Dtype;
pub use explain::{Choice, explain};
pub use layout::{File, Form, Header, Parts, Tensor};
pub use record::{Kind, Record};
pub use weight::WeightDifference;
pub(crate) use weight::first_differing_weight;

/// The restored source of a file (section 3.3), without a check of any rule; or the first thing that
/// makes it impossible.
pub fn restore(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let file = File::read(bytes)?;
    let mut restored = file.source_section().to_vec();
    for tensor in file.tensors() {
        restored.extend(file.original_bytes(tensor)?);
    }
    Ok(restored)
}
