//! Fragment form, and matmuls with compressed weights.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use half::bf16;
use unweight_format::{Encoding, Palette};
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream, sys};
use unweight_gpu::{GpuError, cudarc};
use unweight_matmul::layout::arrange;
use unweight_matmul::{
    Activations, CompressedMatrix, Direct, Fragments, Kernel, Linear, Matmul, MatmulError, NoPlan,
    Pipeline, PlainMatmul, Plan, Sequence, Shape, View, ViewMut, WeightForm, Workspace,
    WorkspaceLayout,
};
use unweight_testkit::{bytes_of, weights_in};

use crate::OnAGpu;
use crate::files::{canonical, file_of, on_device};

/// Bytes of the output's poison, and of the guard behind it.
const POISON: u8 = 0xee;
const GUARD_BYTES: usize = 256;

fn palette(exponents: impl Fn(u8) -> u8) -> Palette {
    Palette::new(8, std::array::from_fn(|i| exponents(i as u8))).unwrap()
}

fn consecutive() -> Palette {
    palette(|i| 110 + i)
}

/// With gaps in it, so that it takes the general kernels.
fn gapped() -> Palette {
    palette(|i| if i < 8 { 100 + i } else { 104 + i })
}

fn random(place: usize) -> u64 {
    (place as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Exponents of 100 to 124 mostly, and of any value up to 0.25 once in `rare`.
pub(crate) fn matrix(shape: Shape, rare: u64) -> Vec<bf16> {
    (0..shape.weights() as usize)
        .map(|place| {
            let bits = random(place) >> 20;
            let exponent = match bits >> 20 {
                other if other % rare == 0 => (other >> 8) % 125,
                _ => 119 - u64::from(bits.trailing_zeros().min(9)),
            };
            bf16::from_bits((exponent << 7 | bits & 0x807f) as u16)
        })
        .collect()
}

pub(crate) fn activations(batch: u32, shape: Shape) -> Vec<bf16> {
    let count = u64::from(batch) * shape.columns();
    (0..count as usize)
        .map(|place| bf16::from_f32((random(place ^ 0x5555) >> 40) as f32 / (1 << 23) as f32 - 1.0))
        .collect()
}

fn upload(stream: &Arc<CudaStream>, values: &[bf16]) -> CudaSlice<u8> {
    stream.clone_htod(&bytes_of(values)).unwrap()
}

fn arranged(gpu: &OnAGpu, weights: &[bf16], shape: Shape, palette: Palette) -> Fragments {
    let matrix = upload(&gpu.stream, weights);
    let source = View::slice(&matrix, &gpu.stream);
    Fragments::arrange(&gpu.device, &source, shape, palette).unwrap()
}

/// y by the plan that this pipeline has for the fragments.
pub(crate) fn multiplied(
    gpu: &OnAGpu,
    fragments: &Fragments,
    x: &[bf16],
    batch: u32,
    pipeline: Pipeline,
) -> Vec<bf16> {
    let linear = Linear::new(fragments);
    multiplied_by(gpu, linear.plan(pipeline).unwrap(), x, batch)
}

/// y, after a guard was found whole behind it.
pub(crate) fn multiplied_by(gpu: &OnAGpu, plan: Plan<'_>, x: &[bf16], batch: u32) -> Vec<bf16> {
    let stream = &gpu.stream;
    let bytes = 2 * u64::from(batch) * plan.shape().rows();
    let x = upload(stream, x);
    let mut y = stream
        .clone_htod(&vec![POISON; bytes as usize + GUARD_BYTES])
        .unwrap();
    let mut workspace = Workspace::new(&gpu.device, stream, &[plan.workspace_need()]).unwrap();
    let mut results = vec![];
    // Twice with one workspace: what a launch leaves there is what the next one needs.
    for _ in 0..2 {
        let values = View::slice(&x, stream);
        let (x, output) = (
            Activations { values, batch },
            ViewMut::slice(&mut y, stream),
        );
        // SAFETY: all of it is there until the stream was waited for.
        unsafe { plan.multiply(stream, &mut workspace, x, &output) }.unwrap();
        let mut written = stream.clone_dtoh(&y).unwrap();
        stream.synchronize().unwrap();
        assert!(written[bytes as usize..].iter().all(|&byte| byte == POISON));
        written.truncate(bytes as usize);
        results.push(written);
    }
    assert!(results[0] == results[1], "results differ from run to run");
    weights_in(&results[0])
}

pub(crate) fn compressed(gpu: &OnAGpu, weights: &[bf16], shape: Shape) -> CompressedMatrix {
    let file = file_of(canonical(weights, Encoding::Huffman, 12));
    let tensor = on_device(&gpu.device, &file);
    CompressedMatrix::new(&gpu.device, tensor, shape).unwrap()
}

/// The largest error, in units of what rounding to BF16 and FP32 sums allow.
pub(crate) fn worst_error(y: &[bf16], weights: &[bf16], x: &[bf16], shape: Shape) -> f64 {
    worst_error_of_some(y, weights, x, shape, 1)
}

/// As `worst_error`, of every so many rows.
fn worst_error_of_some(y: &[bf16], weights: &[bf16], x: &[bf16], shape: Shape, step: usize) -> f64 {
    let (rows, columns) = (shape.rows() as usize, shape.columns() as usize);
    let mut worst = 0f64;
    for (token, x) in x.chunks(columns).enumerate() {
        for row in (0..rows).step_by(step) {
            let of_row = &weights[row * columns..][..columns];
            let (mut exact, mut magnitude) = (0f64, 0f64);
            for (w, x) in of_row.iter().zip(x) {
                let product = w.to_f64() * x.to_f64();
                exact += product;
                magnitude += product.abs();
            }
            let error = (y[token * rows + row].to_f64() - exact).abs();
            worst = worst.max(error / (exact.abs() / 256.0 + magnitude * 1e-6));
        }
    }
    worst
}

pub(crate) fn kernels_write_fragment_form_as_the_pure_functions_do(gpu: &OnAGpu) {
    for (rows, columns) in [(1, 64), (17, 192), (1000, 4096), (64, 14_336)] {
        let shape = Shape::new(rows, columns).unwrap();
        for palette in [consecutive(), gapped()] {
            let weights = matrix(shape, 100);
            let bits: Vec<u16> = weights.iter().map(|weight| weight.to_bits()).collect();
            let fragments = arranged(gpu, &weights, shape, palette);
            let found = fragments.download().unwrap();
            assert!(
                found == arrange(&bits, shape, &palette),
                "{rows} x {columns}"
            );
            assert!(restored(gpu, &fragments) == weights);
        }
    }
}

/// The matrix, after a guard was found whole behind it.
pub(crate) fn restored(gpu: &OnAGpu, fragments: &Fragments) -> Vec<bf16> {
    let stream = &gpu.stream;
    let bytes = 2 * fragments.shape().weights() as usize;
    let poisoned = vec![POISON; bytes + GUARD_BYTES];
    let mut memory = stream.clone_htod(&poisoned).unwrap();
    let output = ViewMut::slice(&mut memory, stream);
    // SAFETY: as in `multiplied_by`.
    unsafe { fragments.restore(stream, &output) }.unwrap();
    let restored = stream.clone_dtoh(&memory).unwrap();
    stream.synchronize().unwrap();
    assert!(restored[bytes..].iter().all(|&byte| byte == POISON));
    weights_in(&restored[..bytes])
}

pub(crate) fn matmuls_are_as_near_as_fp32_sums_allow(gpu: &OnAGpu) {
    let shapes = [
        (1, 64),
        (63, 64),
        (64, 128),
        (65, 192),
        (200, 1088),
        (4096, 64),
        (48, 14_336),
    ];
    for (rows, columns) in shapes {
        let shape = Shape::new(rows, columns).unwrap();
        for (palette, rare) in [
            (consecutive(), 1 << 40),
            (consecutive(), 20),
            (gapped(), 50),
        ] {
            let weights = matrix(shape, rare);
            let fragments = arranged(gpu, &weights, shape, palette);
            for batch in [1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 130, 300] {
                let x = activations(batch, shape);
                let y = multiplied(gpu, &fragments, &x, batch, Pipeline::Direct);
                let worst = worst_error(&y, &weights, &x, shape);
                assert!(worst <= 1.0, "{rows} x {columns}, batch {batch}: {worst}");
            }
        }
    }
}

/// More tiles than fit the device at a time, whose columns blocks share, and more rows of x than a
/// launch takes.
pub(crate) fn matmuls_of_many_launches_are_as_near_as_fp32_sums_allow(gpu: &OnAGpu) {
    for (rows, columns, batch) in [(9000, 4096, 100), (4096, 4096, 700), (72, 1024, 4200)] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights = matrix(shape, 300);
        let x = activations(batch, shape);
        for palette in [consecutive(), gapped()] {
            let fragments = arranged(gpu, &weights, shape, palette);
            let y = multiplied(gpu, &fragments, &x, batch, Pipeline::Direct);
            let worst = worst_error_of_some(&y, &weights, &x, shape, 61);
            assert!(worst <= 1.0, "{rows} x {columns}, batch {batch}: {worst}");
        }
    }
}

/// Sums of small integers are exact in any order, so that every kernel has to give the same bits.
pub(crate) fn every_kernel_gives_the_same_where_sums_are_exact(gpu: &OnAGpu) {
    // Powers of two from 1/8 to 8, and zeros, which no palette has.
    let small = |place: usize| {
        let bits = (place as u32).wrapping_mul(0x9e37_79b1) >> 16;
        let power = bf16::from_bits((((bits >> 1) % 7 + 124) << 7 | bits << 15) as u16);
        if place.is_multiple_of(301) {
            bf16::ZERO
        } else {
            power
        }
    };
    // Tiles whole and shared, an odd group of rows at the end, and fewer tiles than blocks.
    for (rows, columns, batch) in [
        (18_056, 1536, 300),
        (4096, 3072, 700),
        (8 * 131, 3136, 90),
        (264, 3072, 5),
    ] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights: Vec<bf16> = (0..shape.weights() as usize).map(small).collect();
        let x: Vec<bf16> = (7..)
            .take(batch as usize * columns as usize)
            .map(small)
            .collect();
        for palette in [palette(|i| 120 + i), palette(|i| 119 + i + i / 12)] {
            let fragments = arranged(gpu, &weights, shape, palette);
            let linear = Linear::new(&fragments);
            let direct = linear.plan(Pipeline::Direct).unwrap();
            let small_batch = direct.with_kernel(Kernel::SmallBatch);
            let expected = multiplied_by(gpu, small_batch, &x, batch);
            assert!(worst_error_of_some(&expected, &weights, &x, shape, 1021) <= 1.0);
            for plan in linear.plans(batch) {
                let name = plan.name();
                if name.pipeline == Pipeline::Direct {
                    let same = multiplied_by(gpu, plan, &x, batch) == expected;
                    assert!(same, "{rows} x {columns}, batch {batch}: {name}");
                }
            }
        }
    }
}

