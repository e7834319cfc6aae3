//! Section 11.2: the forms of fields.

use unweight_format::{Dtype, Encoding};

use super::{BOTH, HUFFMAN, PALETTE, Vector, counts};
use crate::case::Cases;
use crate::draft::Tensor;
use crate::fields::{self, fields};
use crate::random::Random;

pub(super) fn constants(cases: &mut Cases) {
    // The lowest field of each weight has pseudo-random values, all others are constant.
    let tensor = |dtype: Dtype, count: usize| {
        let all = fields(dtype);
        let lowest = all[all.len() - 1];
        let mut random = Random::new(&format!("{dtype} {count}"));
        let weight = |_| {
            let zero: u64 = 0x2a2a_2a2a_2a2a_2a2a;
            lowest.set(zero, random.below(1 << lowest.width()) as u8)
        };
        let weights: Vec<u64> = (0..count).map(weight).collect();
        let data = fields::data(dtype, &weights);
        Tensor::flat(&format!("{count} of {dtype}"), dtype, data)
    };
    let types = [Dtype::Bf16, Dtype::F16, Dtype::F32, Dtype::I32, Dtype::F64];
    let counts = [16, 17, 25, 26, 32, 33, 42, 43, 64];
    let tensors = types
        .into_iter()
        .flat_map(|dtype| counts.map(|count| tensor(dtype, count)));
    let every = [0, 1, 127, 128, 254, 255]
        .map(|byte: u8| Tensor::flat(&format!("{byte:02x}"), Dtype::I64, vec![byte; 8 * 50]));
    Vector::of(
        "constants-of-equal-bytes",
        &["11.2"],
        "a constant may be any value of a field, 255 too",
        every,
    )
    .add(cases, &BOTH);
    Vector::of(
        "constants-at-128-bits",
        &["11.2", "11.8"],
        "a field of one value is constant if its weights have more than 128 bits of it: 43 weights of 3 bits, not 42",
        tensors.collect::<Vec<_>>(),
    )
    .add(cases, &BOTH);
}

/// A BF16 tensor of these exponents in pseudo-random order. All other fields are constant, so that
/// the tensor is not raw.
fn exponents_alone(name: &str, mut exponents: Vec<u8>) -> Tensor {
    Random::new(name).shuffle(&mut exponents);
    let weights: Vec<u64> = exponents
        .into_iter()
        .map(|exponent| u64::from(exponent) << 7)
        .collect();
    Tensor::flat(name, Dtype::Bf16, fields::data(Dtype::Bf16, &weights))
}

/// `count` values: `outside` of them have one of 12 values, and the others one of 16 values that
/// are more frequent.
fn outside(count: usize, outside: usize) -> Vec<u8> {
    let inside = (0..count - outside).map(|i| 100 + (i % 16) as u8);
    inside
        .chain((0..outside).map(|i| 10 + (i % 12) as u8))
        .collect()
}

