//! Encoding on a GPU.

#[path = "../field_values/mod.rs"]
pub(crate) mod field_values;

use std::sync::Arc;

use field_values::{DISTRIBUTIONS_OF_FIELDS, weights_of_fields};
use unweight_format::write::ContainerWriter;
use unweight_format::{Dtype, Encoding, SourceKind};
use unweight_gpu::{EncodeBatch, EncodeTask, GpuError, longest_payload_bytes};
use unweight_testkit::{ENCODINGS, Form, Tensor, bf16_tensors, container, tensor};

use crate::tensors::{awkward_weights, weights};
use crate::{GUARD_BYTES, OnAGpu, POISON};

/// The container of the device's payloads. A tensor that coding does not shrink is raw.
fn file_by(gpu: &OnAGpu, tensors: &[Tensor], encoding: Encoding, log2: u8) -> Vec<u8> {
    let stream = &gpu.stream;
    let longest = |tensor: &Tensor| {
        let weights = (tensor.data.len() / tensor.dtype.weight_bytes()) as u64;
        longest_payload_bytes(tensor.dtype, weights, log2) as usize
    };
    let task = |tensor: &Tensor| {
        let poison = vec![POISON; longest(tensor) + GUARD_BYTES];
        let output = stream.clone_htod(&poison).unwrap();
        let source = Arc::new(stream.clone_htod(&tensor.data).unwrap());
        EncodeTask::new(tensor.dtype, source, output)
    };
    let tasks = tensors.iter().map(task).collect();
    let mut batch = EncodeBatch::new(&gpu.device, tasks, encoding, log2).unwrap();
    assert!(matches!(batch.encoded(), Err(GpuError::NotEncoded)));
    // The second run checks that the first one left no state behind.
    batch.encode(stream).unwrap();
    batch.encode(stream).unwrap();
    let encoded = batch.encoded().unwrap();
    let memory = batch.into_outputs().unwrap();
    let declared = tensors.iter().map(Tensor::declaration).collect();
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for ((encoded, memory), tensor) in encoded.iter().zip(&memory).zip(tensors) {
        let payload = stream.clone_dtoh(memory).unwrap();
        let written = encoded.payload_bytes() as usize;
        assert!(written <= longest(tensor), "{}", tensor.name);
        assert!(payload[written..].iter().all(|&byte| byte == POISON));
        if !encoded.write(&payload, &mut writer).unwrap() {
            let mut raw = writer.raw().unwrap();
            raw.write(&tensor.data).unwrap();
            raw.finish().unwrap();
        }
    }
    writer.finish().unwrap()
}

fn hold_to_the_reference(gpu: &OnAGpu, tensors: &[Tensor], encoding: Encoding, log2: u8) {
    let file = file_by(gpu, tensors, encoding, log2);
    let form = Form::canonical(encoding, log2);
    let stored: Vec<Tensor> = tensors.iter().map(|it| it.clone().stored(form)).collect();
    assert!(
        file == container(&stored, false),
        "{encoding:?}, chunks of 2^{log2}"
    );
}

pub(crate) fn encoding_gives_the_files_of_the_reference(gpu: &OnAGpu) {
    for encoding in ENCODINGS {
        for log2 in 12..=16 {
            let sizes = [
                1usize,
                2,
                255,
                257,
                4_095,
                4_097,
                (1 << log2) - 1,
                1 << log2,
                (3 << log2) + 1,
                300_000,
            ];
            let mut tensors: Vec<_> = sizes
                .iter()
                .map(|&size| weights(size, size as u64 + 7))
                .collect();
            for kind in 0..7 {
                tensors.extend(sizes.iter().map(|&size| awkward_weights(size, kind)));
            }
            let tensors = bf16_tensors(&tensors, |_| Form::RAW);
            hold_to_the_reference(gpu, &tensors, encoding, log2);
            hold_to_the_reference(gpu, &tensors_of_all_types(log2), encoding, log2);
        }
    }
}

/// Tensors of all types, whose fields have all distributions, in sizes around those of a step, of
/// the sample, of a block and of a chunk.
pub(crate) fn tensors_of_all_types(log2: u8) -> Vec<Tensor> {
    let sizes = [
        1,
        17,
        129,
        255,
        257,
        4_097,
        32_768,
        32_769,
        (1 << log2) + 1,
        100_003,
    ];
    let mut tensors = vec![];
    for dtype in Dtype::ALL {
        for first in 0..DISTRIBUTIONS_OF_FIELDS {
            for size in sizes {
                // Three or four weights of 6-bit elements, or two elements, have a shape.
                let weights = match dtype.bits() {
                    6 => size / 3 * 3 + 3,
                    _ => size,
                };
                let data = weights_of_fields(*dtype, weights, first + size);
                let elements = 8 * data.len() as u64 / dtype.bits();
                let name = format!("{}: {dtype}, {weights} of {first}", tensors.len());
                tensors.push(tensor(&name, dtype.name(), &[elements], data));
            }
        }
    }
    tensors
}
