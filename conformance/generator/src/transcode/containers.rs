//! What stays and what is dropped of a file besides its tensors' payloads.

use unweight_format::{Dtype, Encoding};

use super::{BOTH, transcode, transcode_to};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::source;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let coded = |name: &str| {
        let weights = Weights::skewed(name, &PALETTE, 600);
        Tensor::huffman(name, 12, PALETTE, &weights, Lengths::skewed())
    };
    let tensors = || {
        vec![
            coded("z").shaped(&[20, 30]),
            Tensor::raw("", Dtype::F32, &[], vec![0, 0, 128, 63]),
            Tensor::raw("empty", Dtype::Bf16, &[1 << 40, 0, 1 << 40], vec![]),
            Tensor::raw("f6", Dtype::F6E3M2, &[4], vec![7, 8, 9]),
            coded("a\u{0}\u{1d11e}"),
            Tensor::raw("m", Dtype::F16, &[1, 3], vec![60; 6]),
        ]
    };
    let sections = ["3.1", "3.2", "3.3", "3.4", "12"];

    let plain = "tensors-out-of-name-order";
    let claim = "a file without a source may have its tensors in any order";
    cases.accept(plain, &["3.2"], claim, &Draft::of(tensors()));
    let claim = "directory order, names, dimensions and tensors without a coded field stay; there is still no source";
    let files = BOTH.map(|encoding| transcode(cases, plain, encoding, &sections, claim));

    let items: [(u32, &[u8]); 3] = [(7, b"note"), (0x7000_0001, b""), (7, b"another note")];
    let changed = [
        (
            "minor-version-7-and-coded-tensors",
            "the minor version becomes 0: nothing of a later one is used",
            Draft {
                minor_version: 7,
                ..Draft::of(tensors())
            },
        ),
        (
            "extensions-and-coded-tensors",
            "extensions are dropped",
            Draft::of(tensors()).with_items(&items),
        ),
    ];
    for (id, claim, draft) in changed {
        let of_input = "a decoder ignores the minor version, and items that are not critical";
        cases.accept(id, &["3.4", "12"], of_input, &draft);
        for (encoding, file) in BOTH.into_iter().zip(&files) {
            transcode_to(cases, id, encoding, &sections, claim, file);
        }
    }

    // The members stand backwards, amid white space.
    let tensors = tensors();
    let json = format!(
        "{{ \"__metadata__\" : null ,\n{}\t}}  \n ",
        source::members_backwards(&tensors)
    );
    let id = "source-amid-white-space-and-coded-tensors";
    let claim = "white space and the order of members are kept";
    let draft = Draft::of(tensors).with_json(json).with_items(&items);
    cases.accept(id, &["3.3"], claim, &draft);
    let claim = "the source section stays as it is; extensions behind it are dropped";
    for encoding in BOTH {
        transcode(cases, id, encoding, &sections, claim);
    }

    let id = "extensions-without-tensors";
    let claim = "a file without tensors is transcoded too";
    transcode(cases, id, Encoding::Huffman, &sections, claim);
    transcode(cases, "empty-tensors", Encoding::Palette, &sections, claim);

    // The payload of the tensor in front becomes longer, and that of the large one moves.
    let large = (0..65_536).map(|i| (i % 251) as u8).collect();
    let id = "large-raw-tensor-behind-a-coded-one";
    let claim = "a tensor of 65,536 bytes is aligned to 256";
    let draft = Draft::of([coded("w"), Tensor::bytes("large", large), coded("x")]);
    cases.accept(id, &["3.5"], claim, &draft);
    let claim = "payloads move, and are aligned anew";
    transcode(cases, id, Encoding::Palette, &["3.5"], claim);
}
