//! `extract`: the bytes of a tensor, equal to those that another reader of the source gets.

use std::ops::Range;

use safetensors::SafeTensors;
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::{every_dtype, mixed};
use crate::place::Place;

#[test]
fn whole_tensors_are_what_the_safetensors_crate_reads() {
    let source = mixed();
    let expected = SafeTensors::deserialize(&source).unwrap();
    for encoding in ["huffman", "palette"] {
        let place = Place::with_compressed(&source, &["--encoding", encoding, "--chunk", "12"]);
        for (name, view) in expected.tensors() {
            let piped = place.run(&["extract", "m.unw", &name]).succeeds();
            assert!(piped == view.data(), "{name}");
            let to_file = [
                "extract", "m.unw", &name, "-o", "t.bin", "--force", "--quiet",
            ];
            place.run(&to_file).succeeds();
            assert!(place.read("t.bin") == view.data(), "{name}");
        }
    }
}

#[test]
fn ranges_are_slices_of_the_whole() {
    let source = mixed();
    let expected = SafeTensors::deserialize(&source).unwrap();
    // The ranges are around the borders of chunks of 2^12 weights and of blocks of 2^16 bytes.
    let ranges: [(&str, &[Range<usize>]); 5] = [
        (
            "embed",
            &[
                0..0,
                0..1,
                4_095..4_097,
                4_096..8_192,
                1..69_999,
                69_999..70_000,
                70_000..70_000,
            ],
        ),
        ("noise", &[0..1, 32_767..32_769, 3..39_999, 32_768..40_000]),
        ("bias", &[0..0, 16_383..16_385, 5..29_999, 29_999..30_000]),
        ("steps", &[0..1, 1..1]),
        ("none", &[0..0, 0..0]),
    ];
    for encoding in ["huffman", "palette"] {
        let place = Place::with_compressed(&source, &["--encoding", encoding, "--chunk", "12"]);
        for (name, ranges) in ranges {
            let view = expected.tensor(name).unwrap();
            let element_bytes = view.dtype().bitsize() / 8;
            for range in ranges {
                let text = format!("{}..{}", range.start, range.end);
                let part = place
                    .run(&["extract", "m.unw", name, "--range", &text])
                    .succeeds();
                let bytes = range.start * element_bytes..range.end * element_bytes;
                assert!(part == view.data()[bytes], "{encoding} {name} {text}");
            }
        }
    }
}

#[test]
fn ranges_of_elements_of_every_type_are_slices_of_the_whole() {
    let source = every_dtype(10_000);
    let data = &source[8 + u64::from_le_bytes(source[..8].try_into().unwrap()) as usize..];
    let place = Place::with_compressed(&source, &["--chunk", "12"]);
    let shown = place
        .run(&["inspect", "m.unw", "--directory", "--json"])
        .json();
    let mut start = 0;
    for tensor in shown["tensors"].as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        let number = |key: &str| tensor[key].as_u64().unwrap() as usize;
        let (elements, bytes) = (number("elements"), number("data_bytes"));
        let data = &data[start..start + bytes];
        start += bytes;
        for range in [0..0, 0..8, 4_096..8_192, 8_184..8_208, 8..elements] {
            let text = format!("{}..{}", range.start, range.end);
            let call = ["extract", "m.unw", name, "--range", &text];
            let part = place.run(&call).succeeds();
            let at = |element: usize| element * bytes / elements;
            assert!(
                part == data[at(range.start)..at(range.end)],
                "{name} {text}"
            );
        }
    }
    assert_eq!(start, data.len());
}

#[test]
fn extracts_ranges_longer_than_what_is_read_at_a_time() {
    let weights = Random::new(40).trained_weights((1 << 20) + 5_000);
    let bytes = bf16("", &weights).data;
    let source = safetensors_file(&[
        bf16("coded", &weights),
        tensor("raw", "U8", &[bytes.len() as u64], bytes.clone()),
    ]);
    let place = Place::with_compressed(&source, &[]);
    let part = |name, range: &str| {
        place
            .run(&["extract", "m.unw", name, "--range", range])
            .succeeds()
    };
    assert!(part("coded", "1048570..1048580") == bytes[2 * 1_048_570..2 * 1_048_580]);
    assert!(part("coded", "1..1053575") == bytes[2..2 * 1_053_575]);
    assert!(part("raw", "1..2107151") == bytes[1..2_107_151]);
}

#[test]
fn ranges_of_small_elements_fill_whole_bytes_or_are_refused() {
    let source = safetensors_file(&[
        tensor("f4", "F4", &[8], vec![0x10, 0x32, 0x54, 0x76]),
        tensor("f6", "F6_E2M3", &[8], vec![1, 2, 3, 4, 5, 6]),
    ]);
    let place = Place::with_compressed(&source, &[]);
    let part = |name, range| place.run(&["extract", "m.unw", name, "--range", range]);
    assert_eq!(part("f4", "2..6").succeeds(), [0x32, 0x54]);
    assert_eq!(part("f6", "4..8").succeeds(), [4, 5, 6]);
    for (name, range) in [("f4", "1..6"), ("f4", "2..5"), ("f6", "2..4")] {
        assert!(
            part(name, range)
                .fails(2)
                .contains("begins and ends with a whole byte")
        );
    }
}

#[test]
fn finds_names_of_any_kind() {
    let names = ["", "a b", "\"", "\n", "\u{1b}[31m", "🦀", "-x", "--json"];
    let tensors =
        names.map(|name| tensor(name, "U8", &[name.len() as u64], name.as_bytes().to_vec()));
    let place = Place::with_compressed(&safetensors_file(&tensors), &[]);
    for name in names {
        let bytes = place.run(&["extract", "m.unw", "--", name]).succeeds();
        assert_eq!(bytes, name.as_bytes());
    }
}

#[test]
fn a_range_reads_only_its_own_chunks() {
    let source = safetensors_file(&[bf16("w", &Random::new(41).trained_weights(20_000))]);
    let place = Place::with_compressed(&source, &["--chunk", "12"]);
    let mut spoilt = place.read("m.unw");
    // The last record ends where the guard begins.
    let last = spoilt.len() - 64 - 100;
    spoilt[last] ^= 1;
    place.write("m.unw", &spoilt);
    let first = place
        .run(&["extract", "m.unw", "w", "--range", "0..4096"])
        .succeeds();
    assert!(first == source[source.len() - 40_000..][..8_192]);
    for rest in [&["--range", "4096..20000"][..], &[]] {
        let mut arguments = vec!["extract", "m.unw", "w", "-o", "t.bin"];
        arguments.extend(rest);
        assert!(
            place
                .run(&arguments)
                .fails(1)
                .contains("tensor \"w\": record-crc at byte")
        );
        assert_eq!(place.names(), ["m.safetensors", "m.unw"]);
    }
}

#[test]
fn tells_as_json_what_it_wrote() {
    let place = Place::with_compressed(&mixed(), &[]);
    let extract = ["extract", "m.unw", "steps", "--json"];
    let result = place.run(&[&extract[..], &["-o", "t.bin"]].concat()).json();
    assert_eq!([&result["output"], &result["tensor"]], ["t.bin", "steps"]);
    assert_eq!(result["bytes"], 8);
    // Bytes and JSON do not share standard output.
    let (line, failure) = place.run(&extract).fails_with_json(2);
    assert!(line.contains("-o"), "{line}");
    assert_eq!(failure["error"]["kind"], "usage");
}
