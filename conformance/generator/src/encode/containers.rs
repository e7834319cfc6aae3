//! Sections 11.1 and 11.8: containers, tensors that stay raw, and real weights.

use unweight_format::{Dtype, Encoding};

use super::{BOTH, Vector, counts, in_order, shuffled};
use crate::case::Cases;
use crate::draft::Tensor;
use crate::fields;
use crate::random::Random;
use crate::source;
use crate::weights::Weights;

pub(super) fn containers(cases: &mut Cases) {
    let mixed = || {
        let mut tensors = vec![
            shuffled("weight", counts(&[(120, 900), (121, 300), (122, 100)])).shaped(&[13, 100]),
            Tensor::raw("scale", Dtype::F32, &[], vec![0, 0, 128, 63]),
            Tensor::raw("empty", Dtype::Bf16, &[4, 0], vec![]),
            Tensor::bytes("ids", vec![1, 2, 3]),
            shuffled("bf16 scalar", vec![127]).shaped(&[]),
            Tensor::raw("f16", Dtype::F16, &[600], vec![60; 1200]),
        ];
        tensors.push(in_order("one", vec![130; 5000]));
        tensors
    };
    Vector::of(
        "mixed-tensors",
        &["11.1", "11.8"],
        "fields are coded or constant where that saves space; tensors without weights are raw",
        mixed(),
    )
    .add(cases, &BOTH);

    let tensors = mixed();
    // The empty tensor has the same offset as the next one, and still sorts first.
    let json = format!(
        "{{ \"__metadata__\" : {{}} ,\n{}\t}}  \n",
        source::members_backwards(&tensors)
    );
    Vector {
        json: json.into(),
        ..Vector::of(
            "header-in-another-order",
            &["11.1"],
            "the source section is kept as it is; directory order is that of the offsets",
            tensors,
        )
    }
    .add(cases, &BOTH);

    // Some writers write null metadata if there is none, and the library safetensors reads it as
    // none.
    Vector {
        json: [
            br#"{"__metadata__":null,"#,
            &source::describe(&mixed())[1..],
        ]
        .concat(),
        ..Vector::of(
            "metadata-as-null",
            &["3.3", "11.1"],
            "the source section is kept as it is, with null for __metadata__ too",
            mixed(),
        )
    }
    .add(cases, &BOTH);

    let empty = |i: usize| {
        Tensor::raw(
            &format!("{:02}", (59 - i) * 7 % 60),
            Dtype::F32,
            &[0],
            vec![],
        )
    };
    let mut tensors: Vec<Tensor> = (0..60).map(empty).collect();
    let members: Vec<String> = tensors
        .iter()
        .map(|tensor| {
            let name = String::from_utf8_lossy(&tensor.name).into_owned();
            format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)
        })
        .collect();
    tensors.push(Tensor::bytes(
        "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{abca}\u{afaf}",
        vec![1],
    ));
    let last = concat!(
        r#""\u007f\u0080\u07ff\u0800\uffff\ud800\udc00\uabcA\uAFaf":"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#
    );
    Vector {
        json: format!(
            "{{ \"__metadata__\" : {{ \"k\" :\n\"v\"\t}}\r, {last} , {} }}",
            members.join(" ,\n")
        )
        .into(),
        ..Vector::of(
            "header-of-many-empty-tensors-and-escapes",
            &["3.3", "11.1"],
            "tensors with equal offsets stand in the directory in the order of the text, and escapes in names are resolved",
            tensors,
        )
    }
    .add(cases, &[(Encoding::Huffman, 12)]);

    Vector::of(
        "longest-name-and-greatest-rank",
        &["3.2", "9", "11.1"],
        "a name of 65,535 bytes and a rank of 64 are within the limits",
        [
            Tensor::bytes(&"n".repeat(65_535), vec![1]),
            Tensor::raw("r", Dtype::U8, &[1; 64], vec![2]),
        ],
    )
    .add(cases, &[(Encoding::Huffman, 12)]);

    Vector::of(
        "no-tensors",
        &["11.1"],
        "a source without tensors has a file too",
        [],
    )
    .add(cases, &BOTH);

    // The tensor has two chunks and a short step.
    let chunks = [
        (12, &[Encoding::Huffman, Encoding::Palette][..]),
        (13, &[Encoding::Huffman]),
        (14, &[Encoding::Palette]),
    ];
    for (k, encodings) in chunks {
        let name = format!("2 to the {k}, and 257");
        let weights = Weights::skewed(&name, &crate::weights::PALETTE, (1 << k) + 257);
        let parameters: Vec<_> = encodings.iter().map(|&encoding| (encoding, k)).collect();
        Vector::of(
            &format!("two-chunks-of-2-to-the-{k}"),
            &["11.5", "11.6"],
            "the surplus of a short last step is the placeholder, or index 0",
            [in_order(&name, weights.exponents)],
        )
        .add(cases, &parameters);
    }
}

