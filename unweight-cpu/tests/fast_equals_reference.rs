//! Every fast ISA gives what the reference gives: the same bytes, the same results, the same
//! errors, and nothing outside of its buffers. Weights are of every type and in any forms. Records
//! are sound, foreign, or broken with a right checksum.

#![expect(unsafe_code, reason = "output that is not initialized yet")]

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use proptest::prelude::*;
use unweight_cpu::fast::{Checksums, Codec, Isa, Output, Scratch};
use unweight_cpu::reference::{self, Sample, TensorPlan, ValueCounts};
use unweight_cpu::{ChunkRecords, TensorCounts};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{
    CanonicalCode, Code, Dtype, Encoding, Error, Form, Forms, Palette, Palettes, Patch, Record,
    RecordShape, Rule, crc32,
};

/// The ISAs of this machine; AVX2 twice, with and without PEXT, if the processor has it.
static CODECS: LazyLock<Vec<Codec>> = LazyLock::new(|| {
    let fast = Isa::available().filter(|&isa| isa != Isa::Reference);
    let codecs = fast.map(|isa| Codec::of(isa).unwrap());
    codecs.chain(Codec::avx2_without_pext()).collect()
});

/// Where records stand in the file that they are said to come from.
const OFFSET: u64 = 4096;
const POISON: u8 = 0xa5;
const GUARD: usize = 64;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn bits(&mut self) -> u64 {
        self.next() << 32 ^ self.next()
    }
}

/// A chunk as a file has it.
struct Stored {
    palettes: Palettes,
    count: usize,
    plain: Vec<u8>,
    records: Vec<Vec<u8>>,
}

impl Stored {
    fn parse(&self) -> Result<Vec<Record<'_>>, Error> {
        let coded = self.palettes.forms().coded();
        coded
            .zip(&self.records)
            .map(|(coded, record)| {
                let (width, is_first) = (coded.field.width(), coded.number == 0);
                let shape = RecordShape::new(self.count as u32, width, coded.encoding, is_first);
                Record::parse(&shape, OFFSET, record, &self.plain)
            })
            .collect()
    }
}

