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

/// The inner values of files, one JSON text for each.
///
/// # Panics
/// If Python is missing, or a file is invalid.
pub fn inner_values(files: &[&[u8]]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let paths: Vec<_> = (0..files.len())
        .map(|number| folder.path().join(number.to_string()))
        .collect();
    for (path, file) in paths.iter().zip(files) {
        fs::write(path, file).expect("the input can be written");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = run(interpreter()
        .arg(root.join("inner_values.py"))
        .args(&paths)
        .env("PYTHONPATH", root.join("../decoders/python")));
    let text = String::from_utf8_lossy(&printed).into_owned();
    let values: Vec<String> = text
        .split("\n\n")
        .map(|text| text.trim_end().to_owned())
        .collect();
    assert_eq!(values.len(), files.len());
    values
}

fn interpreter() -> Command {
    let mut command = Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program, and returns what it prints.
fn run(command: &mut Command) -> Vec<u8> {
    let ended = command
        .output()
        .expect("these cases need Python 3; set PYTHON to its path");
    assert!(
        ended.status.success(),
        "{command:?} ended with: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    ended.stdout
}

fn write(program: &str, input: &[u8], parameters: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let [input_path, output_path] = ["input", "output"].map(|name| folder.path().join(name));
    fs::write(&input_path, input).expect("the input can be written");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decoders/python");
    run(interpreter()
        .arg(folder.join(program))
        .args([&input_path, &output_path])
        .args(parameters));
    fs::read(&output_path).expect("the program wrote a file")
}
