//! Every fast ISA gives what the reference gives: the same bytes, the same results, the same errors, and nothing outside of its
//! buffers. Records are sound, foreign, or broken with a right checksum.

#![expect(unsafe_code, reason = "output that is not initialized yet")]

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use half::bf16;
use proptest::prelude::*;
use unweight_cpu::fast::{Codec, Isa, Scratch};
use unweight_cpu::reference::{self, ExponentCounts, TensorPlan};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{
    ChunkShape, Code, Encoding, Error, Extent, Palette, Patch, Record, crc32, exponent,
    sign_mantissa, weight,
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

/// A chunk's exponents and sign-mantissa bytes.
#[derive(Clone, Debug)]
struct Chunk {
    exponents: Vec<u8>,
    sign_mantissa: Vec<u8>,
}

impl Chunk {
    fn of_exponents(exponents: Vec<u8>, seed: u64) -> Chunk {
        let mut random = Random(seed | 1);
        let sign_mantissa = exponents.iter().map(|_| random.next() as u8).collect();
        Chunk {
            exponents,
            sign_mantissa,
        }
    }

    fn weights(&self) -> Vec<bf16> {
        let parts = self.sign_mantissa.iter().zip(&self.exponents);
        parts.map(|(&sm, &exponent)| weight(sm, exponent)).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        self.weights()
            .iter()
            .flat_map(|weight| weight.to_le_bytes())
            .collect()
    }

    fn shape(&self) -> ChunkShape {
        let length = self.exponents.len() as u64;
        ChunkShape {
            number: 0,
            first_weight: 0,
            weights: length as u32,
            sign_mantissa: Extent {
                offset: 256,
                length,
            },
        }
    }
}

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
}

/// Decodes a record on every ISA, in every way, and checks that all agree with the reference.
/// Returns the result.
fn decode_everywhere(
    record: &Record<'_>,
    palette: &Palette,
    sign_mantissa: &[u8],
) -> Result<Vec<u8>, Error> {
    let count = sign_mantissa.len();
    let mut weights = vec![bf16::ZERO; count];
    let expected =
        reference::decode_record(record, palette, sign_mantissa, &mut weights).map(|()| {
            weights
                .iter()
                .flat_map(|weight| weight.to_le_bytes())
                .collect::<Vec<u8>>()
        });
    for codec in CODECS.iter() {
        let isa = codec.isa();
        // Odd places, so that nothing may count on alignment.
        let mut poisoned = vec![MaybeUninit::new(POISON); 2 * count + 2 * GUARD + 1];
        let target = &mut poisoned[GUARD + 1..][..2 * count];
        let found = codec.decode_record_bytes(
            &mut Scratch::default(),
            record,
            palette,
            sign_mantissa,
            target,
        );
        let bytes: Vec<u8> = poisoned.iter().map(written).collect();
        assert_eq!(found.err(), expected.as_ref().err().copied(), "{isa}");
        let (before, rest) = bytes.split_at(GUARD + 1);
        let (inside, behind) = rest.split_at(2 * count);
        assert!(
            before.iter().chain(behind).all(|&byte| byte == POISON),
            "{isa} wrote outside"
        );
        if let Ok(expected) = &expected {
            assert!(inside == expected, "{isa}: other bytes, {count} weights");
        }

        let mut poisoned = vec![bf16::from_bits(0xa5a5); count + 2 * GUARD];
        let target = &mut poisoned[GUARD..][..count];
        let found = codec.decode_record(
            &mut Scratch::default(),
            record,
            palette,
            sign_mantissa,
            target,
        );
        assert_eq!(found.err(), expected.as_ref().err().copied(), "{isa}");
        if expected.is_ok() {
            let equal = target
                .iter()
                .zip(&weights)
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(equal, "{isa}: other weights, {count} weights");
        }
        let guard = poisoned[..GUARD].iter().chain(&poisoned[GUARD + count..]);
        assert!(
            guard.copied().all(|weight| weight.to_bits() == 0xa5a5),
            "{isa} wrote outside"
        );

        let mut poisoned = vec![POISON; count + 2 * GUARD];
        let target = &mut poisoned[GUARD..][..count];
        let found = codec.decode_exponents(&mut Scratch::default(), record, palette, target);
        assert_eq!(found.err(), expected.as_ref().err().copied(), "{isa}");
        if expected.is_ok() {
            let equal = target.iter().zip(&weights).all(|(&a, &b)| a == exponent(b));
            assert!(equal, "{isa}: other exponents, {count} weights");
        }
        let guard = poisoned[..GUARD].iter().chain(&poisoned[GUARD + count..]);
        assert!(
            guard.copied().all(|byte| byte == POISON),
            "{isa} wrote outside"
        );
    }
    expected
}

