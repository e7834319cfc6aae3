//! Section 3.4: extensions.

use unweight_format::Rule;
use unweight_format::layout::file_header;

use super::raw;
use crate::case::Cases;
use crate::forge::Forge;

const EXTENSION_CHECKSUM: usize = file_header::EXTENSION_CHECKSUM as usize;

pub(super) fn add(cases: &mut Cases) {
    checksums(cases);
    lengths(cases);
    padding(cases);
    critical(cases);
}

/// A kind for private use.
const PRIVATE: u32 = 0x7000_0001;

/// A file with one item of 3 bytes, and one of 8.
fn two_items() -> Forge {
    let items: [(u32, &[u8]); 2] = [(PRIVATE, b"abc"), (PRIVATE + 1, b"12345678")];
    raw().with_items(&items).forge()
}

fn checksums(cases: &mut Cases) {
    let file = two_items();
    let at = file.extensions();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::ExtensionCrc, claim, forge);
        cases.also(&["8"]);
    };
    let claim = "every byte of the extensions is covered by their checksum";
    wrong(
        "extension-contents-changed-without-the-checksum",
        claim,
        file.clone().flip(at.start + 8, 1),
    );
    wrong(
        "extension-kind-changed-without-the-checksum",
        claim,
        file.clone().flip(at.start, 1),
    );
    wrong(
        "last-extension-byte-changed-without-the-checksum",
        claim,
        file.clone().flip(at.end - 1, 1),
    );
    wrong(
        "extension-checksum-wrong-by-a-bit",
        claim,
        file.clone().flip(EXTENSION_CHECKSUM, 1).stamp_header(),
    );
    wrong(
        "extension-checksum-zero",
        "a checksum of zero is no way to leave it out",
        file.put_u32(EXTENSION_CHECKSUM, 0).stamp_header(),
    );
    wrong(
        "checksum-of-no-extensions-wrong",
        "the checksum of no bytes is 0",
        raw().forge().put_u32(EXTENSION_CHECKSUM, 1).stamp_header(),
    );
}

fn lengths(cases: &mut Cases) {
    let file = two_items();
    let at = file.extensions();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::ExtensionLength, claim, forge.stamp());
    };
    // The second item has kind, length and 8 bytes; the first has 16 bytes with its padding.
    let claim = "the length of the extensions is a multiple of 8";
    wrong(
        "extensions-of-33-bytes",
        claim,
        file.clone().state_extension_length(33),
    );
    wrong(
        "extensions-of-28-bytes",
        claim,
        file.clone().state_extension_length(28),
    );
    wrong(
        "extensions-of-4-bytes",
        claim,
        file.clone().state_extension_length(4),
    );
    let claim = "an item ends within the extensions";
    wrong(
        "extension-item-cut-in-its-contents",
        claim,
        file.clone().state_extension_length(24),
    );
    let length = |value: u32| file.clone().put_u32(at.start + 20, value);
    wrong("extension-item-one-byte-too-long", claim, length(9));
    wrong(
        "extension-item-with-a-length-of-2-to-the-32-minus-1",
        claim,
        length(u32::MAX),
    );
    wrong(
        "extension-item-whose-padded-length-wraps-2-to-the-32",
        claim,
        length(u32::MAX - 7),
    );
    let only = raw().with_items(&[(PRIVATE, b"")]).forge();
    let at = only.extensions().start;
    wrong(
        "extension-item-without-room-for-contents",
        claim,
        only.put_u32(at + 4, 1),
    );
}

fn padding(cases: &mut Cases) {
    let file = two_items();
    let at = file.extensions().start;
    for (id, offset) in [("first", 11), ("last", 15)] {
        cases.reject(
            &format!("extension-padding-{id}-byte"),
            Rule::ExtensionPadding,
            "the padding of an item is zero",
            file.clone().flip(at + offset, 0x20).stamp(),
        );
        cases.also(&["2"]);
    }
    let last = raw().with_items(&[(5, b"1234567")]).forge();
    let at = last.extensions().end - 1;
    cases.reject(
        "extension-padding-at-the-end",
        Rule::ExtensionPadding,
        "the padding of the last item is zero",
        last.flip(at, 1).stamp(),
    );
    cases.also(&["2"]);
}

fn critical(cases: &mut Cases) {
    const CRITICAL: u32 = 1 << 31;
    let mut wrong = |id: &str, claim: &str, items: &[(u32, &[u8])]| {
        let file = raw().with_items(items).forge();
        cases.reject(id, Rule::ExtensionUnknown, claim, file);
        cases.also(&["12"]);
    };
    let claim = "an item whose kind has bit 31 set is critical: a decoder that does not know it rejects the file";
    wrong("critical-extension-of-kind-0", claim, &[(CRITICAL, b"")]);
    wrong(
        "critical-extension-of-kind-5",
        claim,
        &[(CRITICAL | 5, b"base")],
    );
    wrong(
        "critical-extension-of-the-greatest-kind",
        claim,
        &[(u32::MAX, b"x")],
    );
    wrong(
        "critical-extension-for-private-use",
        claim,
        &[(CRITICAL | PRIVATE, b"x")],
    );
    wrong(
        "critical-extension-behind-others",
        "every item is looked at",
        &[(PRIVATE, b"abc"), (6, b""), (CRITICAL | 6, b"")],
    );
    cases.reject(
        "critical-extension-without-tensors",
        Rule::ExtensionUnknown,
        "the extensions of a file without tensors are checked too",
        crate::draft::Draft::of([])
            .with_items(&[(CRITICAL, b"alone")])
            .forge(),
    );
}
