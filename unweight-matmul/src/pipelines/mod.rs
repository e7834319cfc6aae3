//! Plans of matmuls: one type for each pipeline, with the matrices that it takes.

mod direct;
mod exponent_decode;
mod from_k_tiles;
mod palette_transcode;
mod phases;
mod whole_decode;

pub use direct::Direct;
pub use exponent_decode::ExponentDecode;
pub use palette_transcode::PaletteTranscode;
pub(crate) use phases::Phases;
pub use whole_decode::WholeDecode;