/// Infinities and NaNs are weights like others: rebuilt, not approximated.
pub(crate) fn weights_that_are_no_numbers_reach_their_rows_alone(gpu: &OnAGpu) {
    let shape = Shape::new(40, 256).unwrap();
    let mut weights = matrix(shape, 1 << 40);
    weights[3 * 256 + 77] = bf16::NAN;
    weights[21 * 256 + 200] = bf16::NEG_INFINITY;
    let fragments = arranged(gpu, &weights, shape, consecutive());
    assert_eq!(fragments.patch_count(), 2);
    let x = vec![bf16::ONE; 256];
    let y = multiplied(gpu, &fragments, &x, 1, Pipeline::Direct);
    for (row, value) in y.iter().enumerate() {
        match row {
            3 => assert!(value.is_nan()),
            21 => assert_eq!(*value, bf16::NEG_INFINITY),
            _ => assert!(value.is_finite()),
        }
    }
}

/// 2^25 absorbs ones that are added to it, so a sum of 2^25, ones and -2^25 depends on its order.
pub(crate) fn sums_are_added_in_the_same_order_in_every_run(gpu: &OnAGpu) {
    let shape = Shape::new(130, 4096).unwrap();
    let weights: Vec<bf16> = (0..shape.weights())
        .map(|place| match place % 4096 {
            0 => bf16::from_f32((1 << 25) as f32),
            4095 => bf16::from_f32(-((1 << 25) as f32)),
            _ => bf16::ONE,
        })
        .collect();
    let fragments = arranged(gpu, &weights, shape, palette(|i| 125 + 2 * i));
    for batch in [1, 8, 20, 64] {
        let x = vec![bf16::ONE; batch as usize * 4096];
        let first = multiplied(gpu, &fragments, &x, batch, Pipeline::Direct);
        for _ in 0..20 {
            assert!(multiplied(gpu, &fragments, &x, batch, Pipeline::Direct) == first);
        }
        // Rows of x are alike, and so are rows of W at the same place in a panel group: the blocks
        // that share the group decide.
        assert!(first.chunks(130).all(|token| token == &first[..130]));
    }
}

