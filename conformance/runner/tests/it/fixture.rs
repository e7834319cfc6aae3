//! A corpus of a toy format, a decoder, an encoder and a transcoder for it in Python, and the binary
//! under test.
//!
//! A toy file is `TOY`, a chunk byte, a length byte, that many bytes of restored source, and a byte
//! that is the sum of those. The runner knows only the manifest of any format, so the toy can
//! replace Unweight.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The decoder under test. Its third argument is how it misbehaves.
const DECODER: &str = r#"
import os, signal, sys, time

input, output, mode = sys.argv[1:4]

def reject(rule):
    if mode == "leave-output":
        open(output, "wb").write(b"half")
    if mode == "raise":
        raise ValueError(rule)
    if mode == "report-of-a-sanitizer":
        print("==7==ERROR: AddressSanitizer: heap-buffer-overflow", file=sys.stderr)
    if mode == "name-another-rule":
        rule = "padding"
    if mode != "name-no-rule":
        print(f"{input}: breaks {rule}: says the toy", file=sys.stderr)
    sys.exit(1)

if mode == "hang":
    time.sleep(600)
if mode == "segfault":
    os.kill(os.getpid(), signal.SIGSEGV)
if mode == "exit-3":
    print("<went> & \"wrong\" \x1b[31m", file=sys.stderr)
    sys.exit(3)
if mode == "reject-all":
    reject("no-such-rule")
if mode == "accept-without-output":
    sys.exit(0)

file = open(input, "rb").read()
os.remove(input)
if file[:3] != b"TOY":
    reject("file-magic")
if mode == "core" and file[3:4] == b"\x02":
    reject("form-unknown")
if mode == "core-by-another-name" and file[3:4] == b"\x02":
    reject("record-crc")
if len(file) < 5 or len(file) < 6 + file[4]:
    if mode != "accept-prefixes":
        reject("file-truncated")
restored = bytearray(file[5:-1])
if file[-1] != sum(restored) % 256 and mode != "skip-checksum" and mode != "accept-prefixes":
    reject("record-crc")
if mode == "flip-last-byte" and restored:
    restored[-1] ^= 0xFF
if mode == "flip-first-byte" and restored:
    restored[0] ^= 0xFF
if mode == "drop-last-byte":
    del restored[-1:]
open(output, "wb").write(restored)
"#;

const ENCODER: &str = r#"
import sys

input, output, _, encoding, _, chunk = sys.argv[1:7]
if encoding != "huffman":
    print("encoding", file=sys.stderr)
    sys.exit(1)
source = open(input, "rb").read()
if b"!" in source:
    print("refused: an exclamation mark", file=sys.stderr)
    sys.exit(1)
open(output, "wb").write(b"TOY" + bytes([int(chunk), len(source)]) + source + bytes([sum(source) % 256]))
"#;

/// The transcoder makes the chunk byte 1 for huffman and 2 for palette. Its fourth argument is how it
/// misbehaves.
const TRANSCODER: &str = r#"
import sys

input, output, encoding, mode = sys.argv[1:5]
file = bytearray(open(input, "rb").read())
if file[-1] != sum(file[5:-1]) % 256 and mode != "skip-checksum":
    if mode == "leave-output":
        open(output, "wb").write(b"half")
    print("record-crc: says the toy", file=sys.stderr)
    sys.exit(1)
file[3] = {"huffman": 1, "palette": 2}[encoding]
open(output, "wb").write(file)
"#;

pub(crate) const ENCODER_COMMAND: &str = "python3 '{FOLDER}/tools/toy encoder.py' {input} {output} --encoding {encoding} --chunk {chunk}";

