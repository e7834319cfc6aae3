//! Matmuls with a norm between them, and with an activation.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use half::bf16;
use unweight_format::Palette;
use unweight_gpu::GpuError;
use unweight_gpu::cudarc::driver::CudaSlice;
use unweight_matmul::{
    Activations, Fragments, FusedMatmul, Kernel, Linear, MatmulError, NormedRows, Pipeline,
    Residual, Shape, SharedWorkspace, View, ViewMut,
};
use unweight_testkit::{bytes_of, weights_in};

use crate::OnAGpu;
use crate::matmul::{activations, matrix, multiplied_by};

const EPSILON: f32 = 1e-5;
const POISON: u8 = 0xee;
const GUARD_BYTES: usize = 256;

/// Memory of so many bytes that a launch writes, and a guard behind them.
fn poisoned(gpu: &OnAGpu, bytes: usize) -> CudaSlice<u8> {
    gpu.stream
        .clone_htod(&vec![POISON; bytes + GUARD_BYTES])
        .unwrap()
}

/// The bytes, after the guard was found whole behind them.
fn written(gpu: &OnAGpu, memory: &CudaSlice<u8>) -> Vec<u8> {
    let mut bytes = gpu.stream.clone_dtoh(memory).unwrap();
    gpu.stream.synchronize().unwrap();
    let guard = bytes.split_off(bytes.len() - GUARD_BYTES);
    assert!(guard.iter().all(|&byte| byte == POISON));
    bytes
}

fn upload(gpu: &OnAGpu, values: &[bf16]) -> CudaSlice<u8> {
    gpu.stream.clone_htod(&bytes_of(values)).unwrap()
}

/// Residual and factors of a norm.
struct NormAfter {
    residual: Vec<bf16>,
    weight: Vec<bf16>,
}

impl NormAfter {
    fn new(batch: u32, rows: usize) -> NormAfter {
        let shape = Shape::new(1, 64).unwrap();
        let count = (batch as usize + 1) * rows;
        let values = activations(count.div_ceil(64) as u32, shape);
        NormAfter {
            residual: values[..batch as usize * rows].to_vec(),
            weight: values[batch as usize * rows..][..rows].to_vec(),
        }
    }
}

/// What a matmul before a norm has written.
#[derive(PartialEq)]
struct BeforeNorm {
    y: Vec<bf16>,
    sum: Vec<bf16>,
    squares: Vec<u8>,
}

fn twice<T: PartialEq>(run: impl Fn() -> T) -> T {
    let (first, second) = (run(), run());
    assert!(first == second, "results differ from run to run");
    first
}

fn multiplied_before_norm(
    gpu: &OnAGpu,
    fragments: &Fragments,
    x: &[bf16],
    (batch, kernel): (u32, Kernel),
    norm: &NormAfter,
) -> BeforeNorm {
    let (stream, shape) = (&gpu.stream, fragments.shape());
    let workspace = SharedWorkspace::new(&gpu.device, shape.rows()).unwrap();
    let on_device = [x, &norm.residual, &norm.weight].map(|values| upload(gpu, values));
    let [x, residual, weight] = &on_device;
    let values = batch as usize * shape.rows() as usize;
    twice(|| {
        let mut memory = [2 * values, 2 * values, values / 4].map(|bytes| poisoned(gpu, bytes));
        {
            let [y, sum, squares] = memory.each_mut().map(|of| ViewMut::slice(of, stream));
            let fused = FusedMatmul::new(fragments).with_kernel(kernel);
            let fused = fused.with_residual(Residual {
                values: View::slice(residual, stream),
                weight: View::slice(weight, stream),
                sum: &sum,
                squares: &squares,
            });
            let values = View::slice(x, stream);
            let x = Activations { values, batch };
            // SAFETY: all of it is there until the stream was waited for.
            unsafe { fused.unwrap().multiply_on(stream, &workspace, x, &y) }.unwrap();
        }
        let [y, sum, squares] = memory.each_ref().map(|memory| written(gpu, memory));
        BeforeNorm {
            y: weights_in(&y),
            sum: weights_in(&sum),
            squares,
        }
    })
}

