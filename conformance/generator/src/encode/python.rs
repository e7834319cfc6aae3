//! The canonical encoder in Python: `conformance/decoders/python/unweight_encode.py`. The
//! environment variable `PYTHON` names the interpreter; the default is `python3`.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use unweight_format::Encoding;

/// The canonical file of a safetensors source.
///
/// # Panics
/// If Python is missing, or the encoder refuses the source.
pub(super) fn encode(source: &[u8], encoding: Encoding, chunk: u8) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let [input, output] = ["source", "file"].map(|name| folder.path().join(name));
    fs::write(&input, source).expect("the source can be written");
    let encoder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../decoders/python/unweight_encode.py");
    let interpreter = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let ended = Command::new(interpreter)
        .arg(encoder)
        .args([&input, &output])
        .args([encoding.name(), &chunk.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the encode cases need Python 3; set PYTHON to its path");
    assert!(
        ended.status.success(),
        "the encoder ended with: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    fs::read(&output).expect("the encoder wrote a file")
}
