//! Compiles the codec of `conformance/decoders/c` with its entry in `c/in_process.c`.

use std::path::Path;

/// The codec's files, as its Makefile lists them, but for `report.c` and `program.c`.
const CODEC: [&str; 15] = [
    "bits",
    "crc32",
    "types",
    "container",
    "directory",
    "json",
    "safetensors",
    "huffman",
    "record",
    "tensor",
    "code_choice",
    "record_writer",
    "writer",
    "encoder",
    "transcoder",
];

fn main() {
    // The entry empties a temporary file as POSIX does.
    if std::env::var_os("CARGO_CFG_UNIX").is_none() {
        return;
    }
    let codec = Path::new("../../conformance/decoders/c");
    println!("cargo:rerun-if-changed={}", codec.display());
    println!("cargo:rerun-if-changed=c");
    let files = CODEC.map(|name| codec.join(name).with_extension("c"));
    cc::Build::new()
        .std("c11")
        .opt_level(2)
        .warnings(true)
        .include(codec)
        .files(files)
        .file("c/in_process.c")
        .compile("unweight_c_codec");
}
