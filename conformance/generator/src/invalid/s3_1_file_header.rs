//! Section 3.1: the file header.

use unweight_format::Rule;
use unweight_format::layout::{MAGIC, file_header as field};

use super::raw;
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;
use crate::source;

const MAJOR_VERSION: usize = field::MAJOR_VERSION as usize;
const TENSOR_COUNT: usize = field::TENSOR_COUNT as usize;
const FILE_LENGTH: usize = field::FILE_LENGTH as usize;
const DIRECTORY_LENGTH: usize = field::DIRECTORY_LENGTH as usize;
const SOURCE_LENGTH: usize = field::SOURCE_LENGTH as usize;
const SOURCE_KIND: usize = field::SOURCE_KIND as usize;
const HEADER_CHECKSUM: usize = field::HEADER_CHECKSUM as usize;

pub(super) fn add(cases: &mut Cases) {
    magic(cases);
    truncated(cases);
    version_and_checksum(cases);
    limits(cases);
    source_kind(cases);
    lengths(cases);
}

/// A file of these bytes without any check.
fn loose(bytes: &[u8]) -> Forge {
    Forge::new(bytes.to_vec(), Vec::new(), 0, 0, 0)
}

fn magic(cases: &mut Cases) {
    let file = raw().forge();
    let behind_magic = &file.bytes()[MAGIC.len()..];
    let begun_with = |magic: &[u8]| loose(&[magic, behind_magic].concat());
    let mut magic = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::FileMagic, claim, forge);
    };
    magic(
        "magic-without-the-high-bit",
        "a transfer that keeps 7 bits of each byte is found",
        loose(
            &file
                .bytes()
                .iter()
                .map(|byte| byte & 0x7f)
                .collect::<Vec<_>>(),
        ),
    );
    magic(
        "magic-with-cr-lf-made-lf",
        "a transfer that makes CR LF into LF is found",
        begun_with(b"\x89UNW\n\x1a\n"),
    );
    magic(
        "magic-with-lf-made-cr-lf",
        "a transfer that makes LF into CR LF is found",
        begun_with(b"\x89UNW\r\r\n\x1a\r\n"),
    );
    magic(
        "magic-with-lf-made-cr",
        "a transfer that makes LF into CR is found",
        begun_with(b"\x89UNW\r\r\x1a\r"),
    );
    magic(
        "magic-as-utf-8",
        "a transfer that takes bytes for Latin-1 and writes UTF-8 is found",
        begun_with(b"\xc2\x89UNW\r\n\x1a\n"),
    );
    magic(
        "magic-behind-a-byte-order-mark",
        "nothing may stand before the magic",
        begun_with(b"\xef\xbb\xbf\x89UNW\r\n\x1a\n"),
    );
    // The header checksum covers the magic, and is right here.
    let stamped = |magic: &[u8; 8]| file.clone().put(0, magic).stamp_header();
    magic(
        "magic-of-another-case",
        "the magic is upper case",
        stamped(b"\x89unw\r\n\x1a\n"),
    );
    magic(
        "magic-with-a-wrong-first-byte",
        "all eight bytes of the magic count",
        stamped(b"\x09UNW\r\n\x1a\n"),
    );
    magic(
        "magic-with-a-wrong-last-byte",
        "all eight bytes of the magic count",
        stamped(b"\x89UNW\r\n\x1a\0"),
    );
    magic("file-of-zeros", "zeros are not a file", loose(&[0; 328]));
    magic(
        "three-bytes-that-are-no-magic",
        "a file shorter than the magic is judged by the bytes that it has",
        loose(b"\x89UM"),
    );
    let tensors = [Tensor::bytes("r", b"raw".to_vec())];
    magic(
        "safetensors-file",
        "a safetensors file is not an Unweight file",
        loose(&source::file(&tensors)),
    );
}

fn truncated(cases: &mut Cases) {
    let file = raw().forge();
    let length = file.len();
    let mut cut = |id: &str, claim: &str, length: usize| {
        cases.reject(id, Rule::FileTruncated, claim, file.clone().cut(length));
    };
    cut("empty-file", "a file without a byte is truncated", 0);
    cut(
        "cut-within-the-magic",
        "a file cut at the control-Z of the magic is truncated",
        6,
    );
    cut(
        "cut-within-the-header",
        "a file of 63 bytes is truncated",
        63,
    );
    cut(
        "cut-behind-the-header",
        "a file of a header alone is truncated",
        64,
    );
    cut(
        "cut-behind-the-payload",
        "a file without its guard is truncated",
        length - 64,
    );
    cut(
        "cut-before-the-last-byte",
        "a file without its last byte is truncated",
        length - 1,
    );
    let states = |stated| file.clone().put_u64(FILE_LENGTH, stated).stamp_header();
    cases.reject(
        "stated-length-of-one-byte-more",
        Rule::FileTruncated,
        "a file with fewer bytes than it states is truncated",
        states(length as u64 + 1),
    );
    cases.reject(
        "stated-length-of-2-to-the-64-minus-1",
        Rule::FileTruncated,
        "a file with fewer bytes than it states is truncated",
        states(u64::MAX),
    );
    cases.reject(
        "stated-length-of-2-to-the-32-more",
        Rule::FileTruncated,
        "the file length is a number of 64 bits",
        states(length as u64 + (1 << 32)),
    );
    cases.reject(
        "directory-of-2-to-the-28-bytes-in-a-truncated-file",
        Rule::FileTruncated,
        "nothing is allocated for a directory that the file is too short for",
        states(1 << 40)
            .put_u64(DIRECTORY_LENGTH, 1 << 28)
            .stamp_header(),
    );
}

