//! Decoding and checksums of the tensors of a Llama-3.1-8B layer in several types, and a copy in
//! device memory in the same run: `cargo bench -p unweight-gpu --bench decode`. `-- --only TEXT`
//! measures the tensors with this text in their name.
//!
//! Times are medians, by events on the stream. Inputs and outputs rotate through more memory than
//! the L2 cache has, so that every launch begins with cold caches. The roofline is the time to move
//! a kernel's bytes at the speed of the copy. Trained weights are those of the repository's sample,
//! or of the safetensors file after `-- --file`.

mod files;
mod measuring;

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::{bf16, f16};
use measuring::{ROTATED_BYTES, argument, layer, layer_as, llama_shaped, median, to_f8, trained};
use unweight::container::OpenFile;
use unweight_format::{Dtype, Encoding};
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor};
use unweight_testkit::{Form, Tensor, bf16_tensors, container, tensor};

/// Tensors to measure, in a form that is chosen for each measurement.
struct Tensors {
    name: String,
    tensors: Vec<Tensor>,
}

impl Tensors {
    fn bf16(name: &str, tensors: impl FnOnce() -> Vec<Vec<bf16>>) -> Option<Tensors> {
        let form = Form::canonical(Encoding::Huffman, 15);
        Tensors::of(name, || bf16_tensors(&tensors(), |_| form))
    }

    /// The tensors of a layer in this type, from normally distributed numbers.
    fn layer(name: &str, dtype: Dtype, bytes: impl Fn(f32) -> u64 + Sync) -> Option<Tensors> {
        Tensors::of(name, || {
            let numbered = (0..).zip(layer_as(dtype.weight_bytes(), bytes));
            numbered
                .map(|(number, data): (u32, Vec<u8>)| {
                    let shape = [data.len() as u64 / dtype.weight_bytes() as u64];
                    tensor(&format!("t{number}"), dtype.name(), &shape, data)
                })
                .collect()
        })
    }

    /// None if they are not to be measured.
    fn of(name: &str, tensors: impl FnOnce() -> Vec<Tensor>) -> Option<Tensors> {
        let is_chosen = argument("--only").is_none_or(|text| name.contains(&text));
        is_chosen.then(|| Tensors {
            name: name.to_owned(),
            tensors: tensors(),
        })
    }
}

fn main() {
    let Some((device, stream, copied)) = measuring::open() else {
        return;
    };
    println!(
        "\n{:<24} {:>2} {:<8} {:>6} {:<18} {:>9} {:>9} {:>9}",
        "tensors", "k", "encoding", "bits", "operation", "us", "TB/s", "roofline"
    );
    let measure = |tensors: &Option<Tensors>, encoding, log2| {
        if let Some(tensors) = tensors {
            measure(&device, &stream, copied, tensors, encoding, log2);
        }
    };
    let gate = Tensors::bf16("14336x4096", || vec![llama_shaped(14336, 4096, 1)]);
    for log2 in [13, 14, 15, 16] {
        measure(&gate, Encoding::Huffman, log2);
    }
    measure(&gate, Encoding::Palette, 15);
    let others = [
        Tensors::bf16("4096x14336", || vec![llama_shaped(4096, 14336, 2)]),
        Tensors::bf16("4096x4096", || vec![llama_shaped(4096, 4096, 3)]),
        Tensors::bf16("1024x4096", || vec![llama_shaped(1024, 4096, 4)]),
        Tensors::bf16("a layer, BF16", layer),
        Tensors::bf16(&trained().0, || trained().1),
    ];
    for log2 in [13, 14, 15] {
        for tensors in &others {
            measure(tensors, Encoding::Huffman, log2);
        }
    }
    // Kernels of any forms. One layer at a time, because host memory is finite.
    let bits = |number: f32| u64::from(number.to_bits());
    let upcast = |mantissa_bits| move |x| bits(to_f8(x, mantissa_bits).1) >> 16;
    let huffman = |tensors| measure(&tensors, Encoding::Huffman, 15);
    huffman(Tensors::layer("a layer, E4M3", Dtype::F8E4M3, |x| {
        to_f8(x, 3).0.into()
    }));
    huffman(Tensors::layer("a layer, E5M2", Dtype::F8E5M2, |x| {
        to_f8(x, 2).0.into()
    }));
    // Sign and mantissa are plain, and the low bits of the mantissa constant.
    huffman(Tensors::layer(
        "a layer, BF16 of E4M3",
        Dtype::Bf16,
        upcast(3),
    ));
    // The mantissa is coded too.
    huffman(Tensors::layer(
        "a layer, BF16 of E5M2",
        Dtype::Bf16,
        upcast(2),
    ));
    let half = Tensors::layer("a layer, F16", Dtype::F16, |x| {
        f16::from_f32(x).to_bits().into()
    });
    measure(&half, Encoding::Huffman, 15);
    measure(&half, Encoding::Palette, 15);
    drop(half);
    huffman(Tensors::layer("a layer, F32", Dtype::F32, bits));
    huffman(Tensors::layer("a layer, F32 of BF16", Dtype::F32, |x| {
        bits(bf16::from_f32(x).to_f32())
    }));
}

