//! Matmuls with the norm before them, and the activation after them.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use half::bf16;
use unweight_format::Palette;
use unweight_gpu::GpuError;
use unweight_gpu::cudarc::driver::CudaSlice;
use unweight_matmul::{
    Activations, Fragments, FusedMatmul, Kernel, Linear, MatmulError, Norm, Pipeline, Residual,
    Shape, SharedWorkspace, View, ViewMut,
};
use unweight_testkit::{bytes_of, weights_in};

use crate::OnAGpu;
use crate::matmul::{activations, matrix, multiplied, multiplied_by};

const EPSILON: f32 = 1e-5;
const POISON: u8 = 0xee;
const GUARD_BYTES: usize = 256;

/// Memory for so many values that a launch writes, and a guard behind them.
fn poisoned(gpu: &OnAGpu, values: usize) -> CudaSlice<u8> {
    let bytes = vec![POISON; 2 * values + GUARD_BYTES];
    gpu.stream.clone_htod(&bytes).unwrap()
}

/// The values, after the guard was found whole behind them.
fn values_of(gpu: &OnAGpu, memory: &CudaSlice<u8>) -> Vec<bf16> {
    let mut bytes = gpu.stream.clone_dtoh(memory).unwrap();
    gpu.stream.synchronize().unwrap();
    let guard = bytes.split_off(bytes.len() - GUARD_BYTES);
    assert!(guard.iter().all(|&byte| byte == POISON));
    weights_in(&bytes)
}

fn upload(gpu: &OnAGpu, values: &[bf16]) -> CudaSlice<u8> {
    gpu.stream.clone_htod(&bytes_of(values)).unwrap()
}

/// What a fused matmul has written.
#[derive(PartialEq)]
struct Written {
    y: Vec<bf16>,
    normalized: Vec<bf16>,
    sum: Vec<bf16>,
}

/// The inputs of a norm.
struct NormOf {
    weight: Vec<bf16>,
    residual: Option<Vec<bf16>>,
}

impl NormOf {
    fn new(batch: u32, shape: Shape, has_residual: bool) -> NormOf {
        let values = activations(2 * batch + 1, shape);
        let (weight, others) = values.split_at(shape.columns() as usize);
        let residual = others[..others.len() / 2].iter().rev().copied().collect();
        NormOf {
            weight: weight.to_vec(),
            residual: Some(residual).filter(|_| has_residual),
        }
    }

    /// The sums with x, and their norm.
    fn of(&self, x: &[bf16]) -> (Vec<f32>, Vec<f32>) {
        let residual = self.residual.as_ref();
        let sum = |i: usize| x[i].to_f32() + residual.map_or(0.0, |values| values[i].to_f32());
        let sums: Vec<f32> = (0..x.len()).map(sum).collect();
        let columns = self.weight.len();
        let normalized = sums.chunks(columns).flat_map(|row| {
            let squares: f64 = row.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
            let mean = squares / columns as f64 + f64::from(EPSILON);
            let scaled = row.iter().map(move |&s| f64::from(s) / mean.sqrt());
            let weighted = scaled.zip(&self.weight);
            weighted.map(|(s, weight)| s as f32 * weight.to_f32())
        });
        let normalized = normalized.collect();
        (sums, normalized)
    }
}

