//! Encoding of the tensors of a Llama-3.1-8B layer, and a copy in device memory in the same run:
//! `cargo bench -p unweight-gpu --bench encode`.
//!
//! Times are medians with cold caches, by events on the stream around all kernels. The roofline is
//! the time to read the weights once and write the planes once at the speed of the copy.

mod measuring;

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::bf16;
use measuring::{ROTATED_BYTES, layer, llama_shaped, median, trained, with_zeros};
use unweight_format::Encoding;
use unweight_gpu::{Device, EncodeBatch, EncodeTask, longest_payload_bytes};

fn main() {
    let Some((device, stream, copied)) = measuring::open() else {
        return;
    };
    println!(
        "\n{:<22} {:>2} {:<8} {:>9} {:>9} {:>9}",
        "tensors", "k", "encoding", "us", "TB/s BF16", "roofline"
    );
    let gate = [llama_shaped(14336, 4096, 1)];
    let small = [llama_shaped(1024, 4096, 4)];
    let layer = layer();
    let measure = |name: &str, tensors: &[Vec<bf16>], encoding, log2| {
        let (seconds, moved, weights) = time(&device, &stream, tensors, encoding, log2);
        println!(
            "{name:<22} {log2:>2} {:<8} {:>9.1} {:>9.2} {:>8.0}%",
            encoding.name(),
            seconds * 1e6,
            2.0 * weights as f64 / seconds / 1e12,
            100.0 * moved as f64 / copied / seconds
        );
    };
    for log2 in [13, 14, 15, 16] {
        measure("14336x4096", &gate, Encoding::Huffman, log2);
    }
    measure("14336x4096", &gate, Encoding::Palette, 15);
    let with_zeros = gate.map(with_zeros);
    measure("14336x4096, zeros", &with_zeros, Encoding::Huffman, 15);
    measure("1024x4096", &small, Encoding::Huffman, 15);
    measure("a layer, 7 tensors", &layer, Encoding::Huffman, 15);
    measure("a layer, 7 tensors", &layer, Encoding::Palette, 15);
    let (name, of_file) = trained();
    measure(&name, &of_file, Encoding::Huffman, 15);
    measure(&name, &of_file, Encoding::Palette, 15);
}

/// Measures encoding. Returns seconds, bytes to move, and number of weights.
fn time(
    device: &Device,
    stream: &Arc<CudaStream>,
    tensors: &[Vec<bf16>],
    encoding: Encoding,
    log2: u8,
) -> (f64, u64, u64) {
    let weights: u64 = tensors.iter().map(|tensor| tensor.len() as u64).sum();
    let sets = (ROTATED_BYTES / (5 * weights) as usize).max(2);
    let mut batches: Vec<EncodeBatch> = (0..sets)
        .map(|_| {
            let set = tensors.iter().map(|tensor| {
                let bytes: Vec<u8> = tensor.iter().flat_map(|w| w.to_le_bytes()).collect();
                let longest = longest_payload_bytes(tensor.len() as u64, log2);
                let payload = stream.alloc_zeros(longest as usize).unwrap();
                EncodeTask::new(Arc::new(stream.clone_htod(&bytes).unwrap()), payload)
            });
            EncodeBatch::new(device, set.collect(), encoding, log2).unwrap()
        })
        .collect();
    let seconds = median(stream, &mut batches, |batch| batch.encode(stream).unwrap());
    let encoded = batches[0].encoded().unwrap();
    let written: u64 = encoded.iter().map(|tensor| tensor.payload_bytes()).sum();
    (seconds, 2 * weights + written, weights)
}
