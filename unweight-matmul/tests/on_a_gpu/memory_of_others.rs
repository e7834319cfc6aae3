//! Matrices in memory that another library owns, on its streams.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use half::bf16;
use unweight_format::Palette;
use unweight_gpu::cudarc::driver::{CudaSlice, DevicePtr};
use unweight_gpu::load::CallerStream;
use unweight_matmul::layout::{Arranged, arrange};
use unweight_matmul::{
    Activations, Direct, Fragments, FragmentsMemory, FragmentsRef, Kernel, MatmulDevice, Pipeline,
    Shape, SharedWorkspace, StoredPalette, View, ViewMut,
};
use unweight_testkit::{bytes_of, weights_in};

use crate::OnAGpu;
use crate::matmul::{activations, matrix, multiplied};

const KERNELS: [Kernel; 6] = [
    Kernel::Estimated,
    Kernel::SmallBatch,
    Kernel::LargeBatch { tile: 32 },
    Kernel::LargeBatch { tile: 64 },
    Kernel::LargeBatch { tile: 128 },
    Kernel::LargeBatch { tile: 256 },
];

/// A matrix in fragment form, uploaded.
struct Memory {
    k_tiles: CudaSlice<u8>,
    patches: CudaSlice<u32>,
    patch_ends: CudaSlice<u32>,
    palette: CudaSlice<u8>,
    stored: StoredPalette,
}

impl Memory {
    fn of(gpu: &OnAGpu, arranged: &Arranged, palette: &[u8], stored: StoredPalette) -> Memory {
        let stream = &gpu.stream;
        let patches = match arranged.patches.is_empty() {
            true => stream.alloc_zeros(1),
            false => stream.clone_htod(&arranged.patches),
        };
        Memory {
            k_tiles: stream.clone_htod(&arranged.k_tiles).unwrap(),
            patches: patches.unwrap(),
            patch_ends: stream.clone_htod(&arranged.patch_ends).unwrap(),
            palette: stream.clone_htod(palette).unwrap(),
            stored,
        }
    }

    fn at(&self, gpu: &OnAGpu) -> FragmentsMemory {
        let stream = &gpu.stream;
        FragmentsMemory {
            k_tiles: self.k_tiles.device_ptr(stream).0,
            patches: self.patches.device_ptr(stream).0,
            patch_count: self.patches.len() as u32,
            patch_ends: self.patch_ends.device_ptr(stream).0,
            palette: self.palette.device_ptr(stream).0,
            stored: self.stored,
        }
    }
}

/// y of a matrix in memory of others, by a stream that is a bare handle.
fn multiplied_on(
    gpu: &OnAGpu,
    memory: &Memory,
    shape: Shape,
    x: &[bf16],
    (batch, kernel): (u32, Kernel),
    bias: Option<&[bf16]>,
) -> Vec<bf16> {
    let stream = &gpu.stream;
    let device = MatmulDevice::new(&gpu.device).unwrap();
    // SAFETY: the stream is of this device, and stays.
    let raw = unsafe { CallerStream::from_raw(stream.cu_stream().cast()) };
    // SAFETY: the memory is there until the stream was waited for.
    let matrix = unsafe { FragmentsRef::at(&device, shape, memory.at(gpu)) };
    let workspace = SharedWorkspace::new(&gpu.device, shape.rows()).unwrap();
    let x = stream.clone_htod(&bytes_of(x)).unwrap();
    let bias = bias.map(|bias| stream.clone_htod(&bytes_of(bias)).unwrap());
    let mut y = stream
        .alloc_zeros::<u8>(2 * batch as usize * shape.rows() as usize)
        .unwrap();
    let mut plan = Direct::new(matrix).with_kernel(kernel);
    if let Some(bias) = &bias {
        plan = plan.with_bias(View::slice(bias, stream)).unwrap();
    }
    let values = View::slice(&x, stream);
    let output = ViewMut::slice(&mut y, stream);
    let raw = raw.for_launches(device.context()).unwrap();
    // SAFETY: all of it is there until the stream was waited for.
    unsafe { plan.multiply_on(raw, &workspace, Activations { values, batch }, &output) }.unwrap();
    let written = stream.clone_dtoh(&y).unwrap();
    stream.synchronize().unwrap();
    weights_in(&written)
}

fn bits_of(weights: &[bf16]) -> Vec<u16> {
    weights.iter().map(|weight| weight.to_bits()).collect()
}

