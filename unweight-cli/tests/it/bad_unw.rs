//! Unweight files that break a rule. One line names the rule, the offset, what was found and what
//! was expected.

use unweight_format::layout::{entry, file_header, record};
use unweight_format::{Category, Rule};
use unweight_testkit::restored;

use crate::model::small;
use crate::place::Place;
use crate::restamp::Small;

/// [`small`], compressed by the program.
fn compressed(encoding: &str) -> Small {
    Small(Place::with_compressed(&small(), &["--encoding", encoding]).read("m.unw"))
}

/// Requires that every command that reads all of a file rejects this one, in one line that contains
/// `rule`, and leaves nothing behind.
#[track_caller]
fn rejects(file: &[u8], rule: &str) {
    let place = Place::with("bad.unw", file);
    for call in [
        &["verify", "bad.unw"][..],
        &["decompress", "bad.unw"],
        &["transcode", "bad.unw", "--to", "huffman", "-o", "out.unw"],
        &["transcode", "bad.unw", "--to", "palette", "-o", "out.unw"],
    ] {
        let line = place.run(call).fails(1);
        names(&line, rule);
        assert_eq!(place.names(), ["bad.unw"], "{call:?}");
    }
}

/// Requires that a line names the rule, the byte, what was found there and what was expected.
#[track_caller]
fn names(line: &str, rule: &str) {
    let says = |words: &str| line.contains(words);
    assert!(
        says("bad.unw: ") && says(&format!("{rule} at byte ")),
        "{rule}: {line}"
    );
    assert!(says(": found ") && says(", expected "), "{line}");
}

