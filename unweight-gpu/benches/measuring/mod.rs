//! Shared code of the benches: trained and synthetic tensors, and times of launches with cold
//! caches.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![allow(dead_code, reason = "no bench uses all of it")]

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, PinnedHostSlice, sys};
use half::bf16;
use unweight::safetensors::Header;
use unweight_format::Dtype;
use unweight_gpu::Device;

/// Bytes that inputs and outputs rotate through: more than the L2 cache of any present device.
pub(crate) const ROTATED_BYTES: usize = 512 << 20;
const RUNS: usize = 15;

/// Opens a GPU. Returns it, a new stream, and the bytes a second that a copy moves, which it also
/// prints. None without a GPU, and in tests.
pub(crate) fn open() -> Option<(Device, Arc<CudaStream>, f64)> {
    // `cargo test --benches` passes `--test`; nothing is measured then.
    if std::env::args().any(|argument| argument == "--test") {
        return None;
    }
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(error) => {
            println!("nothing measured: {error}");
            return None;
        }
    };
    let stream = device.stream().unwrap();
    let copied = copy_bytes_per_second(&stream);
    println!(
        "{}: a copy moves {:.2} TB/s (read and written)",
        device.name().unwrap(),
        copied / 1e12
    );
    Some((device, stream, copied))
}

/// The command-line argument after `name`.
pub(crate) fn argument(name: &str) -> Option<String> {
    std::env::args()
        .skip_while(|argument| argument != name)
        .nth(1)
}

/// The shapes of q, k, v, o, gate, up and down of Llama-3.1-8B.
const LAYER: [(usize, usize); 7] = [
    (4096, 4096),
    (1024, 4096),
    (1024, 4096),
    (4096, 4096),
    (14336, 4096),
    (14336, 4096),
    (4096, 14336),
];

/// A layer of Llama-3.1-8B.
pub(crate) fn layer() -> Vec<Vec<bf16>> {
    let shapes = (5..).zip(LAYER);
    shapes
        .map(|(seed, (rows, columns))| llama_shaped(rows, columns, seed))
        .collect()
}

/// The same weights as bytes in another type, whose weights have `weight_bytes` bytes, the lowest
/// of what `bits` gives.
pub(crate) fn layer_as(weight_bytes: usize, bits: impl Fn(f32) -> u64 + Sync) -> Vec<Vec<u8>> {
    let shapes = (5..).zip(LAYER);
    shapes
        .map(|(seed, (rows, columns))| {
            let mut bytes = vec![0; rows * columns * weight_bytes];
            fill(
                &mut bytes,
                rows,
                columns * weight_bytes,
                seed,
                |row, normal| {
                    for weight in row.chunks_exact_mut(weight_bytes) {
                        weight.copy_from_slice(&bits(normal()).to_le_bytes()[..weight_bytes]);
                    }
                },
            );
            bytes
        })
        .collect()
}

/// Normally distributed weights, sigma 0.02 times exp(0.15 z) for each row, rounded to BF16.
pub(crate) fn llama_shaped(rows: usize, columns: usize, seed: u64) -> Vec<bf16> {
    let mut weights = vec![bf16::ZERO; rows * columns];
    fill(&mut weights, rows, columns, seed, |row, normal| {
        row.fill_with(|| bf16::from_f32(normal()));
    });
    weights
}

/// Calls `fill` for every row of `row_length` elements, with a source of its weights.
fn fill<T: Send>(
    elements: &mut [T],
    rows: usize,
    row_length: usize,
    seed: u64,
    fill: impl Fn(&mut [T], &mut dyn FnMut() -> f32) + Sync,
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let of_thread = rows.div_ceil(threads);
    std::thread::scope(|scope| {
        for (number, part) in elements.chunks_mut(of_thread * row_length).enumerate() {
            let fill = &fill;
            scope.spawn(move || {
                let mut normal = Normal {
                    state: seed << 32 | number as u64 | 1,
                };
                for row in part.chunks_mut(row_length) {
                    let sigma = 0.02 * (0.15 * normal.next()).exp();
                    fill(row, &mut || sigma * normal.next());
                }
            });
        }
    });
}

