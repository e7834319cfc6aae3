//! Matmuls with compressed weights beside cuBLASLt's with BF16 weights, in one run.
//!
//! `cargo bench -p unweight-matmul --bench matmul`. Times are of matmuls launched one after the
//! other on a stream, 24 of them captured as one, over rotating weights, so that caches are cold.
//! They are medians, and both sides take turns. cuBLASLt's time is that of the fastest algorithm
//! that it offers. `-- --csv FILE` writes all of them, for `benches/plot_matmul.py`. Then come the
//! MLP blocks of 32 layers of Llama-3.1-8B, where each layer has weights of its own. Their tuned
//! plans are those of `Stack::tune`. `whole dec.` decodes fragments, except for the matrix that was
//! F8_E4M3: there it decodes the matrix in the layout of its file.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

mod files;
#[path = "../../unweight-gpu/benches/measuring/mod.rs"]
mod measuring;

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use half::bf16;
use measuring::{ROTATED_BYTES, captured, llama_shaped, side_by_side};
use unweight_format::{Encoding, Palette};
use unweight_gpu::Device;
use unweight_gpu::cudarc::driver::{CudaGraph, CudaSlice, CudaStream, DevicePtr};
use unweight_matmul::{
    Activations, CompressedMatrix, Fragments, Linear, Pipeline, PlainMatmul, Plan, Shape, Stack,
    View, ViewMut, Workspace,
};
use unweight_testkit::bytes_of;

const SHAPES: [(usize, usize); 4] = [(14_336, 4096), (4096, 14_336), (4096, 4096), (1024, 4096)];
const BATCHES: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const LAYERS: usize = 32;
/// Matmuls of one timing.
const LAUNCHES: usize = 24;

struct Bench {
    device: Device,
    stream: Arc<CudaStream>,
    cublas: CudaSlice<u8>,
    csv: RefCell<Box<dyn Write>>,
}

/// Where `--csv` says, or nowhere.
fn csv() -> Box<dyn Write> {
    match measuring::argument("--csv") {
        Some(path) => Box::new(File::create(path).unwrap()),
        None => Box::new(std::io::sink()),
    }
}

fn main() {
    let Some((device, stream, _)) = measuring::open() else {
        return;
    };
    let cublas = stream.alloc_zeros(PlainMatmul::WORKSPACE_BYTES).unwrap();
    let bench = Bench {
        device,
        stream,
        cublas,
        csv: RefCell::new(csv()),
    };
    writeln!(bench.csv.borrow_mut(), "what,batch,pipeline,seconds").unwrap();
    println!(
        "\n{:<14} {:>5} {:>11} {:>9} {:>7} {:>12} {:>7}",
        "rows x columns", "batch", "cuBLASLt us", "direct us", "ratio", "whole dec. us", "ratio"
    );
    for (number, (rows, columns)) in SHAPES.into_iter().enumerate() {
        bench.shape(rows, columns, number as u64 + 1);
    }
    let (rows, columns) = SHAPES[0];
    bench.was_e4m3(rows, columns);
    bench.stack();
}

/// BF16 weights that were F8_E4M3 in blocks of 128 x 128 with a power of two as scale each.
fn rounded_to_e4m3(mut weights: Vec<bf16>, columns: usize) -> Vec<bf16> {
    const BLOCK: usize = 128;
    const GREATEST: f32 = 448.0;
    let least_normal = f32::exp2(-6.0);
    for rows in weights.chunks_mut(BLOCK * columns) {
        for column in (0..columns).step_by(BLOCK) {
            let blocks = rows
                .chunks_mut(columns)
                .map(|row| &mut row[column..column + BLOCK]);
            let mut block: Vec<&mut bf16> = blocks.flatten().collect();
            let greatest = block.iter().map(|weight| weight.to_f32().abs());
            let greatest = greatest.fold(f32::MIN_POSITIVE, f32::max);
            let scale = (greatest / GREATEST).log2().ceil().exp2();
            for weight in &mut block {
                let scaled = weight.to_f32() / scale;
                let binade = scaled.abs().max(least_normal).log2().floor().exp2();
                // 3 bits of mantissa.
                let quantum = binade / 8.0;
                let rounded = (scaled / quantum).round_ties_even() * quantum;
                **weight = bf16::from_f32(rounded * scale);
            }
        }
    }
    weights
}

