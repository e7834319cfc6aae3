//! Section 5.1: records.

use unweight_format::Rule;

use super::{exact, huffman, huffman_tensor, palette};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;
use crate::random::Random;
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    checksums(cases);
    kinds(cases);
    reserved(cases);
    lengths(cases);
    padding(cases);
}

/// A record of 300 verbatim exponents: 316 bytes, and 4 of padding.
fn verbatim() -> Draft {
    let weights = Weights::new("verbatim", Random::new("any").bytes(300));
    Draft::of([Tensor::huffman_with("w", 12, PALETTE, &weights, |_, e| {
        Record::verbatim(e)
    })])
}

fn checksums(cases: &mut Cases) {
    let file = huffman().forge();
    let placed = file.tensor(0).clone();
    let record = placed.records[0].clone();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::RecordCrc, claim, forge);
        cases.also(&["8"]);
    };
    let claim = "the record checksum covers the record from offset 4 to its end, and the chunk's bytes of the plain plane";
    let flip = |at: usize| file.clone().flip(at, 4);
    wrong("record-checksum-wrong-by-a-bit", claim, flip(record.start));
    wrong(
        "code-lengths-changed-without-the-checksum",
        claim,
        flip(record.start + 8),
    );
    wrong(
        "lane-end-changed-without-the-checksum",
        claim,
        flip(record.start + 16),
    );
    wrong(
        "lane-stream-changed-without-the-checksum",
        claim,
        flip(record.start + 80),
    );
    wrong(
        "record-padding-changed-without-the-checksum",
        claim,
        flip(record.end - 1),
    );
    wrong(
        "first-plain-byte-changed-without-the-checksum",
        claim,
        flip(placed.begin),
    );
    wrong(
        "last-plain-byte-changed-without-the-checksum",
        claim,
        flip(placed.begin + 299),
    );
    let of_record = unweight_format::crc32(&file.bytes()[record.start + 4..record.end]);
    wrong(
        "record-checksum-of-the-record-alone",
        claim,
        file.clone().put_u32(record.start, of_record),
    );
    wrong(
        "record-checksum-zero",
        "a checksum of zero is no way to leave it out",
        file.clone().put_u32(record.start, 0),
    );
    let two = Draft::of([huffman_tensor("w", 4096 + 300)]).forge();
    let second = two.tensor(0).records[1].clone();
    wrong(
        "checksum-of-the-last-chunk-wrong",
        claim,
        two.flip(second.start + 1, 1),
    );
    let file = verbatim().forge();
    let at = file.tensor(0).records[0].start + 16;
    wrong(
        "verbatim-value-changed-without-the-checksum",
        claim,
        file.flip(at, 1),
    );
    let file = palette().forge();
    let at = file.tensor(0).records[0].start + 16;
    cases.reject_full(
        "palette-index-changed-without-the-checksum",
        Rule::RecordCrc,
        claim,
        file.flip(at, 1),
    );
    cases.also(&["8"]);
}

fn kinds(cases: &mut Cases) {
    for kind in [3, 255] {
        cases.reject(
            &format!("record-kind-{kind}"),
            Rule::RecordKind,
            "the record kind is 0, 1 or 2",
            huffman().edit_record(|record| record.kind = kind).forge(),
        );
        cases.also(&["12"]);
    }
    let of_palette = palette();
    let record = of_palette.tensors[0].stored[0].records[0].clone();
    cases.reject(
        "palette-record-in-a-huffman-tensor",
        Rule::RecordForm,
        "a huffman tensor has huffman and verbatim records",
        huffman()
            .edit_record(|of_huffman| *of_huffman = record)
            .forge(),
    );
    let record = huffman().tensors[0].stored[0].records[0].clone();
    cases.reject_full(
        "huffman-record-in-a-palette-tensor",
        Rule::RecordForm,
        "a palette tensor has palette and verbatim records",
        palette()
            .edit_record(|of_palette| *of_palette = record)
            .forge(),
    );
}

