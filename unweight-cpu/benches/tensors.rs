//! Speed on whole tensors in memory, beside memcpy and zstd -1, one thread:
//!
//! ```text
//! cargo bench -p unweight-cpu --bench tensors [-- ROW...]
//! ```
//!
//! Forms, palettes and codes are those of the deterministic encoder. Encoding has both passes.
//! Decoding checks all rules and all checksums. `UNWEIGHT_BENCH_MIB` is the size of a tensor, 64
//! MiB by default. zstd is the program `zstd`, which compresses the same bytes in memory (`zstd
//! -b1`); without it its columns are empty. Each figure is the best of several runs.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use half::{bf16, f16};
use unweight_cpu::fast::{Checksums, Codec, Isa, Output, Scratch};
use unweight_cpu::reference::{Sample, TensorPlan, sample_ranges};
use unweight_cpu::{ChunkRecords, TensorCounts};
use unweight_format::{Dtype, Encoding, Record, RecordShape, UncheckedRecord, crc32};

const CHUNK_LOG2: u8 = 15;
const RUNS: usize = 7;
/// Weights that differ; a tensor repeats them. They are more bytes than the window of `zstd -1`.
const DISTINCT: usize = 1 << 20;

/// The rows: a name, a type, and the bytes of a weight from a normally distributed number.
type Row = (&'static str, Dtype, fn(f64) -> Vec<u8>);

const ROWS: [Row; 9] = [
    ("BF16", Dtype::Bf16, |x| {
        bf16::from_f64(x).to_le_bytes().to_vec()
    }),
    ("BF16 that was E4M3", Dtype::Bf16, |x| {
        (bf16::from_f64(x).to_bits() & 0xfff0)
            .to_le_bytes()
            .to_vec()
    }),
    ("BF16 of few mantissas", Dtype::Bf16, |x| {
        // Half of the weights have zeros in the upper bits of the mantissa.
        let bits = bf16::from_f64(x).to_bits();
        let kept = match bits & 1 {
            0 => 0xff80,
            _ => 0xfff0,
        };
        (bits & kept).to_le_bytes().to_vec()
    }),
    ("E4M3", Dtype::F8E4M3, |x| {
        // The bits of BF16, with another bias and three bits of the mantissa.
        let bits = bf16::from_f64(x).to_bits();
        let exponent = (bits >> 7 & 255).saturating_sub(110).min(15);
        vec![(bits >> 8 & 0x80 | exponent << 3 | bits >> 4 & 7) as u8]
    }),
    ("E5M2", Dtype::F8E5M2, |x| {
        vec![f16::from_f64(x).to_le_bytes()[1]]
    }),
    ("F16", Dtype::F16, |x| {
        f16::from_f64(x).to_le_bytes().to_vec()
    }),
    ("F32", Dtype::F32, |x| (x as f32).to_le_bytes().to_vec()),
    ("F32 that was BF16", Dtype::F32, |x| {
        bf16::from_f64(x).to_f32().to_le_bytes().to_vec()
    }),
    ("I8", Dtype::I8, |x| vec![(x * 1000.0).round() as i8 as u8]),
];

fn main() {
    let mebibytes = std::env::var("UNWEIGHT_BENCH_MIB").map_or(64, |mebibytes| {
        mebibytes.parse().expect("UNWEIGHT_BENCH_MIB is a number")
    });
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    println!(
        "{:22} {:9} {:>6}  {:>6} {:>8} {:>7} {:>9}  {:>6} {:>8} {:>7}",
        "weights",
        "isa",
        "bits",
        "decode",
        "/ memcpy",
        "/ zstd",
        "G weights",
        "encode",
        "/ memcpy",
        "/ zstd",
    );
    for (name, dtype, weight) in ROWS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            row(name, dtype, &tensor(weight, mebibytes << 20));
        }
    }
    println!("decode and encode in GB/s of weights; / memcpy and / zstd: ratio to its speed");
}

/// So many bytes of normally distributed weights.
fn tensor(weight: fn(f64) -> Vec<u8>, bytes: usize) -> Vec<u8> {
    const SIGMA: f64 = 0.02;
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
    };
    let distinct: Vec<u8> = (0..DISTINCT)
        .flat_map(|_| {
            let (radius, angle) = (-2.0 * uniform().ln(), std::f64::consts::TAU * uniform());
            weight(SIGMA * radius.sqrt() * angle.cos())
        })
        .collect();
    distinct.iter().copied().cycle().take(bytes).collect()
}

