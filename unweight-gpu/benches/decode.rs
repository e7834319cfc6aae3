//! Decoding and checksums of the tensors of a Llama-3.1-8B layer, and a copy in device memory in
//! the same run: `cargo bench -p unweight-gpu`.
//!
//! Times are medians, by events on the stream. Inputs and outputs rotate through more memory than
//! the L2 cache has, so that every launch begins with cold caches. The roofline is the time to move
//! a kernel's bytes at the speed of the copy. Trained weights are those of the repository's sample,
//! or of the safetensors file after `-- --file`.

mod files;
mod measuring;

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::bf16;
use measuring::{ROTATED_BYTES, layer, llama_shaped, median, trained};
use unweight::container::OpenFile;
use unweight_format::{CodedPlanes, Encoding};
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor};

fn main() {
    let Some((device, stream, copied)) = measuring::open() else {
        return;
    };
    println!(
        "\n{:<22} {:>2} {:<8} {:<18} {:>9} {:>9} {:>9}",
        "tensors", "k", "encoding", "operation", "us", "TB/s BF16", "roofline"
    );
    let gate = ("14336x4096", vec![llama_shaped(14336, 4096, 1)]);
    for log2 in [13, 14, 15, 16] {
        measure(&device, &stream, copied, &gate, Encoding::Huffman, log2);
    }
    measure(&device, &stream, copied, &gate, Encoding::Palette, 15);
    let (name, of_file) = trained();
    let others = [
        ("4096x14336", vec![llama_shaped(4096, 14336, 2)]),
        ("4096x4096", vec![llama_shaped(4096, 4096, 3)]),
        ("1024x4096", vec![llama_shaped(1024, 4096, 4)]),
        ("a layer, 7 tensors", layer()),
        (&name, of_file),
    ];
    for log2 in [13, 14, 15] {
        for tensors in &others {
            measure(&device, &stream, copied, tensors, Encoding::Huffman, log2);
        }
    }
}

fn measure(
    device: &Device,
    stream: &Arc<CudaStream>,
    copied: f64,
    (name, tensors): &(&str, Vec<Vec<bf16>>),
    encoding: Encoding,
    log2: u8,
) {
    let file = files::file_of(tensors, encoding, log2);
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let planes = files::planes_of(&container);
    let stored: u64 = planes
        .iter()
        .map(|planes| DeviceTensor::extent(planes).length)
        .sum();
    let records: u64 = planes
        .iter()
        .map(|planes| planes.records().length + planes.record_ends().length)
        .sum();
    let weights: u64 = planes.iter().map(CodedPlanes::weights).sum();
    let sets = (ROTATED_BYTES / (stored + 2 * weights) as usize).max(2);
    let sets: Vec<Vec<Arc<DeviceTensor>>> = (0..sets)
        .map(|_| files::on_device(device, &planes, &file))
        .collect();
    let outputs = || {
        planes
            .iter()
            .map(|planes| stream.alloc_zeros(2 * planes.weights() as usize).unwrap())
    };
    let tasks = |set: &[Arc<DeviceTensor>]| {
        let tasks = set.iter().zip(outputs());
        tasks
            .map(|(input, output)| DecodeTask::new(input, output))
            .collect::<Vec<_>>()
    };

    let row = |operation: &str, moved: u64, seconds: f64| {
        println!(
            "{name:<22} {log2:>2} {:<8} {operation:<18} {:>9.1} {:>9.2} {:>8.0}%",
            encoding.name(),
            seconds * 1e6,
            2.0 * weights as f64 / seconds / 1e12,
            100.0 * moved as f64 / copied / seconds
        );
    };
    {
        let batch = |set: &Vec<_>| Batch::to_weights(device, tasks(set));
        let mut batches: Vec<Batch> = sets.iter().map(|set| batch(set).unwrap()).collect();
        let seconds = median(stream, &mut batches, |batch| {
            batch.decode(stream).unwrap().defer_status();
        });
        row("decode", stored + 2 * weights, seconds);
        let seconds = median(stream, &mut batches, |batch| {
            batch.check_chunks(stream).unwrap().defer_status();
        });
        row("check chunks", stored, seconds);
        for (batch, set) in batches.iter_mut().zip(0..) {
            batch.status().unwrap();
            for (tensor, checksum) in container
                .directory()
                .tensors()
                .zip(batch.checksums().unwrap())
            {
                tensor
                    .require_checksum(checksum)
                    .unwrap_or_else(|error| panic!("set {set}: {error}"));
            }
        }
    }
    let batch = |set: &Vec<_>| Batch::to_exponents(device, tasks(set));
    let mut batches: Vec<Batch> = sets.iter().map(|set| batch(set).unwrap()).collect();
    let seconds = median(stream, &mut batches, |batch| {
        batch.decode(stream).unwrap().defer_status();
    });
    row("decode exponents", records + weights, seconds);
    for batch in &mut batches {
        batch.status().unwrap();
    }
}