fn reserved(cases: &mut Cases) {
    let claim =
        "reserved fields of a record are zero, and so are those that its kind has no use for";
    let mut wrong = |id: &str, draft: Draft| {
        cases.reject(id, Rule::RecordReserved, claim, draft.forge());
        cases.also(&["2"]);
    };
    wrong(
        "huffman-record-reserved-byte",
        huffman().edit_record(|record| record.reserved = 1),
    );
    wrong(
        "verbatim-record-reserved-byte",
        verbatim().edit_record(|record| record.reserved = 128),
    );
    wrong(
        "verbatim-record-with-a-patch-count",
        verbatim().edit_record(|record| record.patch_count = 1),
    );
    wrong("verbatim-record-with-a-patch", {
        verbatim().edit_record(|record| {
            record.patch_count = 1;
            record.patches = vec![(0, 9)];
        })
    });
    wrong(
        "verbatim-record-with-a-patch-count-of-256",
        verbatim().edit_record(|record| record.patch_count = 256),
    );
    wrong(
        "verbatim-record-with-code-lengths",
        verbatim().edit_record(|record| record.code_lengths = [0x44; 8]),
    );
    wrong(
        "verbatim-record-with-a-first-code-length",
        verbatim().edit_record(|record| record.code_lengths[0] = 1),
    );
    wrong(
        "verbatim-record-with-a-last-code-length",
        verbatim().edit_record(|record| record.code_lengths[7] = 0xf0),
    );
    let mut wrong = |id: &str, draft: Draft| {
        cases.reject_full(id, Rule::RecordReserved, claim, draft.forge());
        cases.also(&["2"]);
    };
    wrong(
        "palette-record-reserved-byte",
        palette().edit_record(|record| record.reserved = 1),
    );
    wrong(
        "palette-record-with-code-lengths",
        palette().edit_record(|record| record.code_lengths = [0x44; 8]),
    );
    wrong(
        "palette-record-with-a-last-code-length",
        palette().edit_record(|record| record.code_lengths[7] = 0xf0),
    );
}

fn lengths(cases: &mut Cases) {
    let whole = |record: &Record| {
        let contents =
            16 + 2 * record.lane_ends.len() + record.body.len() + 3 * record.patches.len();
        contents.next_multiple_of(16) - contents
    };
    let longer = |record: &mut Record| record.padding = Some(vec![0; whole(record) + 16]);
    let mut wrong = |id: &str, claim: &str, draft: Draft| {
        cases.reject(id, Rule::RecordLength, claim, draft.forge());
    };
    let claim = "a record is as long as its contents, completed to 16 bytes";
    wrong(
        "huffman-record-16-bytes-too-long",
        claim,
        huffman().edit_record(longer),
    );
    wrong(
        "huffman-record-with-an-exact-end-and-16-bytes-more",
        claim,
        {
            // The record has 80 + 64 bytes and no patches.
            exact().edit_record(|record| record.padding = Some(vec![0; 16]))
        },
    );
    // 290 weights take 306 bytes, or 320 with padding. The cases have fewer or more exponents than
    // weights.
    let of_290 = |count: usize| {
        let exponents = Random::new("any").bytes(290);
        let weights = Weights::new("verbatim", exponents.clone());
        let held: Vec<u8> = exponents.iter().copied().cycle().take(count).collect();
        Draft::of([Tensor::huffman_with("w", 12, PALETTE, &weights, |_, _| {
            Record::verbatim(&held)
        })])
    };
    wrong("verbatim-record-16-bytes-too-short", claim, of_290(270));
    wrong("verbatim-record-of-a-header-alone", claim, of_290(0));
    wrong(
        "huffman-record-of-a-header-alone",
        "a huffman record holds its header and its lane ends",
        huffman().edit_record(|record| {
            record.lane_ends.clear();
            record.body.clear();
            *record = record.clone().with_patches(vec![]);
        }),
    );
    wrong(
        "huffman-record-with-24-lane-ends",
        "a huffman record holds its header and its lane ends",
        huffman().edit_record(|record| {
            record.lane_ends = vec![0; 24];
            record.body.clear();
            *record = record.clone().with_patches(vec![]);
        }),
    );
    wrong(
        "patch-count-that-the-record-is-too-short-for",
        "a record holds as many patches as it says",
        huffman().edit_record(|record| record.patch_count += 6),
    );
    wrong(
        "patch-count-of-65535",
        "a record holds as many patches as it says",
        huffman().edit_record(|record| record.patch_count = u16::MAX),
    );
    wrong(
        "patch-count-of-0-with-six-patches",
        "a record holds no more patches than it says",
        huffman().edit_record(|record| {
            *record = record
                .clone()
                .with_patches((0..6).map(|i| (i, 20)).collect());
            record.patch_count = 0;
        }),
    );
    let claim = "lane ends do not leave the record";
    wrong(
        "lane-end-behind-the-record",
        claim,
        exact().edit_record(|record| record.lane_ends[31] = 65),
    );
    wrong(
        "lane-end-of-65535",
        claim,
        exact().edit_record(|record| record.lane_ends[31] = u16::MAX),
    );
    wrong(
        "lane-ends-all-behind-the-record",
        claim,
        exact().edit_record(|record| record.lane_ends = vec![u16::MAX; 32]),
    );
    wrong(
        "lane-ends-that-leave-bytes-behind-the-last",
        "the lanes fill the record up to its patches",
        exact().edit_record(|record| {
            record.body.extend([0; 16]);
        }),
    );
    let mut wrong = |id: &str, claim: &str, draft: Draft| {
        cases.reject_full(id, Rule::RecordLength, claim, draft.forge());
    };
    wrong("palette-record-16-bytes-too-long", claim_of_palette(), {
        // 258 weights take 16 + 256 bytes of at most 288.
        let weights = Weights::skewed("two steps", &PALETTE, 258);
        Draft::of([Tensor::palette("w", 12, PALETTE, &weights)]).edit_record(longer)
    });
    wrong(
        "palette-record-with-indices-for-its-weights-alone",
        claim_of_palette(),
        palette().edit_record(|record| record.body.truncate(150)),
    );
    wrong(
        "palette-record-with-a-step-too-few",
        claim_of_palette(),
        palette().edit_record(|record| record.body.truncate(128)),
    );
}