#[test]
fn every_flipped_bit_is_found() {
    for encoding in ["huffman", "palette"] {
        let mut file = compressed(encoding).0;
        assert_eq!(restored(&file[..]).unwrap(), small());
        for bit in 0..8 * file.len() {
            file[bit / 8] ^= 1 << (bit % 8);
            let rule = restored(&file[..]).err().and_then(|error| error.rule());
            assert!(
                rule.is_some(),
                "{encoding}: bit {} of byte {}",
                bit % 8,
                bit / 8
            );
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_shortened_file_is_truncated() {
    for encoding in ["huffman", "palette"] {
        let file = compressed(encoding).0;
        for length in 0..file.len() {
            let rule = restored(&file[..length])
                .err()
                .and_then(|error| error.rule());
            assert_eq!(rule, Some(Rule::FileTruncated), "{length}");
        }
    }
}

#[test]
fn the_program_finds_flipped_bits_too() {
    for encoding in ["huffman", "palette"] {
        let file = compressed(encoding);
        let coded = file.coded();
        let last = file.0.len() as u64 - 1;
        for (offset, rule) in [
            (0, "file-magic"),
            (file_header::FILE_LENGTH, "file-header-crc"),
            (file.entry(0, entry::PALETTE_CHECKSUM), "dir-crc"),
            (file.source().offset + 9, "source-crc"),
            (coded.plain().offset + 77, "record-crc"),
            (coded.palettes().offset, "palette-crc"),
            (coded.record_ends().offset, "record-ends"),
            (coded.records().end() - 1, "record-crc"),
            (last, "padding"),
        ] {
            let mut spoilt = Small(file.0.clone());
            spoilt.flip(offset, 0x10);
            rejects(&spoilt.0, rule);
        }
    }
}

#[test]
fn the_program_finds_truncation_wherever_it_is() {
    let file = compressed("huffman").0;
    for length in [0, 1, 7, 8, 63, 64, 65, 300, file.len() / 2, file.len() - 1] {
        rejects(&file[..length], "file-truncated");
    }
}

#[test]
fn every_command_says_what_is_missing() {
    let file = compressed("huffman").0;
    let place = Place::with("bad.unw", &file[..file.len() - 1]);
    for call in [
        &["inspect", "bad.unw"][..],
        &["inspect", "bad.unw", "--directory"],
        &["report", "bad.unw", "-o", "report.html"],
        &["extract", "bad.unw", "w"],
        &["extract", "bad.unw", "w", "--range", "0..1"],
    ] {
        let line = place.run(call).fails(1);
        names(&line, "file-truncated");
        let (found, expected) = (file.len() - 1, file.len());
        assert!(
            line.contains(&format!("found {found}, expected at least {expected}")),
            "{line}"
        );
    }
}

#[test]
fn rejects_files_of_another_kind() {
    rejects(
        b"Dear reader,\nthis is a letter, and a longer one than any header could be, by far.\n",
        "file-magic",
    );
    rejects(&small(), "file-magic");
    rejects(b"\x89PNG\r\n\x1a\n", "file-magic");
}

#[test]
fn rejects_a_future_major_version() {
    let mut file = compressed("huffman");
    file.set(file_header::MAJOR_VERSION, &2u16.to_le_bytes());
    rejects(&file.0, "file-version");
    file.stamp();
    rejects(&file.0, "file-version");
    assert_eq!(Rule::FileVersion.category(), Category::Unsupported);
}

#[test]
fn a_future_minor_version_is_read() {
    let mut file = compressed("huffman");
    file.set(file_header::MAJOR_VERSION + 2, &7u16.to_le_bytes());
    file.stamp();
    assert_eq!(restored(&file.0).unwrap(), small());
    let place = Place::with("m.unw", &file.0);
    let shown = place.run(&["inspect", "m.unw", "--json"]).json();
    assert_eq!(shown["format_version"], "1.7");
}

#[test]
fn rejects_trailing_bytes() {
    let mut file = compressed("palette").0;
    file.push(0);
    rejects(&file, "file-trailing");
}

#[test]
fn restamped_fields_break_the_rule_behind_the_checksum() {
    type Change = fn(&mut Small);
    let changes: [(&str, Change); 19] = [
        ("file-reserved", |file| {
            file.set(file_header::RESERVED, &[1])
        }),
        ("limit-tensors", |file| {
            file.set(file_header::TENSOR_COUNT, &[0xFF; 4])
        }),
        ("source-kind", |file| {
            file.set(file_header::SOURCE_KIND, &[9])
        }),
        ("source-length", |file| {
            file.set(file_header::SOURCE_KIND, &[0])
        }),
        ("dir-reserved", |file| {
            file.set(file.entry(1, entry::RESERVED_HALF), &[1])
        }),
        ("dims-end", |file| {
            file.set(file.entry(0, entry::DIMS_END), &[3])
        }),
        ("name-end", |file| {
            file.set(file.entry(0, entry::NAME_END), &[3])
        }),
        ("name-order", |file| {
            file.set(file.entry(0, entry::BY_NAME), &[2])
        }),
        ("dtype-unknown", |file| {
            file.set(file.entry(1, entry::DTYPE), &[23])
        }),
        ("form-unknown", |file| {
            file.set(file.entry(1, entry::FORMS), &[4])
        }),
        ("form-field", |file| {
            file.set(file.entry(1, entry::FORMS), &[2])
        }),
        ("chunk-size", |file| {
            file.set(file.entry(1, entry::CHUNK_SIZE), &[15])
        }),
        ("chunk-size", |file| {
            file.set(file.entry(0, entry::CHUNK_SIZE), &[17])
        }),
        ("palette-crc", |file| {
            file.set(file.entry(1, entry::PALETTE_CHECKSUM), &[1])
        }),
        ("palette-values", |file| {
            file.set(file.coded().palettes().offset, &[255])
        }),
        ("limit-extensions", |file| {
            file.set(file_header::EXTENSION_LENGTH, &[0xFF; 4])
        }),
        ("payload-end", |file| {
            file.flip(file.entry(0, entry::PAYLOAD_END), 1)
        }),
        ("tensor-crc", |file| {
            file.flip(file.entry(1, entry::TENSOR_CHECKSUM), 1)
        }),
        ("source-header", |file| {
            file.flip(file.source().offset + 10, 1)
        }),
    ];
    for (rule, change) in changes {
        let mut file = compressed("huffman");
        change(&mut file);
        file.stamp();
        rejects(&file.0, rule);
    }
}

#[test]
fn restamped_records_break_the_rule_behind_the_checksum() {
    type Change = fn(&mut Small, u64);
    let changes: [(&str, &str, Change); 9] = [
        ("huffman", "record-kind", |file, at| {
            file.set(at + record::KIND, &[3])
        }),
        ("huffman", "record-form", |file, at| {
            file.set(at + record::KIND, &[2])
        }),
        ("palette", "record-form", |file, at| {
            file.set(at + record::KIND, &[1])
        }),
        ("palette", "record-reserved", |file, at| {
            file.set(at + record::CODE_LENGTHS, &[1])
        }),
        ("huffman", "record-length", |file, at| {
            file.set(at + record::PATCH_COUNT, &[100])
        }),
        ("huffman", "code-length", |file, at| {
            file.set(at + record::CODE_LENGTHS, &[0x9F])
        }),
        ("huffman", "code-oversubscribed", |file, at| {
            file.set(at + record::CODE_LENGTHS, &[0x11; 8])
        }),
        ("huffman", "code-incomplete", |file, at| {
            file.set(at + record::CODE_LENGTHS, &[0xFF; 8])
        }),
        ("huffman", "lane-ends", |file, at| {
            file.set(at + record::LANE_ENDS, &[0xFF; 2])
        }),
    ];
    for (encoding, rule, change) in changes {
        let mut file = compressed(encoding);
        let coded = file.coded();
        change(&mut file, coded.records().offset);
        file.stamp();
        rejects(&file.0, rule);
    }
}

#[test]
fn weights_that_a_record_covers_and_the_tensor_does_not_break_its_checksum() {
    let mut file = compressed("huffman");
    let coded = file.coded();
    file.flip(coded.plain().offset, 1);
    file.stamp();
    rejects(&file.0, "tensor-crc");
}

#[test]
fn the_tensor_is_named_where_it_is_one_tensors_fault() {
    let mut file = compressed("huffman");
    file.flip(file.coded().plain().offset, 1);
    let place = Place::with("bad.unw", &file.0);
    for call in [
        &["verify", "bad.unw"][..],
        &["inspect", "bad.unw"],
        &["report", "bad.unw", "-o", "report.html"],
        &["extract", "bad.unw", "w", "-o", "w"],
    ] {
        let line = place.run(call).fails(1);
        assert!(line.contains("tensor \"w\": record-crc at byte"), "{line}");
    }
}

#[test]
fn json_has_the_rule_and_its_numbers() {
    let file = compressed("huffman").0;
    let place = Place::with("bad.unw", &file[..100]);
    let (line, failure) = place
        .run(&["verify", "bad.unw", "--json"])
        .fails_with_json(1);
    let error = &failure["error"];
    assert_eq!(error["kind"], "bad");
    assert_eq!(
        line,
        format!("unweight: {}", error["message"].as_str().unwrap())
    );
    let rule = &error["rule"];
    assert_eq!(
        [&rule["rule"], &rule["category"], &rule["section"]],
        ["file-truncated", "truncated", "3.1"]
    );
    assert_eq!([&rule["offset"], &rule["found"]], [100, 100]);
    assert_eq!(rule["expected_at_least"], file.len());
}

#[test]
fn verify_finds_a_source_that_differs() {
    let source = small();
    let place = Place::with_compressed(&source, &[]);
    let against = |other: &[u8]| {
        place.write("other", other);
        place
            .run(&["verify", "m.unw", "--against", "other"])
            .fails(1)
    };
    let mut changed = source.clone();
    let at = source.len() - 5;
    changed[at] ^= 0x80;
    assert!(against(&changed).contains(&format!("differs from other at byte {at}")));
    let shorter = &source[..source.len() - 1];
    assert!(against(shorter).contains(&format!("differs from other at byte {}", shorter.len())));
    let longer = [&source[..], &[0]].concat();
    assert!(against(&longer).contains(&format!(
        "restores {} bytes, but other has {}",
        source.len(),
        longer.len()
    )));
    assert!(against(&[]).contains("differs from other at byte 0"));
}
