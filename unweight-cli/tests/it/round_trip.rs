//! Round trips through `compress`, `verify --against` and `decompress`, over every kind of tensor.

use half::bf16;
use sha2::{Digest, Sha256};
use unweight_format::{Dtype, Encoding};
use unweight_testkit::{
    Form, Random, Records, Tensor, bf16, bytes_of, container, safetensors_file, safetensors_json,
    tensor, with_header,
};

use crate::model::{every_dtype, mixed};
use crate::place::Place;

/// Requires round trips with both encodings, and with the least, the default and the greatest
/// chunk.
#[track_caller]
fn round_trips(source: &[u8]) {
    let place = Place::with("m.safetensors", source);
    for encoding in ["huffman", "palette"] {
        for chunk in ["12", "15", "16"] {
            let coding = ["--encoding", encoding, "--chunk", chunk, "--force"];
            let compress = ["compress", "m.safetensors", "--quiet"];
            place.run(&[&compress[..], &coding].concat()).succeeds();
            restores(&place, source);
        }
    }
}

/// Requires that `m.unw` restores `m.safetensors`.
#[track_caller]
fn restores(place: &Place, source: &[u8]) {
    let verify = ["verify", "m.unw", "--against", "m.safetensors"];
    let result = place.run(&[&verify[..], &["--json"]].concat()).json();
    assert_eq!(result["ok"], true);
    assert_eq!(result["restored_bytes"], source.len());
    let decompress = ["decompress", "m.unw", "-o", "back.safetensors"];
    let quietly = ["--force", "--quiet"];
    place.run(&[&decompress[..], &quietly].concat()).succeeds();
    let back = place.read("back.safetensors");
    assert_eq!(Sha256::digest(back), Sha256::digest(source));
}

/// Every bit pattern, once each.
fn every_pattern() -> Vec<bf16> {
    (0..=u16::MAX).map(bf16::from_bits).collect()
}

#[test]
fn restores_every_bf16_pattern() {
    round_trips(&safetensors_file(&[bf16("w", &every_pattern())]));
}

#[test]
fn restores_every_bf16_pattern_among_trained_weights() {
    // This tensor is coded, unlike the patterns alone. Patterns that are rare enough become
    // patches.
    let mut weights = Random::new(1).trained_weights(1_000_000);
    for (place, pattern) in every_pattern().into_iter().enumerate() {
        weights[15 * place] = pattern;
    }
    let source = safetensors_file(&[bf16("w", &weights)]);
    let place = Place::with_compressed(&source, &[]);
    assert_eq!(codings(&place), ["huffman 1 of 3"]);
    restores(&place, &source);
}

#[test]
fn restores_nans_with_payloads() {
    let nans = (0..20_000).map(|i| bf16::from_bits(0x7F80 | (1 + i % 127) | ((i % 2) << 15)));
    round_trips(&safetensors_file(&[bf16("w", &nans.collect::<Vec<_>>())]));
}

#[test]
fn restores_zeros_of_both_signs() {
    let zeros = |bits| vec![bf16::from_bits(bits); 70_000];
    round_trips(&safetensors_file(&[
        bf16("plus", &zeros(0)),
        bf16("minus", &zeros(0x8000)),
    ]));
}

#[test]
fn restores_one_exponent_to_seventeen() {
    let mut numbers = Random::new(2);
    let tensors: Vec<Tensor> = [1, 2, 3, 15, 16, 17]
        .map(|count| {
            let exponents: Vec<u8> = (0..count).map(|i| 255 - 15 * i).collect();
            bf16(&count.to_string(), &numbers.weights_of(&exponents, 9_000))
        })
        .into();
    round_trips(&safetensors_file(&tensors));
}

#[test]
fn restores_exponents_that_change_from_chunk_to_chunk() {
    let mut numbers = Random::new(3);
    let weights: Vec<bf16> = (0..20u8)
        .flat_map(|part| numbers.weights_of(&[part, part + 100, 200], 5_000))
        .collect();
    round_trips(&safetensors_file(&[bf16("w", &weights)]));
}