/// Decodes a chunk on every ISA, in every way, and checks that all agree with the reference.
/// Returns the result.
fn decode_everywhere(stored: &Stored, records: &[Record<'_>]) -> Result<Vec<u8>, Error> {
    let Stored {
        palettes,
        count,
        plain,
        ..
    } = stored;
    let bytes = count * palettes.forms().dtype().weight_bytes();
    let mut weights = Vec::new();
    let expected = reference::decode_chunk(palettes, *count, records, plain, &mut weights);
    let expected = expected.map(|()| weights);
    for codec in CODECS.iter() {
        let isa = codec.isa();
        // Odd places, so that nothing may count on alignment.
        let mut poisoned = vec![MaybeUninit::new(POISON); bytes + 2 * GUARD + 1];
        let target = &mut poisoned[GUARD + 1..][..bytes];
        let mut scratch = Scratch::default();
        let found = codec.decode_chunk_bytes(&mut scratch, palettes, records, plain, target);
        assert_eq!(found.err(), expected.as_ref().err().copied(), "{isa}");
        let written: Vec<u8> = poisoned.iter().map(written).collect();
        require_inside(isa, &written, GUARD + 1, expected.as_deref().ok(), bytes);

        let mut poisoned = vec![POISON; bytes + 2 * GUARD];
        let mut output = Output::from(&mut poisoned[GUARD..][..bytes]);
        let found = codec.decode_checked(&mut scratch, palettes, records, plain, 77, &mut output);
        assert_eq!(found.err(), expected.as_ref().err().copied(), "{isa}");
        if let (Ok(found), Ok(expected)) = (found, &expected) {
            assert_eq!(found, Checksums::of(77, plain, expected), "{isa}");
        }
        require_inside(isa, &poisoned, GUARD, expected.as_deref().ok(), bytes);
    }
    for (number, record) in records.iter().enumerate() {
        decode_values_everywhere(record, palettes.coded(number).unwrap());
    }
    expected
}

fn decode_values_everywhere(record: &Record<'_>, palette: &Palette) {
    let mut expected = Vec::new();
    let result = reference::decode_values(record, palette, &mut expected);
    let expected = result.map(|_| expected);
    let count = record.shape().weights() as usize;
    for codec in CODECS.iter() {
        let isa = codec.isa();
        let mut poisoned = vec![POISON; count + 2 * GUARD];
        let target = &mut poisoned[GUARD..][..count];
        let found = codec.decode_values(&mut Scratch::default(), record, palette, target);
        assert_eq!(found.err(), expected.as_ref().err().copied(), "{isa}");
        require_inside(isa, &poisoned, GUARD, expected.as_deref().ok(), count);
    }
}

fn require_inside(isa: Isa, bytes: &[u8], start: usize, expected: Option<&[u8]>, length: usize) {
    let (before, rest) = bytes.split_at(start);
    let (inside, behind) = rest.split_at(length);
    let mut guard = before.iter().chain(behind);
    assert!(guard.all(|&byte| byte == POISON), "{isa} wrote outside");
    if let Some(expected) = expected {
        assert!(inside == expected, "{isa}: other bytes, {length} of them");
    }
}

/// A byte that has been written: all of these were, before any decoder saw them.
fn written(byte: &MaybeUninit<u8>) -> u8 {
    // SAFETY: the buffer was made of initialised bytes.
    unsafe { byte.assume_init_read() }
}

/// Encodes a chunk on every ISA, and checks that all give the reference's bytes. Returns the stored
/// chunk.
fn encode_everywhere(plan: &TensorPlan, weights: &[u8]) -> Stored {
    let forms = plan.forms();
    let (mut plain, mut expected) = (Vec::new(), ChunkRecords::default());
    reference::encode_chunk(plan, weights, &mut plain, &mut expected);
    let mut values = vec![Vec::new(); forms.coded_count()];
    reference::split(forms, weights, &mut Vec::new(), &mut values);
    let count = weights.len() / forms.dtype().weight_bytes();
    for codec in CODECS.iter() {
        let isa = codec.isa();
        let mut scratch = Scratch::default();
        let known = [None; 8];
        let (mut found, mut records) = (vec![POISON; plain.len()], ChunkRecords::default());
        let crc = codec.encode_chunk(
            &mut scratch,
            plan,
            &known,
            weights,
            &mut found,
            &mut records,
        );
        assert_eq!(crc, crc32(weights), "{isa}");
        assert!(found == plain, "{isa}: other plain bytes");
        assert!(records.iter().eq(expected.iter()), "{isa}: other records");

        for ((field, values), expected) in plan.fields().zip(&values).zip(expected.iter()) {
            let mut record = vec![4, 5];
            codec.encode_values(&mut scratch, field, values, &plain, &mut record);
            assert!(record[2..] == *expected, "{isa}: another record of values");
            let mut counts = [ValueCounts::default(), ValueCounts::default()];
            codec.count_field(forms.dtype(), field.coded().field, weights, &mut counts[0]);
            codec.count_values(values, &mut counts[1]);
            assert!(
                counts.iter().all(|counts| *counts == counts_of(values)),
                "{isa}"
            );
        }

        let mut plain_found = vec![POISON; plain.len()];
        let mut found = vec![vec![POISON; count]; values.len()];
        let mut places: Vec<&mut [u8]> = found.iter_mut().map(|values| &mut values[..]).collect();
        codec.split(forms, weights, &mut plain_found, &mut places);
        assert!(
            plain_found == plain && found == values,
            "{isa}: split otherwise"
        );
        let mut joined = vec![POISON; weights.len()];
        let values: Vec<&[u8]> = values.iter().map(|values| &values[..]).collect();
        codec.join(
            plan.palettes(),
            &plain,
            &values,
            &mut Output::from(&mut joined[..]),
        );
        let mut expected = Vec::new();
        reference::join(plan.palettes(), count, &plain, &values, &mut expected);
        assert!(joined == expected, "{isa}: joined otherwise");
    }
    Stored {
        palettes: *plan.palettes(),
        count,
        plain,
        records: expected.iter().map(<[u8]>::to_vec).collect(),
    }
}

fn counts_of(values: &[u8]) -> ValueCounts {
    let mut counts = ValueCounts::default();
    counts.add_values(values);
    counts
}

/// The plan of a tensor of these weights with these forms.
fn plan_of(forms: Forms, constants: u64, weights: &[u8]) -> TensorPlan {
    let size = forms.dtype().weight_bytes();
    let counts: Vec<ValueCounts> = forms
        .coded()
        .map(|coded| {
            let mut counts = ValueCounts::default();
            counts.add_weights(coded.field, size, weights);
            counts
        })
        .collect();
    TensorPlan::new(forms, constants, &counts)
}

/// Encodes a chunk in a tensor with this plan, and decodes it.
fn roundtrip(plan: &TensorPlan, weights: &[u8]) {
    let stored = encode_everywhere(plan, weights);
    let records = stored.parse().unwrap();
    assert!(decode_everywhere(&stored, &records).unwrap() == weights);
}

/// Values of a field, of many kinds.
fn value(kind: usize, width: u32, place: usize, count: usize, random: &mut Random) -> u8 {
    let value = match kind {
        0 => 90,
        1 => 100 + random.below(12) as u8,
        // Geometric: what trained weights look like.
        2 => 120u8.wrapping_sub(random.next().trailing_zeros() as u8),
        // The same, and one in a thousand somewhere else.
        3 if random.below(1000) == 0 => random.next() as u8,
        3 => 126 - (random.next() | 1 << 14).trailing_zeros() as u8,
        // Two of them lie at one end of the values, one at the other.
        4 => [0, 1, 255][random.below(3)],
        // Unlike itself: the first half and the second.
        5 if place < count / 2 => 100 + random.below(4) as u8,
        5 => 120 + (random.next() | 1 << 9).trailing_zeros() as u8,
        // One value, and seldom another.
        6 => u8::from(random.below(200) == 0),
        // Short codes, and steps of long ones among them.
        7 if place / 256 % 16 == 3 => 100 + random.below(12) as u8,
        7 => 105,
        _ => random.next() as u8,
    };
    value & (u8::MAX >> (8 - width))
}
const KINDS: usize = 9;

/// Little-endian weights whose fields have values of these kinds, and whose constant fields have
/// their constants.
fn weights_of(
    forms: Forms,
    constants: u64,
    kinds: &[usize; 8],
    count: usize,
    seed: u64,
) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut weights = Vec::new();
    for place in 0..count {
        let mut weight = random.bits();
        for (number, (field, form)) in forms.iter().enumerate() {
            let value = match form {
                Form::Constant => field.get(constants),
                _ => value(kinds[number], field.width(), place, count, &mut random),
            };
            weight = field.put(weight, value);
        }
        weights.extend(&weight.to_le_bytes()[..forms.dtype().weight_bytes()]);
    }
    weights
}

