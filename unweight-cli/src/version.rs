//! Version of this program and of the format, and what the program runs on.

use std::sync::LazyLock;

use unweight_cpu::fast::Codec;
use unweight_format::layout;

/// Status of this version of the format in the specification.
pub(crate) const FORMAT_STATUS: &str = "release candidate 1";
/// What the status means for files.
pub(crate) const FORMAT_PROMISE: &str =
    "nothing is expected to change, files may have to be made again";

/// Text that `--version` prints after the program's name.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    &TEXT
}

fn text() -> String {
    let codec = match Codec::named_by_environment() {
        Ok(named) => named.unwrap_or_else(Codec::current).isa().to_string(),
        Err(error) => format!("none ({error})"),
    };
    let kernels = match unweight_gpu::kernels_are_built_in() {
        true => "built in",
        false => "not built in, compiled by NVRTC at first use",
    };
    format!(
        "{}\nformat {}.{}, {FORMAT_STATUS}: {FORMAT_PROMISE}\nCPU instruction set: {codec}\nGPU kernels: {kernels}",
        env!("CARGO_PKG_VERSION"),
        layout::MAJOR_VERSION,
        layout::MINOR_VERSION,
    )
}
