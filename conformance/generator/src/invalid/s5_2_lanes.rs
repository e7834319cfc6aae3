//! Section 5.2: lanes.

use unweight_format::Rule;

use super::exact;
use crate::case::Cases;
use crate::code::{Lengths, NONE};
use crate::draft::{Draft, Tensor};
use crate::record::{self, Record};
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    lanes(cases);
    lane_bits(cases);
}

fn lanes(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, draft: Draft| {
        cases.reject(id, Rule::LaneEnds, claim, draft.forge());
    };
    let claim = "lane ends do not decrease";
    let put = |lane: usize, end: u16| exact().edit_record(|record| record.lane_ends[lane] = end);
    wrong("lane-end-decreases", claim, put(5, 9));
    wrong("lane-end-of-0-among-others", claim, put(16, 0));
    wrong(
        "lane-end-leaves-the-record-and-the-next-decreases",
        claim,
        put(7, 60_000),
    );
    wrong("last-lane-end-decreases", claim, put(31, 61));
    wrong(
        "lane-ends-of-two-lanes-exchanged",
        claim,
        exact().edit_record(|record| record.lane_ends.swap(3, 4)),
    );
    wrong("first-lane-end-of-65535", claim, put(0, u16::MAX));
}

/// 256 weights of entries 0 to 3, whose codes are 0, 10, 110 and 111. All weights except `others`
/// are of entry 0.
fn one_step(others: &[(usize, u8)]) -> (Weights, Vec<Vec<u8>>) {
    let mut symbols = vec![0; 256];
    for &(position, symbol) in others {
        symbols[position] = symbol;
    }
    let exponents = symbols
        .iter()
        .map(|&symbol| PALETTE[usize::from(symbol)])
        .collect();
    let lanes = record::lane_bits(CODE, &symbols);
    let streams = lanes.iter().map(|bits| bits.to_bytes()).collect();
    (Weights::new("one step", exponents), streams)
}

const CODE: Lengths = Lengths([
    1, 2, 3, 3, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
]);

fn of_lanes(weights: &Weights, lanes: &[Vec<u8>]) -> Draft {
    let record = Record::huffman_of_lanes(CODE, lanes, vec![]);
    Draft::of([Tensor::huffman_with("w", 12, PALETTE, weights, |_, _| {
        record.clone()
    })])
}

/// Cases in which a decoder that reads past the lane finds the missing bits.
fn lane_bits(cases: &mut Cases) {
    let mut overrun = |id: &str, claim: &str, draft: Draft| {
        cases.reject(id, Rule::LaneOverrun, claim, draft.forge());
    };
    let claim = "a lane's codes do not need more bits than it has, even if the bits behind it are the right ones";
    for lane in [0, 17, 31] {
        // The last bit of the lane's last code, 10, is in the next lane or in the padding.
        let (weights, mut lanes) = one_step(&[(8 * lane + 7, 1)]);
        assert_eq!(lanes[lane], [0x80, 0]);
        lanes[lane].pop();
        overrun(
            &format!("lane-{lane}-overrun-by-one-bit"),
            claim,
            of_lanes(&weights, &lanes),
        );
    }
    let (weights, mut lanes) = one_step(&[(0, 3), (1, 3), (2, 3), (3, 3), (8, 2)]);
    assert_eq!(lanes[0], [0xff, 0x0f]);
    // Lane 1 begins with 110. These are not the bits that lane 0 needs, but as many.
    lanes[0].pop();
    overrun(
        "lane-overrun-by-a-byte",
        "a lane's codes do not need more bits than it has",
        of_lanes(&weights, &lanes),
    );
    let (weights, mut lanes) = one_step(&[]);
    lanes[9].clear();
    overrun(
        "lane-without-bytes-overrun",
        claim,
        of_lanes(&weights, &lanes),
    );
    overrun(
        "lanes-all-without-bytes-overrun",
        claim,
        of_lanes(&weights, &vec![vec![]; 32]),
    );
    let (weights, mut lanes) = one_step(&[]);
    lanes[31].clear();
    overrun(
        "last-lane-without-bytes-overrun",
        claim,
        of_lanes(&weights, &lanes),
    );
    let (weights, mut lanes) = one_step(&[(40, 1)]);
    // The boundary between lanes 5 and 6 is a byte early. Lane 5 lacks a byte and lane 6 has one
    // too many.
    let last = lanes[5].pop().expect("two bytes");
    lanes[6].insert(0, last);
    overrun(
        "lane-boundary-a-byte-early",
        "every lane begins where the one before it ends",
        of_lanes(&weights, &lanes),
    );

    let mut underrun = |id: &str, claim: &str, draft: Draft| {
        cases.reject(id, Rule::LaneUnderrun, claim, draft.forge());
    };
    let claim = "fewer than eight bits are left after the last code of a lane";
    for lane in [0, 31] {
        let (weights, mut lanes) = one_step(&[]);
        lanes[lane].push(0);
        underrun(
            &format!("lane-{lane}-underrun-by-eight-bits"),
            claim,
            of_lanes(&weights, &lanes),
        );
    }
    let (weights, mut lanes) = one_step(&[(0, 1)]);
    lanes[0].push(0);
    underrun(
        "lane-underrun-by-fifteen-bits",
        claim,
        of_lanes(&weights, &lanes),
    );
    let (weights, mut lanes) = one_step(&[]);
    lanes[3].extend([0; 100]);
    underrun(
        "lane-underrun-by-a-hundred-bytes",
        claim,
        of_lanes(&weights, &lanes),
    );
    let (weights, mut lanes) = one_step(&[(40, 1)]);
    let first = lanes[6].remove(0);
    lanes[5].push(first);
    underrun(
        "lane-boundary-a-byte-late",
        "every lane begins where the one before it ends",
        of_lanes(&weights, &lanes),
    );
    let one = Weights::new("one exponent", vec![PALETTE[2]; 256]);
    let mut lanes = vec![vec![]; 32];
    lanes[8].push(0);
    let record = Record::huffman_of_lanes(Lengths::single(2), &lanes, vec![]);
    underrun(
        "lane-with-a-byte-for-codes-of-no-bits",
        "a lane whose codes have no bits is empty",
        Draft::of([Tensor::huffman_with("w", 12, PALETTE, &one, |_, _| {
            record.clone()
        })]),
    );

    let claim = "unused bits of a lane's last byte are zero";
    for (id, lane, bit) in [
        ("first", 0, 0x02),
        ("last", 0, 0x80),
        ("last-lane-last", 31, 0x80),
    ] {
        let (weights, mut lanes) = one_step(&[(8 * lane, 1)]);
        lanes[lane][1] |= bit;
        cases.reject(
            &format!("lane-padding-{id}-bit"),
            Rule::LanePadding,
            claim,
            of_lanes(&weights, &lanes).forge(),
        );
        cases.also(&["2"]);
    }
    // 3 codes of 3 bits, one of 2 bits and 4 of 1 bit make 15 bits.
    let (weights, mut lanes) = one_step(&[(88, 3), (89, 3), (90, 3), (91, 1)]);
    lanes[11][1] |= 0x80;
    cases.reject(
        "lane-padding-of-a-single-unused-bit",
        Rule::LanePadding,
        claim,
        of_lanes(&weights, &lanes).forge(),
    );
    cases.also(&["2"]);
}