/// Forms of a type, given random numbers.
fn forms_of(dtype: Dtype, seed: u64) -> Forms {
    let mut random = Random(seed | 1);
    let mut forms = Forms::raw(dtype);
    for number in 0..dtype.fields().len() {
        let form = Form::from_code(random.below(4) as u8).unwrap();
        forms = forms.with(number, form).unwrap_or(forms);
    }
    forms
}

fn dtype() -> impl Strategy<Value = Dtype> {
    proptest::sample::select(Dtype::ALL)
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1usize..3000,
        2 => Just(4096usize),
        1 => 1usize..=20_000,
        2 => (1usize..17).prop_map(|steps| 256 * steps),
    ]
}

fn kinds() -> impl Strategy<Value = [usize; 8]> {
    proptest::array::uniform8(0..KINDS)
}

/// Any complete code of some of `entries` entries.
fn code(random: &mut Random, entries: usize) -> Code {
    let wanted = 1 + random.below(entries);
    let mut leaves = vec![0u8];
    let skewed = random.below(2) == 0;
    while leaves.len() < wanted {
        let longest = leaves.iter().rposition(|&length| length < 8);
        let leaf = match skewed {
            true => longest.unwrap_or(0),
            false => random.below(leaves.len()),
        };
        if leaves[leaf] == 8 {
            continue;
        }
        leaves[leaf] += 1;
        leaves.push(leaves[leaf]);
    }
    let mut lengths = [None; 16];
    for leaf in leaves {
        let mut entry = random.below(entries);
        while lengths[entry].is_some() {
            entry = (entry + 1) % entries;
        }
        lengths[entry] = Some(leaf);
    }
    Code::from_lengths(lengths, entries).unwrap()
}