#[test]
fn restores_tensors_of_every_length_around_steps_and_chunks() {
    let mut numbers = Random::new(4);
    let lengths = [
        0, 1, 2, 63, 64, 65, 255, 256, 257, 511, 513, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385,
        32_767, 32_768, 32_769, 65_535, 65_536, 65_537,
    ];
    let tensors: Vec<Tensor> = lengths
        .map(|length| bf16(&length.to_string(), &numbers.trained_weights(length)))
        .into();
    round_trips(&safetensors_file(&tensors));
}

#[test]
fn random_bits_grow_by_less_than_a_thousandth() {
    let source = safetensors_file(&[bf16("w", &Random::new(5).random_weights(520_000))]);
    assert!(source.len() > 1_000_000);
    round_trips(&source);
    for encoding in ["huffman", "palette"] {
        let place = Place::with_compressed(&source, &["--encoding", encoding]);
        assert_eq!(codings(&place), ["raw"]);
        let growth = place.read("m.unw").len() - source.len();
        assert!(1_000 * growth < source.len(), "{growth} bytes");
    }
}

#[test]
fn trained_weights_shrink_by_a_third_as_huffman_and_a_quarter_as_palette() {
    let source = safetensors_file(&[bf16("w", &Random::new(6).trained_weights(300_000))]);
    for (encoding, percent) in [("huffman", 67), ("palette", 76)] {
        let place = Place::with_compressed(&source, &["--encoding", encoding]);
        assert_eq!(codings(&place), [format!("{encoding} 1 of 3")]);
        let length = place.read("m.unw").len();
        assert!(
            100 * length < percent * source.len(),
            "{encoding}: {length}"
        );
    }
}

