//! `transcode`: the output equals that of `compress` with the other encoding.

use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::mixed;
use crate::place::Place;

#[test]
fn gives_what_compress_gives_in_both_directions() {
    for chunk in ["12", "15", "16"] {
        let place = Place::with_compressed(&mixed(), &["--chunk", chunk]);
        let palette = [
            "--encoding",
            "palette",
            "-o",
            "palette.unw",
            "--chunk",
            chunk,
        ];
        place
            .run(&[&["compress", "m.safetensors"], &palette[..]].concat())
            .succeeds();
        for (from, to, expected) in [
            ("m.unw", "palette", "palette.unw"),
            ("palette.unw", "huffman", "m.unw"),
            ("m.unw", "huffman", "m.unw"),
            ("palette.unw", "palette", "palette.unw"),
        ] {
            place
                .run(&["transcode", from, "--to", to, "-o", "t.unw", "--force"])
                .succeeds();
            assert!(
                place.read("t.unw") == place.read(expected),
                "{from} to {to}, chunk {chunk}"
            );
        }
    }
}

#[test]
fn a_tensor_that_no_longer_saves_space_is_raw_from_then_on() {
    // The exponents take one bit each as huffman. As palette they take four, in two whole steps.
    let source = safetensors_file(&[bf16("w", &Random::new(30).weights_of(&[126, 127], 260))]);
    let place = Place::with_compressed(&source, &[]);
    let coding = |file| {
        let shown = place
            .run(&["inspect", file, "--directory", "--json"])
            .json();
        shown["tensors"][0]["coding"].as_str().unwrap().to_owned()
    };
    assert_eq!(coding("m.unw"), "huffman 1 of 3");
    place
        .run(&["transcode", "m.unw", "--to", "palette", "-o", "p.unw"])
        .succeeds();
    assert_eq!(coding("p.unw"), "raw");
    place
        .run(&["transcode", "p.unw", "--to", "huffman", "-o", "h.unw"])
        .succeeds();
    assert_eq!(coding("h.unw"), "raw");
    for file in ["p.unw", "h.unw"] {
        place
            .run(&["verify", file, "--against", "m.safetensors"])
            .succeeds();
    }
}

#[test]
fn tells_as_json_what_it_did() {
    let place = Place::with_compressed(&mixed(), &[]);
    let transcode = [
        "transcode",
        "m.unw",
        "--to",
        "palette",
        "-o",
        "p.unw",
        "--json",
    ];
    let result = place.run(&transcode).json();
    assert_eq!(result["encoding"], "palette");
    assert_eq!(result["input_bytes"], place.read("m.unw").len());
    assert_eq!(result["output_bytes"], place.read("p.unw").len());
}
