//! Sections 5 and 6: records that break one rule, and whose lanes and tensor checksum fit what a
//! decoder without that rule decodes.

use unweight_format::Rule;

use super::huffman;
use crate::case::Cases;
use crate::code::{Lengths, NONE};
use crate::draft::{Draft, Tensor};
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    codes(cases);
    kinds(cases);
    reserved(cases);
    lanes(cases);
    paddings(cases);
}

/// 512 weights of these palette entries in turn, coded with these lengths.
fn coded(lengths: Lengths, entries: &[usize]) -> Draft {
    let exponents = (0..512)
        .map(|i| PALETTE[entries[i % entries.len()]])
        .collect();
    let weights = Weights::new("fitting", exponents);
    Draft::of([Tensor::huffman_with(
        "w",
        12,
        PALETTE,
        &weights,
        |_, exponents| Record::huffman(lengths, &PALETTE, exponents),
    )])
}

fn codes(cases: &mut Cases) {
    let of = |first: &[u8]| Lengths::of(first);
    let mut without_one = Lengths::skewed();
    without_one.0[7] = NONE;
    let incomplete: [(&str, Lengths, &[usize]); 7] = [
        ("one-code-of-1-bit", of(&[1]), &[0]),
        (
            "one-code-of-1-bit-at-the-last-entry",
            Lengths(std::array::from_fn(|i| if i == 15 { 1 } else { NONE })),
            &[15],
        ),
        ("two-codes-of-2-bits", of(&[2, 2]), &[0, 1]),
        ("three-codes-of-2-bits", of(&[2, 2, 2]), &[0, 1, 2]),
        ("codes-of-1-and-3-bits", of(&[1, 3]), &[0, 0, 1]),
        ("sixteen-codes-of-5-bits", Lengths([5; 16]), &[0, 5, 10, 15]),
        ("255-of-256", without_one, &[8, 9, 10, 11, 12, 13, 14, 15]),
    ];
    for (id, lengths, entries) in incomplete {
        cases.reject(
            &format!("code-incomplete-with-lanes-that-fit-{id}"),
            Rule::CodeIncomplete,
            "the code is complete, even if every code that occurs is there",
            coded(lengths, entries).forge(),
        );
    }
    // Without a code, a decoder with an empty table takes entry 0, or the value 0, for each weight.
    for (id, exponent) in [("entry-0", PALETTE[0]), ("the-value-0", 0)] {
        let mut palette = PALETTE;
        palette[0] = exponent;
        let weights = Weights::new("no code", vec![exponent; 512]);
        let record = Record::huffman(Lengths::single(0), &palette, &weights.exponents);
        cases.reject(
            &format!("code-incomplete-with-lanes-that-fit-no-code-for-{id}"),
            Rule::CodeIncomplete,
            "no code at all is an incomplete code",
            Draft::of([Tensor::huffman_with("w", 12, palette, &weights, |_, _| {
                record.clone()
            })])
            .edit_record(|record| record.code_lengths = Lengths([NONE; 16]).to_bytes())
            .forge(),
        );
    }
    let over: [(&str, &[u8], &[usize]); 11] = [
        ("two-codes-of-0-bits-where-the-first-wins", &[0, 0], &[0]),
        ("two-codes-of-0-bits-where-the-last-wins", &[0, 0], &[1]),
        (
            "three-codes-of-0-bits-where-the-last-wins",
            &[0, 0, 0],
            &[2],
        ),
        ("codes-of-0-and-8-bits-where-the-first-wins", &[0, 8], &[0]),
        ("codes-of-0-and-1-bit-where-the-first-wins", &[0, 1], &[0]),
        (
            "four-codes-of-1-bit-where-the-first-win",
            &[1, 1, 1, 1],
            &[0, 1, 1],
        ),
        (
            "four-codes-of-1-bit-where-the-last-win",
            &[1, 1, 1, 1],
            &[2, 3, 3],
        ),
        (
            "three-codes-of-1-bit-where-the-first-win",
            &[1, 1, 1],
            &[0, 1, 1],
        ),
        (
            "eight-codes-of-2-bits-where-the-first-win",
            &[2; 8],
            &[0, 1, 2, 3],
        ),
        ("257-of-256", &[1, 1, 8], &[0, 1]),
        ("sixteen-codes-of-3-bits", &[3; 16], &[0, 1, 7]),
    ];
    for (id, lengths, entries) in over {
        cases.reject(
            &format!("code-oversubscribed-with-lanes-that-fit-{id}"),
            Rule::CodeOversubscribed,
            "the code is not oversubscribed, even if the codes that occur are",
            coded(of(lengths), entries).forge(),
        );
    }
    let nibbles: [(&str, [u8; 16], &[usize]); 3] = [
        (
            "9-bits-that-complete-the-code",
            nibbles_of(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 9]),
            &[0, 0, 0, 1, 2],
        ),
        (
            "14-as-no-code",
            {
                let mut all = nibbles_of(&[1, 1]);
                all[2] = 14;
                all
            },
            &[0, 1],
        ),
        (
            "9-as-no-code-at-the-last-entry",
            {
                let mut all = nibbles_of(&[1, 1]);
                all[15] = 9;
                all
            },
            &[0, 1],
        ),
    ];
    for (id, all, entries) in nibbles {
        let mut valid = all;
        for length in valid.iter_mut().filter(|length| **length > 8) {
            *length = NONE;
        }
        cases.reject(
            &format!("code-length-of-{id}"),
            Rule::CodeLength,
            "a code length is 0 to 8, or 15 for none",
            coded(Lengths(valid), entries)
                .edit_record(|record| record.code_lengths = Lengths(all).to_bytes())
                .forge(),
        );
    }
}

