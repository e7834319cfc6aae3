//! Encodings of a tensor (section 3.2), and kinds of source (section 3.3).

use core::fmt;

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Encoding {
    /// The original bytes; any dtype (section 4.2).
    Raw,
    /// Exponents in a prefix code, for small files; BF16 only (section 5.2).
    Huffman,
    /// Exponents as 4-bit palette indices, for fast decoding; BF16 only (section 5.3).
    Palette,
}

impl Encoding {
    /// The encoding with this code in a directory entry.
    pub const fn from_code(code: u8) -> Option<Encoding> {
        match code {
            0 => Some(Encoding::Raw),
            1 => Some(Encoding::Huffman),
            2 => Some(Encoding::Palette),
            _ => None,
        }
    }

    /// The encoding's code in a directory entry.
    pub const fn code(self) -> u8 {
        match self {
            Encoding::Raw => 0,
            Encoding::Huffman => 1,
            Encoding::Palette => 2,
        }
    }

    /// The encoding's name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Raw => "raw",
            Encoding::Huffman => "huffman",
            Encoding::Palette => "palette",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

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