#[test]
fn restores_random_chunks_among_trained_ones() {
    let mut numbers = Random::new(7);
    let mut weights = numbers.trained_weights(600_000);
    weights[65_536..131_072].copy_from_slice(&numbers.random_weights(65_536));
    let source = safetensors_file(&[bf16("w", &weights)]);
    round_trips(&source);
    let place = Place::with_compressed(&source, &["--encoding", "palette"]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    assert_eq!(
        shown["totals"]["tensors"]["stored_bits"]["verbatim"],
        8 * 65_536
    );
}

#[test]
fn restores_scalars_and_empty_dimensions() {
    round_trips(&safetensors_file(&[
        tensor("scalar", "BF16", &[], vec![1, 2]),
        tensor("float scalar", "F32", &[], vec![1, 2, 3, 4]),
        tensor("empty", "BF16", &[0], vec![]),
        tensor("first", "BF16", &[0, 1 << 60], vec![]),
        tensor("last", "F64", &[1 << 60, 1 << 60, 0], vec![]),
        tensor("ones", "BF16", &[1; 64], vec![3, 4]),
    ]));
}

#[test]
fn restores_tensors_of_every_type_beside_bf16() {
    let mut numbers = Random::new(8);
    let mut tensors = vec![bf16("first", &numbers.trained_weights(5_000))];
    for dtype in Dtype::ALL {
        // 100 elements of any type fill whole bytes; 70,000 are more than a block.
        for count in [100, 70_000] {
            let data = numbers.bytes((count * dtype.bits() / 8) as usize);
            let name = format!("{dtype} {count}");
            tensors.push(tensor(&name, dtype.name(), &[count], data));
        }
    }
    tensors.push(bf16("last", &numbers.trained_weights(5_000)));
    round_trips(&safetensors_file(&tensors));
}

#[test]
fn restores_a_model_without_bf16() {
    let source = safetensors_file(&[
        tensor("a", "F32", &[3], vec![1; 12]),
        tensor("b", "I8", &[5], vec![2; 5]),
    ]);
    round_trips(&source);
    let place = Place::with_compressed(&source, &[]);
    assert_eq!(codings(&place), ["raw", "raw"]);
}

#[test]
fn restores_a_model_without_tensors() {
    round_trips(&safetensors_file(&[]));
    let metadata = r#"{"__metadata__":{"format":"pt","":"\u0000"}}"#;
    round_trips(&with_header(metadata, &[]));
}

#[test]
fn restores_a_model_whose_metadata_is_null() {
    let tensors = [
        bf16("w", &Random::new(12).trained_weights(5_000)),
        tensor("b", "F32", &[2], vec![7; 8]),
    ];
    let data = tensors
        .each_ref()
        .map(|tensor| tensor.data.clone())
        .concat();
    let members = &safetensors_json(&tensors)[1..];
    round_trips(&with_header(
        &format!("{{\"__metadata__\": null, {members}"),
        &data,
    ));
    round_trips(&with_header("{\"__metadata__\":\n null }", &[]));
}

#[test]
fn restores_names_of_any_kind() {
    let long = "n".repeat(65_535);
    let names = [
        "",
        " ",
        ".",
        "a/b",
        "\"",
        "\\",
        "\n",
        "a\r\n\tb",
        "\0",
        "\u{1b}[31mred",
        "\u{7f}",
        "né",
        "ne\u{301}",
        "重み",
        "🦀",
        "\u{10ffff}",
        "\u{feff}",
        "__metadata",
        "-x",
        &long,
    ];
    let tensors: Vec<Tensor> = names
        .map(|name| tensor(name, "U8", &[3], vec![name.len() as u8; 3]))
        .into();
    round_trips(&safetensors_file(&tensors));
}

#[test]
fn restores_headers_that_leave_the_data_at_any_offset() {
    let tensors = [
        bf16("w", &Random::new(9).trained_weights(5_000)),
        tensor("b", "F32", &[2], vec![7; 8]),
    ];
    let data = tensors
        .each_ref()
        .map(|tensor| tensor.data.clone())
        .concat();
    let plain = safetensors_json(&tensors);
    for padding in 0..9 {
        let padded = format!("{plain}{}", " ".repeat(padding));
        round_trips_quickly(&with_header(&padded, &data));
    }
    round_trips_quickly(&with_header(&format!("{plain}\n\t\r "), &data));
}

#[test]
fn restores_headers_in_any_style() {
    let header = "{ \"__metadata__\" : {\"format\":\"pt\", \"é\\u00e9\":\"\\ud83e\\udd80\"},\n
        \"late\"\t: {\"data_offsets\":[4, 8 ] , \"dtype\":\"BF16\",\"shape\":[1,\n2]},
        \"e\\u0061rly\":{\"shap\\u0065\":[2],\"dtype\":\"\\u0042F16\",\"data_offsets\":[0,4]},
        \"empty, in between\":{\"shape\":[0],\"dtype\":\"U8\",\"data_offsets\":[4,4]} }  \n";
    let source = with_header(header, &[1, 2, 3, 4, 5, 6, 7, 8]);
    round_trips(&source);
    let place = Place::with_compressed(&source, &[]);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    let names: Vec<_> = shown["tensors"].as_array().unwrap().iter().collect();
    assert_eq!(names[0]["name"], "early");
    assert_eq!(names[1]["name"], "empty, in between");
    assert_eq!(names[2]["name"], "late");
}

#[test]
fn restores_what_the_safetensors_crate_writes() {
    let weights = Random::new(10).trained_weights(10_000);
    let data = bytes_of(&weights);
    let view = |dtype, shape, data| safetensors::tensor::TensorView::new(dtype, shape, data);
    let views = [
        (
            "w",
            view(safetensors::Dtype::BF16, vec![100, 100], &data).unwrap(),
        ),
        (
            "v",
            view(safetensors::Dtype::F32, vec![25], &data[..100]).unwrap(),
        ),
    ];
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    round_trips(&safetensors::serialize(views, Some(metadata)).unwrap());
}

/// No canonical encoder writes this tensor: verbatim records alone are longer than raw data.
#[test]
fn restores_a_coded_tensor_whose_every_chunk_is_verbatim() {
    let w = bf16("w", &Random::new(11).weights_of(&[120, 121, 122], 10_000));
    let source = safetensors_file(std::slice::from_ref(&w));
    let place = Place::with("m.safetensors", &source);
    for (name, encoding) in [
        ("huffman", Encoding::Huffman),
        ("palette", Encoding::Palette),
    ] {
        let form = Form {
            encoding,
            chunk_size_log2: 12,
            records: Records::Verbatim,
        };
        place.write("m.unw", &container(&[w.clone().stored(form)], true));
        assert_eq!(codings(&place), [format!("{name} 1 of 3")]);
        restores(&place, &source);

        // The weights compress well, so that transcoding gives the same file as compressing with
        // the other encoding.
        let other = if name == "huffman" {
            "palette"
        } else {
            "huffman"
        };
        let compress = [
            "compress",
            "m.safetensors",
            "--chunk",
            "12",
            "-o",
            "direct.unw",
        ];
        let coding = ["--force", "--encoding", other];
        place.run(&[&compress[..], &coding].concat()).succeeds();
        let transcode = [
            "transcode",
            "m.unw",
            "-o",
            "t.unw",
            "--force",
            "--to",
            other,
        ];
        place.run(&transcode).succeeds();
        assert_eq!(place.read("t.unw"), place.read("direct.unw"));
    }
}

#[test]
fn a_container_of_no_source_restores_its_tensors_alone() {
    let file = container(&[tensor("b", "U8", &[5], b"hello".to_vec())], false);
    let place = Place::with("m.unw", &file);
    place.run(&["decompress", "m.unw", "-o", "data"]).succeeds();
    assert_eq!(place.read("data"), b"hello");
}

/// Requires one round trip, for claims that do not depend on encoding and chunk.
#[track_caller]
fn round_trips_quickly(source: &[u8]) {
    restores(&Place::with_compressed(source, &[]), source);
}

#[test]
fn restores_a_model_of_many_kinds_of_tensors() {
    let source = mixed();
    round_trips(&source);
    let place = Place::with_compressed(&source, &[]);
    let huffman = "huffman 1 of 3";
    let coded = [
        "raw",
        huffman,
        "constant 1 of 3",
        "raw",
        "raw",
        "raw",
        huffman,
    ];
    assert_eq!(codings(&place), coded);
}

#[test]
fn restores_fields_of_every_type_in_every_form() {
    for weights in [100, 5_000, 70_000] {
        let source = every_dtype(weights);
        round_trips(&source);
        let place = Place::with_compressed(&source, &[]);
        let codings = codings(&place);
        if weights > 100 {
            assert!(
                codings.iter().any(|coding| coding.starts_with("huffman")),
                "{codings:?}"
            );
            assert!(
                codings.iter().any(|coding| coding.contains("constant")),
                "{codings:?}"
            );
        }
    }
}

#[test]
fn restores_thousands_of_tensors_of_one_weight_that_grow_within_the_bound() {
    let mut numbers = Random::new(13);
    let dtypes = [Dtype::Bf16, Dtype::F32, Dtype::F8E4M3, Dtype::I64];
    let tensors: Vec<Tensor> = (0..20_000)
        .map(|number| {
            let dtype = dtypes[number % dtypes.len()];
            tensor(
                &format!("t{number}"),
                dtype.name(),
                &[1],
                numbers.bytes(dtype.weight_bytes()),
            )
        })
        .collect();
    let source = safetensors_file(&tensors);
    round_trips_quickly(&source);
    let place = Place::with_compressed(&source, &[]);
    let length = place.read("m.unw").len();
    assert!(
        100 * length <= 250 * source.len(),
        "{length} bytes of {}",
        source.len()
    );
    // Section 9 of the specification.
    let names: usize = tensors.iter().map(|tensor| tensor.name.len()).sum();
    let bound = source.len() + source.len() / 16_384 + 400 + names + tensors.len() * (40 + 8 + 15);
    assert!(length <= bound, "{length} bytes of at most {bound}");
}

/// How the tensors of `m.unw` are stored.
fn codings(place: &Place) -> Vec<String> {
    let shown = place.run(&["inspect", "m.unw", "--directory", "--json"]);
    let tensors = shown.json()["tensors"].take();
    let tensors = tensors.as_array().unwrap().iter();
    tensors
        .map(|tensor| tensor["coding"].as_str().unwrap().to_owned())
        .collect()
}