/// A temporary folder, with a space in its name, that holds `corpus`, `tools` and whatever a test
/// writes.
pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("a corpus ")
            .tempdir()
            .unwrap();
        let fixture = Self { folder };
        fixture.write("tools/toy decoder.py", DECODER);
        fixture.write("tools/toy encoder.py", ENCODER);
        fixture.write("tools/toy transcoder.py", TRANSCODER);
        for (path, bytes) in files() {
            fixture.write(&format!("corpus/{path}"), bytes);
        }
        fixture.write_manifest(&manifest());
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write_manifest(&self, manifest: &Value) {
        self.write("corpus/manifest.json", manifest.to_string());
    }

    /// The command of the toy decoder.
    pub(crate) fn decoder(&self, mode: &str) -> String {
        self.command(&format!(
            "python3 '{{FOLDER}}/tools/toy decoder.py' {{input}} {{output}} {mode}"
        ))
    }

    /// The command of the toy transcoder.
    pub(crate) fn transcoder(&self, mode: &str) -> String {
        self.command(&format!(
            "python3 '{{FOLDER}}/tools/toy transcoder.py' {{input}} {{output}} {{encoding}} {mode}"
        ))
    }

    pub(crate) fn command(&self, template: &str) -> String {
        template.replace("{FOLDER}", self.folder.path().to_str().unwrap())
    }

    /// Runs the binary in the fixture's folder, so that its default corpus is not found there.
    pub(crate) fn binary(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unweight-conformance"));
        Run::of(command.args(arguments).current_dir(self.folder.path()))
    }

    /// `run` with the toy decoder in `mode`.
    pub(crate) fn run(&self, mode: &str, more: &[&str]) -> Run {
        self.run_command(&self.decoder(mode), more)
    }

    /// The cases of the report that `run` writes with `more`.
    pub(crate) fn report(&self, decoder: &str, more: &[&str]) -> Value {
        let run = self.run_command(decoder, &[more, &["--json", "report.json"]].concat());
        assert!(run.code < 2, "{}", run.stderr);
        serde_json::from_str(&self.read("report.json")).unwrap()
    }

    /// `run` with any decoder.
    pub(crate) fn run_command(&self, decoder: &str, more: &[&str]) -> Run {
        self.binary(&[&["run", "--corpus", "corpus", "--decoder", decoder], more].concat())
    }

    /// The outcome and the reason of one case with the toy decoder in `mode`.
    pub(crate) fn outcome(&self, mode: &str, case: &str, more: &[&str]) -> (String, String) {
        let run = self.run(
            mode,
            &[&["--filter", case, "--json", "report.json"], more].concat(),
        );
        assert!(run.code < 2, "{}", run.stderr);
        let report: Value = serde_json::from_str(&self.read("report.json")).unwrap();
        let case = report["cases"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["id"] == case)
            .unwrap();
        (text(&case["outcome"]), text(&case["reason"]))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Output and exit code of a run of the binary.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Self {
            code: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }
}

pub(crate) fn toy(chunk: u8, restored: &[u8]) -> Vec<u8> {
    let sum = restored
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    [
        b"TOY",
        [chunk, restored.len() as u8].as_slice(),
        restored,
        &[sum],
    ]
    .concat()
}

/// Decodes a toy file in this process.
pub(crate) fn decode_toy(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    if !file.starts_with(b"TOY") {
        return Err("file-magic");
    }
    let length = usize::from(*file.get(4).ok_or("file-truncated")?);
    let restored = file.get(5..5 + length).ok_or("file-truncated")?.to_vec();
    let sum = file.get(5 + length).ok_or("file-truncated")?;
    if toy(0, &restored).last() == Some(sum) {
        Ok(restored)
    } else {
        Err("record-crc")
    }
}