pub(super) fn raw_instead(cases: &mut Cases) {
    let sizes = [
        1, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 41, 48, 49, 255, 256, 257,
    ];
    let one = |count: usize| in_order(&format!("{count} weights"), vec![110; count]);
    Vector::of(
        "raw-where-nothing-is-saved",
        &["11.8"],
        "a tensor is raw where constants do not save a unit of 16 bytes",
        sizes.map(one),
    )
    .add(cases, &BOTH);
    // The sample of the first tensor has one value, and the rest of it every value; the second one
    // differs from it in the type alone, whose other fields are constant.
    let misled = |dtype: Dtype| {
        let weight = |i: u64| match i / 256 % 17 {
            0 => 0,
            _ => ((i * 7 + i / 256 * 3) % 16) << 4,
        };
        let weights: Vec<u64> = (0..34_816).map(weight).collect();
        Tensor::flat(dtype.name(), dtype, fields::data(dtype, &weights))
    };
    Vector::of(
        "raw-where-the-sample-misleads",
        &["11.2", "11.7", "11.8"],
        "a tensor is raw if its forms, which the sample gave, make it no shorter",
        [misled(Dtype::U8), misled(Dtype::U16)],
    )
    .add(cases, &[(Encoding::Huffman, 12)]);
    blocks(cases);
    let noise = Random::new("noise").bytes(5000);
    Vector::of(
        "raw-noise",
        &["11.8"],
        "exponents that cannot be compressed are stored raw",
        [in_order("noise", noise)],
    )
    .add(cases, &BOTH);
}

/// Raw tensors of more than 65,536 bytes, which have block checksums.
fn blocks(cases: &mut Cases) {
    // Each byte of a weight has all values from 0 to 250 about equally often, so that no field is
    // coded.
    let even = |dtype: Dtype, bytes: usize| {
        let weight_bytes = (dtype.bits() / 8) as usize;
        let byte = |i: usize| {
            let (weight, byte) = (i / weight_bytes, i % weight_bytes);
            ((weight * (7 + 30 * byte) + weight / 251 * (byte + 1)) % 251) as u8
        };
        Tensor::flat(dtype.name(), dtype, (0..bytes).map(byte).collect())
    };
    // A block is 65,536 weights of U8, 32,768 of U16, 16,384 of F32, and 8192 of F64.
    Vector::of(
        "raw-of-three-blocks",
        &["3.5", "11.8"],
        "each 65,536 bytes of a raw tensor have a checksum, and a shorter rest",
        [
            even(Dtype::U16, 132_072),
            even(Dtype::F32, 132_072),
            even(Dtype::F64, 131_080),
        ],
    )
    .add(cases, &[(Encoding::Huffman, 12)]);

    // The sample has one value in the upper field, so that its form is huffman. Of the chunks the
    // first one alone is not verbatim. The payload has 65,760 bytes, and 65,792 completed to 256; the
    // raw one has 65,792 without its block checksums, and 65,800 with them.
    let weight = |i: u64| {
        let common = (i / 256).is_multiple_of(17) || i < 4096 && i * 13 % 4096 < 2000;
        let upper = if common {
            0
        } else {
            (i * 7 + i / 256 * 3) % 16
        };
        (upper << 4) | (i * 5 % 16)
    };
    let weights: Vec<u64> = (0..65_792).map(weight).collect();
    Vector::of(
        "coded-because-of-the-block-checksums-of-raw",
        &["11.8"],
        "the payload of the raw form is compared with its block checksums",
        [Tensor::flat(
            "w",
            Dtype::U8,
            fields::data(Dtype::U8, &weights),
        )],
    )
    .add(cases, &[(Encoding::Huffman, 12)]);
}

/// `inputs/README.md` has the origin of these weights.
pub(super) fn real_weights(cases: &mut Cases) {
    let source = include_bytes!("../../inputs/minilm-rows.safetensors");
    let json_bytes = u64::from_le_bytes(source[..8].try_into().expect("8 bytes")) as usize;
    let (json, data) = source[8..].split_at(json_bytes);
    let shapes: [(&str, &[u64]); 4] = [
        ("embeddings.word_embeddings.weight", &[48, 384]),
        ("embeddings.LayerNorm.weight", &[384]),
        ("encoder.layer.0.attention.self.query.weight", &[96, 384]),
        ("encoder.layer.5.output.dense.bias", &[384]),
    ];
    let mut begin = 0;
    let tensors = shapes.map(|(name, shape)| {
        let length = 2 * shape.iter().product::<u64>() as usize;
        begin += length;
        Tensor::raw(
            name,
            Dtype::Bf16,
            shape,
            data[begin - length..begin].to_vec(),
        )
    });
    assert_eq!(begin, data.len());
    Vector {
        json: json.to_vec(),
        ..Vector::of(
            "real-weights",
            &["11", "11.3", "11.4", "11.5", "11.6"],
            "weights of a trained model",
            tensors,
        )
    }
    .add(
        cases,
        &[
            (Encoding::Huffman, 12),
            (Encoding::Huffman, 15),
            (Encoding::Palette, 15),
        ],
    );
}
