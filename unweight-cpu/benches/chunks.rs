//! Speed of the kernels on one chunk of 32,768 weights in the cache, where memory is not the bound,
//! for every instruction set: `cargo bench -p unweight-cpu`. `unweight bench` measures whole
//! tensors.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use half::bf16;
use unweight_cpu::ChunkRecords;
use unweight_cpu::fast::{Codec, Isa, Output, Scratch};
use unweight_cpu::reference::{TensorPlan, ValueCounts};
use unweight_format::{Dtype, Forms, Record, RecordShape};

fn main() {
    divan::main();
}

const WEIGHTS: usize = 1 << 15;

/// What is measured: weights of a type in forms that trained weights get.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// BF16, the exponent in huffman records.
    Bf16,
    /// BF16, the exponent in palette records.
    Bf16Palette,
    /// BF16 that was FP8 E4M3: the exponent in huffman records, the last bits constant.
    Bf16Upcast,
    /// BF16, both the exponent and three bits of the mantissa in huffman records.
    Bf16TwoFields,
    /// FP8 E4M3, the exponent in huffman records.
    E4m3,
    /// FP8 E5M2, the exponent in huffman records.
    E5m2,
    /// F16, the exponent in huffman records.
    F16,
    /// F32, the exponent in huffman records.
    F32,
}

const CASES: [Case; 8] = [
    Case::Bf16,
    Case::Bf16Palette,
    Case::Bf16Upcast,
    Case::Bf16TwoFields,
    Case::E4m3,
    Case::E5m2,
    Case::F16,
    Case::F32,
];

impl Case {
    fn forms(self) -> Forms {
        let (dtype, forms) = match self {
            Case::Bf16 => (Dtype::Bf16, 0x001),
            Case::Bf16Palette => (Dtype::Bf16, 0x002),
            Case::Bf16Upcast => (Dtype::Bf16, 0x301),
            Case::Bf16TwoFields => (Dtype::Bf16, 0x011),
            Case::E4m3 => (Dtype::F8E4M3, 0x01),
            Case::E5m2 => (Dtype::F8E5M2, 0x01),
            Case::F16 => (Dtype::F16, 0x1),
            Case::F32 => (Dtype::F32, 0x1),
        };
        Forms::from_bits(dtype, forms).expect("forms of the type")
    }

    /// A chunk like trained ones: normally distributed, 2.6 bits an exponent, and a few patches.
    fn weights(self) -> Vec<u8> {
        const SIGMA: f64 = 0.02;
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
        };
        let numbers = (0..WEIGHTS).map(|_| {
            let (radius, angle) = (-2.0 * uniform().ln(), std::f64::consts::TAU * uniform());
            let normal = SIGMA * radius.sqrt() * angle.cos();
            // No exponent is below the palette: rare exponents there would leave gaps in it.
            normal + f64::copysign(1.0 / (1 << 19) as f64, normal)
        });
        let place = |number: usize| number % 4000;
        let of = |(number, weight): (usize, f64)| match self {
            // Every patched exponent is outside of the palette of 16 consecutive exponents.
            Case::Bf16 | Case::Bf16Palette if place(number) == 3999 => (0x6400
                + 0x80 * (number / 4000) as u16)
                .to_le_bytes()
                .to_vec(),
            Case::Bf16 | Case::Bf16Palette | Case::Bf16TwoFields => {
                bf16::from_f64(weight).to_le_bytes().to_vec()
            }
            Case::Bf16Upcast => (bf16::from_f64(weight).to_bits() & 0xfff0)
                .to_le_bytes()
                .to_vec(),
            Case::E4m3 => {
                // The bits of BF16, with another bias and three bits of the mantissa.
                let bits = bf16::from_f64(weight).to_bits();
                let exponent = (bits >> 7 & 255).saturating_sub(110).min(15);
                vec![(bits >> 8 & 0x80 | exponent << 3 | bits >> 4 & 7) as u8]
            }
            Case::E5m2 => vec![half::f16::from_f64(weight).to_le_bytes()[1]],
            Case::F16 => half::f16::from_f64(weight).to_le_bytes().to_vec(),
            Case::F32 => (weight as f32).to_le_bytes().to_vec(),
        };
        numbers.enumerate().flat_map(of).collect()
    }

    fn plan(self) -> TensorPlan {
        let (forms, weights) = (self.forms(), self.weights());
        let counts: Vec<ValueCounts> = forms
            .coded()
            .map(|coded| {
                let mut counts = ValueCounts::default();
                counts.add_weights(coded.field, forms.dtype().weight_bytes(), &weights);
                counts
            })
            .collect();
        TensorPlan::new(forms, 0, &counts)
    }
}

/// Every case on every ISA of this machine.
fn cases() -> Vec<(Case, Codec)> {
    let codecs = || Isa::available().filter_map(Codec::of);
    let of_case = |case| codecs().map(move |codec| (case, codec));
    CASES.into_iter().flat_map(of_case).collect()
}

