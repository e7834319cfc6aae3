//! Decoding of every type in all of its forms, together in one batch.

#![expect(unsafe_code, reason = "launches of a checked tensor")]

use std::sync::Arc;

use unweight::container::OpenFile;
use unweight_format::{Dtype, Form, Forms, Rule, layout};
use unweight_gpu::cudarc::driver::{CudaSlice, DevicePtrMut};
use unweight_gpu::{BadChunk, Batch, CheckedTensor, DecodeTask, DeviceTensor, GpuError};
use unweight_testkit::forms::{file_of, forms_of, weights};
use unweight_testkit::{self as testkit, ENCODINGS, Random, Records, any_weights, container};

use crate::tensors::on_device;
use crate::{GUARD_BYTES, OnAGpu, POISON, restore};

/// A file of one tensor, and its bytes.
struct File {
    forms: Forms,
    data: Vec<u8>,
    file: Vec<u8>,
}

/// All types in all of their forms. Some have two chunks and a part of a third; plain planes of more
/// than 65,536 bytes have blocks.
fn files() -> Vec<File> {
    let of_type = |&dtype: &Dtype| forms_of(dtype).into_iter();
    let numbered = (0..).zip(Dtype::ALL.iter().flat_map(of_type));
    numbered
        .map(|(number, forms)| {
            let log2 = 12 + (number % 5) as u8;
            // A multiple of 12 fills the bytes of every type.
            let count = [12, 252, 3_996, 12_000, 69_996, 140_004][number % 6];
            let data = weights(forms, count, number as u64);
            let file = file_of(forms, log2, &data);
            File { forms, data, file }
        })
        .collect()
}

/// The one tensor of each file.
fn uploaded(gpu: &OnAGpu, files: &[File]) -> Vec<Arc<DeviceTensor>> {
    let upload = |file: &File| {
        let open = OpenFile::read(file.file.as_slice()).unwrap();
        on_device(&open.container(), &file.file, &gpu.device).remove(0)
    };
    files.iter().map(upload).collect()
}

fn batch_of(gpu: &OnAGpu, files: &[File]) -> Batch {
    let tasks = uploaded(gpu, files)
        .into_iter()
        .zip(files)
        .map(|(tensor, file)| {
            let output = vec![POISON; file.data.len() + GUARD_BYTES];
            DecodeTask::new(tensor, gpu.stream.clone_htod(&output).unwrap())
        });
    Batch::to_weights(&gpu.device, tasks.collect()).unwrap()
}

pub(crate) fn one_batch_decodes_every_type_in_all_of_its_forms(gpu: &OnAGpu) {
    let (files, stream) = (files(), &gpu.stream);
    let mut batch = batch_of(gpu, &files);
    batch.check_chunks(stream).unwrap().defer_status();
    batch.decode(stream).unwrap().finish().unwrap();
    let checksums = batch.checksums().unwrap();
    let outputs = batch.into_outputs().unwrap();
    for ((file, output), checksum) in files.iter().zip(&outputs).zip(checksums) {
        let decoded = stream.clone_dtoh(output).unwrap();
        let (weights, guard) = decoded.split_at(file.data.len());
        assert!(weights == file.data, "{:?}", file.forms);
        assert!(guard.iter().all(|&byte| byte == POISON), "{:?}", file.forms);
        assert_eq!(checksum, crc32fast::hash(weights), "{:?}", file.forms);
    }
}

