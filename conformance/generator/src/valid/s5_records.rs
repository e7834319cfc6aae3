//! Section 5: records, including valid ones that the deterministic encoder never writes.

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::random::Random;
use crate::record::{Record, symbols};
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    verbatim(cases);
    lanes(cases);
    patches(cases);
    free_choices(cases);
}

/// A huffman tensor of one chunk with this record.
fn huffman_of(weights: &Weights, k: u8, record: Record) -> Draft {
    assert!(record.to_bytes(&[]).len() <= (16 + weights.len()).next_multiple_of(16));
    Draft::of([Tensor::huffman_with("w", k, PALETTE, weights, |_, _| {
        record.clone()
    })])
}

/// A palette tensor of one chunk with this record.
fn palette_of(weights: &Weights, k: u8, record: Record) -> Draft {
    assert!(record.to_bytes(&[]).len() <= (16 + weights.len()).next_multiple_of(16));
    Draft::of([Tensor::palette_with("w", k, PALETTE, weights, |_, _| {
        record.clone()
    })])
}

fn verbatim(cases: &mut Cases) {
    let everything = Weights::new("verbatim", Random::new("exponents").bytes(300));
    let record = Record::verbatim(&everything.exponents);
    cases.accept(
        "verbatim-record-in-a-huffman-tensor",
        &["5.1", "5.4"],
        "a verbatim record holds any exponents, of the palette or not",
        &huffman_of(&everything, 12, record.clone()),
    );
    cases.accept(
        "verbatim-record-in-a-palette-tensor",
        &["5.1", "5.4"],
        "a verbatim record holds any exponents, of the palette or not",
        &palette_of(&everything, 12, record),
    );
    for (count, padding) in [(15, 1), (16, 0), (17, 15)] {
        let weights = Weights::new("padding", Random::new("verbatim padding").bytes(count));
        cases.accept(
            &format!("verbatim-record-with-{padding}-bytes-of-padding"),
            &["5.1", "5.4"],
            "a record is completed to a multiple of 16",
            &huffman_of(&weights, 12, Record::verbatim(&weights.exponents)),
        );
    }
    // Chunks 1 and 3 have arbitrary exponents, the others only those of the palette.
    let mut weights = Weights::skewed("mixed", &PALETTE, 3 * 4096 + 300);
    let noise = Random::new("mixed").bytes(4096);
    weights.exponents[4096..8192].copy_from_slice(&noise);
    weights.exponents[12_288..].copy_from_slice(&noise[..300]);
    let is_noise = |number| number % 2 == 1;
    cases.accept(
        "verbatim-records-among-huffman-records",
        &["5.1", "5.4"],
        "every chunk of a tensor may be verbatim or not, on its own",
        &Draft::of([Tensor::huffman_with(
            "w",
            12,
            PALETTE,
            &weights,
            |number, exponents| match is_noise(number) {
                true => Record::verbatim(exponents),
                false => Record::huffman(Lengths::skewed(), &PALETTE, exponents),
            },
        )]),
    );
    cases.accept(
        "verbatim-records-among-palette-records",
        &["5.1", "5.4"],
        "every chunk of a tensor may be verbatim or not, on its own",
        &Draft::of([Tensor::palette_with(
            "w",
            12,
            PALETTE,
            &weights,
            |number, exponents| match is_noise(number) {
                true => Record::verbatim(exponents),
                false => Record::palette(&PALETTE, exponents),
            },
        )]),
    );
}

fn lanes(cases: &mut Cases) {
    let one = Weights::new("one exponent", vec![PALETTE[5]; 1000]);
    cases.accept(
        "lanes-without-bits",
        &["5.2", "6"],
        "a lane whose codes have no bits is empty, and all lane ends are 0",
        &huffman_of(
            &one,
            12,
            Record::huffman(Lengths::single(5), &PALETTE, &one.exponents),
        ),
    );

    // Entry 7 has 8 bits, entry 15 has 1.
    for (lane, k) in [(0, 15), (31, 16)] {
        let mut weights = Weights::new("longest lane", vec![PALETTE[15]; 1 << k]);
        for (i, exponent) in weights.exponents.iter_mut().enumerate() {
            if i % 256 / 8 == lane {
                *exponent = PALETTE[7 + i % 2];
            }
        }
        for (i, byte) in weights.sign_mantissa.iter_mut().enumerate() {
            *byte = (i % 239) as u8;
        }
        let record = Record::huffman(Lengths::skewed(), &PALETTE, &weights.exponents);
        let bytes = 1usize << (k - 5);
        assert!(record.lane_ends[0] == if lane == 0 { bytes as u16 } else { 256 });
        cases.accept(
            &format!("lane-{lane}-of-{bytes}-bytes"),
            &["5.2"],
            "a lane may be as long as its weights times 8 bits, while the record stays within its bound",
            &huffman_of(&weights, k, record),
        );
    }

    let weights = fullest_lanes();
    let record = Record::huffman(Lengths::skewed(), &PALETTE, &weights.exponents);
    assert_eq!(record.lane_ends[31], 65_472);
    assert_eq!(record.to_bytes(&[]).len(), 65_552);
    cases.accept(
        "lane-end-of-65472",
        &["5.1", "5.2", "9"],
        "the greatest lane end is 65,472: the record is then as long as the verbatim one",
        &huffman_of(&weights, 16, record),
    );

    let flat: Vec<u8> = (0..512).map(|i| PALETTE[i * 7 % 16]).collect();
    let weights = Weights::new("to the end", flat);
    let record = Record::huffman(Lengths::flat(), &PALETTE, &weights.exponents);
    assert!(record.body.len().is_multiple_of(16));
    cases.accept(
        "last-lane-ends-where-the-guard-begins",
        &["3.5", "5.2"],
        "eight bits may be read past the end of the last lane: the guard stands there",
        &huffman_of(&weights, 12, record),
    );
}

