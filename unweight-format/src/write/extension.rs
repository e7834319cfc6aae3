//! The extensions' bytes (section 3.4).

use alloc::vec::Vec;

use crate::extension::Extension;
use crate::layout::{EXTENSION_ALIGNMENT, EXTENSION_HEADER_BYTES};
use crate::limits;

/// The extensions with these items; `None` if they are longer than the limit.
pub(super) fn write_extensions(items: &[Extension<'_>]) -> Option<Vec<u8>> {
    let limit = limits::EXTENSION_BYTES as usize;
    let mut length = 0usize;
    for item in items {
        let contents = item.contents.len().min(limit + 1);
        length += (EXTENSION_HEADER_BYTES + contents).next_multiple_of(EXTENSION_ALIGNMENT);
        if length > limit {
            return None;
        }
    }
    let mut bytes = Vec::with_capacity(length);
    for item in items {
        bytes.extend(item.kind.to_le_bytes());
        bytes.extend((item.contents.len() as u32).to_le_bytes());
        bytes.extend(item.contents);
        bytes.resize(bytes.len().next_multiple_of(EXTENSION_ALIGNMENT), 0);
    }
    Some(bytes)
}
