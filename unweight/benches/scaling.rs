//! Speed in memory by the number of threads, on the fastest ISA:
//!
//! ```text
//! cargo bench -p unweight --bench scaling [-- THREADS...]
//! ```
//!
//! The input is tensors of BF16, `UNWEIGHT_BENCH_MIB` (256 by default) together. memcpy, decode,
//! encode and transcode use their buffers again. `compress` makes a new vector each time, so it
//! includes page faults. `cached` encodes one chunk again and again, on each thread in the cache of
//! its processor: what the processors can do without memory. Figures are medians of several runs by
//! wall clock, in turn for all numbers of threads; faults are of one run.
//!
//! The times one thread's speed are `threads * busy / work`. *busy* is the share of the threads'
//! time in which they run; the rest is waiting for each other, the serial part. *work* is the
//! processor time by that of one thread; what is above 1 is memory, shared caches and processors
//! that are threads of one core. *system* is the share of the processor time in the kernel.

use std::cell::RefCell;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

use unweight::container::{Encoder, Items, decode_tensor_into, in_order, transcode_tensor};
use unweight::{CompressOptions, Model, OpenOptions, ReadError, Threads};
use unweight_cpu::ChunkRecords;
use unweight_cpu::fast::{Codec, Scratch};
use unweight_cpu::reference::{TensorPlan, ValueCounts};
use unweight_format::layout::FIELDS;
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Dtype, Encoding, Extent, Form, Forms, SourceKind};

const TENSORS: usize = 2;
const RUNS: usize = 7;
/// Weights that differ; a tensor repeats them.
const DISTINCT: usize = 1 << 22;
/// Bytes of a chunk of 32,768 weights.
const CHUNK_BYTES: usize = 1 << 16;
const OPERATIONS: [&str; 6] = [
    "cached",
    "memcpy",
    "decode",
    "encode",
    "transcode",
    "compress",
];

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
        "{:>9} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "threads", "GB/s", "times", "busy", "work", "system", "faults"
    );
    for operation in OPERATIONS {
        let mut runs = vec![Runs::default(); threads.len()];
        for run in 0..=RUNS {
            for (runs, executor) in runs.iter_mut().zip(&executors) {
                let (start, before) = (Instant::now(), Usage::now());
                bench.run(operation, executor);
                let seconds = start.elapsed().as_secs_f64();
                let used = Usage::now().since(before);
                bench.require_same(operation);
                // The first run starts threads and allocates buffers.
                if run > 0 {
                    runs.add(seconds, used);
                }
            }
        }
        let mut of_one = None;
        for (count, runs) in threads.iter().zip(&mut runs) {
            runs.seconds.sort_by(f64::total_cmp);
            let speed = 1e-9 * bench.bytes() as f64 / runs.seconds[RUNS / 2];
            let processor = runs.used.user + runs.used.system;
            let (speed_of_one, processor_of_one) = *of_one.get_or_insert((speed, processor));
            let times = speed / speed_of_one;
            let busy = processor / (*count as f64 * runs.seconds.iter().sum::<f64>());
            let work = processor / processor_of_one;
            let system = runs.used.system / processor;
            let faults = runs.used.faults;
            print!("{operation:>9} {count:>7} {speed:>8.2} {times:>8.2}");
            println!(" {busy:>8.2} {work:>8.2} {system:>8.2} {faults:>8}");
        }
    }
}

/// The runs of an operation on one number of threads.
#[derive(Clone, Default)]
struct Runs {
    seconds: Vec<f64>,
    /// Times of all runs, faults of the last.
    used: Usage,
}

impl Runs {
    fn add(&mut self, seconds: f64, used: Usage) {
        self.seconds.push(seconds);
        self.used.user += used.user;
        self.used.system += used.system;
        self.used.faults = used.faults;
    }
}

/// What the process has used; zero if the system does not tell.
#[derive(Clone, Copy, Default)]
struct Usage {
    /// Seconds of processors, in ticks of 10 ms.
    user: f64,
    system: f64,
    /// Page faults without input.
    faults: u64,
}

impl Usage {
    fn now() -> Usage {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The fields after the program's name, from the third on.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let field = |number: usize| {
            let field = fields.get(number - 3);
            field
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        Usage {
            user: field(14) as f64 / 100.0,
            system: field(15) as f64 / 100.0,
            faults: field(10),
        }
    }

    fn since(self, before: Usage) -> Usage {
        Usage {
            user: self.user - before.user,
            system: self.system - before.system,
            faults: self.faults - before.faults,
        }
    }
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
            "cached" => self.encode_cached(threads),
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

    fn encode_cached(&self, threads: &Threads) {
        thread_local! {
            static BUFFERS: RefCell<(Scratch, ChunkRecords, Vec<u8>)> = RefCell::default();
        }
        let from = self.tensors[0].offset as usize;
        let chunk = &self.file[from..from + CHUNK_BYTES];
        let mut counts = ValueCounts::default();
        counts.add_weights(Dtype::Bf16.fields()[0], 2, chunk);
        let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman).unwrap();
        let plan = TensorPlan::new(forms, 0, &[counts]);
        let codec = Codec::current();
        let encode = |_| {
            BUFFERS.with_borrow_mut(|(scratch, records, plain)| {
                records.clear();
                plain.resize(CHUNK_BYTES / 2, 0);
                black_box(codec.encode_chunk(
                    scratch,
                    &plan,
                    &[None; FIELDS],
                    chunk,
                    plain,
                    records,
                ));
            });
            Ok::<_, ReadError>(())
        };
        let chunks = Items::new((self.bytes() / CHUNK_BYTES) as u64);
        in_order(threads, chunks, encode, Ok).unwrap();
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
