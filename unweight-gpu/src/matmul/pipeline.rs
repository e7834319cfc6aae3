//! How products are made, and the forms that weights have meanwhile.

use super::layout::Shape;

/// How a product is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipeline {
    /// Of fragments: weights are rebuilt on the way to the tensor cores.
    Direct,
    /// Of any matrix: it is decoded to the workspace, and cuBLASLt multiplies.
    WholeDecode,
    /// Of a coded matrix: its exponents are decoded to the workspace, and weights are rebuilt of both planes on the way to the tensor cores.
    ExponentDecode,
    /// Of a coded matrix: it is brought into fragment form in the workspace, and then goes on as in [`Pipeline::Direct`].
    PaletteTranscode,
}

impl Pipeline {
    /// All of them.
    pub const ALL: [Pipeline; 4] = [
        Pipeline::Direct,
        Pipeline::WholeDecode,
        Pipeline::ExponentDecode,
        Pipeline::PaletteTranscode,
    ];

    /// Its name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Pipeline::Direct => "direct",
            Pipeline::WholeDecode => "whole_decode",
            Pipeline::ExponentDecode => "exponent_decode",
            Pipeline::PaletteTranscode => "palette_transcode",
        }
    }

    /// Whether something is launched in front of the product.
    pub const fn prepares(self) -> bool {
        !matches!(self, Pipeline::Direct)
    }

    /// Bytes of the workspace that a prepared matrix takes.
    pub(super) const fn prepared_bytes(self, shape: Shape) -> u64 {
        match self {
            Pipeline::Direct => 0,
            Pipeline::WholeDecode => 2 * shape.weights(),
            Pipeline::ExponentDecode => shape.weights(),
            Pipeline::PaletteTranscode => shape.unit_bytes(),
        }
    }
}

/// The form in which a matrix stays in device memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// [`Fragments`](super::Fragments).
    #[default]
    Fragments,
    /// [`Coded`](super::Coded).
    Coded,
}

impl Form {
    /// Its name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Fragments => "fragments",
            Form::Coded => "coded",
        }
    }
}