/// y by cuBLASLt.
pub(crate) fn plain_matmul(
    gpu: &OnAGpu,
    weights: &[bf16],
    values_of_x: &[bf16],
    batch: u32,
    shape: Shape,
) -> Vec<bf16> {
    let stream = &gpu.stream;
    let (matrix, x) = (upload(stream, weights), upload(stream, values_of_x));
    let bytes = 2 * u64::from(batch) * shape.rows();
    let mut y = stream.alloc_zeros::<u8>(bytes as usize).unwrap();
    let workspace = stream
        .alloc_zeros::<u8>(PlainMatmul::WORKSPACE_BYTES)
        .unwrap();
    let plain = PlainMatmul::new(shape, batch).unwrap();
    let (matrix, x) = (View::slice(&matrix, stream), View::slice(&x, stream));
    let output = ViewMut::slice(&mut y, stream);
    let address = cudarc::driver::DevicePtr::device_ptr(&workspace, stream).0;
    // SAFETY: the workspace is there until the stream was waited for.
    unsafe { plain.multiply(stream, &matrix, &x, &output, address) }.unwrap();
    let y = stream.clone_dtoh(&y).unwrap();
    stream.synchronize().unwrap();
    weights_in(&y)
}

pub(crate) fn errors_are_no_larger_than_cublas_s(gpu: &OnAGpu) {
    for (rows, columns) in [(512, 4096), (256, 14_336)] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights = matrix(shape, 500);
        let fragments = arranged(gpu, &weights, shape, consecutive());
        for batch in [1, 16, 64, 128] {
            let x = activations(batch, shape);
            let ours = multiplied(gpu, &fragments, &x, batch, Pipeline::Direct);
            let plain = plain_matmul(gpu, &weights, &x, batch, shape);
            let error = |y: &[bf16]| worst_error(y, &weights, &x, shape);
            let (ours, plain) = (error(&ours), error(&plain));
            println!("{rows} x {columns}, batch {batch}: {ours:.4}, cuBLASLt {plain:.4}");
            assert!(ours <= 1.02 * plain);
        }
    }
}