/// A type and forms of one huffman field: weights of one, two and four bytes, with faster kernels
/// and without.
const ONE_FIELD: [(Dtype, u32); 13] = [
    (Dtype::F8E5M2, 0x01),
    (Dtype::Bf16, 0x001),
    (Dtype::Bf16, 0x331),
    (Dtype::F8E4M3, 0x01),
    (Dtype::F8E4M3, 0x31),
    (Dtype::F8E5M2, 0x10),
    (Dtype::F8E8M0, 0x1),
    (Dtype::U8, 0x31),
    (Dtype::F32, 0x03_3001),
    // Plain bits in more runs than mantissa and sign.
    (Dtype::U8, 0x10),
    (Dtype::F16, 0x0010),
    (Dtype::I32, 0x0001_3030),
    (Dtype::F64, 0x0000_0001),
];

/// A palette of a field of so many bits.
fn palette_of(width: u32) -> Palette {
    match width {
        8 => Palette::new(8, core::array::from_fn(|i| 90 + 7 * i as u8)).unwrap(),
        5..8 => Palette::new(width, core::array::from_fn(|i| (i << (width - 4)) as u8)).unwrap(),
        _ => Palette::lowest(width),
    }
}

/// A chunk as another encoder may write it: any code, any symbol under a patch or in the surplus.
fn foreign_chunk(random: &mut Random, count: usize) -> Stored {
    let (dtype, bits) = ONE_FIELD[random.below(ONE_FIELD.len())];
    let forms = Forms::from_bits(dtype, bits).unwrap();
    let width = forms.coded_field(0).unwrap().field.width();
    let palette = palette_of(width);
    let code = code(random, palette.values().len());
    let symbols: Vec<_> = code.canonical().collect();
    let steps = count.div_ceil(256);
    // Evenly, or mostly the longest codes: a step of 64 bits a lane.
    let longest = random.below(2) == 0;
    let written: Vec<_> = (0..256 * steps)
        .map(|_| match longest {
            true => symbols[symbols.len() - 1 - random.below(2.min(symbols.len()))],
            false => symbols[random.below(symbols.len())],
        })
        .collect();
    let mut patches = Vec::new();
    let every = 1 + random.below(300);
    for position in 0..count {
        if random.below(every) == 0 && patches.len() < 20_000 {
            patches.push(Patch {
                position: position as u16,
                value: random.next() as u8 & (u8::MAX >> (8 - width)),
            });
        }
    }
    stored_with(random, forms, count, &code, &written, &patches, None)
}

/// A stored chunk with one huffman field of these symbols, and with any plain bits. A lane can have
/// one byte more or less than its symbols need.
fn stored_with(
    random: &mut Random,
    forms: Forms,
    count: usize,
    code: &Code,
    written: &[CanonicalCode],
    patches: &[Patch],
    wrong: Option<(usize, Length)>,
) -> Stored {
    let palette = palette_of(forms.coded_field(0).unwrap().field.width());
    let mut streams = Vec::new();
    let lane_ends: [usize; 32] = core::array::from_fn(|lane| {
        let (mut bits, mut bit_count) = (0u64, 0);
        for step in written.chunks(256) {
            for symbol in &step[8 * lane..8 * lane + 8] {
                bits |= u64::from(symbol.stream_bits()) << bit_count;
                bit_count += symbol.length_bits;
                if bit_count >= 8 {
                    streams.push(bits as u8);
                    bits >>= 8;
                    bit_count -= 8;
                }
            }
        }
        if bit_count > 0 {
            streams.push(bits as u8);
        }
        match wrong {
            Some((wrong, Length::OneByteLess)) if wrong == lane => drop(streams.pop()),
            Some((wrong, Length::OneByteMore)) if wrong == lane => streams.push(0),
            _ => {}
        }
        streams.len()
    });
    let plain_bits = count * forms.plain_bits() as usize;
    let plain: Vec<u8> = (0..plain_bits.div_ceil(8))
        .map(|_| random.next() as u8)
        .collect();
    let mut record = Vec::new();
    let body = RecordBody::Huffman {
        code,
        lane_ends: &lane_ends.map(|end| end as u16),
        streams: &streams,
    };
    write_record(&body, patches, &plain, &mut record);
    let mut palettes = Palettes::raw(forms.dtype());
    for (number, (field, form)) in forms.iter().enumerate() {
        palettes = match form {
            Form::Constant => palettes
                .with_constant(number, field.get(random.bits()))
                .unwrap(),
            Form::Huffman => palettes
                .with_coded(number, Encoding::Huffman, palette)
                .unwrap(),
            _ => palettes,
        };
    }
    Stored {
        palettes,
        count,
        plain,
        records: vec![record],
    }
}

