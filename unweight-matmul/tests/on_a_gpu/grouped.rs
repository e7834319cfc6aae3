//! Grouped matmuls: mixture of experts.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use half::bf16;
use unweight_format::Palette;
use unweight_gpu::GpuError;
use unweight_gpu::cudarc::driver::{CudaSlice, DevicePtr, sys};
use unweight_matmul::{
    Direct, Experts, Fragments, GroupedActivations, GroupedMatmul, Kernel, MatmulError,
    RoutingShape, RowsOfX, Shape, SharedWorkspace, TokenExperts, View, ViewMut,
};
use unweight_testkit::{bytes_of, weights_in};

use crate::OnAGpu;
use crate::matmul::{activations, matrix, multiplied_by, worst_error};

fn consecutive() -> Palette {
    Palette::new(8, std::array::from_fn(|i| 105 + i as u8)).unwrap()
}

fn gapped() -> Palette {
    Palette::new(8, std::array::from_fn(|i| 96 + 2 * i as u8)).unwrap()
}

/// Experts' matrices, packed as one.
struct Packed {
    weights: Vec<bf16>,
    fragments: Fragments,
    experts: u32,
}

impl Packed {
    fn new(gpu: &OnAGpu, experts: u32, rows: u64, columns: u64, palette: Palette) -> Packed {
        let shape = Shape::new(u64::from(experts) * rows, columns).unwrap();
        let weights = matrix(shape, 300);
        let uploaded = gpu.stream.clone_htod(&bytes_of(&weights)).unwrap();
        let source = View::slice(&uploaded, &gpu.stream);
        Packed {
            weights,
            fragments: Fragments::arrange(&gpu.device, &source, shape, palette).unwrap(),
            experts,
        }
    }

    fn experts(&self) -> Experts<'_> {
        Experts::new(&self.fragments, self.experts).unwrap()
    }
}

/// What launches use, on the device.
struct Launched {
    grouped: GroupedMatmul,
    workspace: SharedWorkspace,
    shape: RoutingShape,
    chosen: CudaSlice<u32>,
    scales: CudaSlice<f32>,
    routing: CudaSlice<u8>,
    x: CudaSlice<u8>,
    rows: RowsOfX,
    y: CudaSlice<u8>,
}

impl Launched {
    fn new(gpu: &OnAGpu, shape: RoutingShape, x: &[bf16], rows: RowsOfX, y_rows: u32) -> Launched {
        let (stream, slots) = (&gpu.stream, shape.slots() as usize);
        let grouped = GroupedMatmul::new(&gpu.device).unwrap();
        let scales: Vec<f32> = (0..slots).map(scale).collect();
        Launched {
            workspace: SharedWorkspace::new(&gpu.device, 1).unwrap(),
            shape,
            chosen: stream.alloc_zeros(slots.max(1)).unwrap(),
            scales: stream.clone_htod(&[scales, vec![0.0]].concat()).unwrap(),
            routing: stream
                .alloc_zeros(grouped.routing_bytes(shape) as usize)
                .unwrap(),
            x: stream.clone_htod(&bytes_of(x)).unwrap(),
            rows,
            y: stream
                .clone_htod(&vec![0xee; 2 * slots * y_rows as usize + 2])
                .unwrap(),
            grouped,
        }
    }

    fn choose(&mut self, gpu: &OnAGpu, experts: &[u32]) {
        gpu.stream.memcpy_htod(experts, &mut self.chosen).unwrap();
    }

    /// Launches the routing and the matmul.
    fn launch(&mut self, gpu: &OnAGpu, experts: &Experts<'_>) {
        let (stream, shape) = (&gpu.stream, self.shape);
        let chosen = TokenExperts {
            experts: self.chosen.device_ptr(stream).0,
            scales: Some(self.scales.device_ptr(stream).0),
        };
        let activations = GroupedActivations {
            shape,
            routing: self.routing.device_ptr(stream).0,
            x: View::slice(&self.x, stream),
            rows: self.rows,
            scaled: self.rows == RowsOfX::Slots,
        };
        let routing = ViewMut::slice(&mut self.routing, stream);
        let y = ViewMut::slice(&mut self.y, stream);
        // SAFETY: all of it is there until the stream was waited for.
        unsafe {
            self.grouped.route(stream, shape, chosen, &routing).unwrap();
            let launched = self
                .grouped
                .multiply(stream, &self.workspace, experts, activations, &y);
            launched.unwrap();
        }
    }