fn version_and_checksum(cases: &mut Cases) {
    let file = raw().forge();
    for version in [0, 2, 256, 65_535] {
        cases.reject(
            &format!("major-version-{version}"),
            Rule::FileVersion,
            "a decoder knows major version 1 and no other",
            file.clone().put_u16(MAJOR_VERSION, version).stamp_header(),
        );
        cases.also(&["12"]);
    }
    let mut future = MAGIC.to_vec();
    future.extend(2u16.to_le_bytes());
    future.extend([0xff; 500]);
    cases.reject(
        "major-version-2-and-nothing-else-known",
        Rule::FileVersion,
        "of another major version nothing but the version is interpreted",
        loose(&future),
    );
    cases.also(&["12"]);

    let wrong = |at: usize, bits| file.clone().flip(at, bits);
    for (id, claim, forge) in [
        (
            "header-checksum-wrong-by-a-bit",
            "the header checksum is checked",
            wrong(HEADER_CHECKSUM + 3, 0x80),
        ),
        (
            "header-changed-without-its-checksum",
            "every byte of the header is covered, the minor version that a decoder ignores too",
            wrong(field::MAJOR_VERSION as usize + 2, 1),
        ),
        (
            "header-reserved-byte-changed-without-its-checksum",
            "every byte of the header is covered, up to the checksum itself",
            wrong(59, 1),
        ),
        (
            "header-checksum-zero",
            "a checksum of zero is no way to leave it out",
            file.clone().put_u32(HEADER_CHECKSUM, 0),
        ),
        (
            "header-checksum-big-endian",
            "checksums are little-endian",
            {
                let checksum = file.u32_at(HEADER_CHECKSUM);
                file.clone().put_u32(HEADER_CHECKSUM, checksum.swap_bytes())
            },
        ),
    ] {
        cases.reject(id, Rule::FileHeaderCrc, claim, forge);
        cases.also(&["8"]);
    }
    for at in field::RESERVED as usize..HEADER_CHECKSUM {
        cases.reject(
            &format!("header-reserved-byte-{at}"),
            Rule::FileReserved,
            "bytes 57 to 59 of the header are zero",
            wrong(at, 0x80 >> (at % 8)).stamp_header(),
        );
        cases.also(&["2"]);
    }
}

fn limits(cases: &mut Cases) {
    let file = raw().forge();
    let tensors = |count| file.clone().put_u32(TENSOR_COUNT, count).stamp_header();
    let directory = |length| {
        file.clone()
            .put_u64(DIRECTORY_LENGTH, length)
            .stamp_header()
    };
    let with_source = raw().with_source().forge();
    let source = |length| {
        with_source
            .clone()
            .put_u64(SOURCE_LENGTH, length)
            .stamp_header()
    };
    let claim = "a file has at most 2^20 tensors";
    cases.reject(
        "tensor-count-of-2-to-the-20-plus-1",
        Rule::LimitTensors,
        claim,
        tensors((1 << 20) + 1),
    );
    cases.reject(
        "tensor-count-of-2-to-the-32-minus-1",
        Rule::LimitTensors,
        claim,
        tensors(u32::MAX),
    );
    let claim = "a directory has at most 2^28 bytes";
    cases.reject(
        "directory-of-2-to-the-28-plus-8-bytes",
        Rule::LimitDirectory,
        claim,
        directory((1 << 28) + 8),
    );
    cases.reject(
        "directory-of-2-to-the-64-minus-8-bytes",
        Rule::LimitDirectory,
        claim,
        directory(u64::MAX - 7),
    );
    let same_in_32_bits = file.u64_at(DIRECTORY_LENGTH) + (1 << 32);
    cases.reject(
        "directory-length-above-2-to-the-32",
        Rule::LimitDirectory,
        "the directory length is a number of 64 bits",
        directory(same_in_32_bits),
    );
    let claim = "a source section has at most 2^28 bytes";
    cases.reject(
        "source-of-2-to-the-28-plus-1-bytes",
        Rule::LimitSource,
        claim,
        source((1 << 28) + 1),
    );
    cases.reject(
        "source-of-2-to-the-64-minus-1-bytes",
        Rule::LimitSource,
        claim,
        source(u64::MAX),
    );
    let same_in_32_bits = with_source.u64_at(SOURCE_LENGTH) + (1 << 32);
    cases.reject(
        "source-length-above-2-to-the-32",
        Rule::LimitSource,
        "the source length is a number of 64 bits",
        source(same_in_32_bits),
    );
    let claim = "the extensions have at most 2^28 bytes";
    for (id, length) in [
        ("2-to-the-28-plus-1", (1 << 28) + 1),
        ("2-to-the-28-plus-8", (1 << 28) + 8),
        ("2-to-the-32-minus-1", u32::MAX),
    ] {
        cases.reject(
            &format!("extensions-of-{id}-bytes"),
            Rule::LimitExtensions,
            claim,
            file.clone()
                .put_u32(field::EXTENSION_LENGTH as usize, length)
                .stamp_header(),
        );
    }
}

