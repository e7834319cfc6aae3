//! Pipelines of a matmul, and the forms of weights in memory.

use super::layout::Shape;

/// The pipeline of a matmul.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipeline {
    /// For fragment form: rebuilds weights on the way to the tensor cores.
    Direct,
    /// For any matrix: decodes it to the workspace, and cuBLASLt multiplies.
    WholeDecode,
    /// For a coded matrix: decodes its exponents to the workspace, and rebuilds weights from both
    /// planes on the way to the tensor cores.
    ExponentDecode,
    /// For a coded matrix: converts it to fragment form in the workspace, and continues like
    /// [`Pipeline::Direct`].
    PaletteTranscode,
}

impl Pipeline {
    /// All pipelines.
    pub const ALL: [Pipeline; 4] = [
        Pipeline::Direct,
        Pipeline::WholeDecode,
        Pipeline::ExponentDecode,
        Pipeline::PaletteTranscode,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Pipeline::Direct => "direct",
            Pipeline::WholeDecode => "whole_decode",
            Pipeline::ExponentDecode => "exponent_decode",
            Pipeline::PaletteTranscode => "palette_transcode",
        }
    }

    /// Whether a preparation is launched before the matmul.
    pub const fn prepares(self) -> bool {
        !matches!(self, Pipeline::Direct)
    }

    /// Size of a prepared matrix in the workspace, in bytes.
    pub(super) const fn prepared_bytes(self, shape: Shape) -> u64 {
        match self {
            Pipeline::Direct => 0,
            Pipeline::WholeDecode => 2 * shape.weights(),
            Pipeline::ExponentDecode => shape.weights(),
            Pipeline::PaletteTranscode => shape.unit_bytes(),
        }
    }
}

/// The form of a matrix in device memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A matrix in fragment form: [`Fragments`](super::Fragments).
    #[default]
    Fragments,
    /// A coded matrix: [`Coded`](super::Coded).
    Coded,
}

impl Form {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Fragments => "fragments",
            Form::Coded => "coded",
        }
    }
}