/// Matrices of one shape, as many as are rotated through.
struct Rotated<'a> {
    what: String,
    shape: Shape,
    /// For cuBLASLt.
    plain: &'a [CudaSlice<u8>],
    direct: Vec<Linear<'a>>,
    whole: Vec<Linear<'a>>,
}

fn upload(stream: &Arc<CudaStream>, values: &[bf16]) -> CudaSlice<u8> {
    stream.clone_htod(&bytes_of(values)).unwrap()
}

impl Bench {
    fn write_csv(&self, what: &str, batch: u32, seconds: &[(&str, f64)]) {
        let mut csv = self.csv.borrow_mut();
        for (pipeline, seconds) in seconds {
            writeln!(csv, "{what},{batch},{pipeline},{seconds:e}").unwrap();
        }
    }

    fn arrange(&self, matrix: &CudaSlice<u8>, shape: Shape, palette: Palette) -> Fragments {
        let source = View::slice(matrix, &self.stream);
        Fragments::arrange(&self.device, &source, shape, palette).unwrap()
    }

    /// The palette that an encoder gives these weights.
    fn palette_of(&self, weights: &[bf16]) -> Palette {
        let file = files::file_of(files::canonical(weights, Encoding::Palette, 15));
        let tensor = files::on_device(&self.device, &file);
        // The exponent is the first field.
        *tensor.palettes().coded(0).unwrap()
    }

    /// Matmuls by cuBLASLt's fastest algorithm.
    fn plain(
        &self,
        matrices: &[CudaSlice<u8>],
        shape: Shape,
        batch: u32,
        x: &CudaSlice<u8>,
        y: &mut CudaSlice<u8>,
    ) -> CudaGraph {
        let stream = &self.stream;
        let mut plain = PlainMatmul::new(shape, batch).unwrap();
        let workspace = self.cublas.device_ptr(stream).0;
        let (x, y) = (View::slice(x, stream), ViewMut::slice(y, stream));
        let sources: Vec<_> = matrices.iter().map(|m| View::slice(m, stream)).collect();
        let by_algorithm = (0..plain.algorithms()).map(|algorithm| {
            plain.choose(algorithm);
            let matmuls = captured(stream, LAUNCHES, |launch| {
                let matrix = &sources[launch % sources.len()];
                // SAFETY: one matmul after the other, on the stream that the workspace belongs to.
                unsafe { plain.multiply(stream, matrix, &x, &y, workspace).unwrap() }
            });
            let [seconds] = side_by_side(stream, [&mut || matmuls.launch().unwrap()]);
            (seconds, matmuls)
        });
        let (_, fastest) = by_algorithm.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        fastest
    }

    fn shape(&self, rows: usize, columns: usize, seed: u64) {
        let stream = &self.stream;
        let shape = Shape::new(rows as u64, columns as u64).unwrap();
        let weights = llama_shaped(rows, columns, seed);
        let palette = self.palette_of(&weights);
        let sets = ROTATED_BYTES / (2 * rows * columns) + 2;
        let matrices: Vec<_> = (0..sets).map(|_| upload(stream, &weights)).collect();
        let fragments: Vec<_> = matrices
            .iter()
            .map(|matrix| self.arrange(matrix, shape, palette))
            .collect();
        println!(
            "{rows} x {columns}: {:.2} bits a weight, {} patches, {} palette",
            8.0 * fragments[0].bytes() as f64 / shape.weights() as f64,
            fragments[0].patch_count(),
            if palette.base().is_some() {
                "consecutive"
            } else {
                "gapped"
            }
        );
        let linears: Vec<_> = fragments.iter().map(Linear::new).collect();
        self.beside_cublas(&Rotated {
            what: format!("{rows} x {columns}"),
            shape,
            plain: &matrices,
            direct: linears.clone(),
            whole: linears,
        });
    }

