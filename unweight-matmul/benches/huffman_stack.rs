//! The MLP blocks of 32 layers of Llama-3.1-8B with weights that stay Huffman-coded in device
//! memory, beside cuBLASLt with BF16 weights, in one run.
//!
//! `cargo bench -p unweight-matmul --bench huffman_stack`. Times are of the whole stack, and
//! medians. Each layer has weights of its own, so caches are cold. `-- --chunk K` sets the binary
//! logarithm of a chunk's weights. Then come stacks of small layers in fragment form, launched one
//! by one and captured.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

mod files;
#[path = "../../unweight-gpu/benches/measuring/mod.rs"]
mod measuring;

use std::sync::Arc;

use half::bf16;
use measuring::{llama_shaped, per_launch};
use unweight_format::Encoding;
use unweight_gpu::Device;
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result};
use unweight_matmul::{
    Activations, CompressedMatrix, Fragments, Linear, Matmul, Pipeline, PlainMatmul, Plan,
    Sequence, Shape, Stack, View, ViewMut, Workspace, WorkspaceLayout, spread,
};

const LAYERS: usize = 32;
const BATCHES: [u32; 11] = [1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
const LARGEST: usize = 4096;
/// Multiprocessors that decode, where they are divided.
const DECODING: [u32; 3] = [32, 64, 96];

struct Bench {
    device: Device,
    stream: Arc<CudaStream>,
}

/// Weights in the three forms that are compared.
struct Matrix {
    plain: CudaSlice<u8>,
    fragments: Fragments,
    coded: CompressedMatrix,
}

impl Matrix {
    /// The layer of the form that this pipeline needs.
    fn linear(&self, pipeline: Pipeline) -> Linear<'_> {
        match pipeline {
            Pipeline::Direct => Linear::new(&self.fragments),
            _ => Linear::new(&self.coded),
        }
    }
}

/// Gate and up read x, down reads gate's output.
struct Memory {
    x: u64,
    gate: u64,
    up: u64,
    down: u64,
}

fn main() {
    let Some((device, _, _)) = measuring::open() else {
        return;
    };
    // SAFETY: memory is written on one stream before it is used on another, and that stream is
    // waited for. Without events for each slice there are fewer calls of the driver.
    unsafe { device.context().disable_event_tracking() };
    // Matmuls have priority over preparations.
    let (_, greatest) = result::stream::get_priority_range().unwrap();
    let stream = (device.context().new_stream_with_priority(greatest)).unwrap();
    let bench = Bench { device, stream };
    bench.mlp();
    for (rows, columns) in [(1024, 4096), (4096, 4096)] {
        bench.captured(rows, columns);
    }
}

fn upload(stream: &Arc<CudaStream>, values: &[bf16]) -> CudaSlice<u8> {
    let bytes: Vec<u8> = (values.iter())
        .flat_map(|value| value.to_le_bytes())
        .collect();
    stream.clone_htod(&bytes).unwrap()
}

/// What `--chunk` says.
fn chunk_size_log2() -> u8 {
    measuring::argument("--chunk").map_or(15, |log2| log2.parse().unwrap())
}

/// A matrix's file.
fn file_of(weights: &[bf16]) -> Vec<u8> {
    let chunk_size_log2 = chunk_size_log2();
    files::file_of(files::canonical(
        weights,
        Encoding::Huffman,
        chunk_size_log2,
    ))
}

/// The choice of the plan that this pipeline has for a layer.
fn by<'a>(pipeline: Pipeline) -> impl Fn(Linear<'a>) -> Plan<'a> {
    move |linear| linear.plan(pipeline).unwrap()
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

impl Bench {
    fn matrix(&self, weights: &[bf16], file: &[u8], shape: Shape) -> Matrix {
        let (device, stream) = (&self.device, &self.stream);
        let plain = upload(stream, weights);
        // Without events, the device's own stream does not wait for this one.
        stream.synchronize().unwrap();
        let tensor = files::on_device(device, file);
        let fragments = Fragments::of_tensor(device, &tensor, shape).unwrap();
        let coded = CompressedMatrix::new(device, tensor, shape).unwrap();
        Matrix {
            plain,
            fragments,
            coded,
        }
    }

