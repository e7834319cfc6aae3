//! Section 3.4: extensions.

use crate::case::Cases;
use crate::draft::{Draft, Tensor};

pub(super) fn add(cases: &mut Cases) {
    let small = || Draft::of([Tensor::bytes("r", b"raw".to_vec())]);
    let mut add = |id: &str, claim: &str, items: &[(u32, &[u8])]| {
        let draft = small().with_items(items);
        cases.accept(id, &["3.4", "12"], claim, &draft);
    };
    let claim = "a decoder ignores items that are not critical";
    add(
        "extension-for-private-use",
        claim,
        &[(0x7000_0000, b"mine")],
    );
    add("extension-of-kind-0", claim, &[(0, b"")]);
    add(
        "extension-of-the-greatest-kind-that-is-not-critical",
        claim,
        &[(0x7fff_ffff, b"12345678")],
    );
    add(
        "extensions-in-any-order-and-twice",
        "items stand in any order, and a kind may occur more than once",
        &[(9, b"nine"), (5, b"five"), (9, b"nine"), (1, b"")],
    );
    let items: Vec<Vec<u8>> = (0..=16).map(|length| vec![0xa5; length]).collect();
    let items: Vec<(u32, &[u8])> = (100..).zip(items.iter().map(Vec::as_slice)).collect();
    add(
        "extensions-of-every-padding",
        "an item is completed to a multiple of 8",
        &items,
    );
    let long = vec![7; 700];
    cases.accept(
        "extensions-behind-a-source",
        &["3.3", "3.4"],
        "the extensions follow the source section, on no particular multiple, and are no part of the restored source",
        &small()
            .with_json(r#"{"r":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#)
            .with_items(&[(77, &long)]),
    );
    // The extensions begin 5 bytes behind a multiple of 8.
    cases.accept(
        "items-behind-a-source-of-69-bytes",
        &["3.3", "3.4"],
        "an item is completed to a multiple of 8 of its own length, wherever the extensions begin",
        &small()
            .with_json(format!(
                "{:<61}",
                r#"{"r":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#
            ))
            .with_items(&[(77, b"abc"), (78, b"defghij")]),
    );
    cases.accept(
        "extensions-without-tensors",
        &["3.4"],
        "a file without tensors and source may have extensions",
        &Draft::of([]).with_items(&[(77, b"alone")]),
    );
    // Header and directory have 64 + 56 bytes. The extensions end on a multiple of 256 or behind.
    for (length, name) in [(128, "on"), (129, "behind")] {
        cases.accept(
            &format!("extensions-end-{name}-a-multiple-of-256"),
            &["3.4", "3.5"],
            "the payload begins at the least multiple of 256 behind the extensions",
            &small().with_items(&[(77, &vec![1; length])]),
        );
    }
}
