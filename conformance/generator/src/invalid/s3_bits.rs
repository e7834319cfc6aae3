//! Sections 3.1 to 3.5 and 8: every byte of a checksum, the middle of every padding, and numbers
//! that a narrow type would cut.

use unweight_format::layout::{entry, file_header};
use unweight_format::{Dtype, Rule};

use super::{big, constants, huffman, huffman_tensor, raw, two_fields};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

pub(super) fn add(cases: &mut Cases) {
    checksums(cases);
    blocks(cases);
    headers(cases);
    extensions(cases);
    middles(cases);
    empty_neighbours(cases);
}

/// The least and the greatest bit of each checksum.
fn checksums(cases: &mut Cases) {
    let noted = huffman().with_source().with_items(&[(7, b"note")]).forge();
    let record = noted.tensor(0).records[0].start;
    let blocks = big().forge();
    let of_entry = |field: u64| noted.entry(0, field);
    let places: [(&str, Rule, &Forge, usize); 8] = [
        (
            "header",
            Rule::FileHeaderCrc,
            &noted,
            file_header::HEADER_CHECKSUM as usize,
        ),
        (
            "directory",
            Rule::DirCrc,
            &noted,
            file_header::DIRECTORY_CHECKSUM as usize,
        ),
        (
            "source",
            Rule::SourceCrc,
            &noted,
            file_header::SOURCE_CHECKSUM as usize,
        ),
        (
            "extension",
            Rule::ExtensionCrc,
            &noted,
            file_header::EXTENSION_CHECKSUM as usize,
        ),
        (
            "palette",
            Rule::PaletteCrc,
            &noted,
            of_entry(entry::PALETTE_CHECKSUM),
        ),
        ("record", Rule::RecordCrc, &noted, record),
        ("block", Rule::BlockCrc, &blocks, blocks.tensor(0).checksums),
        (
            "tensor",
            Rule::TensorCrc,
            &noted,
            of_entry(entry::TENSOR_CHECKSUM),
        ),
    ];
    for (what, rule, file, at) in places {
        for (which, byte, bit) in [("least", 0, 1), ("greatest", 3, 0x80)] {
            let file = file.clone().flip(at + byte, bit);
            let file = match what {
                "header" => file,
                "directory" | "source" | "extension" => file.stamp_header(),
                _ => file.stamp_directory(),
            };
            cases.reject(
                &format!("{what}-checksum-wrong-in-its-{which}-bit"),
                rule,
                "a checksum has 32 bits",
                file,
            );
            cases.also(&["8"]);
        }
    }
    let source = raw().with_source().forge();
    cases.reject(
        "source-checksum-zero",
        Rule::SourceCrc,
        "a checksum of zero is no way to leave it out",
        source
            .put_u32(file_header::SOURCE_CHECKSUM as usize, 0)
            .stamp_header(),
    );
    // A chunk of more than 32,768 weights.
    let large = |count: usize| {
        let values = vec![0x2au64; count];
        let data = crate::fields::data(Dtype::U8, &values);
        let tensor = Tensor::flat("w", Dtype::U8, data).chunks(16);
        Draft::of([tensor.even_field(1)]).forge()
    };
    for count in [32_769, 65_536] {
        let file = large(count);
        let at = file.tensor(0).records[0].start;
        cases.reject(
            &format!("record-checksum-of-{count}-weights-wrong"),
            Rule::RecordCrc,
            "the record of every chunk has a checksum",
            file.flip(at, 1),
        );
    }
}

/// Three blocks, with and without a constant.
fn blocks(cases: &mut Cases) {
    let data = (0..140_000u32).map(|i| (i % 251) as u8).collect();
    let plain = Draft::of([Tensor::bytes("r", data)]).forge();
    let beside = Draft::of([constants(Dtype::F16, "c", 190_000)]).forge();
    for (what, file) in [("", plain), ("-beside-constants", beside)] {
        let blocks = file.tensor(0).blocks;
        assert!(blocks >= 3, "first, middle and last");
        for (which, block) in [("first", 0), ("second", 1), ("last", blocks - 1)] {
            let at = file.tensor(0).checksums + 4 * block;
            cases.reject(
                &format!("{which}-of-three-block-checksums-wrong{what}"),
                Rule::BlockCrc,
                "every block has a checksum",
                file.clone().flip(at + 1, 4),
            );
        }
    }
}