pub(crate) fn whole_decode_equals_cublas_to_the_bit(gpu: &OnAGpu) {
    let shape = Shape::new(1000, 4096).unwrap();
    let weights = matrix(shape, 1000);
    let fragments = arranged(gpu, &weights, shape, consecutive());
    for batch in [1, 16, 100] {
        let x = activations(batch, shape);
        let found = multiplied(gpu, &fragments, &x, batch, Pipeline::WholeDecode);
        let expected = plain_matmul(gpu, &weights, &x, batch, shape);
        assert!(found == expected, "batch {batch}");
    }
}

/// Launches begin while those before them end.
pub(crate) fn many_matmuls_in_a_row_equal_each_alone(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    let shapes = [(4096, 1024), (1024, 4096), (192, 1024), (1024, 192)];
    let shapes = shapes.map(|(rows, columns)| Shape::new(rows, columns).unwrap());
    let layers: Vec<Fragments> = shapes
        .iter()
        .map(|&shape| arranged(gpu, &matrix(shape, 200), shape, consecutive()))
        .collect();
    let batch = 5;
    let alone =
        |input: &[bf16], fragments| multiplied(gpu, fragments, input, batch, Pipeline::Direct);
    let first = activations(batch, shapes[0]);
    let mut expected = first.clone();
    for fragments in &layers {
        expected = alone(&expected, fragments);
    }
    let needs = shapes.map(|shape| Pipeline::Direct.workspace_need(shape));
    let mut workspace = Workspace::new(&gpu.device, stream, &needs).unwrap();
    for _ in 0..10 {
        let mut memory = upload(stream, &first);
        for fragments in &layers {
            let bytes = 2 * u64::from(batch) * fragments.shape().rows();
            let mut y = stream.alloc_zeros::<u8>(bytes as usize).unwrap();
            let (values, output) = (View::slice(&memory, stream), ViewMut::slice(&mut y, stream));
            let plan = Plan::from(Direct::new(fragments));
            let x = Activations { values, batch };
            // SAFETY: as in `multiplied_by`; what is dropped is freed in the stream's order.
            unsafe { plan.multiply(stream, &mut workspace, x, &output) }.unwrap();
            memory = y;
        }
        let found = stream.clone_dtoh(&memory).unwrap();
        stream.synchronize().unwrap();
        assert!(weights_in(&found) == expected);
    }
}