fn nibbles_of(first: &[u8]) -> [u8; 16] {
    Lengths::of(first).0
}

fn kinds(cases: &mut Cases) {
    for kind in [5, 9, 17, 65, 129] {
        cases.reject(
            &format!("record-kind-{kind}-of-a-huffman-record"),
            Rule::RecordKind,
            "the kind is the whole byte",
            huffman().edit_record(|record| record.kind = kind).forge(),
        );
    }
    for kind in [4, 8, 16, 64, 128] {
        let weights = Weights::new("verbatim", (0..300).map(|i| (i % 251) as u8).collect());
        let tensor = Tensor::huffman_with("w", 12, PALETTE, &weights, |_, exponents| {
            Record::verbatim(exponents)
        });
        cases.reject(
            &format!("record-kind-{kind}-of-a-verbatim-record"),
            Rule::RecordKind,
            "the kind is the whole byte",
            Draft::of([tensor])
                .edit_record(|record| record.kind = kind)
                .forge(),
        );
    }
    for kind in [6, 18, 130] {
        cases.reject_full(
            &format!("record-kind-{kind}-of-a-palette-record"),
            Rule::RecordKind,
            "the kind is the whole byte",
            super::palette()
                .edit_record(|record| record.kind = kind)
                .forge(),
        );
    }
}

fn reserved(cases: &mut Cases) {
    for bit in [1, 2, 7] {
        cases.reject(
            &format!("huffman-record-with-bit-{bit}-of-the-reserved-byte"),
            Rule::RecordReserved,
            "the reserved byte of a record is zero",
            huffman()
                .edit_record(|record| record.reserved = 1 << bit)
                .forge(),
        );
    }
    let verbatim = || {
        let weights = Weights::new("verbatim", (0..300).map(|i| (i % 251) as u8).collect());
        Draft::of([Tensor::huffman_with(
            "w",
            12,
            PALETTE,
            &weights,
            |_, exponents| Record::verbatim(exponents),
        )])
    };
    for byte in 1..7 {
        let edit = |record: &mut Record| record.code_lengths[byte] = 0x10;
        let claim = "code lengths are zero unless the record is huffman";
        cases.reject(
            &format!("verbatim-record-with-byte-{byte}-of-code-lengths"),
            Rule::RecordReserved,
            claim,
            verbatim().edit_record(edit).forge(),
        );
        cases.reject_full(
            &format!("palette-record-with-byte-{byte}-of-code-lengths"),
            Rule::RecordReserved,
            claim,
            super::palette().edit_record(edit).forge(),
        );
    }
    for count in [0x100, 0x8000] {
        cases.reject(
            &format!("verbatim-record-with-a-patch-count-of-{count}-alone"),
            Rule::RecordReserved,
            "a verbatim record has no patches",
            verbatim()
                .edit_record(|record| record.patch_count = count)
                .forge(),
        );
    }
}

