//! Decisions of the deterministic encoder for a whole tensor (sections 11.2 to 11.4).

use unweight_format::write::CodedParameters;
use unweight_format::{Code, Encoding, Palette};

use super::{ExponentCounts, choose_code, choose_palette};

/// Encoding plan of a tensor. It is a function of the tensor's exponent counts.
#[derive(Clone, Copy, Debug)]
pub struct TensorPlan {
    encoding: Encoding,
    palette: Palette,
    code: Code,
}

impl TensorPlan {
    /// The plan for a tensor with these counts. `encoding` must be huffman or palette.
    pub fn new(counts: &ExponentCounts, encoding: Encoding) -> TensorPlan {
        assert_ne!(encoding, Encoding::Raw, "raw tensors are not coded");
        let palette = choose_palette(counts);
        TensorPlan {
            encoding,
            palette,
            code: choose_code(counts, &palette),
        }
    }

    /// Huffman or palette.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The tensor's palette.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The tensor's code. A record uses it unless the chunk gains enough by a code of its own.
    pub const fn code(&self) -> &Code {
        &self.code
    }

    /// The parameters for a [`ContainerWriter`](unweight_format::write::ContainerWriter).
    pub const fn parameters(&self, chunk_size_log2: u8) -> CodedParameters {
        CodedParameters {
            encoding: self.encoding,
            chunk_size_log2,
            palette: self.palette,
        }
    }
}