/// A byte that has been written: all of these were, before any decoder saw them.
fn written(byte: &MaybeUninit<u8>) -> u8 {
    // SAFETY: the buffer was made of initialised bytes.
    unsafe { byte.assume_init_read() }
}

/// Encodes a chunk on every ISA, and checks that all give the reference's bytes. Returns the
/// record.
fn encode_everywhere(plan: &TensorPlan, chunk: &Chunk) -> Vec<u8> {
    let (mut expected_sm, mut expected) = (vec![1, 2, 3], vec![4, 5]);
    reference::encode_weights(plan, &chunk.weights(), &mut expected_sm, &mut expected);
    for codec in CODECS.iter() {
        let (mut sm, mut record) = (vec![1, 2, 3], vec![4, 5]);
        codec.encode_weights(
            &mut Scratch::default(),
            plan,
            &chunk.bytes(),
            &mut sm,
            &mut record,
        );
        assert!(
            sm == expected_sm,
            "{}: other sign-mantissa bytes",
            codec.isa()
        );
        assert!(record == expected, "{}: another record", codec.isa());
        let mut record = vec![4, 5];
        codec.encode_exponents(
            &mut Scratch::default(),
            plan,
            &chunk.exponents,
            &chunk.sign_mantissa,
            &mut record,
        );
        assert!(
            record == expected,
            "{}: another record of exponents",
            codec.isa()
        );

        let mut counts = [ExponentCounts::default(), ExponentCounts::default()];
        codec.count_weights(&chunk.bytes(), &mut counts[0]);
        codec.count_exponents(&chunk.exponents, &mut counts[1]);
        assert!(
            counts
                .iter()
                .all(|counts| *counts == counts_of(&chunk.exponents))
        );
    }
    expected.split_off(2)
}

fn counts_of(exponents: &[u8]) -> ExponentCounts {
    let mut counts = ExponentCounts::default();
    counts.add_exponents(exponents);
    counts
}

/// Encodes a chunk in a tensor with these counts, and decodes the record.
fn roundtrip(chunk: &Chunk, tensor: &ExponentCounts) {
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        let plan = TensorPlan::new(tensor, encoding);
        let bytes = encode_everywhere(&plan, chunk);
        let record = parse(chunk, encoding, &bytes).unwrap();
        let decoded = decode_everywhere(&record, plan.palette(), &chunk.sign_mantissa);
        assert!(decoded.unwrap() == chunk.bytes());
    }
}

fn parse<'a>(chunk: &Chunk, encoding: Encoding, bytes: &'a [u8]) -> Result<Record<'a>, Error> {
    Record::parse(
        &chunk.shape(),
        encoding,
        OFFSET,
        bytes,
        &chunk.sign_mantissa,
    )
}

