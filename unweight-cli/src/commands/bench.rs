//! `unweight bench`: speed of this machine when it copies, decodes, encodes, verifies and
//! transcodes, ISA by ISA.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use serde::Serialize;
use unweight::container::{
    Container, Encoder, Items, decode_tensor_into, in_order, transcode_tensor,
};
use unweight::file::open;
use unweight::{
    CompressOptions, CompressPlan, Model, OpenOptions, ReadError, Storage, Threads, read_extent,
};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, Extent, SourceKind};

use super::{Context, bench_gpu, failed};
use crate::aligned::{Aligned, Region};
use crate::arguments::Bench;
use crate::failure::Failure;
use crate::gpu::{self, Gpu};
use crate::printable::escaped;
use crate::recognize::Expected;
use crate::report::{self, bytes};
use crate::synthetic;

/// Measurements, and what was measured.
#[derive(Serialize)]
struct BenchResult {
    input: String,
    tensors: usize,
    weights: u64,
    /// Bytes of all weights.
    data_bytes: u64,
    huffman_bytes: u64,
    runs: u32,
    measurements: Vec<Measurement>,
}

/// Measurement of one operation on one ISA or GPU.
#[derive(Serialize)]
struct Measurement {
    operation: &'static str,
    /// Name of the codec's ISA, or of the GPU. None if the operation involves neither.
    backend: Option<String>,
    /// Number of threads. None on a GPU.
    threads: Option<usize>,
    /// Speed in bytes of weights, 10^9 a second. It is the median of all runs.
    gb_per_s: f64,
    /// Clock of the seconds: "cpu" for the time that the thread ran, "wall", or "device".
    clock: &'static str,
    /// Speed relative to a copy by as many threads, or by the GPU in its own memory.
    of_memcpy: f64,
}

pub(crate) fn run(options: &Bench, context: &Context) -> Result<(), Failure> {
    // The device is opened first, so that an error comes before the measurements.
    let open = |ordinal| gpu::open(ordinal).map_err(gpu::unusable);
    let gpu = options.gpu.map(open).transpose()?;
    let (input, tensors) = match &options.file {
        Some(file) => {
            let tensors = read(file);
            let explained = |failure: Failure| failure.explained(file, Expected::Safetensors);
            (report::text(file), tensors.map_err(explained)?)
        }
        None => {
            let (rows, columns) = (usize::from(options.rows), synthetic::COLUMNS);
            let (kind, words) = (options.kind, options.kind.in_words());
            let name = format!("synthetic, {rows} x {columns}, {words}");
            let bytes = synthetic::weights(kind, rows);
            (name, vec![(kind.dtype(), bytes)])
        }
    };
    let mut bench = Bencher::new(tensors, options.runs)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, context.threads.unwrap_or(processors)];
    threads.dedup();
    let mut measurements = Vec::new();
    for threads in threads {
        let executor = Threads::new(threads);
        bench.measure(&executor, threads, &mut measurements)?;
    }
    if let Some(gpu) = &gpu {
        measurements.extend(on_gpu(gpu, &bench)?);
    }
    let result = BenchResult {
        input,
        tensors: bench.tensors.len(),
        weights: bench.weights(),
        data_bytes: bench.data_bytes(),
        huffman_bytes: bench.huffman.len() as u64,
        runs: options.runs,
        measurements,
    };
    context.print_result(&result, || in_words(&result))
}

fn on_gpu(gpu: &Gpu, bench: &Bencher) -> Result<[Measurement; 5], Failure> {
    let speeds = bench_gpu::measure(gpu, &bench.huffman, bench.runs)?;
    let rows = [
        ("device copy", speeds.copy),
        ("decode", speeds.decode),
        ("check chunks", speeds.check_chunks),
        ("encode", speeds.encode),
        ("transcode", speeds.transcode),
    ];
    Ok(rows.map(|(operation, gb_per_s)| Measurement {
        operation,
        backend: Some(speeds.device.clone()),
        threads: None,
        gb_per_s,
        clock: "device",
        of_memcpy: gb_per_s / speeds.copy,
    }))
}

