//! Decoding on a GPU: batches, streams, ranges of chunks, and raw tensors beside coded ones.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::ops::Range;
use std::sync::Arc;

use half::bf16;
use unweight::container::OpenFile;
use unweight_format::{Encoding, Rule};
use unweight_gpu::cudarc::driver::DevicePtr;
use unweight_gpu::{Batch, DecodeTask, GpuError, Input, Output};
use unweight_testkit::{Form, bf16, bytes_of, container, container_of, tensor};

use crate::tensors::{awkward_weights, file_of, on_device, weights};
use crate::{GUARD_BYTES, OnAGpu, POISON, restore};

pub(crate) fn decodes_every_size_around_a_step_and_a_chunk(gpu: &OnAGpu) {
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        for log2 in [12, 15, 16] {
            let sizes = [
                1usize << log2,
                (3 << log2) - 1,
                (2 << log2) + 1,
                (1 << log2) + 255,
                (1 << log2) + 256,
                (1 << log2) + 257,
            ];
            let tensors: Vec<_> = sizes
                .iter()
                .map(|&size| weights(size, size as u64))
                .collect();
            let file = file_of(&tensors, encoding, log2);
            let restored =
                restore::restore(gpu, &file).unwrap_or_else(|_| panic!("{encoding:?} {log2}"));
            assert!(
                restored
                    == tensors
                        .iter()
                        .flat_map(|weights| bytes_of(weights))
                        .collect::<Vec<_>>()
            );
        }
    }
}

pub(crate) fn decodes_many_tensors_in_one_launch_and_on_many_streams(gpu: &OnAGpu) {
    let tensors: Vec<_> = (0..40)
        .map(|number| weights(20_000 + 777 * number, number as u64 + 1))
        .collect();
    let file = file_of(&tensors, Encoding::Huffman, 12);
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let stream = gpu.device.stream().unwrap();
                let coded = on_device(&container, &file, &gpu.device);
                let outputs = tensors
                    .iter()
                    .map(|weights| stream.clone_htod(&vec![POISON; 2 * weights.len()]).unwrap());
                let tasks = (coded.into_iter().zip(outputs))
                    .map(|(input, output)| DecodeTask::new(input, output))
                    .collect();
                let mut batch = Batch::to_weights(&gpu.device, tasks).unwrap();
                batch.check_chunks(&stream).unwrap().defer_status();
                batch.decode(&stream).unwrap().finish().unwrap();
                let checksums = batch.checksums().unwrap();
                let memory = batch.into_outputs().unwrap();
                for ((weights, memory), (tensor, checksum)) in tensors
                    .iter()
                    .zip(&memory)
                    .zip(container.directory().tensors().zip(checksums))
                {
                    tensor.require_checksum(checksum).unwrap();
                    assert!(stream.clone_dtoh(memory).unwrap() == bytes_of(weights));
                }
            });
        }
    });
}

/// Slightly more than 2^31 weights, which overflow 32-bit counts of bytes and signed ones of
/// weights. The test takes 8 GB of host memory and 7 GB of device memory.
pub(crate) fn decodes_more_than_2_to_the_31_weights(gpu: &OnAGpu) {
    let piece = weights(1 << 20, 31);
    let mut tensor: Vec<bf16> = (0..1 << 11).flat_map(|_| piece.iter().copied()).collect();
    tensor.extend(&piece[..12_345]);
    let file = container_of(&tensor, Encoding::Huffman, 15);
    drop(tensor);
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    let stream = &gpu.stream;
    let coded = on_device(&container, &file, &gpu.device).remove(0);
    let memory = stream
        .alloc_zeros::<u8>(tensor.data_bytes() as usize)
        .unwrap();
    let mut batch = Batch::to_weights(&gpu.device, vec![DecodeTask::new(coded, memory)]).unwrap();
    batch.check_chunks(stream).unwrap().defer_status();
    batch.decode(stream).unwrap().finish().unwrap();
    let checksum = batch.checksums().unwrap()[0];
    tensor.require_checksum(checksum).unwrap();
}

/// Ranges of a tensor of at least four chunks: from its start, from its middle, to its end, and an
/// empty one.
fn ranges(chunks: u64) -> [Range<u64>; 5] {
    [0..2, 1..chunks, 2..2, chunks - 1..chunks, 2..3]
}

