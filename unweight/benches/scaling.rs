//! Speed in memory by the number of threads, on the fastest ISA:
//!
//! ```text
//! cargo bench -p unweight --bench scaling [-- THREADS...]
//! ```
//!
//! The input is tensors of BF16, `UNWEIGHT_BENCH_MIB` (256 by default) together. memcpy, decode,
//! encode and transcode use their buffers again. `compress` makes a new vector each time, so it
//! includes page faults. Figures are medians of several runs by wall clock, in turn for all numbers
//! of threads; faults are of one run.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

use unweight::container::{Encoder, Items, decode_tensor_into, in_order, transcode_tensor};
use unweight::{CompressOptions, Model, OpenOptions, ReadError, Threads};
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Dtype, Encoding, Extent, SourceKind};

const TENSORS: usize = 2;
const RUNS: usize = 7;
/// Weights that differ; a tensor repeats them.
const DISTINCT: usize = 1 << 22;
const OPERATIONS: [&str; 5] = ["memcpy", "decode", "encode", "transcode", "compress"];

fn main() {
    let mebibytes = std::env::var("UNWEIGHT_BENCH_MIB").map_or(256, |mebibytes| {
        mebibytes.parse().expect("UNWEIGHT_BENCH_MIB is a number")
    });
    let asked = std::env::args().skip(1);
    let mut threads: Vec<usize> = asked.filter_map(|argument| argument.parse().ok()).collect();
    if threads.is_empty() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let doubled = (0..).map(|log2| 1 << log2);
        threads.extend(doubled.take_while(|&count| count <= processors));
    }
    let mut bench = Bench::new((mebibytes << 20) / TENSORS);
    let executors: Vec<_> = threads.iter().map(|&count| Threads::new(count)).collect();
    println!(
        "{} bytes in {TENSORS} tensors; GB/s of weights",
        bench.bytes()
    );
    println!(
        "{:>9} {:>7} {:>8} {:>8} {:>8}",
        "", "threads", "GB/s", "times", "faults"
    );
    for operation in OPERATIONS {
        let mut seconds = vec![Vec::new(); threads.len()];
        let mut faults = vec![0; threads.len()];
        for run in 0..=RUNS {
            for (at, executor) in executors.iter().enumerate() {
                let (start, before) = (Instant::now(), minor_faults());
                bench.run(operation, executor);
                let time = start.elapsed().as_secs_f64();
                faults[at] = minor_faults() - before;
                bench.require_same(operation);
                // The first run starts threads and allocates buffers.
                if run > 0 {
                    seconds[at].push(time);
                }
            }
        }
        let mut of_one = None;
        for ((count, seconds), faults) in threads.iter().zip(&mut seconds).zip(faults) {
            seconds.sort_by(f64::total_cmp);
            let speed = 1e-9 * bench.bytes() as f64 / seconds[RUNS / 2];
            let times = speed / *of_one.get_or_insert(speed);
            println!("{operation:>9} {count:>7} {speed:>8.2} {times:>8.2} {faults:>8}");
        }
    }
}

/// Page faults of the process without input; 0 if the system does not tell.
fn minor_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the program's name, from the third on.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let faults = fields.split(' ').nth(7);
    faults.and_then(|faults| faults.parse().ok()).unwrap_or(0)
}

struct Bench {
    /// A safetensors file, and where its tensors are.
    file: Vec<u8>,
    tensors: Vec<Extent>,
    decoded: Vec<Vec<u8>>,
    container: Vec<u8>,
    /// The container, opened.
    model: Option<Model>,
    encoder: Encoder,
    written: Region,
}

impl Bench {
    fn new(tensor_bytes: usize) -> Bench {
        let tensor_bytes = tensor_bytes / 2 * 2;
        let entries: Vec<String> = (0..TENSORS)
            .map(|at| {
                let [from, to] = [at, at + 1].map(|at| at * tensor_bytes);
                let shape = tensor_bytes / 2;
                format!(
                    r#""{at}":{{"dtype":"BF16","shape":[{shape}],"data_offsets":[{from},{to}]}}"#
                )
            })
            .collect();
        let mut header = format!("{{{}}}", entries.join(","));
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        let first = file.len();
        let distinct = weights(DISTINCT);
        file.extend(distinct.iter().cycle().take(TENSORS * tensor_bytes));
        let tensors = (0..TENSORS).map(|at| Extent {
            offset: (first + at * tensor_bytes) as u64,
            length: tensor_bytes as u64,
        });
        let mut bench = Bench {
            tensors: tensors.collect(),
            decoded: vec![vec![1; tensor_bytes]; TENSORS],
            container: Vec::new(),
            model: None,
            encoder: Encoder::default(),
            written: Region {
                bytes: vec![1; file.len() + (file.len() >> 2)],
                length: 0,
            },
            file,
        };
        bench.encode(&Threads::new(1));
        bench.container = bench.written.bytes[..bench.written.length].to_vec();
        let opened = OpenOptions::new().open_bytes(bench.container.clone());
        bench.model = Some(opened.unwrap());
        bench
    }