fn claim_of_palette() -> &'static str {
    "a palette record has 128 bytes for each step, a short last one too"
}

fn padding(cases: &mut Cases) {
    let claim = "the padding of a record is zero";
    // The record has 300 weights and 4 patches.
    let marked = |draft: Draft, last: bool| {
        draft.edit_record(|record| {
            let bytes = record.to_bytes(&[]);
            let contents =
                16 + 2 * record.lane_ends.len() + record.body.len() + 3 * record.patches.len();
            let mut padding = vec![0; bytes.len() - contents];
            let at = if last { padding.len() - 1 } else { 0 };
            padding[at] = 1;
            record.padding = Some(padding);
        })
    };
    for (id, draft) in [("huffman", huffman()), ("verbatim", verbatim())] {
        cases.reject(
            &format!("{id}-record-padding-first-byte"),
            Rule::RecordPadding,
            claim,
            marked(draft.clone(), false).forge(),
        );
        cases.also(&["2"]);
        cases.reject(
            &format!("{id}-record-padding-last-byte"),
            Rule::RecordPadding,
            claim,
            marked(draft, true).forge(),
        );
        cases.also(&["2"]);
    }
    for (id, last) in [("first", false), ("last", true)] {
        let file = marked(palette(), last).forge();
        cases.reject_full(
            &format!("palette-record-padding-{id}-byte"),
            Rule::RecordPadding,
            claim,
            file,
        );
        cases.also(&["2"]);
    }
    cases.reject(
        "patch-behind-the-patch-count",
        Rule::RecordPadding,
        "bytes behind the patches are padding",
        huffman()
            .edit_record(|record| {
                let patches = record.patches.clone();
                let contents = 80 + record.body.len() + 3 * patches.len();
                // The count has one patch fewer, in a record of the same length.
                assert!((contents - 3).next_multiple_of(16) == contents.next_multiple_of(16));
                record.patch_count -= 1;
            })
            .forge(),
    );
}
