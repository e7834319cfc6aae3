//! `inspect`: the report accounts for every bit of a file.

use half::bf16;
use serde_json::{Value, json};
use unweight_format::Dtype;
use unweight_testkit::{Random, any_weights, bf16, bytes_of, safetensors_file, tensor};

use crate::model::{every_dtype, mixed};
use crate::place::Place;

#[test]
fn parts_add_up_to_tensors_and_tensors_to_the_file() {
    for source in [mixed(), every_dtype(5_000)] {
        for (encoding, chunk) in [("huffman", "12"), ("palette", "15")] {
            let place =
                Place::with_compressed(&source, &["--encoding", encoding, "--chunk", chunk]);
            let shown = place.run(&["inspect", "m.unw", "--json"]).json();
            let tensors = shown["tensors"].as_array().unwrap();
            for tensor in tensors {
                let fields = tensor["fields"].as_array().unwrap().iter();
                let fields: u64 = fields.map(|field| sum(&field["stored_bits"])).sum();
                let bits = fields + sum(&tensor["others"]);
                assert_eq!(bits, 8 * number(&tensor["stored_bytes"]), "{tensor}");
            }
            let stored = |tensors: &[&Value]| -> u64 {
                let bytes = tensors.iter().map(|tensor| number(&tensor["stored_bytes"]));
                bytes.sum()
            };
            let all: Vec<&Value> = tensors.iter().collect();
            let file_bytes = place.read("m.unw").len() as u64;
            assert_eq!(number(&shown["frame_bytes"]) + stored(&all), file_bytes);
            assert_eq!(shown["file_bytes"], file_bytes);
            assert_eq!(shown["restored_bytes"], place.read("m.safetensors").len());

            let is_raw = |tensor: &&&Value| tensor["coding"] == "raw";
            let compressed: Vec<&Value> = all
                .iter()
                .filter(|tensor| !is_raw(tensor))
                .copied()
                .collect();
            for (totals, tensors) in [("compressed", &compressed), ("tensors", &all)] {
                let totals = &shown["totals"][totals];
                assert_eq!(totals["tensors"], tensors.len());
                assert_eq!(totals["stored_bytes"], stored(tensors));
                assert_eq!(sum(&totals["stored_bits"]), 8 * stored(tensors));
            }
            assert_eq!(shown["totals"]["file"]["stored_bytes"], file_bytes);
            let fields = shown["fields"].as_array().unwrap().iter();
            let in_fields: u64 = fields.map(|field| sum(&field["stored_bits"])).sum();
            assert_eq!(in_fields, 8 * stored(&all));
        }
    }
}

