//! Checks of raw fields, which become types that are valid by construction. Every rule of section
//! 10 on the container and on the shape of a record is checked here, and nowhere else. A decoder
//! checks the others: `lane-overrun`, `lane-underrun` and `lane-padding` while it follows the
//! codes, and `tensor-crc` and `source-header`.

mod directory;
mod extensions;
mod file_header;
mod palettes;
mod patches;
mod plain;
mod record;
mod record_ends;
mod tensor;

pub use directory::Directory;
#[cfg(feature = "alloc")]
pub use directory::DirectoryBuf;
pub use extensions::Extensions;
pub use file_header::FileHeader;
pub use patches::{Patch, Patches};
pub use record::{Body, Lanes, Record, UncheckedRecord};
pub use record_ends::RecordEnds;
pub use tensor::Tensor;

use crate::error::{Error, Expected, Rule};

/// Checks that `bytes`, at `offset` in the file, are all zero.
///
/// # Errors
/// `rule`, at the first byte that is not zero.
pub fn require_zero(rule: Rule, bytes: &[u8], offset: u64) -> Result<(), Error> {
    match bytes.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => Err(Error::new(
            rule,
            offset + at as u64,
            bytes[at].into(),
            Expected::Exactly(0),
        )),
    }
}