/// What the batch reports.
fn bad_chunk(gpu: &OnAGpu, files: &[File]) -> BadChunk {
    let mut batch = batch_of(gpu, files);
    batch.check_chunks(&gpu.stream).unwrap().defer_status();
    match batch.decode(&gpu.stream).unwrap().finish() {
        Err(GpuError::BadChunk(bad)) => bad,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_bad_tensor_among_all_types_is_named(gpu: &OnAGpu) {
    let mut files = files();
    let mut places = Vec::new();
    for (number, File { forms, file, .. }) in files.iter().enumerate() {
        let open = OpenFile::read(file.as_slice()).unwrap();
        let payload = *open.container().directory().tensor(0).unwrap().payload();
        if let Some(record) = testkit::records(file, &payload).pop() {
            // A byte of its contents, behind the header.
            let at = record.extent.offset + layout::RECORD_HEADER_BYTES as u64;
            let field = Some(record.coded.field_number);
            places.push((number, at, record.chunk, field, Rule::RecordCrc));
        } else if payload.block_count() > 0 {
            let block = payload.block_count() - 1;
            let at = payload.block(block).offset;
            places.push((number, at, block, None, Rule::BlockCrc));
        }
        assert_eq!(payload.forms(), *forms);
    }
    let mut random = Random::new(3);
    for _ in 0..24 {
        let (number, at, chunk, field, rule) = places[random.below(places.len() as u64) as usize];
        files[number].file[at as usize] ^= 0x10;
        let bad = bad_chunk(gpu, &files);
        let found = (bad.tensor, bad.chunk, bad.field, bad.rule);
        assert_eq!(
            found,
            (number, chunk, field, rule),
            "{:?}",
            files[number].forms
        );
        files[number].file[at as usize] ^= 0x10;
    }
}

pub(crate) fn odd_records_of_every_type_decode(gpu: &OnAGpu) {
    let mut random = Random::new(22);
    for round in 0..6 {
        let tensors: Vec<testkit::Tensor> = (0..)
            .zip(Dtype::ALL)
            .map(|(number, &dtype)| {
                let count = 12 * (1 + random.below(15_000));
                let data = any_weights(dtype, count as usize, &mut random);
                let elements = data.len() as u64 * 8 / dtype.bits();
                testkit::tensor(&format!("t{number:02}"), dtype.name(), &[elements], data).stored(
                    testkit::Form {
                        encoding: ENCODINGS[round % 2],
                        chunk_size_log2: 12 + random.below(5) as u8,
                        records: Records::Odd {
                            seed: random.bits(),
                        },
                    },
                )
            })
            .collect();
        let file = container(&tensors, false);
        let restored = restore::restore(gpu, &file).unwrap();
        assert!(
            restored
                == tensors
                    .iter()
                    .flat_map(|it| it.data.clone())
                    .collect::<Vec<_>>()
        );
    }
}

pub(crate) fn a_checked_tensor_decodes_on_all_and_on_few_multiprocessors(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    for bits in [0x001, 0x002, 0x011, 0x301, 0x112] {
        let forms = Forms::from_bits(Dtype::Bf16, bits).unwrap();
        let weights = weights(forms, (40 << 12) + 777, 5);
        let file = file_of(forms, 12, &weights);
        let open = OpenFile::read(file.as_slice()).unwrap();
        let tensor = on_device(&open.container(), &file, &gpu.device).remove(0);
        let decoded = CheckedTensor::decode(&gpu.device, tensor).unwrap();
        assert!(stream.clone_dtoh(&decoded.weights).unwrap() == weights);
        let exponents: Vec<u8> = (weights.as_chunks().0.iter())
            .map(|&[low, high]| high << 1 | low >> 7)
            .collect();
        for multiprocessors in [None, Some(1), Some(5), Some(1_000)] {
            let mut output: CudaSlice<u8> = stream.alloc_zeros(weights.len()).unwrap();
            let to = output.device_ptr_mut(stream).0;
            // SAFETY: the output is as long as the weights, nobody else uses it, and the stream is
            // waited for.
            unsafe {
                decoded
                    .tensor
                    .decode_weights(stream, to, multiprocessors)
                    .unwrap();
            }
            assert!(stream.clone_dtoh(&output).unwrap() == weights, "{forms:?}");
            // SAFETY: as above.
            unsafe {
                decoded
                    .tensor
                    .decode_exponents(stream, to, multiprocessors)
                    .unwrap();
            }
            let plane = stream.clone_dtoh(&output).unwrap();
            assert!(plane[..exponents.len()] == exponents, "{forms:?}");
        }
        assert_ne!(
            decoded.tensor.tensor().payload().forms().form(0),
            Form::Plain
        );
    }
}