fn in_words(result: &BenchResult) -> String {
    let heads = [
        "operation",
        "backend",
        "threads",
        "clock",
        "GB/s of weights",
        "of memcpy",
    ];
    let rows = result.measurements.iter().map(|measured| {
        vec![
            measured.operation.to_owned(),
            measured.backend.clone().unwrap_or_default(),
            measured
                .threads
                .map_or(String::new(), |threads| threads.to_string()),
            measured.clock.to_owned(),
            format!("{:.2}", measured.gb_per_s),
            format!("{:.2}", measured.of_memcpy),
        ]
    });
    format!(
        "{}: {} weights in {} tensors, {} bytes, {} compressed; in memory, median of {} runs\n{}",
        escaped(&result.input),
        bytes(result.weights),
        result.tensors,
        bytes(result.data_bytes),
        bytes(result.huffman_bytes),
        result.runs,
        report::table(&heads, 2, rows.collect()),
    )
}

/// The tensors of a safetensors file that have weights.
fn read(path: &Path) -> Result<Vec<(Dtype, Vec<u8>)>, Failure> {
    let file = open(path)?;
    let plan = CompressPlan::read(&file, &CompressOptions::new())
        .map_err(|error| Failure::converting(path, path, error))?;
    let header = plan.header();
    let mut tensors = Vec::new();
    for tensor in &header.tensors {
        let data = header.data(tensor);
        if data.length > 0 {
            let mut bytes = Vec::new();
            let read = read_extent(&file, data, &mut bytes);
            read.map_err(|error| Failure::io(path, error))?;
            tensors.push((tensor.dtype, bytes));
        }
    }
    match tensors.is_empty() {
        true => Err(Failure::bad(path, "it has no weights")),
        false => Ok(tensors),
    }
}

/// Memory for measurements. All data is in memory, in buffers that are used again.
struct Bencher {
    tensors: Vec<Aligned<u8>>,
    declared: Vec<Declared>,
    huffman: Arc<Aligned<u8>>,
    /// `huffman`, opened. Its buffers are used again as well.
    model: Model,
    decoded: Vec<Aligned<u8>>,
    written: Region,
    runs: u32,
}

