//! Section 3.2: the directory.

use unweight_format::layout::{entry, file_header};
use unweight_format::{Dtype, Rule};

use super::raw;
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

const TENSOR_COUNT: usize = file_header::TENSOR_COUNT as usize;

pub(super) fn add(cases: &mut Cases) {
    lengths(cases);
    checksum_and_zeros(cases);
    dims(cases);
    names(cases);
    orders(cases);
}

/// Tensors of one byte and one dimension.
fn of_names(names: &[&[u8]]) -> Forge {
    let tensor = |(name, number): (&&[u8], u8)| Tensor::bytes("", vec![number]).named(*name);
    Draft::of(names.iter().zip(1..).map(tensor).collect::<Vec<_>>()).forge()
}

fn lengths(cases: &mut Cases) {
    let file = raw().forge();
    let length = file.directory().len();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::DirLength, claim, forge.stamp_directory());
    };
    let claim = "entries, dimensions, names and padding add up to the directory";
    wrong(
        "directory-with-8-more-zeros",
        claim,
        file.clone().state_directory_length(length + 8),
    );
    wrong(
        "directory-with-1-more-zero",
        claim,
        file.clone().state_directory_length(length + 1),
    );
    wrong(
        "directory-8-bytes-short",
        claim,
        file.clone().state_directory_length(length - 8),
    );
    wrong(
        "directory-without-its-padding",
        claim,
        file.clone().state_directory_length(40 + 8 + 1),
    );
    wrong(
        "directory-shorter-than-its-entries",
        "a directory shorter than its entries is found before any is read",
        file.clone().state_directory_length(32),
    );
    wrong(
        "directory-of-no-bytes-with-a-tensor",
        "a directory shorter than its entries is found before any is read",
        file.clone().state_directory_length(0),
    );
    wrong(
        "one-tensor-more-than-entries",
        claim,
        file.clone().put_u32(TENSOR_COUNT, 2),
    );
    wrong(
        "one-tensor-fewer-than-entries",
        claim,
        of_names(&[b"a", b"b"]).put_u32(TENSOR_COUNT, 1),
    );
    wrong(
        "no-tensors-and-a-directory",
        "without tensors the directory has no bytes",
        file.clone().put_u32(TENSOR_COUNT, 0),
    );
    wrong(
        "tensor-count-of-2-to-the-20-in-a-tiny-file",
        "nothing is allocated for tensors that the directory is too short for",
        file.clone().put_u32(TENSOR_COUNT, 1 << 20),
    );
    let (dims_end, name_end) = (
        file.entry(0, entry::DIMS_END),
        file.entry(0, entry::NAME_END),
    );
    wrong(
        "dimensions-past-the-directory",
        "nothing is allocated for dimensions that the directory is too short for",
        file.clone().put_u32(dims_end, u32::MAX),
    );
    wrong(
        "names-past-the-directory",
        "nothing is allocated for names that the directory is too short for",
        file.clone().put_u32(name_end, u32::MAX),
    );
    wrong(
        "dimensions-that-wrap-2-to-the-32",
        "8 bytes for each dimension are counted in more than 32 bits",
        file.clone().put_u32(dims_end, 1 + (1 << 29)),
    );
    wrong(
        "dimensions-and-names-that-wrap-2-to-the-32-together",
        "the parts of the directory are added in more than 32 bits",
        file.clone()
            .put_u32(dims_end, 1 << 28)
            .put_u32(name_end, (1 << 31) + 9),
    );
}

fn checksum_and_zeros(cases: &mut Cases) {
    let file = of_names(&[b"a", b"b"]);
    let mut checksum = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::DirCrc, claim, forge);
        cases.also(&["8"]);
    };
    let name = file.directory().start + 2 * 40 + 2 * 8;
    let claim = "every byte of the directory is covered by its checksum";
    checksum(
        "directory-entry-changed-without-its-checksum",
        claim,
        file.clone().flip(64, 1),
    );
    checksum(
        "directory-name-changed-without-its-checksum",
        claim,
        file.clone().flip(name, 2),
    );
    checksum(
        "directory-checksum-wrong-by-a-bit",
        "the directory checksum is checked",
        file.clone()
            .flip(file_header::DIRECTORY_CHECKSUM as usize, 1)
            .stamp_header(),
    );
    checksum(
        "checksum-of-no-directory-wrong",
        "the checksum of no bytes is 0",
        Draft::of([])
            .forge()
            .put_u32(file_header::DIRECTORY_CHECKSUM as usize, 1)
            .stamp_header(),
    );

    for (id, number, offset) in [
        ("entry-reserved-byte-2", 0, 2),
        ("entry-reserved-byte-3", 0, 3),
        ("entry-reserved-byte-36", 0, 36),
        ("entry-reserved-byte-37", 0, 37),
        ("entry-reserved-byte-38", 0, 38),
        ("entry-reserved-byte-39", 0, 39),
        ("last-entry-reserved-byte-3", 1, 3),
        ("last-entry-reserved-byte-39", 1, 39),
    ] {
        let at = file.entry(number, offset);
        cases.reject(
            id,
            Rule::DirReserved,
            "bytes 2, 3 and 36 to 39 of an entry are zero",
            file.clone().flip(at, 0x40).stamp_directory(),
        );
        cases.also(&["2"]);
    }
    // Two names of one byte are followed by six bytes of padding.
    for (id, at) in [("first", name + 2), ("last", name + 7)] {
        cases.reject(
            &format!("directory-padding-{id}-byte"),
            Rule::DirPadding,
            "the padding of the directory is zero",
            file.clone().flip(at, 1).stamp_directory(),
        );
        cases.also(&["2"]);
    }
}