/// The wrong length of a lane.
#[derive(Clone, Copy)]
enum Length {
    OneByteLess,
    OneByteMore,
}

/// Decodes a chunk that may be broken.
fn decode_if_parsed(stored: &Stored) -> Option<Result<Vec<u8>, Error>> {
    let records = stored.parse().ok()?;
    Some(decode_everywhere(stored, &records))
}

fn restamp(record: &mut [u8], plain: &[u8]) {
    let checked = [&record[4..], plain].concat();
    record[..4].copy_from_slice(&crc32(&checked).to_le_bytes());
}

#[test]
fn tests_every_isa_of_this_machine() {
    let isas = CODECS.iter().map(|codec| codec.isa().name());
    println!(
        "ISAs of this machine: {}",
        isas.collect::<Vec<_>>().join(", ")
    );
    assert!(CODECS.iter().any(|codec| codec.isa() == Isa::Portable));
    assert_eq!(
        Codec::of(Isa::Reference).map(|codec| codec.isa()),
        Some(Isa::Reference)
    );
}

#[test]
fn every_kind_of_values_at_every_chunk_size() {
    for (dtype, bits) in ONE_FIELD.into_iter().take(5) {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        for kind in 0..KINDS {
            for chunk_size_log2 in 12..=16 {
                let weights = weights_of(forms, 0x1234, &[kind; 8], 1 << chunk_size_log2, 7);
                roundtrip(&plan_of(forms, 0x1234, &weights), &weights);
            }
        }
    }
}

/// Kernels write a lane's codes unchecked to a row with room for the longest lane: eight bits for
/// each weight of the largest chunk. Such codes are only in chunks that differ from their tensor.
#[test]
fn a_chunk_of_the_longest_codes_fills_its_lanes_and_no_more() {
    let forms = Forms::from_bits(Dtype::Bf16, 0x001).unwrap();
    let of = |exponent: u16| (exponent << 7).to_le_bytes();
    // Exponent 100 + n is twice as frequent as the one behind it.
    let skewed: Vec<u8> = (0..9u16)
        .flat_map(|number| std::iter::repeat_n(of(100 + number), 1 << (8 - number)))
        .flatten()
        .collect();
    let plan = plan_of(forms, 0, &skewed);
    let code = plan.fields().next().unwrap().code();
    assert_eq!(
        (0..16).filter_map(|entry| code.length_bits(entry)).max(),
        Some(8)
    );
    for last in [107, 108] {
        for count in [1 << 16, (1 << 16) - 1, (1 << 16) - 255] {
            let weights: Vec<u8> = std::iter::repeat_n(of(last), count).flatten().collect();
            roundtrip(&plan, &weights);
        }
    }
}

#[test]
fn every_number_of_weights_around_a_step() {
    for (dtype, bits) in ONE_FIELD {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let weights = weights_of(forms, 0x1234, &[3; 8], 4102, 9);
        let plan = plan_of(forms, 0x1234, &weights);
        let counts = (1..=70)
            .chain(250..=260)
            .chain(510..=514)
            .chain(4090..=4102);
        for count in counts {
            roundtrip(&plan, &weights[..count * dtype.weight_bytes()]);
        }
    }
}