pub(super) fn thresholds(cases: &mut Cases) {
    let tensor = |count: usize, number: usize| {
        exponents_alone(&format!("{number} of {count}"), outside(count, number))
    };
    // The code has 16 entries of 4 bits, and a patch takes 28 bits. The costs are 4 N + 24 p.
    Vector::of(
        "form-huffman-at-the-threshold",
        &["11.2"],
        "a field has the form huffman if that saves more than one part in 64, and plain at equality: 132 patches in 1024 weights, 1256 in 8192",
        [tensor(1024, 131), tensor(1024, 132), tensor(8192, 1255), tensor(8192, 1256)],
    )
    .add(cases, &HUFFMAN);
    Vector::of(
        "form-palette-at-the-threshold",
        &["11.2"],
        "a field has the form palette if that saves more than one part in 64, and plain at equality: 138 patches in 896 weights",
        [tensor(896, 137), tensor(896, 138)],
    )
    .add(cases, &PALETTE);
    Vector::of(
        "form-huffman-at-the-last-bit",
        &["11.2"],
        "a field has the form huffman to the last bit: 142 patches in 1086 weights cost 8551 bits of at most 8551",
        [tensor(1086, 142)],
    )
    .add(cases, &HUFFMAN);
    Vector::of(
        "form-palette-at-the-last-bit",
        &["11.2"],
        "a field has the form palette to the last bit: 143 patches in 927 weights cost 7300 bits of at most 7300",
        [tensor(927, 143)],
    )
    .add(cases, &PALETTE);
    // 8 values of 3 bits: `common` weights have the first one, and the others one of the rest.
    let narrow = |count: usize, common: usize| {
        let rest = (0..count - common).map(|i| 1 + (i % 7) as u64);
        let mut values: Vec<u64> = vec![0; common].into_iter().chain(rest).collect();
        let name = format!("{common} of {count}");
        Random::new(&name).shuffle(&mut values);
        let weights: Vec<u64> = values
            .into_iter()
            .map(|value| 120 << 7 | value << 4)
            .collect();
        Tensor::flat(&name, Dtype::Bf16, fields::data(Dtype::Bf16, &weights))
    };
    let commons = (300..1000).step_by(50).map(|common| narrow(1500, common));
    Vector::of(
        "form-of-a-narrow-field",
        &["11.2", "11.3"],
        "a field of at most 4 bits has the form huffman where that saves, and never palette",
        commons.collect::<Vec<_>>(),
    )
    .add(cases, &BOTH);
    let small: Vec<Tensor> = (100..340)
        .step_by(20)
        .map(|count| {
            let common = counts(&[(110, count - count / 3), (111, count / 3)]);
            exponents_alone(&format!("{count}"), common)
        })
        .collect();
    Vector::of(
        "form-of-few-weights",
        &["11.2"],
        "a record costs 800 or 160 bits beside its codes, so that fields of few weights are plain",
        small,
    )
    .add(cases, &BOTH);
}

pub(super) fn types(cases: &mut Cases) {
    // Each field has values that occur the more often the greater they are, except those that
    // `even` names, which have all their values equally often, and those of `zero`.
    let tensor = |name: &str, dtype: Dtype, even: &[usize], zero: &[usize]| {
        let mut random = Random::new(name);
        let all = fields(dtype);
        let weight = |_| {
            let chosen = all.iter().enumerate();
            chosen.fold(random.below(2), |weight, (number, field)| {
                let greatest = (1u32 << field.width()) - 1;
                let value = if zero.contains(&number) {
                    0
                } else if even.contains(&number) {
                    random.below(greatest as u64 + 1) as u32
                } else {
                    greatest / 2 - random.number().trailing_zeros().min(greatest / 2)
                };
                field.set(weight, value as u8)
            })
        };
        let weights: Vec<u64> = (0..1500).map(weight).collect();
        Tensor::flat(name, dtype, fields::data(dtype, &weights))
    };
    Vector::of(
        "types-of-16-and-32-bits",
        &["11.2", "11.3", "11.5", "11.6"],
        "every field of every type is coded where that saves",
        [
            tensor("bf16", Dtype::Bf16, &[1, 2], &[]),
            tensor("bf16 that was f8_e4m3", Dtype::Bf16, &[1], &[2]),
            tensor("bf16 with a skewed mantissa", Dtype::Bf16, &[], &[]),
            tensor("f16", Dtype::F16, &[1, 2, 3], &[]),
            tensor("f16 that was f8_e5m2", Dtype::F16, &[], &[2, 3]),
            tensor("f32", Dtype::F32, &[1, 2, 3, 4, 5], &[]),
            tensor("f32 that was bf16", Dtype::F32, &[1, 2], &[3, 4, 5]),
            tensor("i16", Dtype::I16, &[2, 3], &[0]),
            tensor("u32", Dtype::U32, &[5, 6, 7], &[0, 1, 2, 3]),
        ],
    )
    .add(cases, &BOTH);
    Vector::of(
        "types-of-8-bits",
        &["11.2", "11.3", "11.5", "11.6"],
        "every field of every type is coded where that saves",
        [
            tensor("bool", Dtype::Bool, &[], &[0, 1]),
            tensor("u8", Dtype::U8, &[1], &[]),
            tensor("i8", Dtype::I8, &[0, 1], &[]),
            tensor("f8_e5m2", Dtype::F8E5M2, &[1], &[]),
            tensor("f8_e4m3", Dtype::F8E4M3, &[1], &[]),
            tensor("f8_e8m0", Dtype::F8E8M0, &[], &[]),
            tensor("f4", Dtype::F4, &[], &[]),
            Tensor::raw("f6", Dtype::F6E2M3, &[4, 100], vec![7; 300]),
        ],
    )
    .add(cases, &BOTH);
    Vector::of(
        "types-of-64-bits",
        &["11.2", "11.3", "11.5", "11.6"],
        "every field of every type is coded where that saves",
        [
            tensor("i64", Dtype::I64, &[6, 7], &[0, 1, 2, 3, 4]),
            tensor("f64", Dtype::F64, &[2], &[3, 4, 5, 6, 7]),
            tensor("c64", Dtype::C64, &[], &[2, 3, 6, 7]),
        ],
    )
    .add(cases, &BOTH);
}

