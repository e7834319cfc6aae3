//! Transcoding on a GPU.

use std::sync::Arc;

use unweight::{
    ReadError, Serial,
    container::{Container, OpenFile, decode_tensor},
};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{CodedPlanes, Encoding, Payload, Rule, SourceKind, Tensor};
use unweight_gpu::{DeviceTensor, GpuError, TranscodeBatch, TranscodeTask, longest_payload_bytes};

use crate::restore::Kernels;
use crate::tensors::{file_with, many_tensors};
use crate::{GUARD_BYTES, OnAGpu, POISON, rule};

/// A container of the given one's coded tensors, transcoded by the device in one launch of each
/// kernel.
fn transcoded_by(
    gpu: &OnAGpu,
    container: &Container<'_, [u8]>,
    file: &[u8],
    to: Encoding,
) -> Vec<u8> {
    let stream = &gpu.stream;
    let mut sources = vec![];
    for tensor in container.directory().tensors() {
        if let Payload::Coded(planes) = tensor.payload() {
            let payload = DeviceTensor::extent(planes).of(file).unwrap();
            let source = DeviceTensor::upload(&gpu.device, planes, payload).unwrap();
            sources.push(Arc::new(source));
        }
    }
    let poisoned = |source: &DeviceTensor| {
        let planes = source.planes();
        let longest = longest_payload_bytes(planes.weights(), planes.chunk_size_log2());
        vec![POISON; longest as usize + GUARD_BYTES]
    };
    let with_output = |source: Arc<DeviceTensor>| {
        let output = stream.clone_htod(&poisoned(&source)).unwrap();
        TranscodeTask::new(source, output)
    };
    let tasks = sources.into_iter().map(with_output).collect();
    let mut batch = TranscodeBatch::new(&gpu.device, tasks, to).unwrap();
    // Twice: the second must begin as the first did.
    batch.transcode(stream).unwrap().defer_status();
    batch.check_chunks(stream).unwrap().defer_status();
    batch.transcode(stream).unwrap().finish().unwrap();
    let transcoded = batch.transcoded().unwrap();
    let memory = batch.into_outputs().unwrap();
    let tensors = || container.directory().tensors();
    let declared = tensors().map(|tensor| Declaration::from(&tensor)).collect();
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut of_coded = transcoded.iter().zip(&memory);
    for tensor in tensors() {
        if let Payload::Coded(_) = tensor.payload() {
            let (transcoded, memory) = of_coded.next().unwrap();
            tensor.require_checksum(transcoded.checksum).unwrap();
            let payload = stream.clone_dtoh(memory).unwrap();
            let guard = &payload[payload.len() - GUARD_BYTES..];
            assert!(guard.iter().all(|&byte| byte == POISON));
            if transcoded.write(&payload, &mut writer).unwrap() {
                continue;
            }
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
    let chunk_sizes: [fn(usize) -> u8; 3] = [|number| 12 + (number / 2 % 5) as u8, |_| 14, |_| 15];
    for chunk_size in chunk_sizes {
        let tensors = many_tensors(chunk_size);
        for (from, to) in [
            (Encoding::Huffman, Encoding::Palette),
            (Encoding::Palette, Encoding::Huffman),
            (Encoding::Huffman, Encoding::Huffman),
        ] {
            let file = file_with(&tensors, from, chunk_size);
            let open = OpenFile::read(file.as_slice()).unwrap();
            let container = open.container();
            let expected =
                unweight::container::transcode(&container, to, Vec::new(), &Serial).unwrap();
            assert!(
                transcoded_by(gpu, &container, &file, to) == expected,
                "{from:?} to {to:?}"
            );
        }
    }
}

/// A decoder that also transcodes the tensor to the other encoding, and returns the rule that
/// transcoding reports as broken.
pub(crate) struct Transcoding<'a>(pub(crate) &'a OnAGpu);

impl Transcoding<'_> {
    fn checksum(&self, planes: &CodedPlanes, payload: &[u8]) -> Result<u32, GpuError> {
        let Transcoding(OnAGpu { device, stream }) = self;
        let to = match planes.encoding() {
            Encoding::Huffman => Encoding::Palette,
            _ => Encoding::Huffman,
        };
        let source = Arc::new(DeviceTensor::upload(device, planes, payload)?);
        let longest = longest_payload_bytes(planes.weights(), planes.chunk_size_log2()) as usize;
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
    fn decode(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, Rule> {
        let checksum = self.checksum(planes, payload).map_err(rule)?;
        tensor
            .require_checksum(checksum)
            .map_err(|error| error.rule)?;
        self.0.decode(tensor, planes, payload)
    }
}
