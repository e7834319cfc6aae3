//! Version of this program and of the format, and what the program runs on.

use std::sync::LazyLock;

use unweight_cpu::fast::Codec;
use unweight_format::layout;

/// Status of this version of the format in the specification.
pub(crate) const FORMAT_STATUS: &str = "draft";

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
        "{}\nformat {}.{} ({FORMAT_STATUS}: later versions may not read its files)\nCPU instruction set: {codec}\nGPU kernels: {kernels}",
        env!("CARGO_PKG_VERSION"),
        layout::MAJOR_VERSION,
        layout::MINOR_VERSION,
    )
}