impl Bencher {
    fn new(tensors: Vec<(Dtype, Vec<u8>)>, runs: u32) -> Result<Bencher, Failure> {
        let declared: Vec<_> = tensors.iter().enumerate().map(Declared::new).collect();
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(_, bytes)| Aligned::of(bytes))
            .collect();
        // Upper bound on the length of an encoding. The last chunk of a tensor that becomes raw may
        // exceed the raw size for a while.
        const LARGEST_CHUNK_BYTES: usize = 8 << unweight::DEFAULT_CHUNK_SIZE_LOG2;
        let most = |bytes: &Aligned<u8>| {
            bytes.len() + 2 * bytes.len().min(LARGEST_CHUNK_BYTES) + bytes.len() / 1024 + 1024
        };
        let mut written = Region::new(tensors.iter().map(most).sum::<usize>() + 1024);
        let encoder = Encoder::new(Codec::current());
        encode_all(
            &encoder,
            &tensors,
            &declared,
            &mut written,
            &Threads::new(1),
        )?;
        let huffman = Arc::new(Aligned::of(written.file()));
        let options = OpenOptions::new().threads(1);
        let model = options
            .open_storage(Held(huffman.clone()))
            .map_err(failed)?;
        Ok(Bencher {
            declared,
            decoded: tensors
                .iter()
                .map(|bytes| Aligned::filled(0xff, bytes.len()))
                .collect(),
            written,
            tensors,
            huffman,
            model,
            runs,
        })
    }

    fn weights(&self) -> u64 {
        self.declared.iter().map(Declared::weights).sum()
    }

    fn data_bytes(&self) -> u64 {
        self.tensors.iter().map(|bytes| bytes.len() as u64).sum()
    }

    /// Measures all operations on all ISAs with this executor.
    fn measure(
        &mut self,
        executor: &Threads,
        threads: usize,
        measurements: &mut Vec<Measurement>,
    ) -> Result<(), Failure> {
        let memcpy = self.median(threads, |bench| bench.copy(executor))?;
        let mut note = |operation, isa: Option<Isa>, gb_per_s: f64| {
            measurements.push(Measurement {
                operation,
                backend: isa.map(|isa| isa.name().to_owned()),
                threads: Some(threads),
                gb_per_s,
                clock: Clock::of(threads).name(),
                of_memcpy: gb_per_s / memcpy,
            });
        };
        note("memcpy", None, memcpy);
        note(
            "verify",
            None,
            self.median(threads, |bench| bench.verify(executor))?,
        );
        // An ISA that was asked for is the only one that is measured.
        let named = Codec::named_by_environment()
            .map_err(|error| Failure::Usage(error.to_string()))?
            .map(|codec| codec.isa());
        let asked_for = |isa: &Isa| named.is_none_or(|named| named == *isa);
        for isa in Isa::available().filter(asked_for) {
            let codec = Codec::of(isa).expect("it is available");
            let decode = self.median(threads, |bench| bench.decode(codec, executor))?;
            let pairs = self.decoded.iter().zip(&self.tensors);
            if pairs
                .into_iter()
                .any(|(decoded, bytes)| decoded[..] != bytes[..])
            {
                return Err(Failure::Io(format!("{isa} decoded to other weights")));
            }
            note("decode", Some(isa), decode);
            let encoder = Encoder::new(codec);
            let encode = self.median(threads, |bench| bench.encode(&encoder, executor))?;
            if self.written.file() != &self.huffman[..] {
                return Err(Failure::Io(format!("{isa} encoded to other bytes")));
            }
            note("encode", Some(isa), encode);
            let transcode = self.median(threads, |bench| bench.transcode(codec, executor))?;
            note("transcode", Some(isa), transcode);
        }
        Ok(())
    }

    /// Speed in GB/s of weights, the median of all runs. One more run comes first and does not count.
    fn median(
        &mut self,
        threads: usize,
        mut work: impl FnMut(&mut Bencher) -> Result<(), Failure>,
    ) -> Result<f64, Failure> {
        let clock = Clock::of(threads);
        work(self)?;
        let mut seconds = Vec::new();
        for _ in 0..self.runs {
            let start = clock.seconds();
            work(self)?;
            seconds.push(clock.seconds() - start);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(1e-9 * self.data_bytes() as f64 / seconds[seconds.len() / 2])
    }

    fn copy(&mut self, executor: &Threads) -> Result<(), Failure> {
        // What a thread takes at a time when it decodes chunks of BF16.
        const PIECE_BYTES: usize = 1 << 19;
        for (to, from) in self.decoded.iter_mut().zip(&self.tensors) {
            let pieces = to.chunks_mut(PIECE_BYTES).zip(from.chunks(PIECE_BYTES));
            let pieces: Vec<_> = pieces.map(Mutex::new).collect();
            let copy = |number: u64| {
                let mut piece = pieces[number as usize]
                    .lock()
                    .expect("copying does not panic");
                let (to, from) = &mut *piece;
                to.copy_from_slice(from);
                Ok::<_, ReadError>(())
            };
            in_order(executor, Items::new(pieces.len() as u64), copy, Ok).map_err(failed)?;
        }
        Ok(())
    }

    /// Verifies chunk checksums and record structure, without decoding.
    fn verify(&mut self, executor: &Threads) -> Result<(), Failure> {
        self.each_tensor(Codec::current(), |container, tensor, _| {
            let mut buffer = Vec::new();
            let index = container.index(tensor, &mut buffer)?;
            in_order(
                executor,
                Items::new(tensor.payload().chunk_count()),
                |number| container.with_records(&index, number, |_, _, _| Ok::<_, ReadError>(())),
                |()| Ok(()),
            )
        })
    }

    fn decode(&mut self, codec: Codec, executor: &Threads) -> Result<(), Failure> {
        self.each_tensor(codec, |container, tensor, decoded| {
            decode_tensor_into(container, tensor, executor, decoded)
        })
    }

    fn each_tensor(
        &mut self,
        codec: Codec,
        mut work: impl FnMut(
            &Container<'_, dyn Storage + Send>,
            &unweight_format::Tensor<'_>,
            &mut [u8],
        ) -> Result<(), ReadError>,
    ) -> Result<(), Failure> {
        let container = self.model.container().with_codec(codec);
        for (tensor, decoded) in container.directory().tensors().zip(&mut self.decoded) {
            work(&container, &tensor, decoded).map_err(failed)?;
        }
        Ok(())
    }

    fn encode(&mut self, encoder: &Encoder, executor: &Threads) -> Result<(), Failure> {
        let (tensors, declared) = (&self.tensors, &self.declared);
        encode_all(encoder, tensors, declared, &mut self.written, executor)
    }

    fn transcode(&mut self, codec: Codec, executor: &Threads) -> Result<(), Failure> {
        let container = self.model.container().with_codec(codec);
        let mut writer = writer(&mut self.written, &self.declared)?;
        for tensor in container.directory().tensors() {
            transcode_tensor(
                &container,
                &tensor,
                Encoding::Palette,
                &mut writer,
                executor,
            )
            .map_err(failed)?;
        }
        writer.finish().map_err(failed)?;
        Ok(())
    }
}

