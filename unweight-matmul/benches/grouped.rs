//! Grouped matmuls of mixture of experts with compressed weights, beside cuBLASLt's matmul with BF16
//! weights for each expert that has tokens, in one run.
//!
//! `cargo bench -p unweight-matmul --bench grouped`. Each token has random experts. Times are of
//! matmuls with other experts each, captured as one launch, so that caches are cold; they are
//! medians, and both sides take turns. `routing` is the sort of the tokens by expert, which the two
//! matmuls of a layer share. cuBLASLt gets tokens that are sorted already. `grouped_torch.py`
//! measures PyTorch's grouped matmul and a kernel of Triton in the same way.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

#[path = "../../unweight-gpu/benches/measuring/mod.rs"]
mod measuring;

use std::collections::HashMap;
use std::sync::Arc;

use measuring::{captured, llama_shaped, side_by_side};
use unweight_gpu::Device;
use unweight_gpu::cudarc::driver::{CudaGraph, CudaSlice, CudaStream, DevicePtr, DevicePtrMut};
use unweight_matmul::layout::most_frequent;
use unweight_matmul::{
    Experts, Fragments, GroupedActivations, GroupedMatmul, PlainMatmul, RoutingShape, RowsOfX,
    Shape, SharedWorkspace, TokenExperts, View, ViewMut,
};
use unweight_testkit::bytes_of;

const TOKENS: [u32; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 512, 4096];
/// The number of tokens from which on fewer matmuls are measured at once.
const MANY_TOKENS: u32 = 128;

/// Rows of W that are made; the others are copies, as the contents do not matter.
const MADE_ROWS: usize = 512;

/// A matmul of a layer of experts.
struct Layer {
    name: &'static str,
    experts: u32,
    top_k: u32,
    rows: u32,
    columns: u32,
    /// Layers that are rotated through.
    sets: usize,
    rows_of_x: RowsOfX,
}

const LAYERS: [Layer; 4] = [
    Layer {
        name: "Mixtral-8x7B, gate and up",
        experts: 8,
        top_k: 2,
        rows: 28_672,
        columns: 4096,
        sets: 1,
        rows_of_x: RowsOfX::Tokens,
    },
    Layer {
        name: "Mixtral-8x7B, down",
        experts: 8,
        top_k: 2,
        rows: 4096,
        columns: 14_336,
        sets: 2,
        rows_of_x: RowsOfX::Slots,
    },
    Layer {
        name: "Qwen3-30B-A3B, gate and up",
        experts: 128,
        top_k: 8,
        rows: 1536,
        columns: 2048,
        sets: 3,
        rows_of_x: RowsOfX::Tokens,
    },
    Layer {
        name: "Qwen3-30B-A3B, down",
        experts: 128,
        top_k: 8,
        rows: 2048,
        columns: 768,
        sets: 5,
        rows_of_x: RowsOfX::Slots,
    },
];

fn main() {
    let Some((device, stream, _)) = measuring::open() else {
        return;
    };
    for layer in &LAYERS {
        Bench::new(&device, &stream, layer).run();
    }
}

struct Bench<'a> {
    device: &'a Device,
    stream: &'a Arc<CudaStream>,
    layer: &'a Layer,
    plain: Vec<CudaSlice<u8>>,
    packed: Vec<Fragments>,
    cublas: CudaSlice<u8>,
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }

    /// `count` different numbers below `bound`.
    fn choose(&mut self, count: u32, bound: u32) -> Vec<u32> {
        let mut all: Vec<u32> = (0..bound).collect();
        for i in 0..count {
            let other = i + self.below(bound - i);
            all.swap(i as usize, other as usize);
        }
        all.truncate(count as usize);
        all
    }
}

