//! `bench`: what is measured, of every kind of weights.

use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::mixed;
use crate::place::Place;

#[test]
fn every_kind_is_compressed_and_measured() {
    let place = Place::new();
    for (kind, bytes, at_most) in [
        ("bf16", 2, 0.68),
        ("bf16-from-e4m3", 2, 0.43),
        ("e4m3", 1, 0.84),
        ("e5m2", 1, 0.84),
        ("f16", 2, 0.9),
        ("f32", 4, 0.86),
        ("f32-from-bf16", 4, 0.35),
    ] {
        let call = [
            "bench", "--kind", kind, "--rows", "16", "--runs", "1", "--json",
        ];
        let result = place.run(&call).json();
        assert_eq!(
            [&result["weights"], &result["data_bytes"]],
            [65_536, 65_536 * bytes]
        );
        let huffman = result["huffman_bytes"].as_f64().unwrap();
        let ratio = huffman / (65_536 * bytes) as f64;
        assert!(ratio < at_most, "{kind}: {ratio}");
        let measurements = result["measurements"].as_array().unwrap().iter();
        let operations: Vec<_> = measurements
            .map(|one| one["operation"].as_str().unwrap())
            .collect();
        for operation in ["memcpy", "verify", "decode", "encode", "transcode"] {
            assert!(operations.contains(&operation), "{kind}: {operations:?}");
        }
    }
}

#[test]
fn a_file_is_measured_with_all_its_tensors() {
    let mut random = Random::new(60);
    let source = safetensors_file(&[
        bf16("w", &random.trained_weights(10_000)),
        tensor("f4", "F4", &[100, 2], random.bytes(100)),
        tensor("none", "F32", &[0], vec![]),
        tensor("step", "I64", &[], vec![1; 8]),
    ]);
    let place = Place::with("m.safetensors", &source);
    let call = ["bench", "m.safetensors", "--runs", "1", "--json"];
    let result = place.run(&call).json();
    assert_eq!(
        [
            &result["tensors"],
            &result["weights"],
            &result["data_bytes"]
        ],
        [3, 10_101, 20_108,]
    );
    place.write("empty.safetensors", &safetensors_file(&[]));
    let line = place.run(&["bench", "empty.safetensors"]).fails(1);
    assert!(line.contains("it has no weights"), "{line}");
}

#[test]
fn a_file_has_its_own_kind() {
    let place = Place::with("m.safetensors", &mixed());
    place
        .run(&["bench", "m.safetensors", "--kind", "e4m3"])
        .misunderstood();
    place.run(&["bench", "--kind", "e3m4"]).misunderstood();
}