fn dims(cases: &mut Cases) {
    // Every dimension is 1, so each tensor has one byte for any selection of dimensions.
    let tensor = |name: &str| Tensor::bytes(name, vec![1]);
    let file = Draft::of(["a", "b", "c"].map(tensor)).forge();
    let ends = |ends: [u32; 3]| {
        (0..3).fold(file.clone(), |forge, number| {
            let at = forge.entry(number, entry::DIMS_END);
            forge.put_u32(at, ends[number])
        })
    };
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::DimsEnd, claim, forge.stamp_directory());
    };
    wrong(
        "dims-end-decreases",
        "dims ends do not decrease",
        ends([3, 2, 3]),
    );
    wrong("last-dims-end-decreases", "dims ends do not decrease", {
        // There is one dimension fewer, and the last name is longer to make up for it.
        let file = of_names(&[b"a", b"b", b"0123456"]);
        let at = |number, field| file.entry(number, field);
        file.clone()
            .put_u32(at(1, entry::DIMS_END), 3)
            .put_u32(at(2, entry::DIMS_END), 2)
            .put_u32(at(2, entry::NAME_END), 9 + 8)
    });
    wrong(
        "dims-end-past-the-last",
        "a dims end above that of the last tensor is found before it is used",
        ends([1, u32::MAX, 3]),
    );
    wrong(
        "first-dims-end-past-the-last",
        "a dims end above that of the last tensor is found before it is used",
        ends([4, 4, 3]),
    );

    let claim = "a tensor has at most 64 dimensions";
    for rank in [65, 1000] {
        let tensor = Tensor::raw("t", Dtype::U8, &vec![1; rank], vec![9]);
        cases.reject(
            &format!("rank-{rank}"),
            Rule::LimitRank,
            claim,
            Draft::of([tensor]).forge(),
        );
    }
    cases.reject(
        "rank-65-with-an-empty-dimension",
        Rule::LimitRank,
        claim,
        Draft::of([Tensor::raw("t", Dtype::U8, &[0; 65], vec![])]).forge(),
    );
}

fn names(cases: &mut Cases) {
    let file = of_names(&[b"a", b"b", b"c"]);
    let ends = |ends: [u32; 3]| {
        let forge = (0..3).fold(file.clone(), |forge, number| {
            let at = forge.entry(number, entry::NAME_END);
            forge.put_u32(at, ends[number])
        });
        forge.stamp_directory()
    };
    let claim = "name ends do not decrease";
    // A decoder that misses the rule reads the names "ab", "" and "bc", in this order.
    let in_order = |forge: Forge, number: usize, by_name: u32| {
        let at = forge.entry(number, entry::BY_NAME);
        forge.put_u32(at, by_name).stamp_directory()
    };
    let file_in_order = in_order(in_order(ends([2, 1, 3]), 0, 1), 1, 0);
    cases.reject("name-end-decreases", Rule::NameEnd, claim, file_in_order);
    cases.reject(
        "last-name-end-decreases",
        Rule::NameEnd,
        claim,
        ends([1, 3, 2])
            .flip(64 + 120 + 24 + 2, b'c')
            .stamp_directory(),
    );
    let claim = "a name end above that of the last tensor is found before it is used";
    cases.reject(
        "name-end-past-the-last",
        Rule::NameEnd,
        claim,
        ends([1, u32::MAX, 3]),
    );
    cases.reject(
        "first-name-end-past-the-last",
        Rule::NameEnd,
        claim,
        ends([4, 4, 3]),
    );

    cases.reject(
        "name-of-65536-bytes",
        Rule::LimitName,
        "a name has at most 65,535 bytes",
        of_names(&[&[b'n'; 65_536]]),
    );

    let broken: [(&str, &str, &[&[u8]]); 7] = [
        ("a-byte-of-latin-1", "a name is UTF-8", &[b"na\xefve"]),
        ("a-continuation-byte-alone", "a name is UTF-8", &[b"\x80"]),
        (
            "an-overlong-zero",
            "UTF-8 is the shortest form",
            &[b"\xc0\x80"],
        ),
        ("a-surrogate", "UTF-8 has no surrogates", &[b"\xed\xa0\x80"]),
        (
            "a-code-point-above-10ffff",
            "UTF-8 ends at U+10FFFF",
            &[b"\xf4\x90\x80\x80"],
        ),
        (
            "a-cut-sequence-at-the-end",
            "a name is UTF-8 up to its end",
            &[b"n\xe2\x82"],
        ),
        (
            "a-sequence-cut-between-two-names",
            "each name is UTF-8 by itself, not all names together",
            &[b"\xc3", b"\xa9"],
        ),
    ];
    for (id, claim, names) in broken {
        cases.reject(
            &format!("name-with-{id}"),
            Rule::NameUtf8,
            claim,
            of_names(names),
        );
    }
}

