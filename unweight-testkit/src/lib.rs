//! What tests, benches and fuzzing build: containers, safetensors files, weights, and storages that
//! answer wrongly.
//!
//! - [`Tensor`] is a tensor with its bytes. [`safetensors_file`] and [`container`] write files of
//!   them; [`container_of`] writes a container of one tensor.
//! - [`Random`], [`trained_like`] and [`DISTRIBUTIONS`] generate BF16 weights, [`any_weights`] those
//!   of any type.
//! - [`forms`] has forms of any type, weights that suit them, and containers of both.
//! - [`restored`], [`decoded`] and [`transcoded`] read a container, [`coded_payloads`] and
//!   [`records`] find its parts, and [`repair_checksums`] makes a damaged one reach the code behind
//!   the checksums.
//! - [`run_chosen`] runs a list of tests without the test harness.
//! - [`TestStorage`] counts what is read, and gives the wrong answers of a [`Script`].
//!
//! Records of the form [`Records::Canonical`] come from the encoder under test. Those of the forms
//! [`Records::Verbatim`], [`Records::Odd`] and [`Records::Forms`] do not: lanes and indices are
//! packed here. The
//! conformance corpus has a generator of its own, which shares nothing with this crate.
//!
//! The crate is not published. A test that uses it is excluded from its crate's package.

mod chosen;
mod container;
pub mod forms;
mod odd;
mod random;
mod read;
mod repair;
mod rewrite;
mod safetensors;
mod storage;
mod tensor;
mod weights;

use std::path::PathBuf;

pub use chosen::{Listed, run_chosen};
pub use container::{container, container_by, container_of, writer_of};
pub use random::Random;
pub use read::{FoundRecord, coded_payloads, decoded, payloads, records, restored, transcoded};
pub use repair::{repair_checksums, repair_front, state_tensor_checksum};
pub use rewrite::rewritten;
pub use safetensors::{safetensors_file, safetensors_json, with_header};
pub use storage::{Answer, Length, Script, TestStorage};
pub use tensor::{Form, Records, Tensor, bf16, bf16_tensors, tensor};
pub use weights::{
    DISTRIBUTIONS, Distribution, any_weights, bytes_of, trained_like, weight, weights_in,
};

/// The encodings.
pub const ENCODINGS: [unweight_format::Encoding; 2] = [
    unweight_format::Encoding::Huffman,
    unweight_format::Encoding::Palette,
];

/// A path in the repository, such as `conformance/corpus`.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}