fn encode(
    (case, codec): (Case, Codec),
    scratch: &mut Scratch,
    plan: &TensorPlan,
    weights: &[u8],
) -> (Vec<u8>, ChunkRecords) {
    let plain_bytes = WEIGHTS / 8 * case.forms().plain_bits() as usize;
    let (mut plain, mut records) = (vec![0; plain_bytes], ChunkRecords::default());
    codec.encode_chunk(scratch, plan, &[None; 8], weights, &mut plain, &mut records);
    (plain, records)
}

/// Decodes a chunk, and computes its checksums if told to.
fn bench_decode(bencher: Bencher<'_, '_>, (case, codec): (Case, Codec), is_checked: bool) {
    let (plan, weights) = (case.plan(), case.weights());
    let mut scratch = Scratch::default();
    let (plain, bytes) = encode((case, codec), &mut scratch, &plan, &weights);
    let records: Vec<Record<'_>> = case
        .forms()
        .coded()
        .zip(bytes.iter())
        .map(|(coded, record)| {
            let (width, is_first) = (coded.field.width(), coded.number == 0);
            let shape = RecordShape::new(WEIGHTS as u32, width, coded.encoding, is_first);
            Record::parse(&shape, 0, record, &plain).expect("it was encoded here")
        })
        .collect();
    let mut decoded = vec![0; weights.len()];
    bencher
        .counter(BytesCount::new(weights.len()))
        .bench_local(|| {
            let mut output = Output::from(&mut decoded[..]);
            let (palettes, records) = (plan.palettes(), black_box(&records));
            let scratch = &mut scratch;
            let is_ok = match is_checked {
                true => codec
                    .decode_checked(scratch, palettes, records, &plain, 0, &mut output)
                    .is_ok(),
                false => codec
                    .decode_chunk(scratch, palettes, records, &plain, &mut output)
                    .is_ok(),
            };
            assert!(is_ok, "it was encoded here");
        });
    assert!(decoded == weights);
}

#[divan::bench(args = cases())]
fn decode(bencher: Bencher<'_, '_>, case: &(Case, Codec)) {
    bench_decode(bencher, *case, false);
}

#[divan::bench(args = cases())]
fn decode_checked(bencher: Bencher<'_, '_>, case: &(Case, Codec)) {
    bench_decode(bencher, *case, true);
}

fn bench_encode(bencher: Bencher<'_, '_>, (case, codec): (Case, Codec)) {
    let (plan, weights) = (case.plan(), case.weights());
    let mut scratch = Scratch::default();
    let (mut plain, mut records) = encode((case, codec), &mut scratch, &plan, &weights);
    bencher
        .counter(BytesCount::new(weights.len()))
        .bench_local(|| {
            records.clear();
            let weights = black_box(&weights);
            codec.encode_chunk(
                &mut scratch,
                &plan,
                &[None; 8],
                weights,
                &mut plain,
                &mut records,
            )
        });
}

#[divan::bench(args = cases())]
fn encode_chunk(bencher: Bencher<'_, '_>, case: &(Case, Codec)) {
    bench_encode(bencher, *case);
}

/// AVX2's encoding on processors with a slow PEXT.
#[divan::bench(args = CASES)]
fn encode_without_pext(bencher: Bencher<'_, '_>, case: Case) {
    if let Some(codec) = Codec::avx2_without_pext() {
        bench_encode(bencher, (case, codec));
    }
}

/// Counts the coded fields.
#[divan::bench(args = cases())]
fn count(bencher: Bencher<'_, '_>, &(case, codec): &(Case, Codec)) {
    let (forms, weights) = (case.forms(), case.weights());
    bencher
        .counter(BytesCount::new(weights.len()))
        .bench_local(|| {
            let mut counts = ValueCounts::default();
            for coded in forms.coded() {
                let weights = black_box(&weights);
                codec.count_field(forms.dtype(), coded.field, weights, &mut counts);
            }
            counts
        });
}

/// Both checksums of decoding a chunk of BF16: of the record with the plain bytes, and of the
/// weights.
#[divan::bench]
fn checksums(bencher: Bencher<'_, '_>) {
    let (stored, weights) = (vec![1; WEIGHTS + WEIGHTS / 3], Case::Bf16.weights());
    bencher
        .counter(BytesCount::new(2 * WEIGHTS))
        .bench_local(|| {
            unweight_format::crc32(black_box(&stored)) ^ unweight_format::crc32(black_box(&weights))
        });
}

/// Copies the weights, for comparison.
#[divan::bench]
fn copy(bencher: Bencher<'_, '_>) {
    let weights = Case::Bf16.weights();
    let mut output = vec![0; weights.len()];
    bencher
        .counter(BytesCount::new(2 * WEIGHTS))
        .bench_local(|| black_box(&mut output).copy_from_slice(black_box(&weights)));
}