fn multiplied_fused(
    gpu: &OnAGpu,
    fragments: &Fragments,
    x: &[bf16],
    (batch, kernel): (u32, Kernel),
    squares: Option<&[u8]>,
    gated: bool,
) -> Vec<bf16> {
    let (stream, shape) = (&gpu.stream, fragments.shape());
    let workspace = SharedWorkspace::new(&gpu.device, shape.rows()).unwrap();
    let x = upload(gpu, x);
    let mut squares = squares.map(|squares| stream.clone_htod(squares).unwrap());
    let squares = squares.as_mut().map(|of| ViewMut::slice(of, stream));
    let outputs = batch as usize * shape.rows() as usize / if gated { 2 } else { 1 };
    twice(|| {
        let mut y = poisoned(gpu, 2 * outputs);
        {
            let mut fused = FusedMatmul::new(fragments).with_kernel(kernel);
            if let Some(squares) = &squares {
                fused = fused.with_normed_rows(NormedRows {
                    squares,
                    epsilon: EPSILON,
                });
            }
            if gated {
                fused = fused.with_silu_mul().unwrap();
            }
            let values = View::slice(&x, stream);
            let x = Activations { values, batch };
            let y = ViewMut::slice(&mut y, stream);
            // SAFETY: as in `multiplied_before_norm`.
            unsafe { fused.multiply_on(stream, &workspace, x, &y) }.unwrap();
        }
        weights_in(&written(gpu, &y))
    })
}

fn by_kernel(
    gpu: &OnAGpu,
    fragments: &Fragments,
    x: &[bf16],
    (batch, kernel): (u32, Kernel),
) -> Vec<bf16> {
    let plan = Linear::new(fragments).plan(Pipeline::Direct).unwrap();
    multiplied_by(gpu, plan.with_kernel(kernel), x, batch)
}

fn floats_in(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks(4);
    words
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

fn fragments_of(gpu: &OnAGpu, shape: Shape) -> Fragments {
    let palette = Palette::new(8, std::array::from_fn(|i| 110 + i as u8)).unwrap();
    let weights = upload(gpu, &matrix(shape, 100));
    let source = View::slice(&weights, &gpu.stream);
    Fragments::arrange(&gpu.device, &source, shape, palette).unwrap()
}

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
    (250, Kernel::LargeBatch { tile: 256 }),
    (256, Kernel::Estimated),
];

/// Groups that many blocks share, and rows that end inside of a group.
const SHAPES: [(u64, u64); 5] = [
    (48, 64),
    (1008, 4096),
    (128, 14_336),
    (4096, 4096),
    (28_672, 1088),
];

pub(crate) fn a_residual_and_the_squares_of_the_sum_follow_a_matmul(gpu: &OnAGpu) {
    for (rows, columns) in SHAPES {
        let shape = Shape::new(rows, columns).unwrap();
        let fragments = fragments_of(gpu, shape);
        for way in BATCHES {
            let case = format!("{rows} x {columns}, {way:?}");
            let x = activations(way.0, shape);
            let norm = NormAfter::new(way.0, rows as usize);
            let found = multiplied_before_norm(gpu, &fragments, &x, way, &norm);
            let y = by_kernel(gpu, &fragments, &x, way);
            let sums = y.iter().zip(&norm.residual);
            let sums: Vec<f32> = sums.map(|(y, r)| y.to_f32() + r.to_f32()).collect();
            let rounded: Vec<bf16> = sums.iter().map(|&sum| bf16::from_f32(sum)).collect();
            assert!(found.sum == rounded, "{case}");
            let weights = norm.weight.iter().cycle();
            let scaled = sums.iter().zip(weights);
            let scaled: Vec<bf16> = scaled
                .map(|(sum, weight)| bf16::from_f32(sum * weight.to_f32()))
                .collect();
            assert!(found.y == scaled, "{case}");
            for (found, sums) in floats_in(&found.squares).iter().zip(sums.chunks(16)) {
                let expected: f32 = sums.iter().map(|sum| sum * sum).sum();
                assert!((found - expected).abs() <= 1e-5 * expected, "{case}");
            }
        }
    }
}

/// The norm of each row, by sums of squares of 16 columns.
fn scales(squares: &[u8], columns: usize) -> Vec<f32> {
    let of_rows = floats_in(squares);
    let of_rows = of_rows.chunks(columns / 16);
    let means = of_rows.map(|row| row.iter().sum::<f32>() / columns as f32);
    means.map(|mean| 1.0 / (mean + EPSILON).sqrt()).collect()
}

fn squares_of(batch: u32, columns: usize) -> Vec<u8> {
    let numbers = 0..batch as usize * columns / 16;
    let squares = numbers.map(|i| (i * 7919 % 1000) as f32 * 0.01 + 1.0);
    squares.flat_map(f32::to_le_bytes).collect()
}

