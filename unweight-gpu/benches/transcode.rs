//! Transcoding of the tensors of a Llama-3.1-8B layer:
//! `cargo bench -p unweight-gpu --bench transcode`. The same run measures a copy in device memory,
//! and decoding to weights followed by encoding. Types that are transcoded by way of weights have
//! one row.
//!
//! Times are medians with cold caches, by events on the stream around all kernels. The roofline is
//! the time to read and write the payloads once at the speed of the copy.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

mod files;
mod measuring;

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use measuring::{ROTATED_BYTES, layer, layer_as, llama_shaped, median, to_f8, trained};
use unweight::container::OpenFile;
use unweight_format::{Dtype, Encoding};
use unweight_gpu::{
    Batch, DecodeTask, Device, DeviceTensor, EncodeBatch, EncodeTask, Output, TranscodeBatch,
    TranscodeTask, longest_payload_bytes,
};
use unweight_testkit::{Form, Tensor, bf16_tensors, container, tensor};

fn main() {
    let Some((device, stream, copied)) = measuring::open() else {
        return;
    };
    println!(
        "\n{:<22} {:>2} {:<8} {:<8} {:<16} {:>9} {:>9} {:>9}",
        "tensors", "k", "from", "to", "by way of", "us", "TB/s", "roofline"
    );
    let (name, of_file) = trained();
    let measure = |name: &str, tensors: &[Tensor], log2, direction| {
        measure(&device, &stream, copied, name, tensors, log2, direction);
    };
    let directions = [
        [Encoding::Huffman, Encoding::Palette],
        [Encoding::Palette, Encoding::Huffman],
    ];
    for (name, tensors) in [
        ("14336x4096", vec![llama_shaped(14336, 4096, 1)]),
        ("1024x4096", vec![llama_shaped(1024, 4096, 4)]),
        ("a layer, 7 tensors", layer()),
        (&name, of_file),
    ] {
        let tensors = bf16_tensors(&tensors, |_| Form::RAW);
        for log2 in [13, 14, 15] {
            for direction in directions {
                measure(name, &tensors, log2, direction);
            }
        }
    }
    // Fields of 5 bits change their form, others keep theirs.
    let layer = layer_as(1, |x| u64::from(to_f8(x, 2).0)).into_iter();
    let tensors: Vec<Tensor> = layer
        .enumerate()
        .map(|(number, data)| {
            let shape = [data.len() as u64];
            tensor(&format!("t{number}"), "F8_E5M2", &shape, data)
        })
        .collect();
    for direction in directions {
        measure("a layer, F8_E5M2", &tensors, 15, direction);
    }
}

/// One set of inputs and outputs.
struct Set {
    tensors: Vec<Arc<DeviceTensor>>,
    weights: Vec<Arc<CudaSlice<u8>>>,
}

fn measure(
    device: &Device,
    stream: &Arc<CudaStream>,
    copied: f64,
    name: &str,
    tensors: &[Tensor],
    log2: u8,
    [from, to]: [Encoding; 2],
) {
    let form = Form::canonical(from, log2);
    let stored: Vec<Tensor> = tensors.iter().map(|it| it.clone().stored(form)).collect();
    let file = container(&stored, false);
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let sources = files::on_device(device, &container, &file);
    let stored: u64 = sources
        .iter()
        .map(|source| source.payload().extent().length)
        .sum();
    let data_bytes: u64 = sources.iter().map(|source| source.data_bytes()).sum();
    drop(sources);
    let set_count = (ROTATED_BYTES / (stored + data_bytes) as usize).max(2);
    let allocate = |bytes: u64| stream.alloc_zeros::<u8>(bytes as usize).unwrap();
    let lengths = || tensors.iter().map(|tensor| tensor.data.len() as u64);
    let longest = |tensor: &Tensor| {
        let weights = tensor.data.len() / tensor.dtype.weight_bytes();
        longest_payload_bytes(tensor.dtype, weights as u64, log2)
    };
    let payloads = || tensors.iter().map(|tensor| allocate(longest(tensor)));
    let sets: Vec<Set> = (0..set_count)
        .map(|_| Set {
            tensors: files::on_device(device, &container, &file),
            weights: lengths().map(|bytes| Arc::new(allocate(bytes))).collect(),
        })
        .collect();

    let (direct, encoded) = {
        let mut batches: Vec<TranscodeBatch> = sets
            .iter()
            .map(|set| {
                let tasks = (set.tensors.iter().cloned().zip(payloads()))
                    .map(|(tensor, output)| TranscodeTask::new(tensor, output));
                TranscodeBatch::new(device, tasks.collect(), to).unwrap()
            })
            .collect();
        let seconds = median(stream, &mut batches, |batch| {
            batch.transcode(stream).unwrap().defer_status();
        });
        for batch in &mut batches {
            batch.status().unwrap();
        }
        (seconds, batches[0].transcoded().unwrap())
    };
    for (tensor, encoded) in container.directory().tensors().zip(&encoded) {
        tensor.require_checksum(encoded.checksum).unwrap();
    }
    let written: u64 = encoded.iter().map(|tensor| tensor.payload_bytes()).sum();
    let row = |way: &str, seconds: f64| {
        println!(
            "{name:<22} {log2:>2} {:<8} {:<8} {way:<16} {:>9.1} {:>9.2} {:>8.0}%",
            from.name(),
            to.name(),
            seconds * 1e6,
            data_bytes as f64 / seconds / 1e12,
            100.0 * (stored + written) as f64 / copied / seconds
        );
    };
    row("records", direct);
    if tensors.iter().any(|tensor| tensor.dtype != Dtype::Bf16) {
        return;
    }

    let mut batches: Vec<(Batch, EncodeBatch)> = sets
        .iter()
        .map(|set| {
            // SAFETY: inputs and outputs are the same memory, which outlives the batches. Each
            // launch writes it before the next one on the stream reads it.
            let decoded = set.weights.iter().map(|memory| unsafe {
                Output::at_address(memory.device_ptr(stream).0, memory.num_bytes() as u64)
            });
            let to_weights = (set.tensors.iter().zip(decoded))
                .map(|(input, output)| DecodeTask::new(input, output))
                .collect();
            let tasks = (set.weights.iter().cloned().zip(payloads()))
                .map(|(source, output)| EncodeTask::new(Dtype::Bf16, source, output))
                .collect();
            (
                Batch::to_weights(device, to_weights).unwrap(),
                EncodeBatch::new(device, tasks, to, log2).unwrap(),
            )
        })
        .collect();
    let seconds = median(stream, &mut batches, |(decode, encode)| {
        decode.decode(stream).unwrap().defer_status();
        encode.encode(stream).unwrap();
    });
    row("weights", seconds);
}