/// Exponents of many kinds, one to all 256.
fn exponents(kind: usize, count: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let base = random.next() as u8;
    let spread = 1 + random.below(40);
    (0..count)
        .map(|i| match kind {
            0 => base,
            1 => base.wrapping_add(random.below(spread) as u8),
            // Geometric: what trained weights look like.
            2 => base.wrapping_sub(random.next().trailing_zeros() as u8),
            // The same, and one in a thousand somewhere else.
            3 if random.below(1000) == 0 => random.next() as u8,
            3 => 126 - (random.next() | 1 << 14).trailing_zeros() as u8,
            // Two of them lie at one end of the exponents, one at the other.
            4 => [0, 1, 255][random.below(3)],
            // Unlike itself: the first half and the second.
            5 if i < count / 2 => 100 + random.below(4) as u8,
            5 => 120 + (random.next() | 1 << 9).trailing_zeros() as u8,
            _ => random.next() as u8,
        })
        .collect()
}
const KINDS: usize = 7;

fn chunk() -> impl Strategy<Value = Chunk> {
    let count = prop_oneof![
        4 => 1usize..3000,
        2 => Just(4096usize),
        1 => Just(8192usize),
        1 => 1usize..=65536,
        2 => (1usize..17).prop_map(|steps| 256 * steps),
    ];
    (0..KINDS, count, any::<u64>())
        .prop_map(|(kind, count, seed)| Chunk::of_exponents(exponents(kind, count, seed), seed))
}

/// Any complete code of 1 to 16 entries.
fn code(random: &mut Random) -> Code {
    let wanted = 1 + random.below(16);
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
        let mut entry = random.below(16);
        while lengths[entry].is_some() {
            entry = (entry + 1) % 16;
        }
        lengths[entry] = Some(leaf);
    }
    Code::from_lengths(lengths).unwrap()
}