/// Exponents are decoded, and both planes multiplied.
pub(crate) fn matmuls_of_planes_are_as_near_as_fp32_sums_allow(gpu: &OnAGpu) {
    for (rows, columns) in [
        (65, 192),
        (200, 1088),
        (4096, 64),
        (48, 14_336),
        (1001, 4096),
    ] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights = matrix(shape, 20);
        let matrix = compressed(gpu, &weights, shape);
        let linear = Linear::new(&matrix);
        for batch in [1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 130] {
            let x = activations(batch, shape);
            let plan = linear.plan(Pipeline::ExponentDecode).unwrap();
            let y = multiplied_by(gpu, plan, &x, batch);
            let worst = worst_error(&y, &weights, &x, shape);
            assert!(worst <= 1.0, "{rows} x {columns}, batch {batch}: {worst}");
        }
    }
}

/// A coded matrix that is transcoded gives the bits of its fragments, and one that is decoded whole
/// the bits of cuBLASLt.
pub(crate) fn compressed_matrices_multiply_as_plain_ones_do(gpu: &OnAGpu) {
    for (rows, columns) in [(65, 192), (1000, 4096), (48, 14_336)] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights = matrix(shape, 100);
        let matrix = compressed(gpu, &weights, shape);
        assert!(matrix.has_fragment_form());
        let fragments = arranged(gpu, &weights, shape, *matrix.palette().unwrap());
        let linear = Linear::new(&matrix);
        for batch in [1, 5, 64, 200] {
            let x = activations(batch, shape);
            let plan = linear.plan(Pipeline::PaletteTranscode).unwrap();
            let found = multiplied_by(gpu, plan, &x, batch);
            let expected = multiplied(gpu, &fragments, &x, batch, Pipeline::Direct);
            assert!(found == expected, "{rows} x {columns}, batch {batch}");
            let plan = linear.plan(Pipeline::WholeDecode).unwrap();
            let found = multiplied_by(gpu, plan, &x, batch);
            let expected = plain_matmul(gpu, &weights, &x, batch, shape);
            assert!(found == expected, "{rows} x {columns}, batch {batch}");
        }
    }
}