/// 65,536 weights of 8 bits each, with 64 bytes less in lane 31.
fn fullest_lanes() -> Weights {
    let mut exponents: Vec<u8> = (0..65_536).map(|i| PALETTE[7 + i % 2]).collect();
    let mut saved_bits = 0;
    for i in (0..65_536).filter(|i| i % 256 / 8 == 31) {
        if saved_bits + 7 <= 512 {
            exponents[i] = PALETTE[15];
            saved_bits += 7;
        } else if saved_bits < 512 {
            exponents[i] = PALETTE[9];
            saved_bits += 1;
        }
    }
    Weights {
        sign_mantissa: (0..65_536).map(|i| (i % 233) as u8).collect(),
        exponents,
    }
}

fn patches(cases: &mut Cases) {
    let mut add = |id: &str, claim: &str, count: usize, positions: &[usize]| {
        let mut weights = Weights::skewed(id, &PALETTE, count);
        for exponent in &mut weights.exponents {
            // All other exponents have a code.
            *exponent = (*exponent).max(PALETTE[7]);
        }
        for (i, &position) in positions.iter().enumerate() {
            weights.exponents[position] = [0, 255, 1, 111, 128, 254][i % 6];
        }
        let sections = ["5.5"];
        let record = Record::huffman(Lengths::skewed(), &PALETTE, &weights.exponents);
        assert_eq!(record.patches.len(), positions.len());
        cases.accept(
            &format!("huffman-{id}"),
            &sections,
            claim,
            &huffman_of(&weights, 12, record),
        );
        let record = Record::palette(&PALETTE, &weights.exponents);
        cases.accept(
            &format!("palette-{id}"),
            &sections,
            claim,
            &palette_of(&weights, 12, record),
        );
    };
    add(
        "patch-at-the-first-weight",
        "the least position is 0",
        700,
        &[0],
    );
    add(
        "patch-at-the-last-weight",
        "the greatest position is that of the last weight, whether or not the last step is short",
        700,
        &[699],
    );
    add(
        "patch-at-the-last-weight-of-a-full-chunk",
        "the greatest position is that of the last weight, whether or not the last step is short",
        4096,
        &[4095],
    );
    add(
        "patches-side-by-side",
        "patches may follow each other directly",
        700,
        &[255, 256, 257, 258, 259, 260, 261, 262, 263, 264],
    );
    let alternate: Vec<usize> = (0..1000).step_by(8).collect();
    add(
        "patches-in-every-lane",
        "every lane of every step may have patches",
        1000,
        &alternate,
    );

    greatest_number_of_patches(cases);

    let exponents = (0..65_536).map(|i| if i % 7 == 3 { 20 } else { PALETTE[3] });
    let mut many = Weights::new("many patches", exponents.collect());
    many.sign_mantissa = (0..65_536).map(|i| (i % 229) as u8).collect();
    cases.accept(
        "record-of-9362-patches",
        &["5.5"],
        "a record has as many patches as fit it",
        &Draft::of([Tensor::huffman("w", 16, PALETTE, &many, Lengths::single(3))]),
    );
    let mut far = Weights::new("far", vec![PALETTE[3]; 65_536]);
    far.sign_mantissa = (0..65_536).map(|i| (i % 229) as u8).collect();
    for (position, exponent) in [(0, 9), (32_767, 8), (32_768, 7), (65_535, 6)] {
        far.exponents[position] = exponent;
    }
    cases.accept(
        "patch-at-position-65535",
        &["5.5"],
        "positions are unsigned numbers of 16 bits",
        &huffman_of(
            &far,
            16,
            Record::huffman(Lengths::single(3), &PALETTE, &far.exponents),
        ),
    );
}