/// A source section `HEAD`, then tensors `aa` and `bb`.
pub(crate) const PLAIN: &[u8] = b"HEADaabb";

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut wrong_sum = toy(15, PLAIN);
    *wrong_sum.last_mut().unwrap() ^= 1;
    vec![
        ("valid/plain.toy", toy(15, PLAIN)),
        ("valid/full.toy", toy(2, PLAIN)),
        ("valid/empty.toy", toy(15, b"")),
        ("invalid/magic.toy", b"TOX".to_vec()),
        ("invalid/sum.toy", wrong_sum),
        ("encode/plain.safetensors", PLAIN.to_vec()),
        ("encode/plain-12.toy", toy(12, PLAIN)),
        ("refuse/loud.safetensors", b"HEAD!!".to_vec()),
        ("transcode/plain-2.toy", toy(2, PLAIN)),
    ]
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Eleven cases: of each kind, of both profiles, and an accept case in each of the three ways to
/// know the bytes.
pub(crate) fn manifest() -> Value {
    let tensor = |name: &str, offset: usize| {
        json!({"name": name, "dtype": "BF16", "shape": [1], "offset": offset, "length": 2,
               "sha256": sha256(&PLAIN[offset..offset + 2])})
    };
    let tensors = json!([tensor("a", 4), tensor("b", 6)]);
    let restored = json!({"length": 8, "sha256": sha256(PLAIN)});
    json!({
        "format_version": "1.0-rc.1",
        "license": "CC0-1.0",
        "cases": [
            {"id": "valid-digest", "claim": "digests are enough", "kind": "accept", "profile": "core", "sections": ["3.1", "4.2"],
             "file": "valid/plain.toy", "restored": restored, "tensors": tensors},
            {"id": "valid-hex", "claim": "bytes in the manifest", "kind": "accept", "profile": "core", "sections": ["4.2"],
             "flags": ["edge-case"], "file": "valid/plain.toy", "restored": restored, "tensors": tensors,
             "restored_hex": "4845414461616262"},
            {"id": "valid-source", "claim": "bytes in a file", "kind": "accept", "profile": "full", "sections": ["5.3"],
             "file": "valid/full.toy", "restored": restored, "tensors": tensors, "source": "encode/plain.safetensors",
             "core": "form-unknown"},
            {"id": "valid-empty", "claim": "a file may restore to nothing", "kind": "accept", "profile": "core", "sections": ["3.1"],
             "file": "valid/empty.toy", "restored": {"length": 0, "sha256": sha256(b"")}, "tensors": []},
            {"id": "invalid-magic", "claim": "a file has the magic", "kind": "reject", "profile": "core", "sections": ["3.1"], "step": 1,
             "file": "invalid/magic.toy", "rule": "file-magic", "category": "malformed"},
            {"id": "invalid-sum", "claim": "a <sum> & its \"file\" agree", "kind": "reject", "profile": "core", "sections": ["5.1"],
             "step": 6, "file": "invalid/sum.toy", "rule": "record-crc", "category": "malformed"},
            {"id": "prefixes-plain", "claim": "a cut file is rejected", "kind": "prefixes", "profile": "core", "sections": ["3.1"],
             "file": "valid/plain.toy", "step": 1, "stride": 3, "rule": "file-truncated", "category": "truncated"},
            {"id": "encode-plain", "claim": "chunks of 4096 weights", "kind": "encode", "profile": "core", "sections": ["11.1"],
             "file": "encode/plain-12.toy", "source": "encode/plain.safetensors",
             "parameters": {"encoding": "huffman", "chunk": 12}},
            {"id": "refused-source", "claim": "a loud source is refused", "kind": "encode-refuse", "profile": "core",
             "sections": ["11.1"], "file": "refuse/loud.safetensors", "parameters": {"encoding": "huffman", "chunk": 12}},
            {"id": "recoded-plain", "claim": "another encoding", "kind": "transcode", "profile": "full", "sections": ["11.1"],
             "file": "transcode/plain-2.toy", "source": "valid/plain.toy", "parameters": {"encoding": "palette"}},
            {"id": "recoded-sum", "claim": "a broken file is rejected", "kind": "transcode-refuse", "profile": "core",
             "sections": ["5.1"], "file": "invalid/sum.toy", "rule": "record-crc", "category": "malformed",
             "parameters": {"encoding": "huffman"}},
        ],
    })
}

/// The case of `manifest` with this id.
pub(crate) fn case<'a>(manifest: &'a mut Value, id: &str) -> &'a mut Value {
    manifest["cases"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|case| case["id"] == id)
        .unwrap()
}

/// A specification that has exactly the rules and sections of the corpus, and section 12 without a
/// case.
pub(crate) const SPEC: &str = "\
# The toy
## 3. Container
### 3.1 Header
### 4.2 Coded
### 5.1 Record header
### 5.3 Palette
## 10. Rules

| rule | category | section | broken when |
| --- | --- | --- | --- |
| `file-magic` | malformed | 3.1 | the first bytes are not the magic |
| `file-truncated` | truncated | 3.1 | bytes are missing |
| `record-crc` | malformed | 5.1 | the checksum is wrong |

### 11.1 Container
## 12. Versioning
";

pub(crate) fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifest.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