/// The nearest number of 8 bits with `mantissa_bits` bits of mantissa (3 for E4M3, 2 for E5M2) to a
/// weight that is scaled as one of its block of 128 x 128 is, and its value without the scale.
pub(crate) fn to_f8(weight: f32, mantissa_bits: u32) -> (u8, f32) {
    // The greatest of 16,384 weights is about 4 sigma; it becomes the greatest number.
    let (greatest, bias): (f32, i32) = match mantissa_bits {
        3 => (448.0, 7),
        _ => (57_344.0, 15),
    };
    // A power of two, so that an upcast weight keeps the mantissa.
    let scale = (greatest / 0.1).log2().floor().exp2();
    let magnitude = (weight.abs() * scale).min(greatest);
    let exponent = (magnitude.to_bits() >> 23) as i32 - 127;
    let exponent = exponent.max(1 - bias);
    let unit = ((exponent - mantissa_bits as i32) as f32).exp2();
    let rounded = (magnitude / unit).round_ties_even() * unit;
    // Subnormal numbers have the exponent 0.
    let stored = match rounded < ((1 - bias) as f32).exp2() {
        true => (rounded / unit) as u32,
        false => {
            let bits = rounded.to_bits() >> (23 - mantissa_bits);
            bits - (((127 - bias) as u32) << mantissa_bits)
        }
    };
    let sign = u32::from(weight.is_sign_negative()) << 7;
    ((stored | sign) as u8, rounded.copysign(weight) / scale)
}

/// The weights with a zero for every thousandth one, so that the palette is not 16 consecutive
/// exponents.
pub(crate) fn with_zeros(mut weights: Vec<bf16>) -> Vec<bf16> {
    weights
        .iter_mut()
        .step_by(1000)
        .for_each(|weight| *weight = bf16::ZERO);
    weights
}

/// The BF16 tensors with enough weights to be coded, and the name of their source: the safetensors
/// file after `--file`, or the repository's sample.
pub(crate) fn trained() -> (String, Vec<Vec<bf16>>) {
    const SAMPLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../samples/minilm-layer0.safetensors"
    );
    const FEWEST_WEIGHTS: usize = 4096;
    let path = argument("--file").unwrap_or_else(|| SAMPLE.to_owned());
    let file = std::fs::read(&path).unwrap();
    let header_bytes = Header::bytes_from_length(*file.first_chunk().unwrap()).unwrap();
    let header = Header::parse(&file[..header_bytes as usize]).unwrap();
    let of_bf16 = (header.tensors.iter()).filter(|tensor| tensor.dtype == Dtype::Bf16);
    let tensors: Vec<Vec<bf16>> = of_bf16
        .map(|tensor| {
            let (weights, _) = header.data(tensor).of(&file).unwrap().as_chunks();
            let weights = weights.iter().map(|&bytes| bf16::from_le_bytes(bytes));
            weights.collect()
        })
        .filter(|weights: &Vec<bf16>| weights.len() >= FEWEST_WEIGHTS)
        .collect();
    let name = Path::new(&path).file_stem().unwrap().to_string_lossy();
    (format!("{name}, {}", tensors.len()), tensors)
}

struct Normal {
    state: u64,
}

impl Normal {
    fn uniform(&mut self) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 40) as f32 + 0.5) / (1 << 24) as f32
    }

    /// Box and Muller, "A note on the generation of random normal deviates" (1958).
    fn next(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

/// Median time of `launch` on the device in seconds, over rotating sets. The stream waits until the
/// whole launch is queued, so the time of the host is not included, as on a stream with other work.
/// A launch must fit the queue (some 1,000 kernels) and must not wait for the device.
pub(crate) fn median<T>(
    stream: &Arc<CudaStream>,
    sets: &mut [T],
    mut launch: impl FnMut(&mut T),
) -> f64 {
    for set in &mut *sets {
        launch(set);
    }
    let count = sets.len();
    let mut gate = Gate::new(stream);
    median_of(std::array::from_fn(|run| {
        gate.close();
        let [start, end] = events_around(stream, || launch(&mut sets[run % count]));
        gate.open();
        seconds_between(&start, &end)
    }))
}

/// A word in host memory that the stream waits for.
struct Gate<'a> {
    stream: &'a Arc<CudaStream>,
    word: PinnedHostSlice<u32>,
}