fn headers(cases: &mut Cases) {
    let file = raw().forge();
    for version in [3, 257, 513] {
        cases.reject(
            &format!("major-version-{version}"),
            Rule::FileVersion,
            "a decoder knows major version 1 and no other, and the version has 16 bits",
            file.clone().put_u16(8, version).stamp_header(),
        );
    }
    for kind in [2, 3, 128, 254] {
        cases.reject(
            &format!("source-kind-{kind}-without-a-source"),
            Rule::SourceKind,
            "a decoder knows source kinds 0 and 1",
            file.clone()
                .put(file_header::SOURCE_KIND as usize, &[kind])
                .stamp_header(),
        );
    }
    let empty = Draft::of([]).forge();
    for length in [8, 64, 192] {
        cases.reject(
            &format!("no-tensors-and-a-directory-of-{length}-zeros"),
            Rule::DirLength,
            "without tensors the directory has no bytes",
            empty
                .clone()
                .state_directory_length(length)
                .stamp_directory(),
        );
    }
    let second = Draft::of([Tensor::bytes("a", vec![1]), Tensor::bytes("b", vec![2])]).forge();
    for (number, bytes) in [(0, [2, 3]), (1, [2, 3])] {
        let at = second.entry(number, 0);
        for byte in bytes {
            cases.reject(
                &format!("entry-{number}-of-two-with-bit-7-of-byte-{byte}"),
                Rule::DirReserved,
                "reserved bytes of every entry are zero",
                second.clone().flip(at + byte, 0x80).stamp_directory(),
            );
        }
    }
}

fn extensions(cases: &mut Cases) {
    let mut wrong = |id: &str, rule: Rule, claim: &str, items: &[(u32, &[u8])]| {
        cases.reject(id, rule, claim, raw().with_items(items).forge());
    };
    let critical = 0x8000_0005;
    let claim = "every item is looked at";
    wrong(
        "critical-extension-before-others",
        Rule::ExtensionUnknown,
        claim,
        &[(critical, b"x"), (5, b"y"), (6, b"")],
    );
    wrong(
        "critical-extension-between-others",
        Rule::ExtensionUnknown,
        claim,
        &[(5, b"y"), (critical, b"x"), (6, b"")],
    );
    wrong(
        "critical-extension-behind-one-of-kind-0",
        Rule::ExtensionUnknown,
        "kind 0 ends nothing",
        &[(0, b""), (critical, b"x")],
    );
    wrong(
        "critical-extension-without-contents",
        Rule::ExtensionUnknown,
        claim,
        &[(critical, b"")],
    );
    wrong(
        "critical-extension-of-5-behind-one-of-5",
        Rule::ExtensionUnknown,
        "a kind is the whole u32",
        &[(5, b""), (critical, b"")],
    );
    let file = raw().with_items(&[(5, b"abc"), (6, b"")]).forge();
    let at = file.extensions().start + 8 + 3;
    for (which, byte) in [("second", 1), ("third", 2), ("fourth", 3)] {
        cases.reject(
            &format!("extension-padding-{which}-byte"),
            Rule::ExtensionPadding,
            "the padding of an item is zero",
            file.clone().flip(at + byte, 1).stamp(),
        );
    }
    let file = raw().with_items(&[(5, b"12345678")]).forge();
    let at = file.extensions().start + 4;
    for more in [0x0001_0000u32, 0x0100_0000, 0x8000_0000] {
        cases.reject(
            &format!("extension-item-with-a-length-of-{more}-more"),
            Rule::ExtensionLength,
            "the length of an item has 32 bits",
            file.clone().put_u32(at, 8 + more).stamp(),
        );
    }
    let file = raw().with_items(&[(5, b"")]).forge();
    for length in [12, 15] {
        cases.reject(
            &format!("extensions-of-{length}-bytes"),
            Rule::ExtensionLength,
            "extensions have a multiple of 8 bytes",
            file.clone().state_extension_length(length).stamp(),
        );
    }
}