fn encode_all(
    encoder: &Encoder,
    tensors: &[Aligned<u8>],
    declared: &[Declared],
    written: &mut Region,
    executor: &Threads,
) -> Result<(), Failure> {
    let mut writer = writer(written, declared)?;
    for bytes in tensors {
        let (encoding, chunk) = (Encoding::Huffman, unweight::DEFAULT_CHUNK_SIZE_LOG2);
        let all = Extent {
            offset: 0,
            length: bytes.len() as u64,
        };
        encoder
            .encode_tensor(&mut writer, &bytes[..], all, encoding, chunk, executor)
            .map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(())
}

/// Container in memory that has several owners.
struct Held(Arc<Aligned<u8>>);

impl Storage for Held {
    fn byte_length(&self) -> io::Result<u64> {
        self.0[..].byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        Ok(read_extent(&self.0[..], extent, buffer)?)
    }
}

/// Clock by which seconds are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Time that this thread ran. On a machine with other load, it says more than wall time.
    Cpu,
    Wall,
}

impl Clock {
    fn of(threads: usize) -> Clock {
        match threads {
            1 if cfg!(unix) => Clock::Cpu,
            _ => Clock::Wall,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Clock::Cpu => "cpu",
            Clock::Wall => "wall",
        }
    }

    /// Seconds since some fixed moment.
    fn seconds(self) -> f64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        #[cfg(unix)]
        if self == Clock::Cpu {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            return time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64;
        }
        START.elapsed().as_secs_f64()
    }
}

/// Name, type and shape of a tensor that is measured.
struct Declared {
    name: String,
    dtype: Dtype,
    shape: [u64; 1],
}

impl Declared {
    fn new((number, (dtype, bytes)): (usize, &(Dtype, Vec<u8>))) -> Declared {
        Declared {
            name: number.to_string(),
            dtype: *dtype,
            shape: [8 * bytes.len() as u64 / dtype.bits()],
        }
    }

    fn weights(&self) -> u64 {
        self.shape[0] * self.dtype.bits() / (8 * self.dtype.weight_bytes() as u64)
    }
}

type Memory<'a> = &'a mut Region;

fn writer<'a>(
    memory: Memory<'a>,
    declared: &'a [Declared],
) -> Result<ContainerWriter<'a, Memory<'a>>, Failure> {
    let declare =
        |tensor: &'a Declared| Declaration::new(&tensor.name, tensor.dtype, &tensor.shape);
    let declared = declared.iter().map(declare).collect();
    ContainerWriter::new(memory, SourceKind::None, &[], declared)
        .map_err(failed::<unweight_format::write::WriteError<Infallible>>)
}