/// Tensors around 32,768 weights, from where on a sample decides.
pub(super) fn samples(cases: &mut Cases) {
    // The upper field of U8: `inside` gives its value in the steps of the sample, `behind` in the
    // others. The lower field has one value in the whole tensor but for the last weight.
    let tensor = |name: &str, count: u64, inside: fn(u64) -> u64, behind: fn(u64) -> u64| {
        let weight = |i: u64| {
            let upper = if (i / 256).is_multiple_of(17) {
                inside(i)
            } else {
                behind(i)
            };
            (upper % 16) << 4 | u64::from(i + 1 == count) << 1
        };
        let weights: Vec<u64> = (0..count).map(weight).collect();
        Tensor::flat(name, Dtype::U8, fields::data(Dtype::U8, &weights))
    };
    let one: fn(u64) -> u64 = |_| 3;
    let all: fn(u64) -> u64 = |i| i * 7 + i / 256 * 3;
    let mostly: fn(u64) -> u64 = |i| {
        let rank = i / 256 / 17 * 256 + i % 256;
        let is_common = rank < 425 || i / 256 == 136;
        if is_common { 3 } else { i * 7 + i / 256 * 3 }
    };
    Vector::of(
        "sample-of-more-than-32768-weights",
        &["11.2"],
        "up to 32,768 weights all decide on a form, above it the steps whose number is a multiple of 17",
        [
            tensor("all of 32768", 32_768, one, all),
            tensor("all of 32768 but the sample", 32_768, all, one),
            tensor("sample of 32769", 32_769, one, all),
            tensor("sample of 32769 but one value behind", 32_769, all, one),
            // The last step, of 100 weights, is number 136: a multiple of 17. It makes the field's
            // form huffman. Without it 425 weights in 2048 would have the commonest value.
            tensor("with a short last step", 34_916, mostly, all),
        ],
    )
    .add(cases, &[(Encoding::Huffman, 12)]);

    // The steps of the sample have 16 values, and the others 16 that are more frequent.
    let value = |i: u64| if (i / 256).is_multiple_of(17) { 16 } else { 64 } + i * 7 % 16;
    let weights: Vec<u64> = (0..33_024).map(|i| value(i) << 1).collect();
    let data = fields::data(Dtype::F8E8M0, &weights);
    Vector::of(
        "sample-with-a-palette-of-its-own",
        &["11.2", "11.3"],
        "the palette for the choice of a form is that of the sample, not that of the tensor",
        [Tensor::flat("w", Dtype::F8E8M0, data)],
    )
    .add(cases, &BOTH);
}