/// A tensor as a file has it.
struct Stored {
    plan: TensorPlan,
    plain: Vec<u8>,
    records: Vec<ChunkRecords>,
}

fn encode(codec: &Codec, dtype: Dtype, weights: &[u8], stored: Option<Stored>) -> Stored {
    let size = dtype.weight_bytes();
    let count = (weights.len() / size) as u64;
    let chunks = || weights.chunks(size << CHUNK_LOG2);
    let mut sample = Sample::new(dtype);
    for range in sample_ranges(count) {
        let bytes = range.start as usize * size..range.end as usize * size;
        codec.count_sample(&mut sample, &weights[bytes]);
    }
    let forms = sample.choose_forms(Encoding::Huffman, count, CHUNK_LOG2);
    let mut counts = TensorCounts::new(forms, chunks().len() as u64);
    for chunk in chunks() {
        counts.push(codec.count_chunk(&forms, chunk));
    }
    let plan = counts.plan();
    let plain_bits = plan.forms().plain_bits() as usize;
    let (mut plain, mut records) = stored.map_or_else(
        || {
            let plain = vec![0; (count as usize * plain_bits).div_ceil(8)];
            (plain, vec![ChunkRecords::default(); chunks().len()])
        },
        |stored| (stored.plain, stored.records),
    );
    let mut scratch = Scratch::default();
    let plains = plain.chunks_mut((plain_bits << CHUNK_LOG2) / 8);
    for (number, ((chunk, plain), records)) in chunks().zip(plains).zip(&mut records).enumerate() {
        records.clear();
        let of_chunk = counts.of_chunk(number as u64, &plan);
        codec.encode_chunk(&mut scratch, &plan, &of_chunk, chunk, plain, records);
    }
    Stored {
        plan,
        plain,
        records,
    }
}

/// Decodes a tensor and checks its records' checksums. Returns the weights' CRC-32.
fn decode(codec: &Codec, stored: &Stored, weights: &mut [u8], scratch: &mut Scratch) -> u32 {
    let forms = stored.plan.forms();
    let size = forms.dtype().weight_bytes();
    let plains = stored
        .plain
        .chunks(((forms.plain_bits() as usize) << CHUNK_LOG2) / 8);
    let mut whole = crc32fast::Hasher::new();
    for ((chunk, plain), records) in weights
        .chunks_mut(size << CHUNK_LOG2)
        .zip(plains)
        .zip(&stored.records)
    {
        let count = (chunk.len() / size) as u32;
        let unchecked: Vec<UncheckedRecord<'_>> = forms
            .coded()
            .zip(records.iter())
            .map(|(coded, record)| {
                let (width, is_first) = (coded.field.width(), coded.number == 0);
                let shape = RecordShape::new(count, width, coded.encoding, is_first);
                UncheckedRecord::parse(&shape, 0, record).expect("it was encoded here")
            })
            .collect();
        let parsed: Vec<Record<'_>> = unchecked.iter().map(|record| *record.contents()).collect();
        let palettes = stored.plan.palettes();
        let (first, others) = unchecked.split_first().expect("a coded field");
        for other in others {
            let is_right = other.require_checksum(other.checksum_so_far());
            is_right.expect("it was encoded here");
        }
        let so_far = first.checksum_so_far();
        let length = chunk.len() as u64;
        let mut output = Output::from(chunk);
        let Checksums {
            record, weights, ..
        } = codec
            .decode_checked(scratch, palettes, &parsed, plain, so_far, &mut output)
            .expect("it was encoded here");
        first.require_checksum(record).expect("it was encoded here");
        whole.combine(&crc32fast::Hasher::new_with_initial_len(weights, length));
    }
    whole.finalize()
}

fn best(best: &mut Duration, mut run: impl FnMut()) {
    let started = Instant::now();
    run();
    *best = started.elapsed().min(*best);
}