#[test]
fn every_end_of_a_lane_within_a_run_of_symbols() {
    let mut random = Random(11);
    let skewed: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 8];
    for (dtype, bits) in ONE_FIELD {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let entries = palette_of(forms.coded_field(0).unwrap().field.width())
            .values()
            .len();
        // No bits, runs of six symbols, runs of two, and symbols too long for a run of two.
        for lengths in [&[0u8][..], &[1, 1], &[1, 2, 2], &[4; 16], skewed] {
            if lengths.len() > entries {
                continue;
            }
            let of_entry = core::array::from_fn(|entry| lengths.get(entry).copied());
            let code = Code::from_lengths(of_entry, entries).unwrap();
            let symbols: Vec<_> = code.canonical().collect();
            for used in [&symbols[..], &symbols[symbols.len().saturating_sub(2)..]] {
                for count in [1usize, 8, 255, 256, 257, 1280, 4105] {
                    let written: Vec<_> = (0..count.next_multiple_of(256))
                        .map(|_| used[random.below(used.len())])
                        .collect();
                    let stored = stored_with(&mut random, forms, count, &code, &written, &[], None);
                    let records = stored.parse().unwrap();
                    decode_everywhere(&stored, &records).unwrap();
                }
            }
        }
    }
}

#[test]
fn rejects_a_lane_that_ends_one_bit_or_one_byte_off() {
    let mut random = Random(12);
    for (dtype, bits) in ONE_FIELD {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let entries = palette_of(forms.coded_field(0).unwrap().field.width())
            .values()
            .len();
        let lengths = [Some(1), Some(2), Some(2)];
        let of_entry = core::array::from_fn(|entry| lengths.get(entry).copied().flatten());
        let code = Code::from_lengths(of_entry, entries).unwrap();
        let symbols: Vec<_> = code.canonical().collect();
        for steps in [1, 2, 5, 16] {
            for lane in [0, 7, 8, 30, 31] {
                // All lanes fill whole bytes, but for the last symbol of this one.
                let mut written = vec![symbols[0]; 256 * steps];
                let stored = |random: &mut _, written: &[_], wrong| {
                    let count = 256 * steps - 100;
                    stored_with(
                        random,
                        forms,
                        count,
                        &code,
                        written,
                        &[],
                        Some((lane, wrong)),
                    )
                };
                let longer = stored(&mut random, &written, Length::OneByteMore);
                let records = longer.parse().unwrap();
                let found = decode_everywhere(&longer, &records);
                assert_eq!(found.unwrap_err().rule, Rule::LaneUnderrun);
                written[256 * (steps - 1) + 8 * lane + 7] = symbols[2];
                let shorter = stored(&mut random, &written, Length::OneByteLess);
                let records = shorter.parse().unwrap();
                let found = decode_everywhere(&shorter, &records);
                assert_eq!(found.unwrap_err().rule, Rule::LaneOverrun);
            }
        }
    }
}

#[test]
fn every_weight_a_patch() {
    // The tensor's palette knows none of the chunk's values.
    for encoding in [Form::Huffman, Form::Palette] {
        let forms = Forms::raw(Dtype::Bf16).with(0, encoding).unwrap();
        let tensor = weights_of(forms, 0, &[2; 8], 10_000, 1);
        let plan = plan_of(forms, 0, &tensor);
        for count in [1, 255, 256, 4096] {
            roundtrip(&plan, &[0x80, 0x08].repeat(count));
        }
    }
}

#[test]
fn every_pattern_of_two_bytes() {
    let weights: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for (dtype, bits) in [
        (Dtype::Bf16, 0x001),
        (Dtype::Bf16, 0x002),
        (Dtype::Bf16, 0x111),
        (Dtype::F16, 0x1001),
        (Dtype::I16, 0x1111),
        (Dtype::F8E4M3, 0x11),
        (Dtype::F8E5M2, 0x02),
    ] {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let weights = &weights[..dtype.weight_bytes() << 16];
        roundtrip(&plan_of(forms, 0, weights), weights);
    }
}