    /// The matmuls of all layers, with the plan that `plan` chooses for each.
    fn matmuls<'a>(
        layers: &[[Linear<'a>; 3]],
        plan: impl Fn(Linear<'a>) -> Plan<'a>,
        batch: u32,
        memory: &Memory,
    ) -> Vec<Matmul<'a>> {
        let ends = [
            (memory.x, memory.gate),
            (memory.x, memory.up),
            (memory.gate, memory.down),
        ];
        let of_layer = |layer: &[Linear<'a>; 3]| {
            [0, 1, 2].map(|i| {
                let (plan, (x, y)) = (plan(layer[i]), ends[i]);
                let (columns, rows) = (plan.shape().columns(), plan.shape().rows());
                // SAFETY: for both views: memory for the largest batch, that outlives all launches.
                let values = unsafe { View::at_address(x, u64::from(batch) * columns) };
                Matmul {
                    plan,
                    x: Activations { values, batch },
                    // SAFETY: as above.
                    y: unsafe { ViewMut::at_address(y, 2 * u64::from(batch) * rows) },
                }
            })
        };
        layers.iter().flat_map(of_layer).collect()
    }

    fn sequence(&self, shapes: &[Shape]) -> Sequence {
        let needs = shapes.iter().flat_map(|&shape| {
            let all = Pipeline::ALL.into_iter();
            all.map(move |pipeline| pipeline.workspace_need(shape))
        });
        let needs: Vec<_> = needs.collect();
        let layout = WorkspaceLayout::new(&self.device, &needs, 2).unwrap();
        let workspace = Workspace::with_layout(&self.stream, layout).unwrap();
        self.stream.synchronize().unwrap();
        let preparing = self.device.stream().unwrap();
        Sequence::new(&self.device, preparing, workspace).unwrap()
    }

    fn overlapped(&self, sequence: &mut Sequence, matmuls: &[Matmul<'_>]) -> f64 {
        per_launch(&self.stream, 1, |_| {
            // SAFETY: all of it is there until the stream was waited for, as times are read.
            unsafe { sequence.run(&self.stream, matmuls).unwrap() }
        })
    }

    fn one_after_the_other(&self, workspace: &mut Workspace, matmuls: &[Matmul<'_>]) -> f64 {
        per_launch(&self.stream, 1, |_| {
            for Matmul { plan, x, y } in matmuls {
                // SAFETY: as in `overlapped`.
                unsafe { plan.multiply(&self.stream, workspace, *x, y).unwrap() };
            }
        })
    }

    fn mlp(&self) {
        let (device, stream) = (&self.device, &self.stream);
        let shape = |rows, columns| Shape::new(rows, columns).unwrap();
        let shapes = [
            shape(14_336, 4096),
            shape(14_336, 4096),
            shape(4096, 14_336),
        ];
        let weights = [llama_shaped(14_336, 4096, 1), llama_shaped(4096, 14_336, 2)];
        let sources = weights.each_ref().map(|weights| file_of(weights));
        let matrices: Vec<[Matrix; 3]> = (0..LAYERS)
            .map(|_| [0, 1, 2].map(|i| self.matrix(&weights[i / 2], &sources[i / 2], shapes[i])))
            .collect();
        let all = || matrices.iter().flatten();
        println!(
            "\nMLP blocks of {LAYERS} layers: BF16 {:.2} GiB, fragments {:.2} GiB, Huffman {:.2} GiB ({:.2} bits a weight)",
            gib(all().map(|m| m.plain.num_bytes() as u64).sum()),
            gib(all().map(|m| m.fragments.bytes()).sum()),
            gib(all().map(|m| m.coded.bytes()).sum()),
            8.0 * all().map(|m| m.coded.bytes()).sum::<u64>() as f64
                / all().map(|m| m.coded.shape().weights()).sum::<u64>() as f64,
        );
        for pipeline in Pipeline::ALL {
            let needs = shapes.map(|shape| pipeline.workspace_need(shape));
            let layout = WorkspaceLayout::new(device, &needs, 2).unwrap();
            println!(
                "workspace of {}: {:.3} GiB",
                pipeline.name(),
                gib(layout.bytes())
            );
        }
        let coded: Vec<[Linear<'_>; 3]> = (matrices.iter())
            .map(|layer| (layer.each_ref()).map(|m| Linear::new(&m.coded)))
            .collect();
        let fragments: Vec<[Linear<'_>; 3]> = (matrices.iter())
            .map(|layer| (layer.each_ref()).map(|m| Linear::new(&m.fragments)))
            .collect();
        // Every other projection stays coded.
        let is_coded = spread(3 * LAYERS, 3 * LAYERS / 2);
        let mixed: Vec<[Linear<'_>; 3]> = (0..LAYERS)
            .map(|layer| {
                [0, 1, 2].map(|i| match is_coded[3 * layer + i] {
                    true => coded[layer][i],
                    false => fragments[layer][i],
                })
            })
            .collect();
        let x = upload(stream, &llama_shaped(LARGEST, 4096, 99));
        let wide = || stream.alloc_zeros::<u8>(2 * LARGEST * 14_336).unwrap();
        let (gate, up) = (wide(), wide());
        let down = stream.alloc_zeros::<u8>(2 * LARGEST * 4096).unwrap();
        let cublas = stream
            .alloc_zeros::<u8>(PlainMatmul::WORKSPACE_BYTES)
            .unwrap();
        let at = |memory: &CudaSlice<u8>| memory.device_ptr(stream).0;
        let memory = Memory {
            x: at(&x),
            gate: at(&gate),
            up: at(&up),
            down: at(&down),
        };
        let mut sequence = self.sequence(&shapes);
        let all_coded = coded.iter().flatten().copied().collect();
        let mut stack = Stack::new(device, all_coded, LARGEST as u32).unwrap();
        println!(
            "tokens/s, and part of cuBLASLt's; 'then' without overlap, |n where n multiprocessors decode and the others multiply, 'half' with half of the projections in fragments"
        );
        for batch in BATCHES {
            let plans = shapes.map(|shape| PlainMatmul::new(shape, batch).unwrap());
            let direct = by(Pipeline::Direct);
            let of_plain = Bench::matmuls(&fragments, direct, batch, &memory);
            let plain = per_launch(stream, 1, |_| {
                for (number, matmul) in of_plain.iter().enumerate() {
                    let matrix = View::slice(&matrices[number / 3][number % 3].plain, stream);
                    // SAFETY: one matmul after the other, on the stream that the workspace belongs
                    // to.
                    unsafe {
                        plans[number % 3]
                            .multiply(stream, &matrix, &matmul.x.values, &matmul.y, at(&cublas))
                            .unwrap();
                    }
                }
            });
            print!("{batch:>5} cuBLASLt {:>7.0}", f64::from(batch) / plain);
            let show = |name: &str, seconds: f64| {
                print!(
                    ", {name} {:.0} {:.2}",
                    f64::from(batch) / seconds,
                    plain / seconds
                );
            };
            for pipeline in &Pipeline::ALL[1..] {
                if *pipeline == Pipeline::ExponentDecode && batch > 64 {
                    continue;
                }
                let matmuls = Bench::matmuls(&coded, by(*pipeline), batch, &memory);
                if *pipeline == Pipeline::WholeDecode || batch <= 64 {
                    let then = self.one_after_the_other(sequence.workspace(), &matmuls);
                    show(&format!("{} then", pipeline.name()), then);
                }
                show(pipeline.name(), self.overlapped(&mut sequence, &matmuls));
            }
            let matmuls = Bench::matmuls(&coded, |l| l.advised(batch), batch, &memory);
            for decoding in DECODING {
                sequence.workspace().divide(Some(decoding));
                let seconds = self.overlapped(&mut sequence, &matmuls);
                show(&format!("|{decoding}"), seconds);
            }
            sequence.workspace().divide(None);
            let matmuls = Bench::matmuls(&mixed, |l| l.advised(batch), batch, &memory);
            show("half", self.overlapped(&mut sequence, &matmuls));
            let tuning = stack.tune(device, &[batch], |_| {}).unwrap();
            let tuned = |linear: Linear<'_>| {
                let name = tuning.plan(linear.form(), linear.shape(), batch);
                name.unwrap()
            };
            let matmuls = Bench::matmuls(&coded, |l| l.plan(tuned(l)).unwrap(), batch, &memory);
            show("tuned", self.overlapped(&mut sequence, &matmuls));
            println!(" ({}, {})", tuned(coded[0][0]), tuned(coded[0][2]));
        }
        let prepare = |pipeline| {
            let matmuls = Bench::matmuls(&coded, by(pipeline), 1, &memory);
            self.one_after_the_other(sequence.workspace(), &matmuls) / LAYERS as f64
        };
        let [whole, exponents, palette] = [
            Pipeline::WholeDecode,
            Pipeline::ExponentDecode,
            Pipeline::PaletteTranscode,
        ]
        .map(prepare);
        println!(
            "a layer at batch 1, one after the other: whole decode {:.0} us, exponents {:.0} us, palette {:.0} us",
            whole * 1e6,
            exponents * 1e6,
            palette * 1e6
        );
    }

    /// A stack of layers of one small shape, in fragment form and coded, launched one by one and
    /// captured.
    fn captured(&self, rows: usize, columns: usize) {
        let stream = &self.stream;
        let shape = Shape::new(rows as u64, columns as u64).unwrap();
        let weights = llama_shaped(rows, columns, 3);
        let source = file_of(&weights);
        let matrices: Vec<Matrix> = (0..96)
            .map(|_| self.matrix(&weights, &source, shape))
            .collect();
        let x = upload(stream, &llama_shaped(16, columns, 99));
        let y = stream.alloc_zeros::<u8>(2 * 16 * rows).unwrap();
        let mut sequence = self.sequence(&[shape]);
        for batch in [1u32, 4, 16] {
            print!("{rows} x {columns}, batch {batch}, us a layer, launched and captured:");
            for (name, pipeline) in [
                ("fragments", Pipeline::Direct),
                ("whole_decode", Pipeline::WholeDecode),
                ("exponent_decode", Pipeline::ExponentDecode),
            ] {
                let (x_values, y_bytes) = (columns as u64, 2 * rows as u64);
                let matmuls: Vec<Matmul<'_>> = (matrices.iter())
                    .map(|matrix| {
                        let (x, y) = (x.device_ptr(stream).0, y.device_ptr(stream).0);
                        // SAFETY: for both views: as in `matmuls`.
                        let values = unsafe { View::at_address(x, u64::from(batch) * x_values) };
                        Matmul {
                            plan: matrix.linear(pipeline).plan(pipeline).unwrap(),
                            x: Activations { values, batch },
                            // SAFETY: as above.
                            y: unsafe { ViewMut::at_address(y, u64::from(batch) * y_bytes) },
                        }
                    })
                    .collect();
                let one_by_one = self.overlapped(&mut sequence, &matmuls);
                // SAFETY: as in `overlapped`.
                let mut captured = unsafe { sequence.capture(stream, &matmuls).unwrap() };
                let together = per_launch(stream, 1, |_| {
                    // SAFETY: as in `overlapped`.
                    unsafe { captured.launch().unwrap() }
                });
                let each = 1e6 / matrices.len() as f64;
                print!(" {name} {:.2} {:.2};", one_by_one * each, together * each);
            }
            println!();
        }
    }
}
