//! `compress`: its options, and the file that it makes.

use serde_json::json;
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::mixed;
use crate::place::Place;

#[test]
fn names_the_output_after_the_input() {
    let source = mixed();
    let place = Place::with("a.b.safetensors", &source);
    place.run(&["compress", "a.b.safetensors"]).succeeds();
    assert_eq!(place.names(), ["a.b.safetensors", "a.b.unw"]);
    std::fs::remove_file(place.path("a.b.safetensors")).unwrap();
    place.run(&["decompress", "a.b.unw"]).succeeds();
    assert_eq!(place.names(), ["a.b.safetensors", "a.b.unw"]);
    assert_eq!(place.read("a.b.safetensors"), source);
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let place = Place::with_compressed(&mixed(), &["--chunk", "12", "--threads", "1"]);
    let compress = ["compress", "m.safetensors", "--chunk", "12"];
    let others = ["--threads", "7", "-o", "7.unw"];
    place.run(&[&compress[..], &others].concat()).succeeds();
    assert_eq!(place.read("7.unw"), place.read("m.unw"));

    for threads in ["1", "7"] {
        let output = format!("palette-{threads}.unw");
        let transcode = ["transcode", "m.unw", "--to", "palette", "-o", &output];
        place
            .run(&[&transcode[..], &["--threads", threads]].concat())
            .succeeds();
        let output = format!("back-{threads}.safetensors");
        let decompress = ["decompress", "m.unw", "-o", &output, "--threads", threads];
        place.run(&decompress).succeeds();
        assert_eq!(place.read(&output), place.read("m.safetensors"));
    }
    assert_eq!(place.read("palette-7.unw"), place.read("palette-1.unw"));
}

#[test]
fn the_defaults_are_huffman_and_chunks_of_32768_weights() {
    let place = Place::with_compressed(&mixed(), &[]);
    let coding = ["--encoding", "huffman", "--chunk", "15"];
    let compress = ["compress", "m.safetensors", "-o", "same.unw"];
    place.run(&[&compress[..], &coding].concat()).succeeds();
    assert_eq!(place.read("same.unw"), place.read("m.unw"));
}

#[test]
fn codes_what_is_included_and_not_excluded() {
    let mut numbers = Random::new(20);
    let names = [
        "embed",
        "layers.0.mlp",
        "layers.0.norm",
        "layers.1.mlp",
        "layers.1.norm",
    ];
    let tensors = names.map(|name| bf16(name, &numbers.trained_weights(2_000)));
    let place = Place::with("m.safetensors", &safetensors_file(&tensors));
    let coded_with = |options: &[&str]| {
        let compress = [
            "compress",
            "m.safetensors",
            "--force",
            "--verify",
            "--quiet",
        ];
        place.run(&[&compress[..], options].concat()).succeeds();
        let shown = place
            .run(&["inspect", "m.unw", "--directory", "--json"])
            .json();
        let coded = names.iter().zip(shown["tensors"].as_array().unwrap());
        coded
            .filter(|(_, tensor)| tensor["coding"] != "raw")
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
    };
    assert_eq!(coded_with(&[]), names);
    assert_eq!(coded_with(&["--include", "layers.*"]), names[1..]);
    assert_eq!(
        coded_with(&["--include", "embed", "--include", "*.1.*"]),
        [names[0], names[3], names[4]]
    );
    assert_eq!(
        coded_with(&["--exclude", "*.norm"]),
        [names[0], names[1], names[3]]
    );
    assert_eq!(
        coded_with(&["--include", "layers.*", "--exclude", "*.{norm,x}"]),
        [names[1], names[3]]
    );
    assert_eq!(coded_with(&["--exclude", "*"]), [""; 0]);
    assert_eq!(coded_with(&["--include", "nothing"]), [""; 0]);
}

#[test]
fn tells_as_json_what_it_did() {
    let source = safetensors_file(&[
        bf16("w", &Random::new(21).trained_weights(10_000)),
        tensor("b", "F32", &[2], vec![0; 8]),
    ]);
    let place = Place::with("m.safetensors", &source);
    let result = place
        .run(&["compress", "m.safetensors", "--verify", "--json"])
        .json();
    let length = place.read("m.unw").len();
    let file = &result["files"][0];
    assert_eq!(file["input"], "m.safetensors");
    assert_eq!(file["output"], "m.unw");
    assert_eq!(file["verified"], true);
    assert_eq!(
        [
            &file["tensors"],
            &file["compressed_tensors"],
            &file["dtypes"][0]["elements"]
        ],
        [2, 1, 10_000]
    );
    assert_eq!(
        [&result["input_bytes"], &result["output_bytes"]],
        [source.len(), length]
    );
    let [bf16, f32] = &result["dtypes"].as_array().unwrap()[..] else {
        panic!("{}", result["dtypes"])
    };
    assert_eq!([&bf16["dtype"], &f32["dtype"]], ["BF16", "F32"]);
    assert_eq!([&bf16["tensors"], &f32["data_bytes"]], [1, 8]);
    let bits = bf16["bits_per_element"].as_f64().unwrap();
    assert!((10.0..12.0).contains(&bits), "{bits}");
    assert_eq!(f32["bits_per_element"], 32.0);
}

#[test]
fn says_in_words_how_many_bits_the_types_take_that_became_smaller() {
    let mut random = Random::new(22);
    let source = safetensors_file(&[
        bf16("w", &random.trained_weights(100_000)),
        tensor("zeros", "F32", &[5_000], vec![0; 20_000]),
        tensor("noise", "U8", &[9], random.bytes(9)),
    ]);
    let place = Place::with("m.safetensors", &source);
    let words = place.run(&["compress", "m.safetensors"]).succeeds();
    let words = String::from_utf8(words).unwrap();
    let bits = words.split("2 of 3 tensors compressed, bits per element: BF16 1");
    assert_eq!(bits.clone().count(), 2, "{words}");
    assert!(
        words.contains(", F32 1.") && !words.contains("U8"),
        "{words}"
    );
}

#[test]
fn a_model_without_tensors_has_no_types() {
    let place = Place::with("m.safetensors", &safetensors_file(&[]));
    let result = place.run(&["compress", "m.safetensors", "--json"]).json();
    assert_eq!(result["dtypes"], json!([]));
}

/// Input may be a link. The name of the output is derived from the link, the bytes from the file
/// that it leads to.
#[cfg(unix)]
#[test]
fn follows_a_link_to_its_input() {
    let place = Place::with("blobs/0123", &mixed());
    std::os::unix::fs::symlink("blobs/0123", place.path("m.safetensors")).unwrap();
    place.run(&["compress", "m.safetensors"]).succeeds();
    let verify = ["verify", "m.unw", "--against", "blobs/0123"];
    place.run(&verify).succeeds();
}