pub(crate) fn a_matmul_after_a_norm_scales_its_sums(gpu: &OnAGpu) {
    for (rows, columns) in SHAPES {
        let shape = Shape::new(rows, columns).unwrap();
        let fragments = fragments_of(gpu, shape);
        for way in BATCHES {
            let x = activations(way.0, shape);
            let squares = squares_of(way.0, columns as usize);
            let found = multiplied_fused(gpu, &fragments, &x, way, Some(&squares), false);
            let plain = by_kernel(gpu, &fragments, &x, way);
            let scales = scales(&squares, columns as usize);
            let rows_of_y = found.chunks(rows as usize).zip(plain.chunks(rows as usize));
            for ((found, plain), scale) in rows_of_y.zip(scales) {
                for (found, plain) in found.iter().zip(plain) {
                    // Each is rounded once.
                    let expected = plain.to_f32() * scale;
                    let error = (found.to_f32() - expected).abs();
                    let case = format!("{rows} x {columns}, {way:?}: {found} {expected}");
                    assert!(error <= expected.abs() / 100.0 + 1e-30, "{case}");
                }
            }
        }
    }
}

pub(crate) fn a_gated_matmul_is_as_near_as_its_sums(gpu: &OnAGpu) {
    for (rows, columns) in [(64, 64), (192, 192), (1024, 4096), (28_672, 1088)] {
        let shape = Shape::new(rows, columns).unwrap();
        let fragments = fragments_of(gpu, shape);
        for way in BATCHES {
            let x = activations(way.0, shape);
            let plain = by_kernel(gpu, &fragments, &x, way);
            for squares in [None, Some(squares_of(way.0, columns as usize))] {
                let squares = squares.as_deref();
                let found = multiplied_fused(gpu, &fragments, &x, way, squares, true);
                let scales = match squares {
                    Some(squares) => scales(squares, columns as usize),
                    None => vec![1.0; way.0 as usize],
                };
                let half = rows as usize / 2;
                let rows_of_y = plain.chunks(2 * half).zip(found.chunks(half));
                for ((row, found), scale) in rows_of_y.zip(scales) {
                    let (gates, ups) = row.split_at(half);
                    let largest = row.iter().map(|y| (y.to_f32() * scale).abs());
                    let largest = largest.fold(0.0, f32::max);
                    for ((gate, up), found) in gates.iter().zip(ups).zip(found) {
                        let (gate, up) = (gate.to_f32() * scale, up.to_f32() * scale);
                        let expected = gate / (1.0 + (-gate).exp()) * up;
                        // Sums in another order, and before the scale, may round to neighbours.
                        let error = (found.to_f32() - expected).abs();
                        let most = expected.abs() / 32.0 + largest * largest * 1e-5;
                        let case = format!("{rows} x {columns}, {way:?}: {found} {expected}");
                        assert!(error <= most, "{case}");
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
    let fused = FusedMatmul::new(&fragments);
    assert!(matches!(
        fused.with_silu_mul(),
        Err(MatmulError::NotGated { rows: 96 })
    ));
    let x = stream.alloc_zeros::<u8>(2 * 257 * 96).unwrap();
    let values = View::slice(&x, stream);
    let mut memory = [2 * 257 * 96, 2 * 2 * 96, 4 * 2 * 6].map(|bytes| poisoned(gpu, bytes));
    let [y, sum, squares] = memory.each_mut().map(|of| ViewMut::slice(of, stream));
    let residual = |weight, rows| Residual {
        values: values.first(rows),
        weight: values.first(weight),
        sum: &sum,
        squares: &squares,
    };
    let narrow = fragments_of(gpu, Shape::new(40, 64).unwrap());
    assert!(matches!(
        FusedMatmul::new(&narrow).with_residual(residual(40, 80)),
        Err(MatmulError::NoResidual { rows: 40 })
    ));
    let multiply = |fused: FusedMatmul<'_>, batch| {
        let values = values.first(u64::from(batch) * 64);
        // SAFETY: as in `multiplied_before_norm`.
        unsafe { fused.multiply_on(stream, &workspace, Activations { values, batch }, &y) }
    };
    let with = |weight, rows| fused.with_residual(residual(weight, rows)).unwrap();
    let is_length = |result| matches!(result, Err(MatmulError::Gpu(GpuError::WrongLength { .. })));
    multiply(with(96, 2 * 96), 2).unwrap();
    multiply(with(96, 0), 0).unwrap();
    assert!(is_length(multiply(with(95, 2 * 96), 2)));
    assert!(is_length(multiply(with(96, 96), 2)));
    // The memory is that of two rows, and a guard.
    assert!(is_length(multiply(with(96, 100 * 96), 100)));
    let normed = fused.with_normed_rows(NormedRows {
        squares: &squares,
        epsilon: EPSILON,
    });
    multiply(normed, 2).unwrap();
    assert!(is_length(multiply(normed, 100)));
    assert!(matches!(
        multiply(normed, 257),
        Err(MatmulError::TooManyScaledRows { batch: 257 })
    ));
    stream.synchronize().unwrap();
}