    fn y(&self, gpu: &OnAGpu) -> Vec<bf16> {
        let written = gpu.stream.clone_dtoh(&self.y).unwrap();
        gpu.stream.synchronize().unwrap();
        let (y, guard) = written.split_at(written.len() - 2);
        assert_eq!(guard, [0xee; 2]);
        weights_in(y)
    }
}

fn scale(slot: usize) -> f32 {
    (slot * 37 % 101) as f32 / 101.0
}

/// The largest error, in units of what rounding to BF16 and FP32 sums allow.
fn worst(packed: &Packed, y: &[bf16], x: &[bf16], launched: &Launched, chosen: &[u32]) -> f64 {
    let experts = packed.experts();
    let (rows, columns) = (experts.rows() as usize, experts.columns() as usize);
    let slots_of_x = match launched.rows {
        RowsOfX::Tokens => launched.shape.top_k() as usize,
        RowsOfX::Slots => 1,
    };
    let mut worst = 0f64;
    for (slot, &expert) in chosen.iter().enumerate() {
        let y = &y[slot * rows..][..rows];
        if expert >= packed.experts {
            assert!(y.iter().all(|value| value.to_bits() == 0), "slot {slot}");
            continue;
        }
        let scale = match launched.rows {
            RowsOfX::Tokens => 1.0,
            RowsOfX::Slots => f64::from(scale(slot)),
        };
        let x = &x[slot / slots_of_x * columns..][..columns];
        for row in (slot % 7..rows).step_by(7) {
            let of_row = &packed.weights[(expert as usize * rows + row) * columns..][..columns];
            let (mut exact, mut magnitude) = (0f64, 0f64);
            for (w, x) in of_row.iter().zip(x) {
                let product = w.to_f64() * x.to_f64();
                exact += product;
                magnitude += product.abs();
            }
            let error = (y[row].to_f64() - exact * scale).abs();
            let allowed = (exact * scale).abs() / 256.0 + magnitude * scale * 1e-6;
            worst = worst.max(if error == 0.0 { 0.0 } else { error / allowed });
        }
    }
    worst
}

/// Experts without a token, all tokens for one expert, experts that do not exist, no tokens.
pub(crate) fn grouped_matmuls_are_as_near_as_fp32_sums_allow(gpu: &OnAGpu) {
    for (experts, rows, columns, palette) in [
        (8, 208, 4096, consecutive()),
        (5, 64, 2112, gapped()),
        (60, 80, 768, consecutive()),
        (3, 16, 2048, gapped()),
    ] {
        let packed = Packed::new(gpu, experts, rows, columns, palette);
        for (tokens, top_k) in [(0, 2), (1, 1), (1, 8), (7, 2), (33, 3), (150, 2), (700, 1)] {
            let shape = RoutingShape::new(tokens, top_k, experts).unwrap();
            let choices: [&dyn Fn(usize) -> u32; 3] = [
                &|slot| (slot * 7919 / 5) as u32 % experts,
                &|_| experts - 1,
                &|slot| ((slot * 31) as u32 % (2 * experts)).wrapping_sub(1),
            ];
            for (choose, rows_of_x) in
                choices
                    .iter()
                    .zip([RowsOfX::Tokens, RowsOfX::Slots, RowsOfX::Tokens])
            {
                let chosen: Vec<u32> = (0..shape.slots() as usize).map(choose).collect();
                let x_rows = match rows_of_x {
                    RowsOfX::Tokens => tokens,
                    RowsOfX::Slots => shape.slots(),
                };
                let x = activations(x_rows, packed.fragments.shape());
                let mut launched = Launched::new(gpu, shape, &x, rows_of_x, rows as u32);
                let mut first = None;
                for _ in 0..2 {
                    launched.choose(gpu, &chosen);
                    launched.launch(gpu, &packed.experts());
                    let y = launched.y(gpu);
                    let worst = worst(&packed, &y, &x, &launched, &chosen);
                    assert!(
                        worst <= 1.0,
                        "{experts} of {rows} x {columns}, {shape:?}: {worst}"
                    );
                    let same = first.get_or_insert_with(|| y.clone()) == &y;
                    assert!(same, "results differ from run to run");
                }
            }
        }
    }
}

