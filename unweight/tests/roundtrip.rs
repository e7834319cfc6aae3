//! Any weights are restored exactly, in both encodings and at every chunk size.

use half::bf16;
use proptest::prelude::*;
use unweight::container::OpenFile;
use unweight_format::{Encoding, weight};
use unweight_testkit::{ENCODINGS, Random, bytes_of, container_of, decoded, transcoded};

fn from_exponents(exponents: impl IntoIterator<Item = u8>) -> Vec<bf16> {
    let sign_mantissa = |i: usize| (i * 37) as u8;
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

fn encoding_of(file: &[u8]) -> Encoding {
    let open = OpenFile::read(file).unwrap();
    open.container().directory().tensor(0).unwrap().encoding()
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
            assert_eq!(encoding_of(&file), encoding);
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
    assert_eq!(encoding_of(&file), Encoding::Raw);
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
        assert_eq!(encoding_of(&container_of(&weights, encoding, 12)), encoding);
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
