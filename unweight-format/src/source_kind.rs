//! Kinds of source (section 3.3).

/// Kind of the file that was compressed (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum SourceKind {
    /// None: the restored source is only the tensors' bytes.
    None,
    /// A safetensors file.
    Safetensors,
}

impl SourceKind {
    /// The kind with this code in a file header.
    pub const fn from_code(code: u8) -> Option<SourceKind> {
        match code {
            0 => Some(SourceKind::None),
            1 => Some(SourceKind::Safetensors),
            _ => None,
        }
    }

    /// The kind's code in a file header.
    pub const fn code(self) -> u8 {
        match self {
            SourceKind::None => 0,
            SourceKind::Safetensors => 1,
        }
    }
}