/// Bytes in the middle of each padding, and of the guard.
fn middles(cases: &mut Cases) {
    let mut wrong = |id: &str, file: Forge, range: std::ops::Range<usize>| {
        assert!(range.len() > 2, "{id} has a middle");
        let at = range.start + range.len() / 2;
        cases.reject(
            &format!("padding-{id}-middle-byte"),
            Rule::Padding,
            "all padding is zero",
            file.flip(at, 0x10),
        );
    };
    let file = raw().forge();
    let (begin, end) = (file.tensor(0).begin, file.tensor(0).end);
    wrong(
        "before-the-payload",
        file.clone(),
        file.directory().end..begin,
    );
    wrong("guard", file, end..end + 64);
    let file = Draft::of([Tensor::bytes("a", vec![1]), Tensor::bytes("b", vec![2])]).forge();
    wrong(
        "between-two-payloads",
        file.clone(),
        file.tensor(0).end..file.tensor(1).begin,
    );
    let file = Draft::of([two_fields("w", 301)]).forge();
    wrong(
        "behind-the-plain-plane",
        file.clone(),
        file.tensor(0).plain.end..file.tensor(0).palettes.start,
    );
    let ends = file.tensor(0).record_ends + 4 * file.tensor(0).records.len();
    wrong(
        "behind-record-ends",
        file.clone(),
        ends..file.tensor(0).records[0].start,
    );
    let file = big().forge();
    wrong(
        "before-block-checksums",
        file.clone(),
        file.tensor(0).plain.end..file.tensor(0).checksums,
    );
    let file = Draft::of([constants(Dtype::Bf16, "c", 70_000)]).forge();
    let checksums_end = file.tensor(0).checksums + 4 * file.tensor(0).blocks;
    wrong(
        "behind-block-checksums",
        file.clone(),
        checksums_end..file.tensor(0).palettes.start,
    );
    let file = Draft::of([constants(Dtype::Bf16, "c", 301)]).forge();
    wrong(
        "before-constants",
        file.clone(),
        file.tensor(0).plain.end..file.tensor(0).palettes.start,
    );

    let name = Draft::of([Tensor::bytes("1", vec![7])]).forge();
    let end = name.directory().end;
    for (which, at) in [("second", end - 6), ("middle", end - 4)] {
        cases.reject(
            &format!("directory-padding-{which}-byte"),
            Rule::DirPadding,
            "the padding of the directory is zero",
            name.clone().flip(at, 0x20).stamp_directory(),
        );
    }
}

/// Gaps around tensors without weights, and tensors without weights that have what they must not.
fn empty_neighbours(cases: &mut Cases) {
    let empty = |name: &str| Tensor::raw(name, Dtype::F32, &[0, 3], vec![]);
    let file = Draft::of([
        huffman_tensor("a", 300),
        empty("b"),
        Tensor::bytes("c", (0..=255u8).cycle().take(65_536).collect()),
    ])
    .forge();
    let (begin, end) = (file.tensor(1).end, file.tensor(2).begin);
    assert!(begin < end, "there is a gap");
    for (which, at) in [("first", begin), ("last", end - 1)] {
        cases.reject(
            &format!("padding-behind-an-empty-tensor-{which}-byte"),
            Rule::Padding,
            "the gap behind a tensor without weights is padding too",
            file.clone().flip(at, 1),
        );
    }
    let file = Draft::of([
        empty("a"),
        Tensor::bytes("b", vec![1]),
        empty("c"),
        empty("d"),
        Tensor::bytes("e", vec![2]),
    ])
    .forge();
    let (begin, end) = (file.tensor(2).end, file.tensor(4).begin);
    cases.reject(
        "padding-behind-two-empty-tensors",
        Rule::Padding,
        "the gap behind a tensor without weights is padding too",
        file.clone().flip(begin + (end - begin) / 2, 1),
    );
    for number in [0, 2, 3] {
        for chunk in [12, 15] {
            let at = file.entry(number, entry::CHUNK_SIZE);
            cases.reject(
                &format!("empty-tensor-{number}-with-a-chunk-size-of-{chunk}"),
                Rule::ChunkSize,
                "a tensor without a coded field has chunk size 0",
                file.clone().put(at, &[chunk]).stamp_directory(),
            );
        }
    }
    for (form, name) in [(1u32, "huffman"), (2, "palette"), (3, "constant")] {
        let chunk = u8::from(form != 3) * 12;
        let forge = Draft::of([Tensor::raw("e", Dtype::Bf16, &[0], vec![])]).forge();
        let (forms, size) = (
            forge.entry(0, entry::FORMS),
            forge.entry(0, entry::CHUNK_SIZE),
        );
        let forge = forge
            .put_u32(forms, form)
            .put(size, &[chunk])
            .stamp_directory();
        let claim = "all fields of a tensor without weights are plain";
        let id = format!("empty-tensor-with-the-form-{name}");
        match form {
            2 => cases.reject_full(&id, Rule::FormEmpty, claim, forge),
            _ => cases.reject(&id, Rule::FormEmpty, claim, forge),
        }
    }
    let raw = Draft::of([Tensor::bytes("r", vec![7; 300])]).forge();
    for chunk in [12, 15, 16, 255] {
        let at = raw.entry(0, entry::CHUNK_SIZE);
        cases.reject(
            &format!("raw-tensor-with-a-chunk-size-of-{chunk}"),
            Rule::ChunkSize,
            "a tensor without a coded field has chunk size 0",
            raw.clone().put(at, &[chunk]).stamp_directory(),
        );
    }
}