    fn bytes(&self) -> usize {
        self.decoded.iter().map(Vec::len).sum()
    }

    fn run(&mut self, operation: &str, threads: &Threads) {
        match operation {
            "memcpy" => self.copy(threads),
            "decode" => self.decode(threads),
            "encode" => self.encode(threads),
            "transcode" => self.transcode(threads),
            _ => {
                let options = CompressOptions::new().threads(threads.clone());
                black_box(unweight::compress(&self.file, &options).unwrap());
            }
        }
    }

    /// Checks the result of the last run.
    fn require_same(&self, operation: &str) {
        if operation == "encode" {
            assert!(self.written.bytes[..self.written.length] == self.container[..]);
        }
    }

    fn copy(&mut self, threads: &Threads) {
        const PIECE: usize = 1 << 19;
        for (to, from) in self.decoded.iter_mut().zip(&self.tensors) {
            let from = from.of(&self.file).unwrap();
            let pieces = to.chunks_mut(PIECE).zip(from.chunks(PIECE));
            let pieces: Vec<_> = pieces.map(Mutex::new).collect();
            let copy = |number: u64| {
                let mut piece = pieces[number as usize].lock().unwrap();
                let (to, from) = &mut *piece;
                to.copy_from_slice(from);
                Ok::<_, ReadError>(())
            };
            in_order(threads, Items::new(pieces.len() as u64), copy, Ok).unwrap();
        }
    }

    fn decode(&mut self, threads: &Threads) {
        let container = self.model.as_ref().unwrap().container();
        for (tensor, decoded) in container.directory().tensors().zip(&mut self.decoded) {
            decode_tensor_into(&container, &tensor, threads, &mut decoded[..]).unwrap();
        }
    }

    fn writer(&mut self) -> ContainerWriter<'static, &mut Region> {
        let weights = self.tensors[0].length / 2;
        let shape: &'static [u64] = vec![weights].leak();
        let declarations = (["0", "1"].iter())
            .map(|name| Declaration::new(name, Dtype::Bf16, shape))
            .collect();
        ContainerWriter::new(&mut self.written, SourceKind::None, &[], declarations).unwrap()
    }

    fn encode(&mut self, threads: &Threads) {
        let (file, tensors) = (std::mem::take(&mut self.file), self.tensors.clone());
        let encoder = std::mem::take(&mut self.encoder);
        let mut writer = self.writer();
        for &tensor in &tensors {
            encoder
                .encode_tensor(
                    &mut writer,
                    &file[..],
                    tensor,
                    Encoding::Huffman,
                    15,
                    threads,
                )
                .unwrap();
        }
        writer.finish().unwrap();
        (self.file, self.encoder) = (file, encoder);
    }

    fn transcode(&mut self, threads: &Threads) {
        let model = self.model.take().unwrap();
        let container = model.container();
        let mut writer = self.writer();
        for tensor in container.directory().tensors() {
            transcode_tensor(&container, &tensor, Encoding::Palette, &mut writer, threads).unwrap();
        }
        writer.finish().unwrap();
        self.model = Some(model);
    }
}

/// A file in memory that is large enough from the start.
struct Region {
    bytes: Vec<u8>,
    length: usize,
}

impl Sink for Region {
    type Error = Infallible;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> Result<(), Infallible> {
        self.length = length as usize;
        Ok(())
    }

    fn memory(&mut self, extent: Extent) -> Option<&mut [u8]> {
        Some(&mut self.bytes[extent.offset as usize..extent.end() as usize])
    }
}

/// So many normally distributed weights of BF16.
fn weights(count: usize) -> Vec<u8> {
    const SIGMA: f64 = 0.02;
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
    };
    (0..count)
        .flat_map(|_| {
            let (radius, angle) = (-2.0 * uniform().ln(), std::f64::consts::TAU * uniform());
            half::bf16::from_f64(SIGMA * radius.sqrt() * angle.cos()).to_le_bytes()
        })
        .collect()
}