fn row(name: &str, dtype: Dtype, weights: &[u8]) {
    let codecs: Vec<Codec> = Isa::available()
        .filter(|&isa| isa != Isa::Reference)
        .filter_map(Codec::of)
        .collect();
    let Some(codec) = codecs.last() else {
        return;
    };
    let mut stored = encode(codec, dtype, weights, None);
    let mut decoded = vec![0; weights.len()];
    let mut scratch = Scratch::default();
    let never = Duration::MAX;
    let mut copy = never;
    let (mut decodes, mut encodes) = (vec![never; codecs.len()], vec![never; codecs.len()]);
    let checksum = crc32(weights);
    // The kinds of runs take turns, so that all see the same machine.
    for _ in 0..RUNS {
        best(&mut copy, || {
            black_box(&mut decoded).copy_from_slice(black_box(weights));
        });
        for (number, codec) in codecs.iter().enumerate() {
            decoded.fill(0);
            best(&mut decodes[number], || {
                let found = decode(codec, &stored, &mut decoded, &mut scratch);
                assert_eq!(found, checksum);
            });
            best(&mut encodes[number], || {
                let before = std::mem::replace(
                    &mut stored,
                    Stored {
                        plan: TensorPlan::new(unweight_format::Forms::raw(dtype), 0, &[]),
                        plain: Vec::new(),
                        records: Vec::new(),
                    },
                );
                stored = encode(codec, dtype, weights, Some(before));
            });
        }
    }
    assert!(decoded == weights);
    let speed = |time: Duration| weights.len() as f64 / time.as_secs_f64() / 1e9;
    let zstd = zstd(weights);
    let count = weights.len() / dtype.weight_bytes();
    let records = stored.records.iter().map(|records| records.bytes().len());
    let records: usize = records.sum();
    let bits = 8.0 * (stored.plain.len() + records) as f64 / count as f64;
    println!("{name:22} memcpy            {:6.2}", speed(copy));
    if let Some(zstd) = &zstd {
        let bits = 8.0 * dtype.weight_bytes() as f64 / zstd.ratio;
        let [decode, encode] = [zstd.decode, zstd.encode];
        println!(
            "{:22} zstd -1   {bits:6.2}  {decode:6.2} {:36} {encode:6.2}",
            "", ""
        );
    }
    for ((codec, decode), encode) in codecs.iter().zip(decodes).zip(encodes) {
        let beside = |time: Duration, zstd: Option<f64>| {
            let to_zstd = zstd.map_or(String::new(), |zstd| format!("{:.2}", speed(time) / zstd));
            format!(
                "{:6.2} {:8.2} {to_zstd:>7}",
                speed(time),
                copy.as_secs_f64() / time.as_secs_f64(),
            )
        };
        println!(
            "{:22} {:9} {bits:6.2}  {} {:9.2}  {}",
            "",
            codec.isa(),
            beside(decode, zstd.as_ref().map(|zstd| zstd.decode)),
            count as f64 / decode.as_secs_f64() / 1e9,
            beside(encode, zstd.as_ref().map(|zstd| zstd.encode)),
        );
    }
}

/// What `zstd -1` makes of some bytes, and its speed in GB/s.
struct Zstd {
    ratio: f64,
    encode: f64,
    decode: f64,
}

/// Runs `zstd -b1`, if it is installed. Its last line has the ratio, and the speeds of compressing
/// and decompressing: `-1  52000000 (1.290)  500.00 MB/s  1300.0 MB/s  file`.
fn zstd(bytes: &[u8]) -> Option<Zstd> {
    let file = std::env::temp_dir().join(format!("unweight-bench-{}", std::process::id()));
    std::fs::write(&file, bytes).ok()?;
    let output = Command::new("zstd")
        .args(["-b1", "-i2", "-q"])
        .arg(&file)
        .output();
    // A file that is left in the folder for temporary files does no harm.
    let _ = std::fs::remove_file(&file);
    let output = String::from_utf8(output.ok()?.stdout).ok()?;
    let line = output.lines().find(|line| line.contains("MB/s"))?;
    let (_, figures) = line.split_once('(')?;
    let (ratio, speeds) = figures.split_once(')')?;
    let mut speeds = speeds
        .split("MB/s")
        .filter_map(|speed| speed.trim().parse::<f64>().ok());
    Some(Zstd {
        ratio: ratio.parse().ok()?,
        encode: speeds.next()? / 1000.0,
        decode: speeds.next()? / 1000.0,
    })
}