fn orders(cases: &mut Cases) {
    let by_name = |file: &Forge, numbers: &[u32]| {
        let forge = (0..)
            .zip(numbers)
            .fold(file.clone(), |forge, (rank, &number)| {
                let at = forge.entry(rank, entry::BY_NAME);
                forge.put_u32(at, number)
            });
        forge.stamp_directory()
    };
    let three = of_names(&[b"b", b"c", b"a"]);
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::NameOrder, claim, forge);
    };
    let claim = "the by-name fields sort the names";
    wrong(
        "by-name-in-directory-order",
        claim,
        by_name(&three, &[0, 1, 2]),
    );
    wrong("by-name-backwards", claim, by_name(&three, &[1, 0, 2]));
    wrong(
        "by-name-with-the-last-two-swapped",
        claim,
        by_name(&three, &[2, 1, 0]),
    );
    let claim = "a by-name field is the number of a tensor";
    wrong(
        "by-name-of-the-tensor-count",
        claim,
        by_name(&three, &[2, 0, 3]),
    );
    wrong(
        "by-name-of-2-to-the-32-minus-1",
        claim,
        by_name(&three, &[u32::MAX, 0, 1]),
    );
    for (id, more) in [
        ("256", 1 << 8),
        ("65536", 1 << 16),
        ("2-to-the-24", 1 << 24),
    ] {
        wrong(
            &format!("by-name-of-{id}-more"),
            "a by-name field is a number of 32 bits",
            by_name(&three, &[2, more, 1]),
        );
    }
    wrong(
        "by-name-of-the-only-tensor-is-1",
        claim,
        by_name(&raw().forge(), &[1]),
    );
    wrong(
        "by-name-with-a-tensor-twice-apart",
        "the by-name fields list every tensor",
        by_name(&three, &[2, 0, 2]),
    );
    wrong(
        "by-name-as-signed-bytes",
        "names are compared as unsigned bytes",
        by_name(&of_names(&["é".as_bytes(), b"e"]), &[0, 1]),
    );
    wrong(
        "by-name-as-utf-16",
        "names are compared as bytes of UTF-8",
        by_name(
            &of_names(&["\u{10000}".as_bytes(), "\u{ffff}".as_bytes()]),
            &[0, 1],
        ),
    );
    wrong(
        "by-name-by-length",
        "names are compared byte by byte first",
        by_name(&of_names(&[b"z", b"aa"]), &[0, 1]),
    );
    wrong(
        "by-name-with-a-beginning-behind-the-whole",
        "a name sorts before those that it begins",
        by_name(&of_names(&[b"ab", b"a"]), &[0, 1]),
    );

    let mut duplicate = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::NameDuplicate, claim, forge);
    };
    let claim = "no two tensors have one name";
    duplicate("two-tensors-of-one-name", claim, of_names(&[b"w", b"w"]));
    duplicate(
        "two-tensors-of-one-name-apart",
        claim,
        of_names(&[b"w", b"a", b"z", b"w"]),
    );
    duplicate("two-tensors-without-a-name", claim, of_names(&[b"", b""]));
    duplicate(
        "by-name-with-a-tensor-twice",
        "the by-name fields list every tensor",
        by_name(&three, &[2, 2, 0]),
    );
}