/// Matmuls in any mix of pipelines.
pub(crate) fn a_sequence_equals_its_matmuls(gpu: &OnAGpu) {
    use Pipeline::{Direct, ExponentDecode, PaletteTranscode, WholeDecode};
    // Square, so that layers may follow one another in any order; each of its own weights.
    let shape = Shape::new(1024, 1024).unwrap();
    let of_layer = |layer: usize| -> Vec<bf16> {
        let mut weights = matrix(shape, 200);
        weights.rotate_left(1000 * layer);
        weights
    };
    let coded: Vec<CompressedMatrix> = (0..LAYERS)
        .map(|layer| compressed(gpu, &of_layer(layer), shape))
        .collect();
    let fragments: Vec<Fragments> = (0..LAYERS)
        .map(|layer| {
            let palette = *coded[layer].palette().unwrap();
            arranged(gpu, &of_layer(layer), shape, palette)
        })
        .collect();
    let plan = |layer: usize, pipeline: Pipeline| {
        let linear = match pipeline {
            Direct => Linear::new(&fragments[layer]),
            _ => Linear::new(&coded[layer]),
        };
        linear.plan(pipeline).unwrap()
    };
    let mixes = [
        [
            WholeDecode,
            ExponentDecode,
            PaletteTranscode,
            WholeDecode,
            ExponentDecode,
            WholeDecode,
        ],
        [
            Direct,
            PaletteTranscode,
            Direct,
            Direct,
            ExponentDecode,
            WholeDecode,
        ],
        [Direct; LAYERS],
    ];
    for mix in mixes {
        let plans = std::array::from_fn(|layer| plan(layer, mix[layer]));
        require_sequence_equals_its_matmuls(gpu, &plans, shape, &format!("{mix:?}"));
    }
}

/// Layers of a sequence.
const LAYERS: usize = 6;

/// Matmuls whose weights are prepared ahead give what each gives alone: launched or captured, and
/// again over what slots hold from before. Each layer's y is the next one's x.
pub(crate) fn require_sequence_equals_its_matmuls(
    gpu: &OnAGpu,
    plans: &[Plan<'_>; LAYERS],
    shape: Shape,
    name: &str,
) {
    let (stream, batch) = (&gpu.stream, 9);
    let first = activations(batch, shape);
    let mut expected = first.clone();
    for &plan in plans {
        expected = multiplied_by(gpu, plan, &expected, batch);
    }
    let values = u64::from(batch) * shape.columns();
    let bytes = 2 * values;
    let x = upload(stream, &first);
    let ys: [CudaSlice<u8>; LAYERS] =
        std::array::from_fn(|_| stream.alloc_zeros::<u8>(bytes as usize).unwrap());
    let at = |memory: &CudaSlice<u8>| cudarc::driver::DevicePtr::device_ptr(memory, stream).0;
    let matmuls: [Matmul<'_>; LAYERS] = std::array::from_fn(|layer| {
        let from = if layer == 0 {
            at(&x)
        } else {
            at(&ys[layer - 1])
        };
        // SAFETY: for both views: so long, and there until the stream was waited for.
        let values = unsafe { View::at_address(from, values) };
        Matmul {
            plan: plans[layer],
            x: Activations { values, batch },
            // SAFETY: as above.
            y: unsafe { ViewMut::at_address(at(&ys[layer]), bytes) },
        }
    });
    let needs: Vec<_> = plans.iter().map(Plan::workspace_need).collect();
    let layout = WorkspaceLayout::new(&gpu.device, &needs, 2).unwrap();
    let workspace = Workspace::with_layout(stream, layout).unwrap();
    stream.synchronize().unwrap();
    let preparing = gpu.device.stream().unwrap();
    let mut sequence = Sequence::new(&gpu.device, preparing, workspace).unwrap();
    let last = || {
        let y = stream.clone_dtoh(&ys[LAYERS - 1]).unwrap();
        stream.synchronize().unwrap();
        weights_in(&y)
    };
    for _ in 0..5 {
        // SAFETY: as above.
        unsafe { sequence.run(stream, &matmuls) }.unwrap();
        // SAFETY: as above.
        unsafe { sequence.run(stream, &matmuls) }.unwrap();
        assert!(last() == expected, "{name}");
    }
    // All multiprocessors decode in few blocks, and multiply: no result changes.
    let count = cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let all = gpu.device.context().attribute(count).unwrap() as u32;
    sequence.workspace().divide(Some(all));
    // SAFETY: as above.
    unsafe { sequence.run(stream, &matmuls) }.unwrap();
    assert!(last() == expected, "{name}, in few blocks");
    sequence.workspace().divide(None);
    // SAFETY: as above.
    let mut captured = unsafe { sequence.capture(stream, &matmuls) }.unwrap();
    for y in &ys {
        let bytes = y.num_bytes();
        // SAFETY: memory of that length, that nobody uses meanwhile.
        unsafe {
            let stream = stream.cu_stream();
            cudarc::driver::result::memset_d8_async(at(y), POISON, bytes, stream).unwrap();
        }
    }
    for _ in 0..3 {
        // SAFETY: as above.
        unsafe { captured.launch() }.unwrap();
        // SAFETY: as above.
        unsafe { captured.launch() }.unwrap();
    }
    assert!(last() == expected, "{name}, captured");
}

