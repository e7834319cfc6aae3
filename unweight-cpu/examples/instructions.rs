//! Repeats an operation on one chunk of BF16, for programs that count instructions:
//!
//! ```text
//! instructions ISA decode|encode|count TIMES
//! ```
//!
//! The difference between two and one times, divided by the 32,768 weights, is the number of
//! instructions a weight. `avx2-without-pext` is the code for processors with a slow PEXT. No
//! checksums are computed but an encoded record's own.

use std::f64::consts::TAU;

use unweight_cpu::ChunkRecords;
use unweight_cpu::fast::{Codec, Isa, Output, Scratch};
use unweight_cpu::reference::{TensorPlan, ValueCounts};
use unweight_format::layout::FIELDS;
use unweight_format::{Dtype, Form, Forms, Record, RecordShape};

const WEIGHTS: usize = 1 << 15;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [isa, operation, times] = &arguments[..] else {
        panic!("expected an ISA, an operation, and how many times it is repeated");
    };
    let codec = match &**isa {
        "avx2-without-pext" => Codec::avx2_without_pext(),
        name => {
            let found = Isa::ALL.into_iter().find(|isa| isa.name() == name);
            found.and_then(Codec::of)
        }
    };
    let codec = codec.expect("this machine can run the ISA");
    let times: usize = times.parse().expect("the last argument is a number");
    let field = Dtype::Bf16.fields()[0];
    let weights = weights();
    let mut counts = ValueCounts::default();
    counts.add_weights(field, 2, &weights);
    let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman);
    let forms = forms.expect("BF16 has an exponent");
    let plan = TensorPlan::new(forms, 0, &[counts]);

    let (mut scratch, mut records) = (Scratch::default(), ChunkRecords::default());
    let mut plain = vec![0; WEIGHTS];
    let mut encode = |plain: &mut [u8], scratch: &mut Scratch| {
        records.clear();
        codec.encode_chunk(
            scratch,
            &plan,
            &[None; FIELDS],
            &weights,
            plain,
            &mut records,
        );
        records.bytes().to_vec()
    };
    let record = encode(&mut plain, &mut scratch);
    let coded = forms.coded_field(0).expect("a field is coded");
    let shape = RecordShape::new(WEIGHTS as u32, 8, coded.encoding, true);
    let parsed = Record::parse(&shape, 0, &record, &plain).expect("it was encoded here");
    let mut decoded = vec![0; weights.len()];
    let mut plain_again = plain.clone();
    for _ in 0..times {
        match &**operation {
            "decode" => {
                let mut output = Output::from(&mut decoded[..]);
                let palettes = plan.palettes();
                let done =
                    codec.decode_chunk(&mut scratch, palettes, &[parsed], &plain, &mut output);
                done.expect("it was encoded here");
            }
            "encode" => assert!(encode(&mut plain_again, &mut scratch) == record),
            "count" => {
                let mut counts = ValueCounts::default();
                codec.count_field(Dtype::Bf16, field, &weights, &mut counts);
                std::hint::black_box(&counts);
            }
            other => panic!("found operation {other:?}, expected decode, encode or count"),
        }
    }
}

/// Normally distributed weights.
fn weights() -> Vec<u8> {
    const SIGMA: f64 = 0.02;
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
    };
    let normal = |_| {
        let (radius, angle) = (-2.0 * uniform().ln(), TAU * uniform());
        half::bf16::from_f64(SIGMA * radius.sqrt() * angle.cos()).to_le_bytes()
    };
    (0..WEIGHTS).flat_map(normal).collect()
}