/// A record as another encoder may write it: any code, any symbol under a patch or in the surplus.
fn foreign_record(random: &mut Random, count: usize) -> (Chunk, Palette, Vec<u8>) {
    let code = code(random);
    let palette = Palette::new(core::array::from_fn(|i| 90 + 7 * i as u8)).unwrap();
    let symbols: Vec<_> = code.canonical().collect();
    let steps = count.div_ceil(256);
    // Evenly, or mostly the longest codes: a step of 64 bits a lane.
    let longest = random.below(2) == 0;
    let coded: Vec<_> = (0..256 * steps)
        .map(|_| match longest {
            true => symbols[symbols.len() - 1 - random.below(2.min(symbols.len()))],
            false => symbols[random.below(symbols.len())],
        })
        .collect();
    let mut exponents: Vec<u8> = coded[..count]
        .iter()
        .map(|symbol| palette.exponents()[usize::from(symbol.entry)])
        .collect();
    let mut patches = Vec::new();
    let every = 1 + random.below(300);
    for (position, exponent) in exponents.iter_mut().enumerate() {
        if random.below(every) == 0 && patches.len() < 20_000 {
            *exponent = random.next() as u8;
            patches.push(Patch {
                position: position as u16,
                exponent: *exponent,
            });
        }
    }
    let mut streams = Vec::new();
    let lane_ends: [usize; 32] = core::array::from_fn(|lane| {
        let (mut bits, mut bit_count) = (0u64, 0);
        for step in coded.chunks(256) {
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
        streams.len()
    });
    let chunk = Chunk::of_exponents(exponents, random.next());
    let mut record = Vec::new();
    let body = RecordBody::Huffman {
        code: &code,
        lane_ends: &lane_ends.map(|end| end as u16),
        streams: &streams,
    };
    write_record(&body, &patches, &chunk.sign_mantissa, &mut record);
    (chunk, palette, record)
}

fn restamp(record: &mut [u8], sign_mantissa: &[u8]) {
    let checked = [&record[4..], sign_mantissa].concat();
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
fn every_kind_of_exponents_at_every_chunk_size() {
    for kind in 0..KINDS {
        for chunk_size_log2 in 12..=16 {
            let exponents = exponents(kind, 1 << chunk_size_log2, 7 + kind as u64);
            let tensor = counts_of(&exponents);
            roundtrip(&Chunk::of_exponents(exponents, 3), &tensor);
        }
    }
}

#[test]
fn every_number_of_weights_around_a_step() {
    for count in (1..=70)
        .chain(250..=260)
        .chain(500..=520)
        .chain(4090..=4102)
    {
        let exponents = exponents(3, count, count as u64);
        let tensor = counts_of(&exponents);
        roundtrip(&Chunk::of_exponents(exponents, 5), &tensor);
    }
}

#[test]
fn every_weight_a_patch() {
    // The tensor's palette knows none of the chunk's exponents.
    let tensor = counts_of(&exponents(2, 10_000, 1));
    for count in [1, 255, 256, 4096] {
        roundtrip(&Chunk::of_exponents(vec![17; count], 5), &tensor);
    }
}

#[test]
fn every_bf16_pattern() {
    let patterns: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let chunk = Chunk {
        exponents: patterns.iter().map(|&weight| exponent(weight)).collect(),
        sign_mantissa: patterns
            .iter()
            .map(|&weight| sign_mantissa(weight))
            .collect(),
    };
    roundtrip(&chunk, &counts_of(&chunk.exponents));
    let weights: Vec<u8> = patterns
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect();
    for codec in CODECS.iter() {
        let mut joined = vec![POISON; weights.len()];
        codec.join(&chunk.exponents, &chunk.sign_mantissa, &mut joined);
        assert!(joined == weights, "{}", codec.isa());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunk_of_its_own_tensor(chunk in chunk()) {
        roundtrip(&chunk, &counts_of(&chunk.exponents));
    }

    #[test]
    fn any_chunk_of_another_tensor(chunk in chunk(), kind in 0..KINDS, seed in any::<u64>()) {
        let mut tensor = counts_of(&exponents(kind, 20_000, seed));
        tensor.merge(&counts_of(&chunk.exponents));
        roundtrip(&chunk, &tensor);
    }

    #[test]
    fn any_counts_choose_the_same_code(kind in 0..KINDS, count in 1usize..9000, seed in any::<u64>()) {
        // The chunk's own code and the tensor's, and the choice between them, show in the record.
        let chunk = Chunk::of_exponents(exponents(kind, count, seed), 1);
        let tensor = counts_of(&exponents(2, 1000, seed));
        encode_everywhere(&TensorPlan::new(&tensor, Encoding::Huffman), &chunk);
    }

    #[test]
    fn foreign_records(seed in any::<u64>(), count in prop_oneof![1usize..2000, Just(4096usize), 1usize..20_000]) {
        let mut random = Random(seed | 1);
        let (chunk, palette, bytes) = foreign_record(&mut random, count);
        if let Ok(record) = parse(&chunk, Encoding::Huffman, &bytes) {
            let decoded = decode_everywhere(&record, &palette, &chunk.sign_mantissa);
            prop_assert!(decoded.unwrap() == chunk.bytes());
        }
    }

    #[test]
    fn broken_records_with_right_checksums(seed in any::<u64>(), count in prop_oneof![1usize..2000, Just(4096usize), Just(65536usize)]) {
        let mut random = Random(seed | 1);
        let (chunk, palette, sound) = foreign_record(&mut random, count);
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
            restamp(&mut bytes, &chunk.sign_mantissa);
            if let Ok(record) = parse(&chunk, Encoding::Huffman, &bytes) {
                let _ = decode_everywhere(&record, &palette, &chunk.sign_mantissa);
            }
        }
    }

    #[test]
    fn another_code_for_the_same_lanes(seed in any::<u64>(), count in 1usize..3000) {
        // Lanes overrun and underrun, all of them.
        let mut random = Random(seed | 1);
        let (chunk, palette, mut bytes) = foreign_record(&mut random, count);
        bytes[8..16].copy_from_slice(&code(&mut random).to_bytes());
        restamp(&mut bytes, &chunk.sign_mantissa);
        if let Ok(record) = parse(&chunk, Encoding::Huffman, &bytes) {
            let _ = decode_everywhere(&record, &palette, &chunk.sign_mantissa);
        }
    }
}
