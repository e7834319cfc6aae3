//! Encoding of the tensors of a Llama-3.1-8B layer, in BF16 and in types of fewer bits, and a copy
//! in device memory in the same run: `cargo bench -p unweight-gpu --bench encode`.
//!
//! Times are medians with cold caches, by events on the stream around all kernels. The roofline is
//! the time to read the weights once and write the payloads once at the speed of the copy. The last
//! column is the host's time to make a batch, which includes the choice of forms from a sample and
//! the allocation of scratch.

mod measuring;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cudarc::driver::CudaStream;
use half::{bf16, f16};
use measuring::{ROTATED_BYTES, layer, layer_as, llama_shaped, median, to_f8, trained, with_zeros};
use unweight_format::{Dtype, Encoding};
use unweight_gpu::{Device, EncodeBatch, EncodeTask, longest_payload_bytes};

fn main() {
    let Some((device, stream, copied)) = measuring::open() else {
        return;
    };
    println!(
        "\n{:<24} {:<8} {:>2} {:<8} {:>9} {:>9} {:>9} {:>7} {:>9}",
        "tensors", "type", "k", "encoding", "us", "TB/s", "roofline", "size", "batch us"
    );
    let measure = |name: &str, dtype, tensors: &[Vec<u8>], encoding, log2| {
        let measured = time(&device, &stream, dtype, tensors, encoding, log2);
        println!(
            "{name:<24} {:<8} {log2:>2} {:<8} {:>9.1} {:>9.2} {:>8.0}% {:>6.1}% {:>9.0}",
            dtype.name(),
            encoding.name(),
            measured.seconds * 1e6,
            measured.read as f64 / measured.seconds / 1e12,
            100.0 * (measured.read + measured.written) as f64 / copied / measured.seconds,
            100.0 * measured.written as f64 / measured.read as f64,
            measured.batch.as_secs_f64() * 1e6,
        );
    };
    let bytes = |tensors: &[Vec<bf16>]| -> Vec<Vec<u8>> {
        tensors.iter().map(|tensor| bytes_of(tensor)).collect()
    };
    let gate = [llama_shaped(14336, 4096, 1)];
    let small = [llama_shaped(1024, 4096, 4)];
    let layer = layer();
    let (of_gate, of_layer) = (bytes(&gate), bytes(&layer));
    for log2 in [13, 14, 15, 16] {
        measure("14336x4096", Dtype::Bf16, &of_gate, Encoding::Huffman, log2);
    }
    measure("14336x4096", Dtype::Bf16, &of_gate, Encoding::Palette, 15);
    let with_zeros = bytes(&gate.map(with_zeros));
    measure(
        "14336x4096, zeros",
        Dtype::Bf16,
        &with_zeros,
        Encoding::Huffman,
        15,
    );
    measure(
        "1024x4096",
        Dtype::Bf16,
        &bytes(&small),
        Encoding::Huffman,
        15,
    );
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        measure("a layer, 7 tensors", Dtype::Bf16, &of_layer, encoding, 15);
    }
    // One layer at a time, because host memory is finite.
    let bits = |number: f32| u64::from(number.to_bits());
    let byte = |mantissa_bits| move |x| u64::from(to_f8(x, mantissa_bits).0);
    let upcast = |mantissa_bits| move |x| bits(to_f8(x, mantissa_bits).1) >> 16;
    for (dtype, mantissa_bits) in [(Dtype::F8E4M3, 3), (Dtype::F8E5M2, 2)] {
        let (huffman, of) = (Encoding::Huffman, layer_as(1, byte(mantissa_bits)));
        measure("a layer, 7 tensors", dtype, &of, huffman, 15);
        let (name, of) = (
            format!("a layer that was {}", dtype.name()),
            layer_as(2, upcast(mantissa_bits)),
        );
        measure(&name, Dtype::Bf16, &of, huffman, 15);
    }
    let half = layer_as(2, |x| f16::from_f32(x).to_bits().into());
    measure(
        "a layer, 7 tensors",
        Dtype::F16,
        &half,
        Encoding::Huffman,
        15,
    );
    let widened = layer_as(4, |x| bits(bf16::from_f32(x).to_f32()));
    measure(
        "a layer that was BF16",
        Dtype::F32,
        &widened,
        Encoding::Huffman,
        15,
    );
    let (name, of_file) = trained();
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        measure(&name, Dtype::Bf16, &bytes(&of_file), encoding, 15);
    }
}

fn bytes_of(tensor: &[bf16]) -> Vec<u8> {
    tensor.iter().flat_map(|w| w.to_le_bytes()).collect()
}

struct Measured {
    seconds: f64,
    /// Bytes of the weights, and of the payloads.
    read: u64,
    written: u64,
    /// The time to make the last batch.
    batch: Duration,
}

fn time(
    device: &Device,
    stream: &Arc<CudaStream>,
    dtype: Dtype,
    tensors: &[Vec<u8>],
    encoding: Encoding,
    log2: u8,
) -> Measured {
    let read: u64 = tensors.iter().map(|tensor| tensor.len() as u64).sum();
    let sets = (2 * ROTATED_BYTES / (5 * read) as usize).max(2);
    let mut batch = Duration::ZERO;
    let mut batches: Vec<EncodeBatch> = (0..sets)
        .map(|_| {
            let set = tensors.iter().map(|tensor| {
                let weights = (tensor.len() / dtype.weight_bytes()) as u64;
                let longest = longest_payload_bytes(dtype, weights, log2);
                let payload = stream.alloc_zeros(longest as usize).unwrap();
                EncodeTask::new(dtype, Arc::new(stream.clone_htod(tensor).unwrap()), payload)
            });
            let tasks = set.collect();
            stream.synchronize().unwrap();
            let start = Instant::now();
            let made = EncodeBatch::new(device, tasks, encoding, log2).unwrap();
            batch = start.elapsed();
            made
        })
        .collect();
    let seconds = median(stream, &mut batches, |batch| batch.encode(stream).unwrap());
    let encoded = batches[0].encoded().unwrap();
    Measured {
        seconds,
        read,
        written: encoded.iter().map(|tensor| tensor.payload_bytes()).sum(),
        batch,
    }
}
