//! `inspect`: the report accounts for every bit of a file.

use half::bf16;
use serde_json::{Value, json};
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::mixed;
use crate::place::Place;

#[test]
fn parts_add_up_to_tensors_and_tensors_to_the_file() {
    for encoding in ["huffman", "palette"] {
        for chunk in ["12", "15"] {
            let place =
                Place::with_compressed(&mixed(), &["--encoding", encoding, "--chunk", chunk]);
            let shown = place.run(&["inspect", "m.unw", "--json"]).json();
            let tensors = shown["tensors"].as_array().unwrap();
            for tensor in tensors {
                let bits = sum_of_parts(&tensor["breakdown"]);
                assert_eq!(bits, 8 * number(&tensor["stored_bytes"]), "{tensor}");
            }
            let stored: u64 = tensors
                .iter()
                .map(|tensor| number(&tensor["stored_bytes"]))
                .sum();
            let file_bytes = place.read("m.unw").len() as u64;
            assert_eq!(number(&shown["frame_bytes"]) + stored, file_bytes);
            assert_eq!(shown["file_bytes"], file_bytes);
            assert_eq!(shown["restored_bytes"], place.read("m.safetensors").len());

            let coded = tensors.iter().filter(|tensor| tensor["encoding"] != "raw");
            let stored: u64 = coded.map(|tensor| number(&tensor["stored_bytes"])).sum();
            assert_eq!(shown["totals"]["coded_stored_bytes"], stored);
            assert_eq!(sum_of_parts(&shown["totals"]["breakdown"]), 8 * stored);
        }
    }
}