#[test]
fn a_record_of_a_narrow_field_has_no_code_for_a_missing_entry() {
    let forms = Forms::from_bits(Dtype::F8E5M2, 0x10).unwrap();
    let weights = weights_of(forms, 0, &[6; 8], 4096, 1);
    let mut stored = encode_everywhere(&plan_of(forms, 0, &weights), &weights);
    assert_eq!(stored.records[0][4], 1, "it is huffman");
    // Entry 4, which a field of two bits does not have.
    stored.records[0][8 + 2] = 0xf1;
    let plain = stored.plain.clone();
    restamp(&mut stored.records[0], &plain);
    assert_eq!(stored.parse().unwrap_err().rule, Rule::CodeLength);
}

#[test]
fn a_patch_has_a_value_of_its_field() {
    let forms = Forms::from_bits(Dtype::F8E4M3, 0x01).unwrap();
    let weights = weights_of(forms, 0, &[6; 8], 4096, 1);
    let mut stored = encode_everywhere(&plan_of(forms, 0, &weights), &weights);
    let patches = usize::from(stored.records[0][6]);
    assert!(patches > 0 && stored.records[0][4] == 1);
    // One value is in all lanes without bits.
    stored.records[0][80 + 2] = 16;
    let plain = stored.plain.clone();
    restamp(&mut stored.records[0], &plain);
    assert_eq!(stored.parse().unwrap_err().rule, Rule::PatchValue);
}

#[test]
fn padding_bits_of_a_verbatim_record_are_zero() {
    let forms = Forms::from_bits(Dtype::F8E4M3, 0x10).unwrap();
    // The last byte of the body has each number of padding bits.
    for count in 296..304 {
        let weights = weights_of(forms, 0, &[8; 8], count, 1);
        let mut stored = encode_everywhere(&plan_of(forms, 0, &weights), &weights);
        assert_eq!(stored.records[0][4], 0, "it is verbatim");
        let plain = stored.plain.clone();
        for bit in 8 * 16 + 3 * count..8 * stored.records[0].len() {
            let mask = 1 << (bit % 8);
            stored.records[0][bit / 8] |= mask;
            restamp(&mut stored.records[0], &plain);
            let error = stored.parse().unwrap_err();
            assert_eq!(
                error.rule,
                Rule::RecordPadding,
                "{count} weights, bit {bit}"
            );
            stored.records[0][bit / 8] &= !mask;
        }
        restamp(&mut stored.records[0], &plain);
        assert!(stored.parse().is_ok(), "{count} weights");
    }
}

#[test]
fn the_counts_of_chunks_give_the_plan_and_the_codes_of_the_reference() {
    for (dtype, kinds) in [
        (Dtype::Bf16, [3, 0, 0, 0, 0, 0, 0, 0]),
        (Dtype::F8E4M3, [2, 8, 0, 0, 0, 0, 0, 0]),
        (Dtype::F32, [3, 6, 0, 0, 0, 4, 0, 0]),
        (Dtype::I64, [0, 0, 0, 0, 0, 6, 2, 3]),
    ] {
        for encoding in [Encoding::Huffman, Encoding::Palette] {
            let raw = Forms::raw(dtype);
            let weights = weights_of(raw, 0, &kinds, 40_000, 3);
            whole_tensor(dtype, encoding, &weights);
        }
    }
}

