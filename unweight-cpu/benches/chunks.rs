//! Speed of the kernels on one chunk of 32,768 weights in the cache, where memory is not the bound,
//! for every instruction set: `cargo bench -p unweight-cpu`. `unweight bench` measures whole
//! tensors.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use half::bf16;
use unweight_cpu::fast::{Codec, Isa, Scratch};
use unweight_cpu::reference::{ExponentCounts, TensorPlan};
use unweight_format::{ChunkShape, Encoding, Extent, Record, weight};

fn main() {
    divan::main();
}

const WEIGHTS: usize = 1 << 15;
fn instruction_sets() -> Vec<Isa> {
    Isa::available().collect()
}

fn codec_of(isa: Isa) -> Codec {
    Codec::of(isa).expect("it is available")
}

/// A chunk like trained ones: normally distributed, 2.6 bits an exponent, and a few patches.
fn weights() -> Vec<bf16> {
    const SIGMA: f64 = 0.02;
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
    };
    (0..WEIGHTS)
        .map(|i| match i % 4000 {
            // Every patched exponent is outside of the palette of 16 consecutive exponents.
            3999 => weight(i as u8, 200 + (i / 4000) as u8),
            _ => {
                let (radius, angle) = (-2.0 * uniform().ln(), std::f64::consts::TAU * uniform());
                let normal = SIGMA * radius.sqrt() * angle.cos();
                // No exponent is below the palette: rare exponents there would leave gaps in it.
                bf16::from_f64(normal + f64::copysign(1.0 / (1 << 19) as f64, normal))
            }
        })
        .collect()
}

fn bytes(weights: &[bf16]) -> Vec<u8> {
    weights
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect()
}

fn plan(encoding: Encoding) -> TensorPlan {
    let mut counts = ExponentCounts::default();
    counts.add_weights(&weights());
    TensorPlan::new(&counts, encoding)
}

fn bench_decode(bencher: Bencher<'_, '_>, isa: Isa, encoding: Encoding) {
    let (codec, plan) = (codec_of(isa), plan(encoding));
    let mut scratch = Scratch::default();
    let (mut sign_mantissa, mut bytes_of_record) = (Vec::new(), Vec::new());
    codec.encode_weights(
        &mut scratch,
        &plan,
        &bytes(&weights()),
        &mut sign_mantissa,
        &mut bytes_of_record,
    );
    let length = WEIGHTS as u64;
    let shape = ChunkShape {
        number: 0,
        first_weight: 0,
        weights: WEIGHTS as u32,
        sign_mantissa: Extent { offset: 0, length },
    };
    let record = Record::parse(&shape, encoding, 0, &bytes_of_record, &sign_mantissa);
    let record = record.expect("it was encoded here");
    let mut decoded = vec![bf16::ZERO; WEIGHTS];
    bencher
        .counter(BytesCount::new(2 * WEIGHTS))
        .bench_local(|| {
            let done = codec.decode_record(
                &mut scratch,
                black_box(&record),
                plan.palette(),
                &sign_mantissa,
                &mut decoded,
            );
            done.expect("it was encoded here");
        });
}

fn bench_encode(bencher: Bencher<'_, '_>, codec: Codec, encoding: Encoding) {
    let plan = plan(encoding);
    let weights = bytes(&weights());
    let mut scratch = Scratch::default();
    let (mut sign_mantissa, mut record) = (Vec::new(), Vec::new());
    bencher
        .counter(BytesCount::new(2 * WEIGHTS))
        .bench_local(|| {
            sign_mantissa.clear();
            record.clear();
            codec.encode_weights(
                &mut scratch,
                &plan,
                black_box(&weights),
                &mut sign_mantissa,
                &mut record,
            );
        });
}

#[divan::bench(args = instruction_sets())]
fn decode_huffman(bencher: Bencher<'_, '_>, isa: Isa) {
    bench_decode(bencher, isa, Encoding::Huffman);
}

#[divan::bench(args = instruction_sets())]
fn decode_palette(bencher: Bencher<'_, '_>, isa: Isa) {
    bench_decode(bencher, isa, Encoding::Palette);
}

#[divan::bench(args = instruction_sets())]
fn encode_huffman(bencher: Bencher<'_, '_>, isa: Isa) {
    bench_encode(bencher, codec_of(isa), Encoding::Huffman);
}

#[divan::bench(args = instruction_sets())]
fn encode_palette(bencher: Bencher<'_, '_>, isa: Isa) {
    bench_encode(bencher, codec_of(isa), Encoding::Palette);
}

/// AVX2's encoding on processors with a slow PEXT.
#[divan::bench]
fn encode_huffman_without_pext(bencher: Bencher<'_, '_>) {
    if let Some(codec) = Codec::avx2_without_pext() {
        bench_encode(bencher, codec, Encoding::Huffman);
    }
}

#[divan::bench(args = instruction_sets())]
fn count(bencher: Bencher<'_, '_>, isa: Isa) {
    let codec = codec_of(isa);
    let weights = bytes(&weights());
    bencher
        .counter(BytesCount::new(2 * WEIGHTS))
        .bench_local(|| {
            let mut counts = ExponentCounts::default();
            codec.count_weights(black_box(&weights), &mut counts);
            counts
        });
}

/// Both checksums of decoding a chunk: of the record with the sign-mantissa bytes, and of the
/// weights.
#[divan::bench]
fn checksums(bencher: Bencher<'_, '_>) {
    let (stored, weights) = (vec![1; WEIGHTS + WEIGHTS / 3], bytes(&weights()));
    bencher
        .counter(BytesCount::new(2 * WEIGHTS))
        .bench_local(|| {
            unweight_format::crc32(black_box(&stored)) ^ unweight_format::crc32(black_box(&weights))
        });
}