pub(crate) fn a_wrong_shape_or_context_is_an_error(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    let shape = Shape::new(64, 128).unwrap();
    let far = palette(|i| 200 + i);
    let memory = upload(stream, &matrix(shape, 1 << 40));
    let source = View::slice(&memory, stream);
    let arrange =
        |source: &View<'_>, shape, palette| Fragments::arrange(&gpu.device, source, shape, palette);
    assert!(matches!(
        arrange(&source, shape, far),
        Err(MatmulError::TooManyPatches { .. })
    ));
    let longer = Shape::new(65, 128).unwrap();
    assert!(matches!(
        arrange(&source, longer, consecutive()),
        Err(MatmulError::Gpu(GpuError::WrongLength { .. }))
    ));
    let fragments = arrange(&source, shape, consecutive()).unwrap();
    let small = Shape::new(1, 64).unwrap();
    let need = Pipeline::Direct.workspace_need(small);
    let mut workspace = Workspace::new(&gpu.device, stream, &[need]).unwrap();
    let linear = Linear::new(&fragments);
    let x = stream.alloc_zeros::<u8>(2 * 128).unwrap();
    let mut y = stream.alloc_zeros::<u8>(2 * 64).unwrap();
    let values = View::slice(&x, stream);
    let output = ViewMut::slice(&mut y, stream);
    let mut multiply = |pipeline, batch| {
        let (plan, x) = (linear.plan(pipeline)?, Activations { values, batch });
        // SAFETY: as in `multiplied_by`.
        unsafe { plan.multiply(stream, &mut workspace, x, &output) }
    };
    assert!(matches!(
        multiply(Pipeline::Direct, 2),
        Err(MatmulError::Gpu(GpuError::WrongLength { .. }))
    ));
    assert!(matches!(
        multiply(Pipeline::WholeDecode, 1),
        Err(MatmulError::WorkspaceTooSmall)
    ));
    assert!(matches!(
        multiply(Pipeline::ExponentDecode, 1),
        Err(MatmulError::NoSuchPlan {
            plan,
            reason: NoPlan::Form(WeightForm::Fragments),
        }) if plan == Pipeline::ExponentDecode.into()
    ));
    let narrow = Palette::lowest(3);
    assert!(matches!(
        arrange(&source, shape, narrow),
        Err(MatmulError::NotOfExponents(3))
    ));
    multiply(Pipeline::Direct, 1).unwrap();
}

pub(crate) fn a_workspace_is_not_made_during_a_capture(gpu: &OnAGpu) {
    let stream = &gpu.device.stream().unwrap();
    let workspace = || Workspace::new(&gpu.device, stream, &[]).map(drop);
    // Its kernels are loaded now, which cannot be done while a stream is capturing.
    workspace().unwrap();
    stream.synchronize().unwrap();
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    let result = workspace();
    let is_refused = matches!(result, Err(MatmulError::Gpu(GpuError::Capturing)));
    assert!(is_refused, "{result:?}");
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    // Nothing was captured, and the capture is whole.
    drop(stream.end_capture(flags).unwrap());
    workspace().unwrap();
}