#[test]
fn entropy_is_that_of_the_exponents() {
    let mut numbers = Random::new(50);
    let source = safetensors_file(&[
        bf16("one", &numbers.weights_of(&[127], 2_000)),
        bf16("two", &[0x3F80, 0x4000].map(bf16::from_bits).repeat(2_000)),
        bf16(
            "four",
            &[0x0000, 0x0080, 0x0100, 0x0180]
                .map(bf16::from_bits)
                .repeat(2_000),
        ),
        // This tensor stays raw, and its exponents are uniform.
        bf16(
            "all",
            &(0..=u16::MAX).map(bf16::from_bits).collect::<Vec<_>>(),
        ),
        tensor("none", "BF16", &[0], vec![]),
        tensor("other", "F16", &[2], vec![0; 4]),
    ]);
    let place = Place::with_compressed(&source, &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    let entropies: Vec<&Value> = (0..6)
        .map(|i| &shown["tensors"][i]["exponent_entropy_bits"])
        .collect();
    assert_eq!(
        entropies,
        [
            &json!(0.0),
            &json!(1.0),
            &json!(2.0),
            &json!(8.0),
            &json!(null),
            &json!(null)
        ]
    );
    assert_eq!(shown["tensors"][3]["encoding"], "raw");
    // The mean over the coded tensors is weighted by their numbers of weights.
    let mean = (1.0 * 4_000.0 + 2.0 * 8_000.0) / 14_000.0;
    let total = shown["totals"]["exponent_entropy_bits"].as_f64().unwrap();
    assert!((total - mean).abs() < 1e-12, "{total}");
    // An entropy of zero is printed without a minus sign.
    let table = String::from_utf8(place.run(&["inspect", "m.unw"]).succeeds()).unwrap();
    assert!(!table.contains("-0.000"), "{table}");
}

#[test]
fn codes_come_close_to_the_entropy_and_indices_take_four_bits() {
    let source = safetensors_file(&[bf16("w", &Random::new(51).trained_weights(200_000))]);
    let place = Place::with_compressed(&source, &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    let tensor = &shown["tensors"][0];
    let codes = tensor["breakdown"]["codes_bits"].as_f64().unwrap() / 200_000.0;
    let entropy = tensor["exponent_entropy_bits"].as_f64().unwrap();
    assert!(codes < entropy + 0.1, "{codes} {entropy}");
    assert!(codes > entropy - 0.1, "{codes} {entropy}");
    assert_eq!(tensor["breakdown"]["sign_mantissa_bits"], 8 * 200_000);

    place
        .run(&["transcode", "m.unw", "--to", "palette", "-o", "p.unw"])
        .succeeds();
    let shown = place.run(&["inspect", "p.unw", "--json"]).json();
    // The last step is filled up.
    let steps = 200_000u64.div_ceil(256);
    assert_eq!(
        shown["tensors"][0]["breakdown"]["codes_bits"],
        4 * 256 * steps
    );
}

#[test]
fn parts_are_as_large_as_the_format_makes_them() {
    let mut numbers = Random::new(52);
    let mut weights = numbers.trained_weights(20_000);
    // The second of five chunks is verbatim.
    weights[4_096..8_192].copy_from_slice(&numbers.random_weights(4_096));
    let source = safetensors_file(&[bf16("w", &weights)]);
    for (encoding, lane_ends_bytes) in [("huffman", 64), ("palette", 0)] {
        let place = Place::with_compressed(&source, &["--encoding", encoding, "--chunk", "12"]);
        let shown = place.run(&["inspect", "m.unw", "--json"]).json();
        let bits = |part: &str| number(&shown["tensors"][0]["breakdown"][part]);
        assert_eq!(bits("sign_mantissa_bits"), 8 * 20_000);
        assert_eq!(bits("verbatim_bits"), 8 * 4_096);
        assert_eq!(bits("lane_ends_bits"), 8 * 4 * lane_ends_bytes);
        assert_eq!(bits("record_headers_bits"), 8 * 5 * 12);
        assert_eq!(bits("checksums_bits"), 8 * 5 * 4);
        assert_eq!(bits("record_ends_bits"), 8 * 5 * 4);
        assert_eq!(bits("raw_data_bits"), 0);
        assert_eq!(bits("patches_bits") % 24, 0);
        // Padding is less than a byte for each lane, 16 bytes for each record, 256 bytes in front
        // of each of two planes, and 16 bytes in front of the records.
        let most = 4 * 32 * 7 + 8 * (5 * 15 + 2 * 255 + 15);
        assert!(bits("padding_bits") <= most, "{}", bits("padding_bits"));
    }
}

#[test]
fn the_directory_alone_says_the_same_but_for_what_it_does_not_hold() {
    let place = Place::with_compressed(&mixed(), &[]);
    let mut whole = place.run(&["inspect", "m.unw", "--json"]).json();
    let directory = place
        .run(&["inspect", "m.unw", "--directory", "--json"])
        .json();
    let mut tensors = whole["tensors"].take();
    for tensor in tensors.as_array_mut().unwrap() {
        assert!(tensor["breakdown"].is_object());
        tensor["exponent_entropy_bits"] = Value::Null;
        tensor["breakdown"] = Value::Null;
    }
    whole["tensors"] = tensors;
    whole["totals"]["exponent_entropy_bits"] = Value::Null;
    whole["totals"]["breakdown"] = Value::Null;
    assert_eq!(directory, whole);
}

#[test]
fn the_directory_alone_is_all_that_is_read() {
    let place = Place::with_compressed(&mixed(), &[]);
    let mut spoilt = place.read("m.unw");
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    place.write("m.unw", &spoilt);
    place.run(&["inspect", "m.unw", "--directory"]).succeeds();
    let line = place.run(&["inspect", "m.unw"]).fails(1);
    assert!(line.contains("tensor \""), "{line}");
}

#[test]
fn the_table_has_a_row_for_each_tensor_and_no_control_characters() {
    let names = ["plain", "\u{1b}[31mred", "two\nlines", "重み", ""];
    let tensors = names.map(|name| tensor(name, "I32", &[1, 2], vec![0; 8]));
    let place = Place::with_compressed(&safetensors_file(&tensors), &[]);
    for options in [&[][..], &["--directory"]] {
        let mut arguments = vec!["inspect", "m.unw"];
        arguments.extend(options);
        let table = String::from_utf8(place.run(&arguments).succeeds()).unwrap();
        assert_eq!(
            table.lines().filter(|line| line.contains("[1, 2]")).count(),
            5
        );
        assert!(
            table.lines().all(|line| !line.contains(char::is_control)),
            "{table:?}"
        );
        assert!(table.contains("\\u{1b}[31mred") && table.contains("two\\nlines"));
    }
}

#[test]
fn a_file_without_tensors_has_nothing_but_its_frame() {
    let place = Place::with_compressed(&safetensors_file(&[]), &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    assert_eq!(shown["frame_bytes"], shown["file_bytes"]);
    assert_eq!(shown["tensors"], json!([]));
    assert_eq!(shown["totals"]["bits_per_weight"], json!(null));
    place.run(&["inspect", "m.unw"]).succeeds();
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn sum_of_parts(breakdown: &Value) -> u64 {
    breakdown.as_object().unwrap().values().map(number).sum()
}
