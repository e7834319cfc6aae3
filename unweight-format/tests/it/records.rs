//! Each rule of sections 5 and 6 that concerns a record's shape rejects a record that breaks it.

use crate::support::{Body, FOUR_CODES, NO_BITS, record};
use unweight_format::{
    Encoding, Error, Expected, Palette, Record, RecordShape, Rule, UncheckedRecord, crc32,
};

const HUFFMAN: RecordShape = RecordShape::new(1000, 4, Encoding::Huffman, false);
const PALETTE: RecordShape = RecordShape::new(600, 8, Encoding::Palette, false);

/// Offset of the record in its file.
const OFFSET: u64 = 4096;

/// Values 0 to 3 in turn, and a 4 now and then.
fn values(shape: &RecordShape) -> Vec<u8> {
    let value = |number| if number % 50 == 4 { 4 } else { number % 4 };
    (0..shape.weights())
        .map(|number| value(number) as u8)
        .collect()
}

fn bytes(shape: &RecordShape, body: Body) -> Vec<u8> {
    record(
        shape,
        &Palette::lowest(shape.width()),
        &values(shape),
        body,
        &[],
    )
}

/// The record of these bytes, with its checksum made right.
fn parse(shape: &RecordShape, mut bytes: Vec<u8>) -> Result<(), Error> {
    if bytes.len() >= 4 {
        let checksum = crc32(&bytes[4..]).to_le_bytes();
        bytes[..4].copy_from_slice(&checksum);
    }
    let unchecked = UncheckedRecord::parse(shape, OFFSET, &bytes).map(|_| ());
    let checked = Record::parse(shape, OFFSET, &bytes, &[]).map(|_| ());
    assert_eq!(checked, unchecked);
    checked
}

/// The rule that a record breaks when these bytes are put at this offset.
fn with(shape: &RecordShape, body: Body, at: usize, changed: &[u8]) -> Rule {
    let mut bytes = bytes(shape, body);
    bytes[at..at + changed.len()].copy_from_slice(changed);
    parse(shape, bytes).expect_err("a rule is broken").rule
}

#[test]
fn accepts_a_record_of_each_kind() {
    for body in [Body::Verbatim, FOUR_CODES] {
        assert_eq!(parse(&HUFFMAN, bytes(&HUFFMAN, body)), Ok(()));
    }
    for body in [Body::Verbatim, Body::Indices] {
        assert_eq!(parse(&PALETTE, bytes(&PALETTE, body)), Ok(()));
    }
}

#[test]
fn rejects_a_kind_that_is_unknown_or_of_another_form() {
    for kind in [3, 255] {
        let rule = with(&HUFFMAN, Body::Verbatim, 4, &[kind]);
        assert_eq!(rule, Rule::RecordKind);
    }
    assert_eq!(with(&HUFFMAN, FOUR_CODES, 4, &[2]), Rule::RecordForm);
    assert_eq!(with(&PALETTE, Body::Indices, 4, &[1]), Rule::RecordForm);
}

#[test]
fn rejects_fields_that_should_be_zero() {
    for (shape, body) in [
        (HUFFMAN, Body::Verbatim),
        (HUFFMAN, FOUR_CODES),
        (PALETTE, Body::Indices),
    ] {
        assert_eq!(with(&shape, body, 5, &[1]), Rule::RecordReserved);
    }
    assert_eq!(
        with(&HUFFMAN, Body::Verbatim, 6, &[1]),
        Rule::RecordReserved
    );
    for code_length in 8..16 {
        for (shape, body) in [(HUFFMAN, Body::Verbatim), (PALETTE, Body::Indices)] {
            assert_eq!(with(&shape, body, code_length, &[1]), Rule::RecordReserved);
        }
    }
}

#[test]
fn rejects_another_length_than_that_of_the_contents() {
    for (shape, body) in [
        (HUFFMAN, Body::Verbatim),
        (HUFFMAN, FOUR_CODES),
        (PALETTE, Body::Verbatim),
        (PALETTE, Body::Indices),
    ] {
        let whole = bytes(&shape, body);
        for length in 0..whole.len() {
            let error = parse(&shape, whole[..length].to_vec()).unwrap_err();
            assert_eq!(error.rule, Rule::RecordLength);
        }
        let mut longer = whole;
        longer.extend([0; 16]);
        assert_eq!(parse(&shape, longer).unwrap_err().rule, Rule::RecordLength);
    }
    // More patches than there is room for.
    assert_eq!(
        with(&PALETTE, Body::Indices, 6, &[0xff; 2]),
        Rule::RecordLength
    );
}