    /// A matrix whose mantissas end with four zeros, in fragment form and in the layout of its file.
    fn was_e4m3(&self, rows: usize, columns: usize) {
        let (device, stream) = (&self.device, &self.stream);
        let shape = Shape::new(rows as u64, columns as u64).unwrap();
        let weights = rounded_to_e4m3(llama_shaped(rows, columns, 6), columns);
        let file = files::file_of(files::canonical(&weights, Encoding::Huffman, 15));
        let uploaded = || files::on_device(device, &file);
        let sets = 0..ROTATED_BYTES / (2 * rows * columns) + 2;
        let plain: Vec<_> = sets.clone().map(|_| upload(stream, &weights)).collect();
        let fragments: Vec<_> = (sets.clone())
            .map(|_| Fragments::of_tensor(device, &uploaded(), shape).unwrap())
            .collect();
        let coded: Vec<_> = sets
            .map(|_| CompressedMatrix::new(device, uploaded(), shape).unwrap())
            .collect();
        let bits = |bytes: u64| 8.0 * bytes as f64 / shape.weights() as f64;
        println!(
            "{rows} x {columns}, BF16 that was F8_E4M3: {:?}, {:.2} bits a weight, {:.2} in fragments, {} patches",
            coded[0].forms(),
            bits(coded[0].bytes()),
            bits(fragments[0].bytes()),
            fragments[0].patch_count()
        );
        self.beside_cublas(&Rotated {
            what: format!("{rows} x {columns} F8_E4M3"),
            shape,
            plain: &plain,
            direct: fragments.iter().map(Linear::new).collect(),
            whole: coded.iter().map(Linear::new).collect(),
        });
    }

    /// Direct matmuls and whole decodes at every batch.
    fn beside_cublas(&self, matrices: &Rotated<'_>) {
        let (stream, shape, sets) = (&self.stream, matrices.shape, matrices.plain.len());
        let (rows, columns) = (shape.rows() as usize, shape.columns() as usize);
        let need = Pipeline::WholeDecode.workspace_need(shape);
        let mut workspace = Workspace::new(&self.device, stream, &[need]).unwrap();
        for batch in BATCHES {
            let x = upload(stream, &llama_shaped(batch as usize, columns, 99));
            let mut y = stream.alloc_zeros(2 * batch as usize * rows).unwrap();
            let plain = self.plain(matrices.plain, shape, batch, &x, &mut y);
            let (values, output) = (View::slice(&x, stream), ViewMut::slice(&mut y, stream));
            let mut ours = |linears: &[Linear<'_>], pipeline| {
                captured(stream, LAUNCHES, |launch| {
                    let plan = linears[launch % sets].plan(pipeline).unwrap();
                    let x = Activations { values, batch };
                    // SAFETY: all of it is there until the stream was waited for, as times are
                    // read.
                    unsafe { plan.multiply(stream, &mut workspace, x, &output) }.unwrap();
                })
            };
            let direct = ours(&matrices.direct, Pipeline::Direct);
            let whole = ours(&matrices.whole, Pipeline::WholeDecode);
            let seconds = side_by_side(
                stream,
                [
                    &mut || plain.launch().unwrap(),
                    &mut || direct.launch().unwrap(),
                    &mut || whole.launch().unwrap(),
                ],
            );
            let [plain, direct, whole] = seconds.map(|seconds| seconds / LAUNCHES as f64);
            let measured = [
                ("cublaslt", plain),
                ("direct", direct),
                ("whole_decode", whole),
            ];
            self.write_csv(&matrices.what, batch, &measured);
            println!(
                "{:<14} {batch:>5} {:>11.2} {:>9.2} {:>7.2} {:>12.2} {:>7.2}",
                "",
                plain * 1e6,
                direct * 1e6,
                plain / direct,
                whole * 1e6,
                plain / whole
            );
        }
    }

