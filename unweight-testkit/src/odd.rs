//! Valid records that no canonical encoder writes.

use half::bf16;
use unweight_cpu::reference::{ExponentCounts, TensorPlan, encode_exponents};
use unweight_format::layout::{self, LANE_STEP_WEIGHTS, LANES, PALETTE_ENTRIES, STEP_WEIGHTS};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{CanonicalCode, Code, Encoding, Palette, Patch, exponent};

use crate::Random;

/// The palette and the plan of a tensor with odd records.
pub(crate) struct OddRecords {
    encoding: Encoding,
    pub(crate) palette: Palette,
    plan: TensorPlan,
}

impl OddRecords {
    pub(crate) fn of(encoding: Encoding, weights: &[bf16], random: &mut Random) -> OddRecords {
        let mut counts = ExponentCounts::default();
        counts.add_weights(weights);
        let plan = TensorPlan::new(&counts, encoding);
        let palette = match random.below(4) {
            0 => any_palette(random),
            _ => *plan.palette(),
        };
        OddRecords {
            encoding,
            palette,
            plan,
        }
    }

    pub(crate) fn record(
        &self,
        weights: &[bf16],
        sign_mantissa: &[u8],
        random: &mut Random,
    ) -> Vec<u8> {
        let exponents: Vec<u8> = weights.iter().map(|&weight| exponent(weight)).collect();
        let mut record = Vec::new();
        let verbatim = RecordBody::Verbatim(&exponents);
        if random.below(8) == 0 {
            write_record(&verbatim, &[], sign_mantissa, &mut record);
            return record;
        }
        if random.below(8) == 0 && self.palette == *self.plan.palette() {
            encode_exponents(&self.plan, &exponents, sign_mantissa, &mut record);
            return record;
        }
        let (lane_ends, streams, indices);
        let code = any_code(random);
        let (body, coded) = match self.encoding {
            Encoding::Palette => {
                let coded;
                (indices, coded) = pack(&self.palette, &exponents, random);
                (RecordBody::Palette(&indices), coded)
            }
            _ => {
                let coded;
                (lane_ends, streams, coded) = lanes(&code, &self.palette, &exponents, random);
                (
                    RecordBody::Huffman {
                        code: &code,
                        lane_ends: &lane_ends,
                        streams: &streams,
                    },
                    coded,
                )
            }
        };
        // A weight that is not coded correctly needs a patch. Some other weights get one too.
        let patches: Vec<Patch> = (0..=u16::MAX)
            .zip(exponents.iter().zip(&coded))
            .filter(|&(_, (exponent, coded))| exponent != coded || random.below(100) == 0)
            .map(|(position, (&exponent, _))| Patch { position, exponent })
            .collect();
        if patches.len() > usize::from(u16::MAX)
            || body.record_bytes(patches.len()) > verbatim.record_bytes(0)
        {
            write_record(&verbatim, &[], sign_mantissa, &mut record);
        } else {
            write_record(&body, &patches, sign_mantissa, &mut record);
        }
        record
    }
}

/// A palette of any 16 exponents.
fn any_palette(random: &mut Random) -> Palette {
    let mut chosen = std::collections::BTreeSet::new();
    let (base, spread) = (random.below(256), 16 + random.below(241));
    while chosen.len() < PALETTE_ENTRIES {
        chosen.insert((base + random.below(spread)) as u8);
    }
    let mut exponents = [0; PALETTE_ENTRIES];
    exponents
        .iter_mut()
        .zip(chosen)
        .for_each(|(place, exponent)| *place = exponent);
    Palette::new(exponents).expect("a set ascends")
}

/// Any complete code.
fn any_code(random: &mut Random) -> Code {
    let mut lengths = vec![0u8];
    for _ in 0..random.below(40) {
        let split = random.below(lengths.len() as u64) as usize;
        if lengths[split] < layout::LONGEST_CODE_BITS && lengths.len() < PALETTE_ENTRIES {
            lengths[split] += 1;
            lengths.push(lengths[split]);
        }
    }
    let mut by_entry = [None; PALETTE_ENTRIES];
    for length in lengths {
        let mut entry = random.below(PALETTE_ENTRIES as u64) as usize;
        while by_entry[entry].is_some() {
            entry = (entry + 1) % PALETTE_ENTRIES;
        }
        by_entry[entry] = Some(length);
    }
    Code::from_lengths(by_entry).expect("a split leaves a complete code complete")
}

/// Lane ends, streams, and the exponents that they code. An exponent without a code and the surplus
/// get arbitrary codes.
fn lanes(
    code: &Code,
    palette: &Palette,
    exponents: &[u8],
    random: &mut Random,
) -> ([u16; LANES], Vec<u8>, Vec<u8>) {
    let codes: Vec<CanonicalCode> = code.canonical().collect();
    let steps = exponents.len().div_ceil(STEP_WEIGHTS);
    let mut coded = vec![0; steps * STEP_WEIGHTS];
    let (mut ends, mut streams) = ([0; LANES], Vec::new());
    for (lane, end) in ends.iter_mut().enumerate() {
        let (mut bits, mut bit_count) = (0u32, 0);
        for step in 0..steps {
            for place in 0..LANE_STEP_WEIGHTS {
                let at = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS + place;
                let entry = exponents
                    .get(at)
                    .and_then(|&exponent| palette.index_of(exponent));
                let found = codes
                    .iter()
                    .find(|code| Some(usize::from(code.entry)) == entry);
                let any = || codes[random.below(codes.len() as u64) as usize];
                let code = found.copied().unwrap_or_else(any);
                coded[at] = palette.exponents()[usize::from(code.entry)];
                bits |= u32::from(code.stream_bits()) << bit_count;
                bit_count += code.length_bits;
                while bit_count >= 8 {
                    streams.push(bits as u8);
                    bits >>= 8;
                    bit_count -= 8;
                }
            }
        }
        if bit_count > 0 {
            streams.push(bits as u8);
        }
        // A lane end past 65,535 makes the record longer than a verbatim one, so this record is not
        // written.
        *end = streams.len().try_into().unwrap_or(u16::MAX);
    }
    (ends, streams, coded)
}

/// Palette indices, and the exponents that they code. An exponent outside the palette and the
/// surplus get arbitrary indices.
fn pack(palette: &Palette, exponents: &[u8], random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let steps = exponents.len().div_ceil(STEP_WEIGHTS);
    let indices: Vec<u8> = (0..steps * STEP_WEIGHTS)
        .map(|at| {
            let entry = exponents
                .get(at)
                .and_then(|&exponent| palette.index_of(exponent));
            entry.map_or_else(|| random.below(16) as u8, |entry| entry as u8)
        })
        .collect();
    let coded = indices
        .iter()
        .map(|&index| palette.exponents()[usize::from(index)])
        .collect();
    let packed = indices
        .as_chunks()
        .0
        .iter()
        .map(|&[low, high]| low | high << 4)
        .collect();
    (packed, coded)
}