pub(crate) fn a_range_of_chunks_decodes_to_that_part_of_the_tensor(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    for (encoding, log2) in [
        (Encoding::Huffman, 12),
        (Encoding::Palette, 12),
        (Encoding::Huffman, 15),
    ] {
        let sizes = [4 << log2, (4 << log2) + 1, (5 << log2) + 777];
        let mut tensors: Vec<_> = sizes.iter().map(|&size| weights(size, 3)).collect();
        tensors.extend([0, 1, 4].map(|kind| awkward_weights(300_000, kind)));
        let mut file = file_of(&tensors, encoding, log2);
        // The changed plain byte is in chunk 1 of the second tensor, which some of the
        // ranges have.
        let mut flip = 0;
        for bad in [false, true] {
            if bad {
                file[flip] ^= 1;
            }
            let open = OpenFile::read(file.as_slice()).unwrap();
            let container = open.container();
            let coded = on_device(&container, &file, &gpu.device);
            flip = coded[1].payload().chunk(1).plain.offset as usize;
            let (mut inputs, mut parts) = (vec![], vec![]);
            for (coded, weights) in coded.iter().zip(&tensors) {
                for chunks in ranges(coded.payload().chunk_count()) {
                    let end = weights.len().min((chunks.end as usize) << log2);
                    parts.push(&weights[(chunks.start as usize) << log2..end]);
                    inputs.push(Input::chunks(coded.clone(), chunks));
                }
            }
            let allocate = |bytes: usize| {
                stream
                    .clone_htod(&vec![POISON; bytes + GUARD_BYTES])
                    .unwrap()
            };
            let outputs = parts.iter().map(|part| allocate(2 * part.len()));
            let tasks = (inputs.iter().cloned().zip(outputs))
                .map(|(input, output)| DecodeTask::new(input, output))
                .collect();
            let mut batch = Batch::to_weights(&gpu.device, tasks).unwrap();
            batch.check_chunks(stream).unwrap().defer_status();
            let status = batch.decode(stream).unwrap().finish();
            if bad {
                // The first range with this chunk is number 5 of the batch, and has it as its
                // second chunk.
                match status {
                    Err(GpuError::BadChunk(bad)) => {
                        let found = (bad.tensor, bad.chunk, bad.field, bad.rule);
                        assert_eq!(found, (5, 1, Some(0), Rule::RecordCrc));
                    }
                    other => panic!("{other:?}"),
                }
                let memory = batch.into_outputs().unwrap().into_iter();
                let others = (inputs[7..].iter().cloned().zip(memory.skip(7)))
                    .map(|(input, output)| DecodeTask::new(input, output));
                let mut batch = Batch::to_weights(&gpu.device, others.collect()).unwrap();
                batch.check_chunks(stream).unwrap().finish().unwrap();
                continue;
            }
            status.unwrap();
            let checksums = batch.checksums().unwrap();
            let memory = batch.into_outputs().unwrap();
            for ((part, memory), checksum) in parts.iter().zip(&memory).zip(checksums) {
                let (decoded, bytes) = (stream.clone_dtoh(memory).unwrap(), bytes_of(part));
                assert!(decoded[..bytes.len()] == bytes);
                assert!(decoded[bytes.len()..].iter().all(|&byte| byte == POISON));
                assert_eq!(checksum, crc32fast::hash(&bytes));
            }
            let tasks = (inputs.iter().cloned().zip(memory))
                .map(|(input, output)| DecodeTask::new(input, output))
                .collect();
            let mut batch = Batch::to_exponents(&gpu.device, tasks).unwrap();
            batch.decode(stream).unwrap().finish().unwrap();
            let memory = batch.into_outputs().unwrap();
            for (part, memory) in parts.iter().zip(&memory) {
                let decoded = stream.clone_dtoh(memory).unwrap();
                let plane = part.iter().map(|weight| (weight.to_bits() >> 7) as u8);
                assert!(plane.eq(decoded[..part.len()].iter().copied()));
            }
        }
    }
}

/// Coded and raw tensors of all lengths, in one batch and into one allocation of the caller.
pub(crate) fn one_batch_decodes_a_whole_model(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    let lengths = [
        70_000u64, 1, 300_000, 3, 65_536, 40_000, 0, 1_000_001, 5_000,
    ];
    let tensors: Vec<_> = (0..)
        .zip(lengths)
        .map(|(number, length)| {
            let name = format!("t{number}");
            let weights = weights(length as usize, length + 1);
            if number % 2 == 1 || length == 0 {
                let bytes = bytes_of(&weights)[..length as usize].to_vec();
                tensor(&name, "U8", &[length], bytes)
            } else {
                bf16(&name, &weights).stored(Form::canonical(Encoding::Huffman, 14))
            }
        })
        .collect();
    let file = container(&tensors, false);
    let expected: Vec<Vec<u8>> = tensors.into_iter().map(|tensor| tensor.data).collect();
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let tensors = || container.directory().tensors();
    let uploaded = on_device(&container, &file, &gpu.device);
    // Data of raw tensors may also be the caller's.
    let inputs = uploaded.iter().zip(tensors()).map(|(uploaded, tensor)| {
        let payload = tensor.payload();
        match payload.forms().is_raw() && tensor.number() % 2 == 0 {
            true => {
                let data = payload.plain().of(&file).unwrap();
                Input::raw_tensor(Arc::new(stream.clone_htod(data).unwrap()))
            }
            false => Input::from(uploaded),
        }
    });
    let mut offsets = vec![];
    let mut total = 0;
    for bytes in &expected {
        offsets.push(total);
        total += bytes.len().next_multiple_of(16);
    }
    let memory = stream
        .clone_htod(&vec![POISON; total + GUARD_BYTES])
        .unwrap();
    let start = memory.device_ptr(stream).0;
    let tasks = inputs
        .zip(&offsets)
        .zip(&expected)
        .map(|((input, &offset), bytes)| {
            // SAFETY: a part of `memory` of its own, which is there until the batch is gone.
            let output = unsafe { Output::at_address(start + offset as u64, bytes.len() as u64) };
            DecodeTask::new(input, output)
        });
    let mut batch = Batch::to_weights(&gpu.device, tasks.collect()).unwrap();
    batch.check_chunks(stream).unwrap().defer_status();
    batch.decode(stream).unwrap().finish().unwrap();
    for (tensor, checksum) in tensors().zip(batch.checksums().unwrap()) {
        tensor.require_checksum(checksum).unwrap();
    }
    // All outputs were given as addresses.
    assert!(batch.into_outputs().unwrap().is_empty());
    let decoded = stream.clone_dtoh(&memory).unwrap();
    let mut untouched = vec![true; decoded.len()];
    for (bytes, offset) in expected.iter().zip(offsets) {
        assert!(&decoded[offset..offset + bytes.len()] == bytes);
        untouched[offset..offset + bytes.len()].fill(false);
    }
    let mut rest = decoded
        .iter()
        .zip(untouched)
        .filter(|(_, untouched)| *untouched);
    assert!(rest.all(|(&byte, _)| byte == POISON));
}
