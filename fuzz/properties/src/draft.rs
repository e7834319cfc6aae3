//! Generators of tensors from unstructured bytes, and of valid containers with them. Some
//! containers are canonical, others are such that no canonical encoder writes them.

use arbitrary::{Result, Unstructured};
use half::bf16;
use unweight::{Serial, container::Encoder};
use unweight_cpu::reference::{ExponentCounts, TensorPlan, encode_exponents};
use unweight_format::layout::{self, LANE_STEP_WEIGHTS, LANES, PALETTE_ENTRIES, STEP_WEIGHTS};
use unweight_format::write::{
    CodedParameters, ContainerWriter, Declaration, RecordBody, write_record,
};
use unweight_format::{
    CanonicalCode, Code, Dtype, Encoding, Palette, Patch, SourceKind, crc32, exponent,
    sign_mantissa, weight,
};

use crate::Random;

/// A tensor and its intended form of storage.
#[derive(Clone, Debug)]
pub(crate) struct Drafted {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// The original bytes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoding: Encoding,
    pub(crate) chunk_size_log2: u8,
    records: Records,
}

/// The kind of records of a coded tensor.
#[derive(Clone, Copy, Debug)]
enum Records {
    /// The records of section 11.
    Canonical,
    /// Any records that section 5 allows: verbatim, or with a palette, codes and patches unrelated
    /// to the weights.
    Odd { seed: u64 },
}

impl Drafted {
    /// A few tensors with distinct names.
    pub(crate) fn some(u: &mut Unstructured<'_>) -> Result<Vec<Drafted>> {
        let count = *u.choose(&[1, 1, 1, 2, 2, 3, 5, 0])?;
        (0..count).map(|number| Drafted::one(u, number)).collect()
    }

    fn one(u: &mut Unstructured<'_>, number: u32) -> Result<Drafted> {
        let dtype = match u.ratio(2, 3)? {
            true => Dtype::Bf16,
            false => *u.choose(Dtype::ALL)?,
        };
        let mut count = element_count(u)?;
        if dtype.bits() < 8 {
            count &= !7;
        }
        let bytes = match dtype {
            Dtype::Bf16 => weights(u, count)?
                .iter()
                .flat_map(|weight| weight.to_le_bytes())
                .collect(),
            _ => {
                let mut random = Random::new(u.arbitrary()?);
                (0..count * dtype.bits() / 8)
                    .map(|_| random.bits() as u8)
                    .collect()
            }
        };
        let encoding = *u.choose(&[
            Encoding::Huffman,
            Encoding::Palette,
            Encoding::Huffman,
            Encoding::Raw,
        ])?;
        let is_coded = dtype == Dtype::Bf16 && count > 0;
        Ok(Drafted {
            name: name(u, number)?,
            dtype,
            shape: shape(u, count)?,
            bytes,
            encoding: if is_coded { encoding } else { Encoding::Raw },
            chunk_size_log2: *u.choose(&[12, 12, 12, 13, 14, 15, 16])?,
            records: match u.arbitrary()? {
                true => Records::Canonical,
                false => Records::Odd {
                    seed: u.arbitrary()?,
                },
            },
        })
    }

    pub(crate) fn declaration(&self) -> Declaration<'_> {
        Declaration::new(&self.name, self.dtype, &self.shape)
    }

    pub(crate) fn weights(&self) -> Vec<bf16> {
        self.bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| bf16::from_le_bytes(bytes))
            .collect()
    }
}

/// The safetensors header of these tensors.
pub(crate) fn safetensors_header(tensors: &[Drafted]) -> Vec<u8> {
    let mut members = Vec::new();
    let mut begin = 0;
    for tensor in tensors {
        let end = begin + tensor.bytes.len();
        // `to_string` of a string gives its JSON with all escapes.
        let name = serde_json::Value::from(tensor.name.as_str()).to_string();
        members.push(format!(
            r#"{name}:{{"dtype":"{}","shape":{:?},"data_offsets":[{begin},{end}]}}"#,
            tensor.dtype, tensor.shape,
        ));
        begin = end;
    }
    let json = format!("{{{}}}", members.join(","));
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.as_bytes());
    header
}

