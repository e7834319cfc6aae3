//! Section 5.5: patches.

use unweight_format::Rule;

use super::{huffman, huffman_tensor, palette, patched};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    // The 300 weights keep their patches at 3, 4, 100 and 256. A decoder that misses the rule
    // decodes every weight correctly.
    type Edit = fn(&mut Vec<(u16, u8)>, u8);
    let edits: [(&str, Rule, &str, Edit); 9] = [
        (
            "patches-exchanged",
            Rule::PatchOrder,
            "positions ascend",
            |patches, _| patches.swap(1, 2),
        ),
        (
            "patch-twice",
            Rule::PatchOrder,
            "no position has two patches",
            |patches, _| patches.insert(1, patches[1]),
        ),
        (
            "patch-twice-at-0",
            Rule::PatchOrder,
            "no position has two patches, not even position 0",
            |patches, first| {
                patches.splice(0..0, [(0, first), (0, first)]);
            },
        ),
        (
            "last-patch-before-the-others",
            Rule::PatchOrder,
            "positions ascend",
            |patches, first| patches.push((0, first)),
        ),
        (
            "last-patch-twice",
            Rule::PatchOrder,
            "no position has two patches",
            |patches, _| patches.push(patches[3]),
        ),
        (
            "patch-at-the-first-surplus-weight",
            Rule::PatchPosition,
            "the surplus has no patches",
            |patches, _| patches.push((300, 20)),
        ),
        (
            "patch-at-the-last-surplus-weight",
            Rule::PatchPosition,
            "the surplus has no patches",
            |patches, _| patches.push((511, 20)),
        ),
        (
            "patch-behind-the-last-step",
            Rule::PatchPosition,
            "a patch lies in its chunk",
            |patches, _| patches.push((512, 20)),
        ),
        (
            "patch-at-65535-of-300",
            Rule::PatchPosition,
            "a patch lies in its chunk",
            |patches, _| patches.push((u16::MAX, 20)),
        ),
    ];
    let first = patched(300).exponents[0];
    for (id, rule, claim, edit) in edits {
        let edited = |draft: Draft| {
            let edited = draft.edit_record(|record| {
                let mut patches = record.patches.clone();
                edit(&mut patches, first);
                *record = record.clone().with_patches(patches);
            });
            edited.forge()
        };
        cases.reject(&format!("huffman-{id}"), rule, claim, edited(huffman()));
        cases.reject_full(&format!("palette-{id}"), rule, claim, edited(palette()));
    }
    let mut full = Draft::of([huffman_tensor("w", 4096)]);
    full = full.edit_record(|record| {
        let more = [&record.patches[..], &[(4096, 20)]].concat();
        *record = record.clone().with_patches(more);
    });
    cases.reject(
        "patch-at-position-4096-of-a-full-chunk",
        Rule::PatchPosition,
        "a patch lies in its chunk",
        full.forge(),
    );
    let weights = Weights::new("first of the next", vec![PALETTE[0]; 4096 + 300]);
    let record = |number: usize, exponents: &[u8]| {
        let record = Record::huffman(Lengths::single(0), &PALETTE, exponents);
        match number {
            0 => record.with_patches(vec![(4097, 9)]),
            _ => record,
        }
    };
    cases.reject(
        "patch-in-the-next-chunk",
        Rule::PatchPosition,
        "a patch lies in its chunk",
        Draft::of([Tensor::huffman_with("w", 12, PALETTE, &weights, record)]).forge(),
    );
}
