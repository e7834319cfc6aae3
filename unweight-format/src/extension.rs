//! Extension items (section 3.4).

use crate::layout::CRITICAL;

/// An extension item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The kind.
    pub kind: u32,
    /// The contents, without padding.
    pub contents: &'a [u8],
}

impl Extension<'_> {
    /// Whether a file with this item cannot be read rightly by one who does not know the kind.
    pub const fn is_critical(&self) -> bool {
        self.kind & CRITICAL != 0
    }
}
