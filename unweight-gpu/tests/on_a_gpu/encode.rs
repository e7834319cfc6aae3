//! Encoding on a GPU.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use half::bf16;
use unweight_format::write::ContainerWriter;
use unweight_format::{Encoding, SourceKind};
use unweight_gpu::{EncodeBatch, EncodeTask, GpuError, longest_payload_bytes};
use unweight_testkit::{Form, Tensor, bf16_tensors, bytes_of};

use crate::tensors::{awkward_weights, file_of, weights};
use crate::{GUARD_BYTES, OnAGpu, POISON};

/// The container of the device's planes. A tensor that coding does not shrink is raw.
fn file_by(
    gpu: &OnAGpu,
    tensors: &[Vec<bf16>],
    sources: &[Arc<CudaSlice<u8>>],
    encoding: Encoding,
    log2: u8,
) -> Vec<u8> {
    let stream = &gpu.stream;
    let lengths: Vec<_> = tensors
        .iter()
        .map(|weights| longest_payload_bytes(weights.len() as u64, log2) as usize)
        .collect();
    let outputs = lengths.iter().map(|length| {
        let poison = vec![POISON; length + GUARD_BYTES];
        stream.clone_htod(&poison).unwrap()
    });
    let tasks = (sources.iter().cloned().zip(outputs))
        .map(|(source, output)| EncodeTask::new(source, output))
        .collect();
    let mut batch = EncodeBatch::new(&gpu.device, tasks, encoding, log2).unwrap();
    assert!(matches!(batch.encoded(), Err(GpuError::NotEncoded)));
    // The second run checks that the first one left no state behind.
    batch.encode(stream).unwrap();
    batch.encode(stream).unwrap();
    let encoded = batch.encoded().unwrap();
    let memory = batch.into_outputs().unwrap();
    let tensors = bf16_tensors(tensors, |_| Form::RAW);
    let declared = tensors.iter().map(Tensor::declaration).collect();
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for (((encoded, memory), length), tensor) in
        encoded.iter().zip(&memory).zip(lengths).zip(&tensors)
    {
        let payload = stream.clone_dtoh(memory).unwrap();
        assert!(payload[length..].iter().all(|&byte| byte == POISON));
        let coded = encoded.write(&payload, &mut writer).unwrap();
        if !coded {
            let mut raw = writer.raw().unwrap();
            raw.write(&tensor.data).unwrap();
            raw.finish().unwrap();
        }
    }
    writer.finish().unwrap()
}

pub(crate) fn encoding_gives_the_files_of_the_reference(gpu: &OnAGpu) {
    for encoding in [Encoding::Huffman, Encoding::Palette] {
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
            let sources: Vec<_> = tensors
                .iter()
                .map(|weights| Arc::new(gpu.stream.clone_htod(&bytes_of(weights)).unwrap()))
                .collect();
            let file = file_by(gpu, &tensors, &sources, encoding, log2);
            assert!(
                file == file_of(&tensors, encoding, log2),
                "{encoding:?}, chunks of 2^{log2}"
            );
        }
    }
}