/// Where a block has whole output tiles in both, sums are added in the same order.
pub(crate) fn one_expert_equals_a_matmul_to_the_bit(gpu: &OnAGpu) {
    let rows = 64 * gpu.device.multiprocessors().unwrap();
    let columns = 2112;
    for palette in [consecutive(), gapped()] {
        let packed = Packed::new(gpu, 1, rows.into(), columns, palette);
        for tokens in [1, 8] {
            let shape = RoutingShape::new(tokens, 1, 1).unwrap();
            let x = activations(tokens, packed.fragments.shape());
            let mut launched = Launched::new(gpu, shape, &x, RowsOfX::Tokens, rows);
            launched.choose(gpu, &vec![0; tokens as usize]);
            launched.launch(gpu, &packed.experts());
            let plan = Direct::new(&packed.fragments).with_kernel(Kernel::SmallBatch);
            let expected = multiplied_by(gpu, plan.into(), &x, tokens);
            let matrix = packed.fragments.shape();
            assert!(
                worst_error(
                    &expected[..rows as usize],
                    &packed.weights,
                    &x[..columns as usize],
                    matrix
                ) <= 1.0
            );
            assert!(launched.y(gpu) == expected, "{tokens} tokens");
        }
    }
}

/// A graph is captured once, and then run for other experts, which the host does not see.
pub(crate) fn a_captured_graph_follows_the_experts_on_the_device(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    for columns in [768, 4096] {
        let packed = Packed::new(gpu, 16, 128, columns, consecutive());
        let shape = RoutingShape::new(12, 4, 16).unwrap();
        let x = activations(12, packed.fragments.shape());
        let mut launched = Launched::new(gpu, shape, &x, RowsOfX::Tokens, 128);
        launched.launch(gpu, &packed.experts());
        stream.synchronize().unwrap();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).unwrap();
        launched.launch(gpu, &packed.experts());
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = stream.end_capture(flags).unwrap().unwrap();
        for step in 1..6 {
            let chosen: Vec<u32> = (0..48).map(|slot| slot * step % 17).collect();
            launched.choose(gpu, &chosen);
            graph.launch().unwrap();
            let y = launched.y(gpu);
            let worst = worst(&packed, &y, &x, &launched, &chosen);
            assert!(worst <= 1.0, "{columns} columns, step {step}: {worst}");
        }
    }
}

pub(crate) fn a_grouped_matmul_of_another_size_is_an_error(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    let packed = Packed::new(gpu, 4, 32, 128, consecutive());
    for count in [0, 3, 8] {
        let error = Experts::new(&packed.fragments, count).unwrap_err();
        assert!(matches!(error, MatmulError::NotOfExperts { .. }), "{error}");
    }
    let shape = RoutingShape::new(6, 2, 4).unwrap();
    let x = activations(6, packed.fragments.shape());
    let mut of = Launched::new(gpu, shape, &x, RowsOfX::Tokens, 32);
    let chosen = TokenExperts {
        experts: of.chosen.device_ptr(stream).0,
        scales: None,
    };
    let mut short = stream.alloc_zeros::<u8>(of.routing.len() - 4).unwrap();
    let short = ViewMut::slice(&mut short, stream);
    // SAFETY: nothing is launched.
    let routed = unsafe { of.grouped.route(stream, shape, chosen, &short) };
    assert!(matches!(
        routed,
        Err(MatmulError::Gpu(GpuError::WrongLength { .. }))
    ));
    let right = GroupedActivations {
        shape,
        routing: of.routing.device_ptr(stream).0,
        x: View::slice(&of.x, stream),
        rows: RowsOfX::Tokens,
        scaled: false,
    };
    let other = RoutingShape::new(6, 2, 5).unwrap();
    let wrong = [
        GroupedActivations {
            shape: other,
            ..right
        },
        GroupedActivations {
            rows: RowsOfX::Slots,
            ..right
        },
    ];
    let y = ViewMut::slice(&mut of.y, stream);
    for wrong in wrong {
        // SAFETY: as above.
        let launched = unsafe {
            of.grouped
                .multiply(stream, &of.workspace, &packed.experts(), wrong, &y)
        };
        assert!(launched.is_err(), "{wrong:?}");
    }
    let mut short = stream.alloc_zeros::<u8>(2 * 12 * 32 - 2).unwrap();
    let short = ViewMut::slice(&mut short, stream);
    // SAFETY: as above.
    let launched = unsafe {
        of.grouped
            .multiply(stream, &of.workspace, &packed.experts(), right, &short)
    };
    assert!(matches!(
        launched,
        Err(MatmulError::Gpu(GpuError::WrongLength { .. }))
    ));
}
