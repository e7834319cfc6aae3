//! Transcoding on a GPU.

use std::sync::Arc;

use unweight::{
    ReadError, Serial,
    container::{Container, OpenFile, decode_tensor},
};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Encoding, Rule, SourceKind, Tensor};
use unweight_gpu::{DeviceTensor, GpuError, TranscodeBatch, TranscodeTask, longest_payload_bytes};
use unweight_testkit::{Form, container};

use crate::encode::tensors_of_all_types;
use crate::restore::Kernels;
use crate::tensors::{file_with, many_tensors};
use crate::{GUARD_BYTES, OnAGpu, POISON, rule};

/// The greatest length of a tensor's output.
fn longest(source: &DeviceTensor) -> usize {
    let payload = source.payload();
    let (dtype, log2) = (payload.forms().dtype(), payload.chunk_size_log2().max(12));
    longest_payload_bytes(dtype, payload.weights(), log2) as usize
}

/// A container of the given one's tensors, transcoded by the device in one batch.
fn transcoded_by(
    gpu: &OnAGpu,
    container: &Container<'_, [u8]>,
    file: &[u8],
    to: Encoding,
) -> Vec<u8> {
    let stream = &gpu.stream;
    let tensors = || container.directory().tensors();
    let task = |tensor: Tensor<'_>| {
        let payload = tensor.payload().extent().of(file).unwrap();
        let source = Arc::new(DeviceTensor::upload(&gpu.device, &tensor, payload).unwrap());
        let poison = vec![POISON; longest(&source) + GUARD_BYTES];
        TranscodeTask::new(source, stream.clone_htod(&poison).unwrap())
    };
    let tasks = tensors().map(task).collect();
    let mut batch = TranscodeBatch::new(&gpu.device, tasks, to).unwrap();
    // Twice: the second must begin as the first did.
    batch.transcode(stream).unwrap().defer_status();
    batch.check_chunks(stream).unwrap().defer_status();
    batch.transcode(stream).unwrap().finish().unwrap();
    let transcoded = batch.transcoded().unwrap();
    let memory = batch.into_outputs().unwrap();
    let declared = tensors().map(|tensor| Declaration::from(&tensor)).collect();
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for ((tensor, transcoded), memory) in tensors().zip(&transcoded).zip(&memory) {
        tensor.require_checksum(transcoded.checksum).unwrap();
        let payload = stream.clone_dtoh(memory).unwrap();
        let guard = &payload[payload.len() - GUARD_BYTES..];
        assert!(guard.iter().all(|&byte| byte == POISON));
        if transcoded.write(&payload, &mut writer).unwrap() {
            continue;
        }
        let mut raw = writer.raw().unwrap();
        decode_tensor(container, &tensor, &Serial, |bytes| {
            raw.write(bytes).unwrap();
            Ok::<_, ReadError>(())
        })
        .unwrap();
        raw.finish().unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn transcoding_gives_the_files_of_the_reference(gpu: &OnAGpu) {
    let directions = [
        (Encoding::Huffman, Encoding::Palette),
        (Encoding::Palette, Encoding::Huffman),
        (Encoding::Huffman, Encoding::Huffman),
    ];
    let chunk_sizes: [fn(usize) -> u8; 3] = [|number| 12 + (number / 2 % 5) as u8, |_| 14, |_| 15];
    for chunk_size in chunk_sizes {
        let tensors = many_tensors(chunk_size);
        for (from, to) in directions {
            hold_to_the_reference(gpu, &file_with(&tensors, from, chunk_size), to);
        }
    }
    for log2 in [12, 15] {
        for (from, to) in directions {
            let form = Form::canonical(from, log2);
            let tensors = tensors_of_all_types(log2).into_iter();
            let stored: Vec<_> = tensors.map(|tensor| tensor.stored(form)).collect();
            hold_to_the_reference(gpu, &container(&stored, false), to);
        }
    }
}

fn hold_to_the_reference(gpu: &OnAGpu, file: &[u8], to: Encoding) {
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    let expected = unweight::container::transcode(&container, to, Vec::new(), &Serial).unwrap();
    assert!(
        transcoded_by(gpu, &container, file, to) == expected,
        "to {to:?}"
    );
}

/// A decoder that also transcodes the tensor to the other encoding, and returns the rule that
/// transcoding reports as broken.
pub(crate) struct Transcoding<'a>(pub(crate) &'a OnAGpu);

impl Transcoding<'_> {
    fn checksum(&self, tensor: &Tensor<'_>, payload: &[u8]) -> Result<u32, GpuError> {
        let Transcoding(OnAGpu { device, stream }) = self;
        let first = tensor.payload().forms().coded_field(0);
        let to = match first.map(|coded| coded.encoding) {
            Some(Encoding::Huffman) => Encoding::Palette,
            Some(Encoding::Palette) | None => Encoding::Huffman,
        };
        let source = Arc::new(DeviceTensor::upload(device, tensor, payload)?);
        let longest = longest(&source);
        let memory = stream.clone_htod(&vec![POISON; longest + GUARD_BYTES])?;
        let mut batch = TranscodeBatch::new(device, vec![TranscodeTask::new(source, memory)], to)?;
        batch.check_chunks(stream)?.defer_status();
        let status = batch.transcode(stream)?.finish();
        let transcoded = batch.transcoded()?;
        let guard = &stream.clone_dtoh(&batch.into_outputs()?[0])?[longest..];
        assert!(guard.iter().all(|&byte| byte == POISON));
        status?;
        Ok(transcoded[0].checksum)
    }
}

impl Kernels for Transcoding<'_> {
    fn decode(&self, tensor: &Tensor<'_>, payload: &[u8]) -> Result<Vec<u8>, Rule> {
        let checksum = self.checksum(tensor, payload).map_err(rule)?;
        tensor
            .require_checksum(checksum)
            .map_err(|error| error.rule)?;
        self.0.decode(tensor, payload)
    }
}