#[test]
fn rejects_padding_that_is_not_zero() {
    let shape = RecordShape::new(9, 3, Encoding::Huffman, false);
    // 27 bits in 4 bytes, and 12 bytes of padding.
    let verbatim = bytes(&shape, Body::Verbatim);
    assert_eq!(verbatim.len(), 32);
    for bit in 3..8 {
        let mut bytes = verbatim.clone();
        bytes[19] |= 1 << bit;
        let error = parse(&shape, bytes).unwrap_err();
        let expected = Expected::Exactly(0);
        let found = 1 << bit;
        let rule = Rule::RecordPadding;
        assert_eq!(error, Error::new(rule, OFFSET + 19, found, expected));
    }
    for at in [20, 31] {
        let rule = with(&shape, Body::Verbatim, at, &[1]);
        assert_eq!(rule, Rule::RecordPadding);
    }
    let last = bytes(&HUFFMAN, FOUR_CODES).len() - 1;
    assert_eq!(with(&HUFFMAN, FOUR_CODES, last, &[1]), Rule::RecordPadding);
}

#[test]
fn rejects_lane_ends_that_decrease() {
    assert_eq!(with(&HUFFMAN, FOUR_CODES, 16, &[0xff; 2]), Rule::LaneEnds);
    assert_eq!(with(&HUFFMAN, FOUR_CODES, 16 + 62, &[0; 2]), Rule::LaneEnds);
}

#[test]
fn rejects_patches_that_do_not_ascend_or_lie_outside_or_have_no_such_value() {
    // Values 4, at the positions 4, 54, 104 and so on, have no code.
    let whole = bytes(&HUFFMAN, FOUR_CODES);
    let count = usize::from(u16::from_le_bytes([whole[6], whole[7]]));
    assert_eq!(count, 20);
    let first = whole
        .windows(3)
        .position(|bytes| bytes == [4, 0, 4])
        .unwrap();
    let changed = |at, bytes: &[u8]| with(&HUFFMAN, FOUR_CODES, at, bytes);
    assert_eq!(changed(first, &[54]), Rule::PatchOrder);
    assert_eq!(changed(first + 3, &[3]), Rule::PatchOrder);
    let last = first + 3 * (count - 1);
    assert_eq!(changed(last, &1000u16.to_le_bytes()), Rule::PatchPosition);
    assert_eq!(changed(last, &[0xff; 2]), Rule::PatchPosition);
    assert_eq!(changed(last + 2, &[16]), Rule::PatchValue);
    assert_eq!(changed(first + 2, &[255]), Rule::PatchValue);
}

#[test]
fn takes_every_value_of_a_whole_byte_in_a_patch() {
    let palette = Palette::lowest(8);
    let mut values = values(&PALETTE);
    values[599] = 255;
    let bytes = record(&PALETTE, &palette, &values, Body::Indices, &[]);
    assert_eq!(parse(&PALETTE, bytes), Ok(()));
}

#[test]
fn rejects_a_code_that_is_not_one_of_the_palette() {
    let changed = |at, bytes: &[u8]| with(&HUFFMAN, FOUR_CODES, at, bytes);
    for length in 9..15 {
        assert_eq!(changed(15, &[0xf0 | length]), Rule::CodeLength);
    }
    assert_eq!(changed(8, &[0x11]), Rule::CodeOversubscribed);
    assert_eq!(changed(8, &[0x31]), Rule::CodeIncomplete);
    assert_eq!(changed(8, &[0xff; 8]), Rule::CodeIncomplete);
    // A field of 2 bits has four entries.
    let narrow = RecordShape::new(1000, 2, Encoding::Huffman, false);
    let values = vec![0; 1000];
    let whole = record(&narrow, &Palette::lowest(2), &values, NO_BITS, &[]);
    assert_eq!((whole[4], parse(&narrow, whole.clone())), (1, Ok(())));
    for entry in 4..16 {
        let mut bytes = whole.clone();
        bytes[8] = 0xf1;
        let nibble = 4 * (entry % 2);
        bytes[8 + entry / 2] &= !(0xf << nibble);
        bytes[8 + entry / 2] |= 1 << nibble;
        assert_eq!(parse(&narrow, bytes).unwrap_err().rule, Rule::CodeLength);
    }
}

#[test]
fn covers_the_plain_bytes_in_the_first_record_of_a_chunk_alone() {
    let joined = RecordShape::new(1000, 4, Encoding::Huffman, true);
    let (palette, values, plain) = (Palette::lowest(4), values(&joined), [7; 500]);
    for body in [Body::Verbatim, FOUR_CODES] {
        let bytes = record(&joined, &palette, &values, body, &plain);
        assert!(Record::parse(&joined, OFFSET, &bytes, &plain).is_ok());
        let mut other = plain;
        other[499] ^= 0x80;
        let error = Record::parse(&joined, OFFSET, &bytes, &other).unwrap_err();
        assert_eq!((error.rule, error.offset), (Rule::RecordCrc, OFFSET));

        let unchecked = UncheckedRecord::parse(&joined, OFFSET, &bytes).unwrap();
        let mut checksum = crc32fast::Hasher::new_with_initial(unchecked.checksum_so_far());
        checksum.update(&plain);
        assert_eq!(unchecked.require_checksum(checksum.finalize()), Ok(()));

        let apart = record(&HUFFMAN, &palette, &values, body, &plain);
        assert!(Record::parse(&HUFFMAN, OFFSET, &apart, &other).is_ok());
    }
}
