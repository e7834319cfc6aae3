//! The canonical encoder and the transcoder in Python, in `conformance/decoders/python`. The
//! environment variable `PYTHON` names the interpreter; the default is `python3`.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use unweight_format::Encoding;

/// The canonical file of a safetensors source.
///
/// # Panics
/// If Python is missing, or the encoder refuses the source.
pub fn encode(source: &[u8], encoding: Encoding, chunk: u8) -> Vec<u8> {
    let parameters = [encoding.name(), &chunk.to_string()];
    write("unweight_encode.py", source, &parameters)
}

/// The file in another encoding.
///
/// # Panics
/// If Python is missing, or the transcoder rejects the file.
pub fn transcode(file: &[u8], encoding: Encoding) -> Vec<u8> {
    write("unweight_transcode.py", file, &[encoding.name()])
}

fn write(program: &str, input: &[u8], parameters: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let [input_path, output_path] = ["input", "output"].map(|name| folder.path().join(name));
    fs::write(&input_path, input).expect("the input can be written");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decoders/python");
    let interpreter = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let ended = Command::new(interpreter)
        .arg(folder.join(program))
        .args([&input_path, &output_path])
        .args(parameters)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("these cases need Python 3; set PYTHON to its path");
    assert!(
        ended.status.success(),
        "{program} ended with: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    fs::read(&output_path).expect("the program wrote a file")
}