fn source_kind(cases: &mut Cases) {
    let kind = |forge: Forge, kind: u8| forge.put(SOURCE_KIND, &[kind]);
    let with_source = raw().with_source().forge();
    for unknown in [2, 255] {
        cases.reject(
            &format!("source-kind-{unknown}"),
            Rule::SourceKind,
            "the source kind is 0 or 1",
            kind(with_source.clone(), unknown).stamp(),
        );
        cases.also(&["12"]);
    }
    cases.reject(
        "source-kind-none-with-a-source",
        Rule::SourceLength,
        "without a source the source section has no bytes",
        kind(with_source.clone(), 0).stamp(),
    );
    cases.reject(
        "source-kind-safetensors-without-a-source",
        Rule::SourceLength,
        "a safetensors source has at least the 8 bytes of its length",
        kind(raw().forge(), 1).stamp(),
    );
    cases.reject(
        "safetensors-source-of-7-bytes",
        Rule::SourceLength,
        "a safetensors source has at least the 8 bytes of its length",
        with_source.state_source_length(7).stamp(),
    );
}

fn lengths(cases: &mut Cases) {
    let file = raw().forge();
    let mut trailing = |id: &str, claim: &str, bytes: &[u8]| {
        cases.reject(id, Rule::FileTrailing, claim, file.clone().append(bytes));
    };
    trailing(
        "one-zero-byte-behind-the-file",
        "nothing stands behind the guard, not even a zero",
        &[0],
    );
    trailing(
        "line-feed-behind-the-file",
        "nothing stands behind the guard",
        b"\n",
    );
    trailing(
        "second-guard-behind-the-file",
        "there is one guard",
        &[0; 64],
    );
    trailing(
        "file-behind-the-file",
        "a file is not two files",
        file.bytes(),
    );

    let states = |forge: Forge| forge.state_length().stamp_header();
    let length = file.len();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::FileLength, claim, forge);
    };
    let claim = "the guard has 64 bytes, no more and no fewer";
    wrong(
        "guard-of-65-bytes",
        claim,
        states(file.clone().append(&[0])),
    );
    wrong(
        "guard-of-128-bytes",
        claim,
        states(file.clone().append(&[0; 64])),
    );
    wrong(
        "guard-of-63-bytes",
        claim,
        states(file.clone().cut(length - 1)),
    );
    wrong(
        "file-without-a-guard",
        claim,
        states(file.clone().cut(length - 64)),
    );
    wrong(
        "file-that-ends-within-its-payload",
        "a payload does not reach past the file",
        states(file.clone().cut(258)),
    );
    let claim = "a file length below P0 + 64 is found before the directory is read";
    wrong(
        "file-of-a-header-that-states-so",
        claim,
        states(file.clone().cut(64)),
    );
    wrong(
        "file-that-ends-one-byte-before-the-payload-and-guard",
        claim,
        states(file.clone().cut(256 + 63)),
    );
    wrong(
        "file-length-of-0",
        claim,
        file.clone().put_u64(FILE_LENGTH, 0).stamp_header(),
    );
    wrong(
        "directory-of-2-to-the-28-bytes-in-a-tiny-file",
        "nothing is allocated for a directory that the file is too short for",
        file.clone()
            .put_u64(DIRECTORY_LENGTH, 1 << 28)
            .stamp_header(),
    );
    wrong(
        "source-of-2-to-the-28-bytes-in-a-tiny-file",
        "nothing is allocated for a source section that the file is too short for",
        raw()
            .with_source()
            .forge()
            .put_u64(SOURCE_LENGTH, 1 << 28)
            .stamp_header(),
    );
    wrong(
        "extensions-of-2-to-the-28-bytes-in-a-tiny-file",
        "nothing is allocated for extensions that the file is too short for",
        file.clone()
            .put_u32(field::EXTENSION_LENGTH as usize, 1 << 28)
            .stamp_header(),
    );
    wrong(
        "no-tensors-and-bytes-before-the-guard",
        "without tensors the guard begins at P0",
        states(Draft::of([]).forge().append(&[0; 256])),
    );
}