/// Multiplies three times with one workspace: what a launch leaves there is what the next one needs.
fn multiplied_fused(
    gpu: &OnAGpu,
    fragments: &Fragments,
    x: &[bf16],
    (batch, kernel): (u32, Kernel),
    norm: Option<&NormOf>,
    gated: bool,
) -> Written {
    let (stream, shape) = (&gpu.stream, fragments.shape());
    let workspace = SharedWorkspace::new(&gpu.device, shape.rows()).unwrap();
    let on_device = upload(gpu, x);
    let weight = norm.map(|norm| upload(gpu, &norm.weight));
    let residual = norm.and_then(|norm| norm.residual.as_ref());
    let residual = residual.map(|values| upload(gpu, values));
    let outputs = batch as usize * shape.rows() as usize / if gated { 2 } else { 1 };
    let mut runs = vec![];
    for _ in 0..3 {
        let mut y = poisoned(gpu, outputs);
        let mut normalized = poisoned(gpu, if norm.is_some() { x.len() } else { 0 });
        let mut sum = poisoned(gpu, if residual.is_some() { x.len() } else { 0 });
        {
            let normalized = ViewMut::slice(&mut normalized, stream);
            let sum = ViewMut::slice(&mut sum, stream);
            let mut fused = FusedMatmul::new(fragments).with_kernel(kernel);
            if let Some(weight) = &weight {
                fused = fused.with_norm(Norm {
                    weight: View::slice(weight, stream),
                    epsilon: EPSILON,
                    residual: residual.as_ref().map(|values| Residual {
                        values: View::slice(values, stream),
                        sum: &sum,
                    }),
                    normalized: &normalized,
                });
            }
            if gated {
                fused = fused.with_silu_mul().unwrap();
            }
            let values = View::slice(&on_device, stream);
            let x = Activations { values, batch };
            let y = ViewMut::slice(&mut y, stream);
            // SAFETY: all of it is there until the stream was waited for.
            unsafe { fused.multiply_on(stream, &workspace, x, &y) }.unwrap();
        }
        runs.push(Written {
            y: values_of(gpu, &y),
            normalized: values_of(gpu, &normalized),
            sum: values_of(gpu, &sum),
        });
    }
    let first = runs.swap_remove(0);
    assert!(
        runs.iter().all(|run| *run == first),
        "results differ from run to run"
    );
    first
}

fn fragments_of(gpu: &OnAGpu, shape: Shape) -> Fragments {
    let palette = Palette::new(8, std::array::from_fn(|i| 110 + i as u8)).unwrap();
    let weights = upload(gpu, &matrix(shape, 100));
    let source = View::slice(&weights, &gpu.stream);
    Fragments::arrange(&gpu.device, &source, shape, palette).unwrap()
}

/// Shapes with fewer blocks than rows of x, with groups that many blocks share, and with rows that
/// end inside of a group.
const SHAPES: [(u64, u64); 6] = [
    (64, 64),
    (40, 192),
    (1000, 4096),
    (128, 14_336),
    (6144, 4096),
    (28_672, 1088),
];
/// Rows of x and kernels, which take them in one launch or in several.
const BATCHES: [(u32, Kernel); 14] = [
    (1, Kernel::Estimated),
    (3, Kernel::SmallBatch),
    (8, Kernel::Estimated),
    (9, Kernel::SmallBatch),
    (16, Kernel::SmallBatch),
    (17, Kernel::Estimated),
    (33, Kernel::SmallBatch),
    (64, Kernel::SmallBatch),
    (70, Kernel::SmallBatch),
    (7, Kernel::LargeBatch { tile: 32 }),
    (100, Kernel::LargeBatch { tile: 64 }),
    (128, Kernel::LargeBatch { tile: 128 }),
    (270, Kernel::LargeBatch { tile: 256 }),
    (300, Kernel::Estimated),
];

fn near(found: bf16, expected: f32, roundings: f32) -> bool {
    (found.to_f32() - expected).abs() <= roundings * expected.abs() / 256.0 + 1e-30
}

pub(crate) fn a_norm_and_a_matmul_in_one_launch_equal_both_in_turn(gpu: &OnAGpu) {
    for (rows, columns) in SHAPES {
        let shape = Shape::new(rows, columns).unwrap();
        let fragments = fragments_of(gpu, shape);
        for (batch, kernel) in BATCHES {
            for has_residual in [false, true] {
                let case = format!("{rows} x {columns}, {batch}, {kernel:?}, {has_residual}");
                let x = activations(batch, shape);
                let norm = NormOf::new(batch, shape, has_residual);
                let found =
                    multiplied_fused(gpu, &fragments, &x, (batch, kernel), Some(&norm), false);
                let (sums, normalized) = norm.of(&x);
                for (found, &expected) in found.normalized.iter().zip(&normalized) {
                    // Two roundings to BF16, the second of a factor.
                    assert!(near(*found, expected, 2.02), "{case}: {found} {expected}");
                }
                let rounded = sums.iter().map(|&sum| bf16::from_f32(sum));
                assert!(
                    found
                        .sum
                        .iter()
                        .copied()
                        .eq(rounded.filter(|_| has_residual))
                );
                let plan = Linear::new(&fragments).plan(Pipeline::Direct).unwrap();
                let plan = plan.with_kernel(kernel);
                let y = multiplied_by(gpu, plan, &found.normalized, batch);
                assert!(found.y == y, "{case}");
            }
        }
    }
}