#[test]
fn entropy_is_that_of_the_fields_of_any_type() {
    let mut numbers = Random::new(50);
    let f16 = |weight: u16| weight.to_le_bytes().repeat(2_000);
    let source = safetensors_file(&[
        // Sign and mantissa are random.
        bf16("one", &numbers.weights_of(&[127], 65_536)),
        bf16("two", &[0x3F80, 0x4000].map(bf16::from_bits).repeat(2_000)),
        // Every bit is random: this tensor stays raw.
        bf16(
            "all",
            &(0..=u16::MAX).map(bf16::from_bits).collect::<Vec<_>>(),
        ),
        tensor("none", "BF16", &[0], vec![]),
        tensor("f16", "F16", &[4_000], [f16(0x3C00), f16(0x3C07)].concat()),
        tensor("f6", "F6_E2M3", &[4], vec![1, 2, 3]),
        tensor("u8", "U8", &[256], (0..=255).collect()),
    ]);
    let place = Place::with_compressed(&source, &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    let of_fields = |tensor: usize| -> Vec<f64> {
        let fields = shown["tensors"][tensor]["fields"].as_array().unwrap();
        let entropies = fields.iter().map(|field| field["entropy_bits"].as_f64());
        entropies.map(Option::unwrap).collect()
    };
    assert_eq!(of_fields(0)[0], 0.0);
    assert!(of_fields(0)[1] > 2.99 && of_fields(0)[2] > 3.99);
    assert_eq!(of_fields(1), [1.0, 0.0, 0.0]);
    assert_eq!(of_fields(2), [8.0, 3.0, 4.0]);
    assert_eq!(of_fields(3), [0.0; 3]);
    assert_eq!(of_fields(4), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(of_fields(5), [0.0; 0]);
    assert_eq!(of_fields(6), [4.0, 3.0]);
    // A bit that is in no field counts as one bit of entropy.
    for (tensor, entropy) in [
        (1, json!(2.0)),
        (2, json!(16.0)),
        (3, json!(null)),
        (4, json!(2.0)),
        (5, json!(8.0)),
        (6, json!(8.0)),
    ] {
        assert_eq!(
            shown["tensors"][tensor]["entropy_bits"], entropy,
            "{tensor}"
        );
    }
    // The mean is weighted by the numbers of weights.
    let mean = |name: &str, entropy: &str| {
        let fields = shown["fields"].as_array().unwrap().iter();
        let of_dtype = fields.filter(|field| field["dtype"] == name);
        of_dtype
            .map(|field| field[entropy].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let exponents = (1.0 * 4_000.0 + 8.0 * 65_536.0) / (65_536.0 + 4_000.0 + 65_536.0);
    assert!((mean("BF16", "entropy_bits")[0] - exponents).abs() < 1e-12);
    assert_eq!(mean("BF16", "width"), [8.0, 3.0, 4.0, 1.0]);
    assert_eq!(mean("F6_E2M3", "entropy_bits"), [8.0]);
    // An entropy of zero is printed without a minus sign.
    let table = String::from_utf8(place.run(&["inspect", "m.unw"]).succeeds()).unwrap();
    assert!(!table.contains("-0.000"), "{table}");
}

#[test]
fn codes_come_close_to_the_entropy_and_indices_take_four_bits() {
    let source = safetensors_file(&[bf16("w", &Random::new(51).trained_weights(200_000))]);
    let place = Place::with_compressed(&source, &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    let [exponent, high, low] = &shown["tensors"][0]["fields"].as_array().unwrap()[..] else {
        panic!("BF16 has three fields")
    };
    let codes = exponent["stored_bits"]["codes"].as_f64().unwrap() / 200_000.0;
    let entropy = exponent["entropy_bits"].as_f64().unwrap();
    assert!(codes < entropy + 0.1, "{codes} {entropy}");
    assert!(codes > entropy - 0.1, "{codes} {entropy}");
    assert_eq!(exponent["palette"].as_array().unwrap().len(), 16);
    assert_eq!([&high["form"], &low["form"]], ["plain", "plain"]);
    assert_eq!(high["stored_bits"]["plain"], 3 * 200_000);
    assert_eq!(low["stored_bits"]["plain"], 4 * 200_000);
    assert_eq!(shown["tensors"][0]["others"]["plain"], 200_000);
    assert_eq!(shown["tensors"][0]["chunk_size_log2"], 15);

    place
        .run(&["transcode", "m.unw", "--to", "palette", "-o", "p.unw"])
        .succeeds();
    let shown = place.run(&["inspect", "p.unw", "--json"]).json();
    // The last step is filled up.
    let steps = 200_000u64.div_ceil(256);
    let exponent = &shown["tensors"][0]["fields"][0];
    assert_eq!(exponent["stored_bits"]["codes"], 4 * 256 * steps);
}

#[test]
fn parts_are_as_large_as_the_format_makes_them() {
    let mut numbers = Random::new(52);
    let mut weights = numbers.trained_weights(40_000);
    // The second of ten chunks is verbatim.
    weights[4_096..8_192].copy_from_slice(&numbers.random_weights(4_096));
    let source = safetensors_file(&[bf16("w", &weights)]);
    for (encoding, lane_ends_bytes) in [("huffman", 64), ("palette", 0)] {
        let place = Place::with_compressed(&source, &["--encoding", encoding, "--chunk", "12"]);
        let shown = place.run(&["inspect", "m.unw", "--json"]).json();
        let tensor = &shown["tensors"][0];
        let bits = |part: &str| number(&tensor["fields"][0]["stored_bits"][part]);
        assert_eq!(bits("plain"), 0);
        assert_eq!(bits("verbatim"), 8 * 4_096);
        assert_eq!(bits("lane_ends"), 8 * 9 * lane_ends_bytes);
        assert_eq!(bits("record_headers"), 8 * 10 * 12);
        assert_eq!(bits("checksums"), 8 * 10 * 4);
        assert_eq!(bits("record_ends"), 8 * 10 * 4);
        assert_eq!(bits("palettes"), 8 * 16);
        assert_eq!(bits("constants"), 0);
        assert_eq!(bits("patches") % 24, 0);
        // Padding is less than a byte for each lane, and 16 bytes for each record.
        let most = 9 * 32 * 7 + 8 * 10 * 15;
        assert!(bits("padding") <= most, "{}", bits("padding"));
        // It is less than 256 bytes in front of the plain plane and of the palette, and less than 16
        // in front of the records.
        let others = number(&tensor["others"]["padding"]);
        assert!(others <= 8 * (2 * 255 + 15), "{others}");
        assert_eq!(tensor["others"]["plain"], 40_000);
        assert_eq!(tensor["others"]["checksums"], 0);
    }
}

#[test]
fn constants_are_told_with_their_values() {
    // F32 that was BF16: three fields of the mantissa are zero.
    let weights = Random::new(53).trained_weights(50_000);
    let weights = weights
        .iter()
        .flat_map(|weight| weight.to_f32().to_le_bytes());
    let source = safetensors_file(&[tensor("w", "F32", &[50_000], weights.collect())]);
    let place = Place::with_compressed(&source, &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    let tensor = &shown["tensors"][0];
    assert_eq!(tensor["coding"], "huffman 1, constant 3 of 6");
    for number in 3..6 {
        let field = &tensor["fields"][number];
        assert_eq!([&field["form"], &field["field"]], ["constant", "mantissa"]);
        assert_eq!(
            [&field["constant"], &field["palette"]],
            [&json!(0), &json!(null)]
        );
        assert_eq!(field["stored_bits"]["constants"], 128);
        assert_eq!(sum(&field["stored_bits"]), 128);
    }
    assert_eq!(tensor["forms"][0], "huffman");
    assert!(tensor["over_bits"].as_f64().unwrap() < 0.2, "{tensor}");
}

#[test]
fn fields_are_named_by_what_they_are() {
    let mut random = Random::new(54);
    let of = |dtype: Dtype, random: &mut Random| {
        let data = any_weights(dtype, 64, random);
        let elements = 8 * data.len() as u64 / dtype.bits();
        tensor(dtype.name(), dtype.name(), &[elements], data)
    };
    let tensors = [Dtype::F8E4M3, Dtype::I16, Dtype::Bf16].map(|dtype| of(dtype, &mut random));
    let place = Place::with_compressed(&safetensors_file(&tensors), &[]);
    let table = String::from_utf8(place.run(&["inspect", "m.unw"]).succeeds()).unwrap();
    let rows = [
        "F8_E4M3 exponent [6..3]",
        "F8_E4M3 mantissa [2..0]",
        "F8_E4M3 others",
        "I16 bits [15..12]",
        "I16 others",
        "BF16 exponent [14..7]",
        "BF16 mantissa [6..4]",
        "BF16 mantissa [3..0]",
        "BF16 others",
    ];
    let found = rows.map(|row| table.find(row));
    assert!(found.is_sorted() && found[0].is_some(), "{table}");
}

#[test]
fn the_report_looks_like_this() {
    let ones = bytes_of(&[bf16::ONE; 4_096]);
    let mut halves = ones.clone();
    halves.chunks_mut(4).for_each(|pair| pair[1] = 0x40);
    let source = safetensors_file(&[
        tensor("model.norm", "BF16", &[64, 64], ones),
        tensor("model.w", "BF16", &[4_096], halves),
        tensor("step", "I64", &[], vec![7, 0, 0, 0, 0, 0, 0, 0]),
    ]);
    let place = Place::with_compressed(&source, &[]);
    let shown = String::from_utf8(place.run(&["inspect", "m.unw"]).succeeds()).unwrap();
    assert_eq!(shown, include_str!("inspect.txt"));
}

#[test]
fn the_directory_alone_says_the_same_but_for_what_it_does_not_hold() {
    let place = Place::with_compressed(&mixed(), &[]);
    let mut whole = place.run(&["inspect", "m.unw", "--json"]).json();
    let directory = place
        .run(&["inspect", "m.unw", "--directory", "--json"])
        .json();
    for tensor in whole["tensors"].as_array_mut().unwrap() {
        assert!(tensor["fields"].is_array());
        for read in ["fields", "others", "entropy_bits", "over_bits"] {
            tensor[read] = Value::Null;
        }
    }
    for totals in ["compressed", "tensors", "file"] {
        for read in ["stored_bits", "entropy_bits", "over_bits"] {
            whole["totals"][totals][read] = Value::Null;
        }
    }
    whole["fields"] = Value::Null;
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
    assert_eq!(shown["fields"], json!([]));
    assert_eq!(shown["totals"]["tensors"]["bits_per_weight"], json!(null));
    place.run(&["inspect", "m.unw"]).succeeds();
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The sum of all members of an object.
fn sum(stored: &Value) -> u64 {
    stored.as_object().unwrap().values().map(number).sum()
}
