//! The reference codec for one chunk. It follows sections 4 to 7 and 11 of the specification with
//! their terms. It is simple and slow. Every other backend must give the same bytes and the same
//! errors.

mod code_lengths;
mod count;
mod counts;
mod decode;
mod encode;
mod forms;
mod lane;
mod palette;
mod plan;
mod split;
mod table;

pub use code_lengths::choose_code;
pub use count::count_chunk;
pub use counts::ValueCounts;
pub use decode::{decode_chunk, decode_values};
pub use encode::{encode_chunk, encode_values};
pub use forms::{Sample, SampledForms, WHOLE_SAMPLE_WEIGHTS, sample_ranges, sample_ranges_within};
pub use palette::choose_palette;
pub use plan::{FieldPlan, TensorPlan, transcoded_forms};
pub use split::{join, split};