/// Makes the plan of a tensor on every ISA, and encodes its chunks with the counts of the first
/// pass.
fn whole_tensor(dtype: Dtype, encoding: Encoding, weights: &[u8]) {
    let size = dtype.weight_bytes();
    let count = (weights.len() / size) as u64;
    let chunks = || weights.chunks(size << 12);
    let sample = |add: &dyn Fn(&mut Sample, &[u8])| {
        let mut sample = Sample::new(dtype);
        for range in reference::sample_ranges(count) {
            let bytes = range.start as usize * size..range.end as usize * size;
            add(&mut sample, &weights[bytes]);
        }
        sample.choose_forms(encoding, count, 12)
    };
    let forms = sample(&|sample, weights| sample.add_weights(weights));
    let mut counts = TensorCounts::new(forms, chunks().len() as u64);
    for chunk in chunks() {
        counts.push(reference::count_chunk(&forms, chunk));
    }
    let plan = counts.plan();
    // Fields of at most 4 bits never have the form palette.
    assert!(!plan.forms().is_raw() || encoding == Encoding::Palette && dtype == Dtype::F8E4M3);
    for codec in CODECS.iter() {
        let forms = sample(&|sample, weights| codec.count_sample(sample, weights));
        let mut counts = TensorCounts::new(forms, chunks().len() as u64);
        for chunk in chunks() {
            counts.push(codec.count_chunk(&forms, chunk));
        }
        let found = counts.plan();
        assert_eq!(found.palettes(), plan.palettes());
        assert!(found.fields().eq(plan.fields()));
        for (number, chunk) in (0..).zip(chunks()) {
            let (mut plain, mut expected) = (Vec::new(), ChunkRecords::default());
            reference::encode_chunk(&plan, chunk, &mut plain, &mut expected);
            let mut records = ChunkRecords::default();
            let of_chunk = counts.of_chunk(number, &plan);
            let mut scratch = Scratch::default();
            codec.encode_chunk(
                &mut scratch,
                &plan,
                &of_chunk,
                chunk,
                &mut plain,
                &mut records,
            );
            assert!(records.iter().eq(expected.iter()), "{}", codec.isa());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunk_of_any_type_and_forms(
        dtype in dtype(),
        seed: u64,
        constants: u64,
        count in count(),
        kinds in kinds(),
    ) {
        let forms = forms_of(dtype, seed);
        let weights = weights_of(forms, constants, &kinds, count, seed);
        roundtrip(&plan_of(forms, constants, &weights), &weights);
    }

    #[test]
    fn any_chunk_of_another_tensor(
        dtype in dtype(),
        seed: u64,
        count in count(),
        kinds in kinds(),
        others in kinds(),
    ) {
        let forms = forms_of(dtype, seed);
        let tensor = weights_of(forms, 0, &others, 5000, seed ^ 0xffff);
        let weights = weights_of(forms, 0, &kinds, count, seed);
        let both = [&tensor[..], &weights].concat();
        roundtrip(&plan_of(forms, 0, &both), &weights);
    }

    #[test]
    fn foreign_records(seed in any::<u64>(), count in prop_oneof![1usize..2000, Just(4096usize), 1usize..20_000]) {
        let mut random = Random(seed | 1);
        let stored = foreign_chunk(&mut random, count);
        if let Some(decoded) = decode_if_parsed(&stored) {
            prop_assert!(decoded.is_ok());
        }
    }

    #[test]
    fn broken_records_with_right_checksums(seed in any::<u64>(), count in prop_oneof![1usize..2000, Just(4096usize), Just(65536usize)]) {
        let mut random = Random(seed | 1);
        let mut stored = foreign_chunk(&mut random, count);
        let sound = stored.records[0].clone();
        for _ in 0..12 {
            let mut bytes = sound.clone();
            for _ in 0..=random.below(3) {
                // Code lengths, lane ends, or anywhere.
                let place = match random.below(3) {
                    0 => 8 + random.below(8),
                    1 => 16 + random.below(64),
                    _ => 4 + random.below(bytes.len() - 4),
                };
                bytes[place] = match random.below(2) {
                    0 => random.next() as u8,
                    _ => bytes[place].wrapping_add(random.below(3) as u8).wrapping_sub(1),
                };
            }
            restamp(&mut bytes, &stored.plain);
            stored.records[0] = bytes;
            let _ = decode_if_parsed(&stored);
        }
    }

    #[test]
    fn another_code_for_the_same_lanes(seed in any::<u64>(), count in 1usize..3000) {
        // Lanes overrun and underrun, all of them.
        let mut random = Random(seed | 1);
        let mut stored = foreign_chunk(&mut random, count);
        let entries = stored.palettes.coded(0).unwrap().values().len();
        stored.records[0][8..16].copy_from_slice(&code(&mut random, entries).to_bytes());
        let plain = stored.plain.clone();
        restamp(&mut stored.records[0], &plain);
        let _ = decode_if_parsed(&stored);
    }
}
