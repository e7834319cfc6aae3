//! Any weights are restored exactly, in both encodings and at every chunk size.

use half::bf16;
use proptest::prelude::*;
use unweight::container::OpenFile;
use unweight_format::{Dtype, Encoding, Form as FieldForm, Forms};
use unweight_testkit::{
    ENCODINGS, Form, Random, Records, Tensor, any_weights, bytes_of, container, container_of,
    decoded, restored, tensor, transcoded, weight,
};

/// Weights whose signs and mantissas are equally likely.
fn from_exponents(exponents: impl IntoIterator<Item = u8>) -> Vec<bf16> {
    let sign_mantissa = |i: usize| (i as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()[0];
    exponents
        .into_iter()
        .enumerate()
        .map(|(i, e)| weight(sign_mantissa(i), e))
        .collect()
}

fn assert_roundtrip(weights: &[bf16]) {
    for encoding in ENCODINGS {
        let file = container_of(weights, encoding, 12);
        // The bits are compared, because NaN payloads count and a NaN is not equal to itself.
        assert!(
            bytes_of(&decoded(&file)) == bytes_of(weights),
            "{encoding}, {} weights",
            weights.len()
        );
    }
}

fn forms_of(file: &[u8]) -> Forms {
    let open = OpenFile::read(file).unwrap();
    open.container().directory().tensor(0).unwrap().forms()
}

/// The form of the exponents of BF16 weights.
fn form_of(file: &[u8]) -> FieldForm {
    forms_of(file).form(0)
}

/// A tensor of weights of any type, each of whose fields has a distribution of its own.
fn any_tensor(dtype: Dtype, count: usize, seed: u64) -> Tensor {
    let data = any_weights(dtype, count, &mut Random::new(seed));
    let elements = 8 * data.len() as u64 / dtype.bits();
    tensor("w", dtype.name(), &[elements], data)
}

#[test]
fn restores_every_bf16_pattern() {
    let patterns: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    assert_roundtrip(&patterns);
    let nans: Vec<bf16> = patterns.iter().copied().filter(|w| w.is_nan()).collect();
    assert_roundtrip(&nans.repeat(20));
}

#[test]
fn restores_every_number_of_weights_around_steps_chunks_and_nothing() {
    for count in [
        0, 1, 2, 63, 64, 65, 255, 256, 257, 511, 4095, 4096, 4097, 8191, 8192, 8193,
    ] {
        assert_roundtrip(&from_exponents((0..count).map(|i| 120 + (i % 7) as u8)));
    }
}

#[test]
fn restores_every_number_of_distinct_exponents() {
    for distinct in 1..=40u32 {
        assert_roundtrip(&from_exponents(
            (0..9000u32).map(|i| (i * i % distinct * 6) as u8),
        ));
    }
}

#[test]
fn chunks_of_every_size_decode_to_the_same() {
    let weights = from_exponents((0..70_000u32).map(|i| 126 - i.trailing_zeros().min(30) as u8));
    for encoding in ENCODINGS {
        for chunk_size_log2 in 12..=16 {
            let file = container_of(&weights, encoding, chunk_size_log2);
            assert_eq!(form_of(&file), encoding.form());
            assert!(decoded(&file) == weights, "{encoding} {chunk_size_log2}");
        }
    }
}

#[test]
fn one_exponent_takes_hardly_more_than_its_sign_mantissa_bytes() {
    let file = container_of(&from_exponents([127; 100_000]), Encoding::Huffman, 15);
    assert!(file.len() < 100_000 + 1500, "{}", file.len());
}

#[test]
fn random_bits_end_up_raw_and_hardly_grow() {
    let weights = Random::new(1).random_weights(300_000);
    assert_roundtrip(&weights);
    let file = container_of(&weights, Encoding::Huffman, 15);
    assert!(forms_of(&file).is_raw());
    assert!(file.len() < 600_000 * 1001 / 1000, "{}", file.len());
}

#[test]
fn a_chunk_unlike_its_tensor_is_stored_verbatim_and_the_rest_is_coded() {
    let mut weights = from_exponents((0..40_000u32).map(|i| 120 + (i % 5) as u8));
    for (i, weight_of) in weights[4096..8192].iter_mut().enumerate() {
        *weight_of = weight(i as u8, (i * 89 % 251) as u8);
    }
    assert_roundtrip(&weights);
    for encoding in ENCODINGS {
        let file = container_of(&weights, encoding, 12);
        assert_eq!(form_of(&file), encoding.form());
    }
}

#[test]
fn transcoding_gives_what_encoding_gives() {
    let mut weights =
        from_exponents((0..50_000u32).map(|i| 126 - (i % 4097).trailing_zeros() as u8));
    weights[777] = weight(3, 255);
    let [huffman, palette] = ENCODINGS.map(|encoding| container_of(&weights, encoding, 13));
    assert!(transcoded(&huffman, Encoding::Palette) == palette);
    assert!(transcoded(&palette, Encoding::Huffman) == huffman);
    assert!(transcoded(&palette, Encoding::Palette) == palette);
}

#[test]
fn weights_of_every_type_are_restored_before_and_after_transcoding() {
    for dtype in Dtype::ALL {
        for (seed, count) in [3, 12, 900, 4_101, 33_000, 70_002].into_iter().enumerate() {
            let tensor = any_tensor(*dtype, count, seed as u64);
            for encoding in ENCODINGS {
                let tensor = tensor.clone().stored(Form::canonical(encoding, 12));
                let file = container(std::slice::from_ref(&tensor), false);
                assert!(restored(&file).unwrap() == tensor.data, "{dtype} {count}");
                assert!(transcoded(&file, encoding) == file, "{dtype} {count}");
                for to in ENCODINGS {
                    let other = transcoded(&file, to);
                    assert!(restored(&other).unwrap() == tensor.data, "{dtype} {count}");
                    if forms_of(&other).is_raw() == forms_of(&file).is_raw() {
                        assert!(transcoded(&other, encoding) == file, "{dtype} {count}");
                    }
                }
            }
        }
    }
}

#[test]
fn transcoding_depends_on_weights_and_forms_alone() {
    for dtype in Dtype::ALL.iter().filter(|dtype| !dtype.fields().is_empty()) {
        let tensor = any_tensor(*dtype, 9_000, dtype.code().into());
        let stored = |records| {
            let form = Form {
                records,
                ..Form::canonical(Encoding::Huffman, 13)
            };
            container(&[tensor.clone().stored(form)], true)
        };
        let first = stored(Records::Odd { seed: 1 });
        let forms = forms_of(&first);
        let second = stored(Records::Forms {
            bits: forms.bits(),
            seed: 2,
        });
        for encoding in ENCODINGS {
            let file = transcoded(&first, encoding);
            assert!(file == transcoded(&second, encoding), "{forms:?}");
            assert!(transcoded(&file, encoding) == file, "{forms:?}");
            let found = forms_of(&file);
            for (number, (field, form)) in forms.iter().enumerate() {
                let expected = match form.encoding() {
                    _ if found.is_raw() && forms.is_coded() => FieldForm::Plain,
                    Some(_) if field.width() > 4 => encoding.form(),
                    _ => form,
                };
                assert_eq!(found.form(number), expected, "{forms:?}");
            }
        }
    }
}

#[test]
fn upcast_weights_take_what_their_narrow_ones_take() {
    let narrow: Vec<bf16> = Random::new(3).trained_weights(300_000);
    let upcast: Vec<u8> = narrow
        .iter()
        .flat_map(|weight| f32::from(*weight).to_le_bytes())
        .collect();
    let form = Form::canonical(Encoding::Huffman, 15);
    let file = container(
        &[tensor("w", "F32", &[300_000], upcast).stored(form)],
        false,
    );
    assert_eq!(forms_of(&file).bits(), 0x33_3001);
    let of_narrow = container_of(&narrow, Encoding::Huffman, 15);
    assert!(file.len() < of_narrow.len() + 100);
}

/// Exponents of several distributions, with one to all 256 values.
fn exponents() -> impl Strategy<Value = Vec<u8>> {
    let length = 0usize..10_000;
    prop_oneof![
        (any::<u8>(), length.clone()).prop_map(|(e, n)| vec![e; n]),
        (any::<u8>(), 1u32..60, length.clone()).prop_map(|(base, spread, n)| {
            (0..n as u32)
                .map(|i| base.wrapping_add((i.wrapping_mul(2654435761) >> 20) as u8 % spread as u8))
                .collect()
        }),
        (any::<u8>(), any::<u64>(), length.clone()).prop_map(|(base, seed, n)| {
            // A geometric distribution, as in trained weights.
            let mut random = Random::new(seed);
            (0..n)
                .map(|_| base.wrapping_sub(random.bits().trailing_zeros() as u8))
                .collect()
        }),
        proptest::collection::vec(any::<u8>(), 0..3000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn restores_any_exponents(exponents in exponents()) {
        assert_roundtrip(&from_exponents(exponents));
    }
}