/// A valid container of these tensors.
pub(crate) fn container_of(tensors: &[Drafted], with_source: bool) -> Vec<u8> {
    let (kind, source) = match with_source {
        true => (SourceKind::Safetensors, safetensors_header(tensors)),
        false => (SourceKind::None, Vec::new()),
    };
    let declarations = tensors.iter().map(Drafted::declaration).collect();
    let mut writer = ContainerWriter::new(Vec::new(), kind, &source, declarations)
        .expect("a draft keeps the rules");
    for tensor in tensors {
        let weights = tensor.weights();
        let written = match (tensor.encoding, tensor.records) {
            (Encoding::Raw, _) => {
                let mut raw = writer.raw().expect("a tensor is left");
                raw.write(&tensor.bytes).and_then(|()| raw.finish())
            }
            (encoding, Records::Canonical) => {
                let done = Encoder::default().encode_tensor(
                    &mut writer,
                    &weights[..],
                    encoding,
                    tensor.chunk_size_log2,
                    &Serial,
                );
                done.expect("memory does not fail");
                Ok(())
            }
            (encoding, Records::Odd { seed }) => {
                let mut random = Random::new(seed);
                let odd = OddRecords::of(encoding, &weights, &mut random);
                let parameters = CodedParameters {
                    encoding,
                    chunk_size_log2: tensor.chunk_size_log2,
                    palette: odd.palette,
                };
                let mut coded = writer.coded(parameters).expect("BF16, and not empty");
                for chunk in weights.chunks(1 << tensor.chunk_size_log2) {
                    let sign_mantissa: Vec<u8> = chunk.iter().map(|&w| sign_mantissa(w)).collect();
                    let record = odd.record(chunk, &sign_mantissa, &mut random);
                    coded
                        .chunk(&sign_mantissa, &record)
                        .expect("the record fits its chunk");
                }
                coded.finish(crc32(&tensor.bytes))
            }
        };
        written.expect("a draft keeps the rules");
    }
    writer.finish().expect("all tensors were written")
}

/// Most counts are small, because the number of executions matters more than the number of weights.
fn element_count(u: &mut Unstructured<'_>) -> Result<u64> {
    let whole = 1 << 12;
    match u.int_in_range(0..=255)? {
        0..=9 => Ok(0),
        10..=169 => u.int_in_range(1..=300),
        170..=247 => u.int_in_range(200..=700),
        248..=251 => u.int_in_range(whole - 3..=whole + 3),
        252 | 253 => u.int_in_range(2 * whole - 2..=2 * whole + 300),
        254 => u.int_in_range(1..=3 * whole),
        // This is more than one block of raw data.
        _ => u.int_in_range(32_766..=32_770),
    }
}

fn shape(u: &mut Unstructured<'_>, count: u64) -> Result<Vec<u64>> {
    Ok(match (count, u.int_in_range(0..=5)?) {
        (0, 0) => vec![0, u64::MAX, 2],
        (0, 1) => vec![1 << 63, 4, 0],
        (1, 0) => vec![],
        (1, 1) => vec![1; 64],
        (_, 2) => vec![1, count, 1],
        (_, 3) if count.is_multiple_of(3) => vec![3, count / 3],
        (_, 4) if count.is_multiple_of(4) => vec![2, count / 4, 2],
        _ => vec![count],
    })
}

fn name(u: &mut Unstructured<'_>, number: u32) -> Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        // A digit before and none after makes the names distinct. Their order differs from the
        // directory's.
        0 => format!("{}\0\"\\\n\u{1f600}", 9 - number),
        1 => format!("{}{}", 9 - number, "x".repeat(u.int_in_range(0..=300)?)),
        2 => format!("{}{}", 9 - number, <&str>::arbitrary_take(u)?),
        3 if number == 0 => String::new(),
        _ => format!("{number}.weight"),
    })
}

/// A short string from the next bytes.
trait ArbitraryTake<'a>: Sized {
    fn arbitrary_take(u: &mut Unstructured<'a>) -> Result<Self>;
}

impl<'a> ArbitraryTake<'a> for &'a str {
    fn arbitrary_take(u: &mut Unstructured<'a>) -> Result<&'a str> {
        let length = u.int_in_range(0..=24)?.min(u.len());
        let bytes = u.bytes(length)?;
        Ok(std::str::from_utf8(bytes).unwrap_or(""))
    }
}

/// Weights whose exponents have one of several distributions.
fn weights(u: &mut Unstructured<'_>, count: u64) -> Result<Vec<bf16>> {
    let kind = u.int_in_range(0..=6)?;
    let base: u8 = u.arbitrary()?;
    let spread = u.int_in_range(1..=40u64)?;
    let mut random = Random::new(u.arbitrary()?);
    let given = match kind {
        6 => u.bytes(u.len().min(600))?,
        _ => &[],
    };
    Ok((0..count)
        .map(|i| {
            let bits = random.bits();
            // A geometric distribution, as in trained weights.
            let trained = base.wrapping_sub((bits | 1 << 40).trailing_zeros() as u8);
            let exponent = match kind {
                0 => base,
                1 | 2 => trained,
                3 if i % 97 == 0 => (bits >> 48) as u8,
                3 => trained,
                4 => base.wrapping_add((bits % spread) as u8),
                6 if !given.is_empty() => given[i as usize % given.len()],
                _ => (bits >> 48) as u8,
            };
            weight((bits >> 56) as u8, exponent)
        })
        .collect())
}

/// Valid records that no canonical encoder writes.
struct OddRecords {
    encoding: Encoding,
    palette: Palette,
    plan: TensorPlan,
}

impl OddRecords {
    fn of(encoding: Encoding, weights: &[bf16], random: &mut Random) -> OddRecords {
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

    fn record(&self, weights: &[bf16], sign_mantissa: &[u8], random: &mut Random) -> Vec<u8> {
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
