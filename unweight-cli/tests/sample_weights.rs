//! Claims of README about the sample of real weights.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

const SAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../samples/minilm-layer0.safetensors"
);

fn unweight(arguments: &[&str], folder: &Path) -> Value {
    let output = Command::cargo_bin("unweight")
        .unwrap()
        .args(arguments)
        .arg("--json")
        .current_dir(folder)
        .assert()
        .success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

#[test]
fn real_weights_shrink_to_two_thirds_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let done = unweight(
        &["compress", SAMPLE, "-o", "sample.unw", "--verify"],
        folder.path(),
    );
    let [input, output] = ["input_bytes", "output_bytes"].map(|key| done[key].as_f64().unwrap());
    assert!(output <= 0.672 * input, "{output} of {input}");
    assert_eq!(done["files"][0]["verified"], true);

    unweight(
        &["decompress", "sample.unw", "-o", "sample.safetensors"],
        folder.path(),
    );
    let restored = fs::read(folder.path().join("sample.safetensors")).unwrap();
    assert!(restored == fs::read(SAMPLE).unwrap());
}

#[test]
fn large_tensors_stay_within_a_tenth_of_a_bit_of_their_entropy() {
    let folder = tempfile::tempdir().unwrap();
    unweight(&["compress", SAMPLE, "-o", "sample.unw"], folder.path());
    let inspected = unweight(&["inspect", "sample.unw"], folder.path());
    let tensors = inspected["tensors"].as_array().unwrap();
    let large = tensors
        .iter()
        .filter(|tensor| tensor["elements"].as_u64().unwrap() >= 16_384);
    let mut seen = 0;
    for tensor in large {
        let [bits, entropy] =
            ["bits_per_element", "exponent_entropy_bits"].map(|key| tensor[key].as_f64().unwrap());
        let over = bits - 8.0 - entropy;
        assert!((0.0..0.1).contains(&over), "{}: {over}", tensor["name"]);
        seen += 1;
    }
    assert_eq!(seen, 5);
}