    /// Gate, up and down of every layer; gate's output goes on to down.
    fn stack(&self) {
        let stream = &self.stream;
        let (wide, narrow) = (
            Shape::new(14_336, 4096).unwrap(),
            Shape::new(4096, 14_336).unwrap(),
        );
        let shapes = [wide, wide, narrow];
        let weights = [llama_shaped(14_336, 4096, 1), llama_shaped(4096, 14_336, 2)];
        let palettes = weights.each_ref().map(|weights| self.palette_of(weights));
        let matrices: Vec<[CudaSlice<u8>; 3]> = (0..LAYERS)
            .map(|_| [0, 0, 1].map(|which: usize| upload(stream, &weights[which])))
            .collect();
        let fragments: Vec<[Fragments; 3]> = matrices
            .iter()
            .map(|layer| [0, 1, 2].map(|i| self.arrange(&layer[i], shapes[i], palettes[i / 2])))
            .collect();
        let needs = shapes.map(|shape| Pipeline::WholeDecode.workspace_need(shape));
        let mut workspace = Workspace::new(&self.device, stream, &needs).unwrap();
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let compressed: u64 = fragments.iter().flatten().map(Fragments::bytes).sum();
        let plain: u64 =
            shapes.iter().map(|shape| 2 * shape.weights()).sum::<u64>() * LAYERS as u64;
        println!(
            "\nMLP blocks of {LAYERS} layers: BF16 {:.2} GiB, fragments {:.2} GiB, workspace {:.3} GiB",
            gib(plain),
            gib(compressed),
            gib(workspace.bytes())
        );
        println!(
            "{:>5} {:>14} {:>13} {:>7} {:>13} {:>7}",
            "batch", "cuBLASLt tok/s", "advised tok/s", "ratio", "tuned tok/s", "ratio"
        );
        let linears: Vec<[Linear<'_>; 3]> = fragments
            .iter()
            .map(|layer| layer.each_ref().map(Linear::new))
            .collect();
        let largest = BATCHES[BATCHES.len() - 1];
        let all = linears.iter().flatten().copied();
        let mut stack = Stack::new(&self.device, all.collect(), largest).unwrap();
        for batch in BATCHES {
            let x = upload(stream, &llama_shaped(batch as usize, 4096, 99));
            let mut gate = stream
                .alloc_zeros::<u8>(2 * batch as usize * 14_336)
                .unwrap();
            let mut up = stream
                .alloc_zeros::<u8>(2 * batch as usize * 14_336)
                .unwrap();
            let mut down = stream.alloc_zeros::<u8>(2 * batch as usize * 4096).unwrap();
            // SAFETY: memory that outlives every launch; matmuls on one stream, so that one is
            // done with it before the next.
            let middle =
                unsafe { View::at_address(gate.device_ptr(stream).0, u64::from(batch) * 14_336) };
            let x = View::slice(&x, stream);
            let outputs = [
                ViewMut::slice(&mut gate, stream),
                ViewMut::slice(&mut up, stream),
                ViewMut::slice(&mut down, stream),
            ];
            let inputs = [&x, &x, &middle];
            let cublas = self.cublas.device_ptr(stream).0;
            let cublas_plans = shapes.map(|shape| PlainMatmul::new(shape, batch).unwrap());
            let plain = || {
                for layer in &matrices {
                    for i in 0..3 {
                        let matrix = View::slice(&layer[i], stream);
                        // SAFETY: as in `plain`.
                        unsafe {
                            cublas_plans[i]
                                .multiply(stream, &matrix, inputs[i], &outputs[i], cublas)
                                .unwrap()
                        }
                    }
                }
            };
            let workspace = RefCell::new(&mut workspace);
            let ours = |layers: &[[Plan<'_>; 3]]| {
                for layer in layers {
                    for i in 0..3 {
                        let values = *inputs[i];
                        let x = Activations { values, batch };
                        let workspace = &mut workspace.borrow_mut();
                        // SAFETY: as in `shape`.
                        unsafe { layer[i].multiply(stream, workspace, x, &outputs[i]) }.unwrap();
                    }
                }
            };
            let advised: Vec<_> = (linears.iter())
                .map(|layer| layer.each_ref().map(|linear| linear.advised(batch)))
                .collect();
            let tuning = stack.tune(&self.device, &[batch], |_| {}).unwrap();
            let tuned_plan = |linear: &Linear<'_>| {
                let name = tuning.plan(linear.form(), linear.shape(), batch);
                name.unwrap()
            };
            let tuned: Vec<_> = (linears.iter())
                .map(|layer| {
                    (layer.each_ref()).map(|linear| linear.plan(tuned_plan(linear)).unwrap())
                })
                .collect();
            let [plain, untuned, tuned] = side_by_side(
                stream,
                [&mut || plain(), &mut || ours(&advised), &mut || {
                    ours(&tuned)
                }],
            );
            let measured = [("cublaslt", plain), ("advised", untuned), ("tuned", tuned)];
            self.write_csv("32 MLP blocks", batch, &measured);
            println!(
                "{batch:>5} {:>14.0} {:>13.0} {:>7.2} {:>13.0} {:>7.2}",
                f64::from(batch) / plain,
                f64::from(batch) / untuned,
                plain / untuned,
                f64::from(batch) / tuned,
                plain / tuned
            );
        }
    }
}