impl Gate<'_> {
    fn new(stream: &Arc<CudaStream>) -> Gate<'_> {
        let flags = sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the memory is written before it is read.
        let word = unsafe { stream.context().alloc_pinned_with_flags(1, flags) };
        Gate {
            stream,
            word: word.unwrap(),
        }
    }

    fn write(&mut self, value: u32) -> u64 {
        let word = self.word.as_mut_ptr().unwrap();
        // SAFETY: the pointer is valid for this one word, and the device only reads it.
        unsafe { word.write_volatile(value) };
        word as u64
    }

    fn close(&mut self) {
        let word = self.write(0);
        let until = sys::CUstreamWaitValue_flags::CU_STREAM_WAIT_VALUE_EQ as u32;
        // SAFETY: mapped host memory has the same address on the device. It outlives all work that
        // is queued before the gate opens.
        unsafe { sys::cuStreamWaitValue32_v2(self.stream.cu_stream(), word, 1, until) }
            .result()
            .unwrap();
    }

    fn open(&mut self) {
        self.write(1);
    }
}

/// Time of `launch` in seconds, by events on the stream. Waits for the stream.
fn seconds_of(stream: &Arc<CudaStream>, launch: impl FnOnce()) -> f64 {
    let [start, end] = events_around(stream, launch);
    seconds_between(&start, &end)
}

fn events_around(stream: &Arc<CudaStream>, launch: impl FnOnce()) -> [CudaEvent; 2] {
    let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(flags).unwrap();
    launch();
    [start, stream.record_event(flags).unwrap()]
}

fn seconds_between(start: &CudaEvent, end: &CudaEvent) -> f64 {
    f64::from(start.elapsed_ms(end).unwrap()) / 1e3
}

fn median_of(mut seconds: [f64; RUNS]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[RUNS / 2]
}

/// Median time in seconds of one of `count` launches in sequence. The host's time for the first
/// launch is included.
pub(crate) fn per_launch(
    stream: &Arc<CudaStream>,
    count: usize,
    mut launch: impl FnMut(usize),
) -> f64 {
    let [seconds] = side_by_side(stream, [&mut || (0..count).for_each(&mut launch)]);
    seconds / count as f64
}

/// Median times in seconds of these launches, which run alternately, so that a device whose clock
/// falls with its temperature affects all alike.
pub(crate) fn side_by_side<const COUNT: usize>(
    stream: &Arc<CudaStream>,
    mut launches: [&mut dyn FnMut(); COUNT],
) -> [f64; COUNT] {
    for launch in &mut launches {
        launch();
    }
    let mut seconds = [[0.0; RUNS]; COUNT];
    for run in 0..RUNS {
        for (seconds, launch) in seconds.iter_mut().zip(&mut launches) {
            seconds[run] = seconds_of(stream, launch);
        }
    }
    seconds.map(median_of)
}

/// A graph of `count` launches, so that the host's time does not bound small ones.
pub(crate) fn captured(
    stream: &Arc<CudaStream>,
    count: usize,
    mut launch: impl FnMut(usize),
) -> CudaGraph {
    // The first launch creates everything that is created at first use.
    launch(0);
    stream.synchronize().unwrap();
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    (0..count).for_each(&mut launch);
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    stream.end_capture(flags).unwrap().unwrap()
}

fn copy_bytes_per_second(stream: &Arc<CudaStream>) -> f64 {
    let bytes = ROTATED_BYTES;
    let from = stream.alloc_zeros::<u8>(bytes).unwrap();
    let mut to = [stream.alloc_zeros::<u8>(bytes).unwrap()];
    let seconds = median(stream, &mut to, |to| stream.memcpy_dtod(&from, to).unwrap());
    2.0 * bytes as f64 / seconds
}