fn greatest_number_of_patches(cases: &mut Cases) {
    let claim = "a record has as many patches as fit into the length of the verbatim record";
    let patched = |count: usize| {
        let mut exponents = vec![PALETTE[3]; 4096];
        for (i, exponent) in exponents
            .iter_mut()
            .rev()
            .step_by(3)
            .take(count)
            .enumerate()
        {
            *exponent = (i % 100) as u8;
        }
        Weights::new("patched", exponents)
    };
    let weights = patched(1344);
    let record = Record::huffman(Lengths::single(3), &PALETTE, &weights.exponents);
    assert_eq!(record.to_bytes(&[]).len(), 4112);
    cases.accept(
        "huffman-record-with-the-greatest-number-of-patches",
        &["5.1", "5.5"],
        claim,
        &huffman_of(&weights, 12, record),
    );
    let weights = patched(682);
    let record = Record::palette(&PALETTE, &weights.exponents);
    assert_eq!(record.to_bytes(&[]).len(), 4112);
    cases.accept(
        "palette-record-with-the-greatest-number-of-patches",
        &["5.1", "5.5"],
        claim,
        &palette_of(&weights, 12, record),
    );
    let alternate = |i: usize| if i.is_multiple_of(2) { PALETTE[3] } else { 50 };
    let weights = Weights::new(
        "alternate",
        (0..2000)
            .map(|i| if i < 1200 { alternate(i) } else { PALETTE[3] })
            .collect(),
    );
    let record = Record::huffman(Lengths::single(3), &PALETTE, &weights.exponents);
    cases.accept(
        "huffman-patches-at-alternate-positions",
        &["5.5"],
        "every second weight may have a patch",
        &huffman_of(&weights, 12, record),
    );
}

/// Records that only other encoders write.
fn free_choices(cases: &mut Cases) {
    let coded = Lengths::skewed().entries();
    let some_entry = |random: &mut Random| coded[random.below(coded.len() as u64) as usize] as u8;
    let mut weights = Weights::skewed("free", &PALETTE, 700);
    for position in (0..700).step_by(37) {
        weights.exponents[position] = 20;
    }
    let plain = |entry: Option<usize>| entry.filter(|entry| coded.contains(entry));
    let entry = |exponent: u8| PALETTE.iter().position(|&of| of == exponent);
    let (plain_symbols, patches) = symbols(&weights.exponents, 15, |e| plain(entry(e)));

    let mut random = Random::new("under patches");
    let mut under = plain_symbols.clone();
    for (position, _) in &patches {
        under[usize::from(*position)] = some_entry(&mut random);
    }
    let mut surplus = plain_symbols.clone();
    for symbol in &mut surplus[700..] {
        *symbol = some_entry(&mut random);
    }
    // Weight 1's patch repeats its coded exponent; weight 2 is coded as another entry and patched.
    let mut more = patches.clone();
    more.push((1, weights.exponents[1]));
    more.push((2, weights.exponents[2]));
    more.sort_unstable();
    let mut wrong = plain_symbols.clone();
    wrong[2] = if plain_symbols[2] == 15 { 14 } else { 15 };

    type Free<'a> = (&'a str, &'a str, &'a [u8], &'a [(u16, u8)]);
    let free: [Free<'_>; 3] = [
        (
            "any-symbols-under-patches",
            "what is coded where a patch stands is free",
            &under,
            &patches,
        ),
        (
            "any-symbols-in-the-surplus",
            "what is coded for the surplus of a short last step is free",
            &surplus,
            &patches,
        ),
        (
            "patches-of-coded-exponents",
            "a patch may repeat what is coded, or replace it by an exponent that has a code",
            &wrong,
            &more,
        ),
    ];
    for (id, claim, symbols, patches) in free {
        let record = Record::huffman_of(Lengths::skewed(), symbols, patches.to_vec());
        cases.accept(
            &format!("huffman-{id}"),
            &["5", "5.5"],
            claim,
            &huffman_of(&weights, 12, record),
        );
        let record = Record::palette_of(symbols, patches.to_vec());
        cases.accept(
            &format!("palette-{id}"),
            &["5", "5.5"],
            claim,
            &palette_of(&weights, 12, record),
        );
    }

    let weights = Weights::skewed("own codes", &PALETTE, 6 * 4096);
    let codes = [
        Lengths::skewed(),
        Lengths::flat(),
        Lengths::of(&[3, 3, 3, 3, 3, 3, 3, 3]),
        Lengths::single(15),
        Lengths(std::array::from_fn(|i| if i < 14 { 15 } else { 1 })),
        Lengths(std::array::from_fn(|i| if i < 8 { 15 } else { 3 })),
    ];
    cases.accept(
        "every-record-with-its-own-code",
        &["5.1", "6"],
        "the code is the record's; none need be the best one",
        &Draft::of([Tensor::huffman_with(
            "w",
            12,
            PALETTE,
            &weights,
            |number, exponents| Record::huffman(codes[number], &PALETTE, exponents),
        )]),
    );
}