impl<'a> Bench<'a> {
    fn new(device: &'a Device, stream: &'a Arc<CudaStream>, layer: &'a Layer) -> Bench<'a> {
        let (rows, columns) = (layer.rows as usize, layer.columns as usize);
        let some = llama_shaped(MADE_ROWS, columns, 3);
        let mut counts = [0; 256];
        for weight in &some {
            counts[usize::from((weight.to_bits() >> 7) as u8)] += 1;
        }
        let palette = most_frequent(&counts);
        let all = u64::from(layer.experts) * u64::from(layer.rows);
        let shape = Shape::new(all, layer.columns.into()).unwrap();
        let bytes = bytes_of(&some).repeat(layer.experts as usize * rows / MADE_ROWS);
        let plain: Vec<_> = (0..layer.sets)
            .map(|_| stream.clone_htod(&bytes).unwrap())
            .collect();
        let packed: Vec<_> = (plain.iter())
            .map(|matrix| {
                let source = View::slice(matrix, stream);
                Fragments::arrange(device, &source, shape, palette).unwrap()
            })
            .collect();
        println!(
            "\n{}: {} experts of {rows} x {columns}, {} of them for each token, {:.2} bits a weight",
            layer.name,
            layer.experts,
            layer.top_k,
            8.0 * packed[0].bytes() as f64 / shape.weights() as f64
        );
        Bench {
            device,
            stream,
            layer,
            plain,
            packed,
            cublas: stream.alloc_zeros(PlainMatmul::WORKSPACE_BYTES).unwrap(),
        }
    }

    fn run(&self) {
        println!(
            "{:>6} {:>14} {:>12} {:>9} {:>10} {:>6}",
            "tokens", "experts in use", "cuBLASLt us", "packed us", "routing us", "ratio"
        );
        for tokens in TOKENS {
            self.measure(tokens);
        }
    }

    fn measure(&self, tokens: u32) {
        let (stream, layer) = (self.stream, self.layer);
        let launches = if tokens < MANY_TOKENS { 24 } else { 4 };
        let shape = RoutingShape::new(tokens, layer.top_k, layer.experts).unwrap();
        let mut random = Random(u64::from(tokens));
        let chosen: Vec<Vec<u32>> = (0..launches)
            .map(|_| {
                let of_token = |_| random.choose(layer.top_k, layer.experts);
                (0..tokens).flat_map(of_token).collect()
            })
            .collect();
        let slots = shape.slots() as usize;
        let x_values = match layer.rows_of_x {
            RowsOfX::Tokens => tokens as usize,
            RowsOfX::Slots => slots,
        };
        let x_values = x_values * layer.columns as usize;
        // Enough rows for the sorted tokens of cuBLASLt, too.
        let some = bytes_of(&llama_shaped(8, layer.columns as usize, 99));
        let x = stream.clone_htod(&some.repeat(slots.div_ceil(8))).unwrap();
        let mut y = stream
            .alloc_zeros::<u8>(2 * slots * layer.rows as usize)
            .unwrap();
        let y_at = y.device_ptr_mut(stream).0;

        let grouped = GroupedMatmul::new(self.device).unwrap();
        let workspace = SharedWorkspace::new(self.device, 1).unwrap();
        let routing_bytes = grouped.routing_bytes(shape) as usize;
        let routings: Vec<CudaSlice<u8>> = (0..launches)
            .map(|_| stream.alloc_zeros(routing_bytes).unwrap())
            .collect();
        let scales = stream.clone_htod(&vec![0.5_f32; slots]).unwrap();
        let uploaded: Vec<_> = (chosen.iter())
            .map(|chosen| stream.clone_htod(chosen).unwrap())
            .collect();
        let routing = captured(stream, launches, |i| {
            let chosen = TokenExperts {
                experts: uploaded[i].device_ptr(stream).0,
                scales: Some(scales.device_ptr(stream).0),
            };
            let at = routings[i].device_ptr(stream).0;
            // SAFETY: all of it is there until the stream was waited for, as times are read.
            unsafe {
                let to = ViewMut::at_address(at, routing_bytes as u64);
                grouped.route(stream, shape, chosen, &to).unwrap();
            }
        });
        routing.launch().unwrap();
        let packed = captured(stream, launches, |i| {
            let experts = Experts::new(&self.packed[i % layer.sets], layer.experts).unwrap();
            // SAFETY: as above.
            unsafe {
                let activations = GroupedActivations {
                    shape,
                    routing: routings[i].device_ptr(stream).0,
                    x: View::at_address(x.device_ptr(stream).0, x_values as u64),
                    rows: layer.rows_of_x,
                    scaled: layer.rows_of_x == RowsOfX::Slots,
                };
                let y = ViewMut::at_address(y_at, 2 * slots as u64 * u64::from(layer.rows));
                let launched = grouped.multiply(stream, &workspace, &experts, activations, &y);
                launched.unwrap();
            }
        });
        let plain = self.plain(&chosen, x.device_ptr(stream).0, y_at);
        let [plain, packed, routing] = side_by_side(
            stream,
            [
                &mut || plain.launch().unwrap(),
                &mut || packed.launch().unwrap(),
                &mut || routing.launch().unwrap(),
            ],
        );
        let in_use: usize = chosen.iter().map(|chosen| counts_of(chosen).len()).sum();
        let us = |seconds: f64| seconds * 1e6 / launches as f64;
        println!(
            "{tokens:>6} {:>14.1} {:>12.1} {:>9.1} {:>10.1} {:>6.2}",
            in_use as f64 / launches as f64,
            us(plain),
            us(packed),
            us(routing),
            plain / packed
        );
    }

    /// A matmul of cuBLASLt for each expert that has tokens, with the tokens of one after those of
    /// the other.
    fn plain(&self, chosen: &[Vec<u32>], x: u64, y: u64) -> CudaGraph {
        let (stream, layer) = (self.stream, self.layer);
        let (rows, columns) = (u64::from(layer.rows), u64::from(layer.columns));
        let shape = Shape::new(rows, columns).unwrap();
        let mut matmuls: HashMap<u32, PlainMatmul> = HashMap::new();
        for (_, count) in chosen.iter().flat_map(|chosen| counts_of(chosen)) {
            matmuls
                .entry(count)
                .or_insert_with(|| PlainMatmul::new(shape, count).unwrap());
        }
        captured(stream, chosen.len(), |i| {
            let matrices = self.plain[i % layer.sets].device_ptr(stream).0;
            let mut before = 0;
            for (expert, count) in counts_of(&chosen[i]) {
                // SAFETY: as in `measure`; an expert's rows of W, x and y are inside.
                unsafe {
                    let matrix = matrices + 2 * u64::from(expert) * rows * columns;
                    let matrix = View::at_address(matrix, rows * columns);
                    let x_of_expert = x + 2 * before * columns;
                    let x = View::at_address(x_of_expert, u64::from(count) * columns);
                    let y_of_expert = y + 2 * before * rows;
                    let y = ViewMut::at_address(y_of_expert, 2 * u64::from(count) * rows);
                    let workspace = self.cublas.device_ptr(stream).0;
                    let launched = matmuls[&count].multiply(stream, &matrix, &x, &y, workspace);
                    launched.unwrap();
                }
                before += u64::from(count);
            }
        })
    }
}

/// The experts that have tokens, and how many, in ascending order.
fn counts_of(chosen: &[u32]) -> Vec<(u32, u32)> {
    let mut sorted = chosen.to_vec();
    sorted.sort_unstable();
    let experts = sorted.chunk_by(|a, b| a == b);
    experts.map(|same| (same[0], same.len() as u32)).collect()
}
