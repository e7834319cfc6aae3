//! Section 8: tensor checksums. Everything else is valid, including the checksums of parts.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{huffman, palette, raw};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let wrong = |draft: Draft, number: usize| {
        let file = draft.forge();
        let at = file.entry(number, entry::TENSOR_CHECKSUM);
        file.flip(at, 1).stamp_directory()
    };
    let mut reject = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::TensorCrc, claim, forge);
    };
    let claim = "the tensor checksum is that of the original bytes";
    reject(
        "tensor-checksum-of-a-raw-tensor-wrong",
        claim,
        wrong(raw(), 0),
    );
    reject(
        "tensor-checksum-of-a-huffman-tensor-wrong",
        claim,
        wrong(huffman(), 0),
    );
    let both = || {
        let bytes = Tensor::bytes("r", vec![1]);
        let mut draft = huffman();
        draft.tensors.push(bytes);
        draft
    };
    reject(
        "tensor-checksum-of-the-last-tensor-wrong",
        claim,
        wrong(both(), 1),
    );
    reject(
        "tensor-checksum-of-the-first-tensor-wrong",
        claim,
        wrong(both(), 0),
    );
    let empty = || Draft::of([Tensor::raw("e", Dtype::F32, &[0], vec![])]);
    reject(
        "tensor-checksum-of-an-empty-tensor-wrong",
        "the checksum of no bytes is 0",
        wrong(empty(), 0),
    );
    reject(
        "tensor-checksum-zero",
        "a checksum of zero is no way to leave it out",
        {
            let file = huffman().forge();
            let at = file.entry(0, entry::TENSOR_CHECKSUM);
            file.put_u32(at, 0).stamp_directory()
        },
    );

    let claim = "parts whose own checksums are right make a tensor only in the right order";
    let weights = Weights::skewed("exchanged", &PALETTE, 2 * 4096);
    let mut exchanged = weights.clone();
    exchanged.sign_mantissa.rotate_left(4096);
    exchanged.exponents.rotate_left(4096);
    let huffman = |weights: &Weights| Tensor::huffman("w", 12, PALETTE, weights, Lengths::skewed());
    reject(
        "chunks-exchanged",
        claim,
        Draft::of([Tensor {
            data: weights.bytes(),
            ..huffman(&exchanged)
        }])
        .forge(),
    );
    reject(
        "raw-data-changed-in-a-plane-without-block-checksums",
        "a plane of at most 65,536 bytes without records has no other checksum",
        {
            let file = raw().forge();
            let at = file.tensor(0).plain.start;
            file.flip(at, 1).stamp()
        },
    );
    reject(
        "raw-data-changed-with-its-block-checksum",
        "the tensor checksum covers what the block checksums cover",
        {
            let file = super::big().forge();
            let at = file.tensor(0).plain.start;
            file.flip(at, 1).stamp()
        },
    );
    reject(
        "sign-changed-with-its-record-checksum",
        "the tensor checksum covers what the record checksums cover",
        {
            let file = super::huffman().forge();
            let at = file.tensor(0).begin;
            file.flip(at, 0x80).stamp()
        },
    );
    let file = wrong(palette(), 0);
    cases.reject_full(
        "tensor-checksum-of-a-palette-tensor-wrong",
        Rule::TensorCrc,
        "the tensor checksum is that of the original bytes",
        file,
    );
}
