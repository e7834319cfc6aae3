//! Properties that hold for any bytes.
//!
//! Each property is a function of bytes that panics if it does not hold. `cargo test` runs all of
//! them on the conformance corpus, saved findings, kept inputs and pseudo-random bytes. `fuzz/fuzz_targets`
//! passes each to libFuzzer. See `fuzz/README.md`.
//!
//! [`any_container`] converts bytes to a test input. Bytes that begin with the magic are a
//! container, whose checksums it corrects. All other bytes describe a container and its damage.
//! Files can therefore be seeds without conversion, and libFuzzer's own mutations of them reach the
//! code after the checksum checks.

#[cfg(unix)]
mod c_codec;
mod compress;
mod container;
mod decode;
mod draft;
mod edit;
mod fast;
mod identity;
mod kept;
mod old_buffer;
mod parse;
mod random_access;
mod roundtrip;
mod safetensors_in;
mod storage_answers;

#[cfg(unix)]
pub use c_codec::{c_decoder_agrees, c_encoder_agrees};
pub use compress::cli_compress_decompress;
pub use decode::decode_any_container;
pub use edit::any_container;
pub use fast::fast_equals_reference;
pub use identity::parse_then_write_is_identity;
pub use kept::{keep_inputs, kept_inputs};
pub use old_buffer::output_ignores_old_buffer;
pub use parse::parse_never_panics;
pub use random_access::random_access_equals_whole;
pub use roundtrip::roundtrip_any_tensor;
pub use safetensors_in::safetensors_in;
pub use storage_answers::storage_answers_never_panic;

/// A property and its name.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// The name of the function, of the fuzz target and of the folder with its findings.
    pub name: &'static str,
    /// The check, which panics if the property does not hold for these bytes.
    pub check: fn(&[u8]),
}

macro_rules! properties {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        /// All properties.
        pub const PROPERTIES: &[Property] = &[
            $($(#[$attribute])* Property { name: stringify!($name), check: $name },)*
        ];
    };
}

properties! {
    parse_never_panics,
    parse_then_write_is_identity,
    roundtrip_any_tensor,
    decode_any_container,
    random_access_equals_whole,
    fast_equals_reference,
    output_ignores_old_buffer,
    safetensors_in,
    storage_answers_never_panic,
    cli_compress_decompress,
    #[cfg(unix)]
    c_decoder_agrees,
    #[cfg(unix)]
    c_encoder_agrees,
}