pub(crate) fn a_gated_matmul_is_as_near_as_its_sums(gpu: &OnAGpu) {
    for (rows, columns) in [(64, 64), (192, 192), (1024, 4096), (28_672, 1088)] {
        let shape = Shape::new(rows, columns).unwrap();
        let fragments = fragments_of(gpu, shape);
        for (batch, kernel) in BATCHES {
            let x = activations(batch, shape);
            for norm in [None, Some(NormOf::new(batch, shape, true))] {
                let found =
                    multiplied_fused(gpu, &fragments, &x, (batch, kernel), norm.as_ref(), true);
                let x = norm.as_ref().map_or(&x, |_| &found.normalized);
                let plain = multiplied(gpu, &fragments, x, batch, Pipeline::Direct);
                let half = rows as usize / 2;
                for (row, found) in plain.chunks(2 * half).zip(found.y.chunks(half)) {
                    let (gates, ups) = row.split_at(half);
                    let largest = row.iter().map(|y| y.to_f32().abs()).fold(0.0, f32::max);
                    for ((gate, up), found) in gates.iter().zip(ups).zip(found) {
                        let gate = gate.to_f32();
                        let expected = gate / (1.0 + (-gate).exp()) * up.to_f32();
                        // Sums in another order may round to the neighbour.
                        let error = (found.to_f32() - expected).abs();
                        let most = expected.abs() / 64.0 + largest * largest * 1e-6;
                        assert!(
                            error <= most,
                            "{rows} x {columns}, {batch}, {kernel:?}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}

pub(crate) fn a_fused_matmul_of_another_size_is_an_error(gpu: &OnAGpu) {
    let (stream, shape) = (&gpu.stream, Shape::new(96, 64).unwrap());
    let fragments = fragments_of(gpu, shape);
    let workspace = SharedWorkspace::new(&gpu.device, shape.rows()).unwrap();
    assert!(matches!(
        FusedMatmul::new(&fragments).with_silu_mul(),
        Err(MatmulError::NotGated { rows: 96 })
    ));
    let x = stream.alloc_zeros::<u8>(2 * 65 * 64).unwrap();
    let weight = stream.alloc_zeros::<u8>(2 * 64).unwrap();
    let mut y = stream.alloc_zeros::<u8>(2 * 65 * 96).unwrap();
    let y = ViewMut::slice(&mut y, stream);
    let mut rows = [(); 2].map(|()| stream.alloc_zeros::<u8>(2 * 2 * 64).unwrap());
    let [normalized, sum] = &mut rows;
    let (normalized, sum) = (
        ViewMut::slice(normalized, stream),
        ViewMut::slice(sum, stream),
    );
    let values = View::slice(&x, stream);
    let multiply = |batch, weight, residual| {
        let norm = Norm {
            weight,
            epsilon: EPSILON,
            residual: Some(Residual {
                values: residual,
                sum: &sum,
            }),
            normalized: &normalized,
        };
        let fused = FusedMatmul::new(&fragments).with_norm(norm);
        let values = values.first(u64::from(batch) * 64);
        // SAFETY: as in `multiplied_fused`.
        unsafe { fused.multiply_on(stream, &workspace, Activations { values, batch }, &y) }
    };
    let weight = View::slice(&weight, stream);
    let too_short = |result| matches!(result, Err(MatmulError::Gpu(GpuError::WrongLength { .. })));
    multiply(2, weight, values.first(128)).unwrap();
    assert!(too_short(multiply(2, weight, values.first(64))));
    assert!(too_short(multiply(2, weight.first(63), values.first(128))));
    // Memory of two rows.
    assert!(too_short(multiply(3, weight, values.first(192))));
    multiply(0, weight, values.first(0)).unwrap();
    stream.synchronize().unwrap();
}