fn lanes(cases: &mut Cases) {
    // 520 weights: lanes 1 to 31 of the last step hold surplus alone.
    let long = Weights::new("surplus", (0..520).map(|i| PALETTE[i % 2]).collect());
    let with = |edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let (symbols, _) = crate::record::symbols(&long.exponents, 0, |value| {
            PALETTE.iter().position(|&of_palette| of_palette == value)
        });
        let mut lanes: Vec<Vec<u8>> = crate::record::lane_bits(Lengths::of(&[1, 1]), &symbols)
            .iter()
            .map(crate::code::Bits::to_bytes)
            .collect();
        edit(&mut lanes);
        let record = Record::huffman_of_lanes(Lengths::of(&[1, 1]), &lanes, vec![]);
        Draft::of([Tensor::huffman_with("w", 12, PALETTE, &long, |_, _| {
            record.clone()
        })])
    };
    for lane in [1, 16, 31] {
        cases.reject(
            &format!("lane-{lane}-overrun-in-its-surplus"),
            Rule::LaneOverrun,
            "the surplus of a short last step is coded",
            with(&|lanes| {
                lanes[lane].pop();
            })
            .forge(),
        );
        cases.reject(
            &format!("lane-{lane}-underrun-behind-its-surplus"),
            Rule::LaneUnderrun,
            "no byte stands behind the surplus of a lane",
            with(&|lanes| lanes[lane].push(0)).forge(),
        );
    }
    // Codes of no bits, and a lane of 8192 bytes: 65,536 bits.
    let weights = Weights::new("one exponent", vec![PALETTE[2]; 16_384]);
    for lane in [0, 30] {
        for bytes in [256, 8192] {
            let mut lanes = vec![vec![]; 32];
            lanes[lane] = vec![0; bytes];
            let record = Record::huffman_of_lanes(Lengths::single(2), &lanes, vec![]);
            cases.reject(
                &format!("lane-{lane}-underrun-by-{bytes}-bytes"),
                Rule::LaneUnderrun,
                "lengths of lanes do not wrap",
                Draft::of([Tensor::huffman_with("w", 14, PALETTE, &weights, |_, _| {
                    record.clone()
                })])
                .forge(),
            );
        }
    }
}

fn paddings(cases: &mut Cases) {
    for width in [2, 3, 5, 7] {
        let (dtype, number) = super::narrow(width);
        let draft = super::verbatim_field(dtype, number);
        let draft = draft.edit_record(|record| {
            let length = 16 + record.body.len();
            let mut padding = vec![0; length.next_multiple_of(16) - length];
            if padding.len() > 2 {
                let middle = padding.len() / 2;
                padding[middle] = 4;
            } else if let Some(last) = padding.last_mut() {
                *last = 4;
            }
            record.padding = Some(padding);
        });
        cases.reject(
            &format!("verbatim-record-of-{width}-bits-middle-padding-byte"),
            Rule::RecordPadding,
            "the padding of a record is zero",
            draft.forge(),
        );
    }
    let padded = |draft: Draft, contents: usize| {
        draft.edit_record(|record| {
            let mut padding = vec![0; contents.next_multiple_of(16) - contents];
            let middle = padding.len() / 2;
            padding[middle] = 4;
            record.padding = Some(padding);
        })
    };
    let length = |draft: &Draft| {
        let record = &draft.tensors[0].stored[0].records[0];
        16 + 2 * record.lane_ends.len() + record.body.len() + 3 * record.patches.len()
    };
    let (huffman, palette) = (huffman(), super::palette());
    let (first, second) = (length(&huffman), length(&palette));
    let claim = "the padding of a record is zero";
    cases.reject(
        "huffman-record-padding-middle-byte",
        Rule::RecordPadding,
        claim,
        padded(huffman, first).forge(),
    );
    cases.reject_full(
        "palette-record-padding-middle-byte",
        Rule::RecordPadding,
        claim,
        padded(palette, second).forge(),
    );
}
