//! The reference codec for one chunk. It follows sections 5 to 7 and 11 of the specification in
//! their order and with their terms. It is simple and slow. Every other backend must give the same
//! bytes and the same errors.

mod code_lengths;
mod counts;
mod decode;
mod encode;
mod lane;
mod palette;
mod plan;
mod table;

pub use code_lengths::choose_code;
pub use counts::ExponentCounts;
pub use decode::{decode_exponents, decode_record};
pub use encode::{encode_exponents, encode_weights};
pub use palette::choose_palette;
pub use plan::TensorPlan;