pub(crate) fn matrices_in_memory_of_others_multiply_as_owned_ones_do(gpu: &OnAGpu) {
    let consecutive = Palette::new(8, std::array::from_fn(|i| 110 + i as u8)).unwrap();
    let gapped = Palette::new(8, std::array::from_fn(|i| 96 + 2 * i as u8)).unwrap();
    for (rows, columns) in [(72, 192), (1000, 4096)] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights = matrix(shape, 100);
        let on_device = gpu.stream.clone_htod(&bytes_of(&weights)).unwrap();
        for palette in [consecutive, gapped] {
            let arranged = match arrange(&bits_of(&weights), shape, &palette) {
                arranged
                    if shape
                        .require_few_patches(arranged.patches.len() as u64)
                        .is_ok() =>
                {
                    arranged
                }
                _ => continue,
            };
            let source = View::slice(&on_device, &gpu.stream);
            let owned = Fragments::arrange(&gpu.device, &source, shape, palette).unwrap();
            let (stored, bytes) = StoredPalette::of(&palette);
            for (stored, bytes) in [(stored, bytes), (StoredPalette::Any, palette.padded())] {
                let memory = Memory::of(gpu, &arranged, bytes, stored);
                for batch in [1, 20, 200] {
                    let x = activations(batch, shape);
                    let expected = multiplied(gpu, &owned, &x, batch, Pipeline::Direct);
                    let chosen = (batch, Kernel::Estimated);
                    let found = multiplied_on(gpu, &memory, shape, &x, chosen, None);
                    assert!(found == expected, "{rows} x {columns}, {batch}, {stored:?}");
                }
            }
        }
    }
}

/// Sums of small whole numbers are exact, so that the result is that of one rounding.
pub(crate) fn a_bias_is_added_before_sums_are_rounded(gpu: &OnAGpu) {
    let palette = Palette::new(8, std::array::from_fn(|i| 120 + i as u8)).unwrap();
    for (rows, columns) in [(72, 192), (136, 2048)] {
        let shape = Shape::new(rows, columns).unwrap();
        let number = |i: usize, most: usize| bf16::from_f32((i * 7919 % most + 1) as f32);
        let weights: Vec<bf16> = (0..shape.weights() as usize)
            .map(|i| number(i, 31))
            .collect();
        let bias: Vec<bf16> = (0..rows as usize)
            .map(|i| bf16::from_f32((i * 31 % 97) as f32 * 0.37 - 12.0))
            .collect();
        let (stored, bytes) = StoredPalette::of(&palette);
        let memory = Memory::of(
            gpu,
            &arrange(&bits_of(&weights), shape, &palette),
            bytes,
            stored,
        );
        for (batch, kernel) in [1, 9, 40, 64, 300].into_iter().zip(KERNELS) {
            let x: Vec<bf16> = (0..batch as usize * columns as usize)
                .map(|i| number(i, 5))
                .collect();
            let found = multiplied_on(gpu, &memory, shape, &x, (batch, kernel), Some(&bias));
            for (place, found) in found.iter().enumerate() {
                let (token, row) = (place / rows as usize, place % rows as usize);
                let of = |all: &[bf16], n: usize| {
                    all[n * columns as usize..][..columns as usize].to_vec()
                };
                let products = of(&weights, row).into_iter().zip(of(&x, token));
                let sum: f32 = products.map(|(w, x)| w.to_f32() * x.to_f32()).sum();
                let expected = bf16::from_f32(sum + bias[row].to_f32());
                assert_eq!(*found, expected, "{rows} x {columns}, {batch}, row {row}");
            }
        }
    }
}

/// Patches in no order, several of one weight, ends outside of them, palettes of anything: launches
/// end. (Compute Sanitizer tells whether they stay within the memory.)
pub(crate) fn any_contents_are_multiplied_to_something(gpu: &OnAGpu) {
    let shape = Shape::new(136, 2048).unwrap();
    let mixed = |i: u32| i.wrapping_mul(2_654_435_761) >> 3;
    let lists: [Vec<u32>; 4] = [
        (0..500).map(mixed).collect(),
        vec![3 << 18 | 5; 500],
        (0..500).map(|i| (i % 2) << 18 | (i % 3) << 13).collect(),
        vec![u32::MAX; 500],
    ];
    let ends = [
        vec![0; 9],
        vec![500; 9],
        vec![600, 10, u32::MAX, 3, 500, 0, 499, 1 << 31, 7],
    ];
    let k_tiles: Vec<u8> = (0..shape.k_tile_bytes())
        .map(|i| (i * i % 251) as u8)
        .collect();
    for (list, palette) in lists.iter().zip([&[250][..], &[9; 16], &[1], &[0; 16]]) {
        let stored = match palette.len() {
            1 => StoredPalette::Consecutive,
            _ => StoredPalette::Any,
        };
        for ends in &ends {
            let arranged = Arranged {
                k_tiles: k_tiles.clone(),
                patches: list.clone(),
                patch_ends: ends.clone(),
            };
            let memory = Memory::of(gpu, &arranged, palette, stored);
            for (batch, kernel) in [1, 16, 32, 64, 128, 256].into_iter().zip(KERNELS) {
                let x = activations(batch, shape);
                let y = multiplied_on(gpu, &memory, shape, &x, (batch, kernel), None);
                assert_eq!(y.len() as u64, u64::from(batch) * shape.rows());
            }
        }
    }
}