fn measure(
    device: &Device,
    stream: &Arc<CudaStream>,
    copied: f64,
    tensors: &Tensors,
    encoding: Encoding,
    log2: u8,
) {
    let form = Form::canonical(encoding, log2);
    let stored = tensors.tensors.iter().cloned();
    let file = container(
        &stored.map(|tensor| tensor.stored(form)).collect::<Vec<_>>(),
        false,
    );
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let upload = || files::on_device(device, &container, &file);
    let first = upload();
    let sum = |of: fn(&DeviceTensor) -> u64| first.iter().map(|tensor| of(tensor)).sum::<u64>();
    let stored = sum(|tensor| tensor.payload().extent().length);
    let records = sum(|tensor| {
        let payload = tensor.payload();
        payload.records().length + payload.record_ends().length
    });
    let (data, weights) = (
        sum(DeviceTensor::data_bytes),
        sum(|tensor| tensor.payload().weights()),
    );
    let sets = (ROTATED_BYTES / (stored + data) as usize).max(2);
    let mut sets: Vec<Vec<Arc<DeviceTensor>>> = (1..sets).map(|_| upload()).collect();
    let forms = first[0].payload().forms();
    sets.push(first);
    let tasks = |set: &[Arc<DeviceTensor>]| {
        let output = |tensor: &DeviceTensor| stream.alloc_zeros(tensor.data_bytes() as usize);
        set.iter()
            .map(|tensor| DecodeTask::new(tensor, output(tensor).unwrap()))
            .collect::<Vec<_>>()
    };

    let row = |operation: &str, moved: u64, seconds: f64| {
        println!(
            "{:<24} {log2:>2} {:<8} {:>6.2} {operation:<18} {:>9.1} {:>9.2} {:>8.0}%",
            tensors.name,
            encoding.name(),
            8.0 * stored as f64 / weights as f64,
            seconds * 1e6,
            data as f64 / seconds / 1e12,
            100.0 * moved as f64 / copied / seconds
        );
    };
    {
        let batch = |set: &Vec<_>| Batch::to_weights(device, tasks(set));
        let mut batches: Vec<Batch> = sets.iter().map(|set| batch(set).unwrap()).collect();
        let seconds = median(stream, &mut batches, |batch| {
            batch.decode(stream).unwrap().defer_status();
        });
        row("decode", stored + data, seconds);
        let seconds = median(stream, &mut batches, |batch| {
            batch.check_chunks(stream).unwrap().defer_status();
        });
        row("check chunks", stored, seconds);
        for (batch, set) in batches.iter_mut().zip(0..) {
            batch.status().unwrap();
            let checksums = batch.checksums().unwrap();
            for (tensor, checksum) in container.directory().tensors().zip(checksums) {
                tensor
                    .require_checksum(checksum)
                    .unwrap_or_else(|error| panic!("set {set}: {error}"));
            }
        }
    }
    if forms.dtype() != Dtype::Bf16 {
        return;
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
