//! The device's part of `unweight bench`.

use std::sync::Arc;

use unweight_cpu::{Container, DEFAULT_CHUNK_SIZE_LOG2, OpenFile};
use unweight_format::{CodedPlanes, Encoding, Payload, Tensor};
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream, sys::CUevent_flags};
use unweight_gpu::{
    Batch, EncodeBatch, EncodedTensor, GpuError, Output, Resident, Source, TranscodeBatch,
    longest_payload_bytes,
};

use super::bench::failed as failed_here;
use crate::failure::Failure;
use crate::gpu::{Gpu, failed};

/// Memory that runs rotate through, so that each begins with cold caches: more than the L2 of any device so far.
const ROTATED_BYTES: u64 = 512 << 20;

/// GB/s of BF16, medians.
pub(super) struct Speeds {
    pub(super) device: String,
    pub(super) copy: f64,
    pub(super) decode: f64,
    pub(super) check_chunks: f64,
    /// To huffman.
    pub(super) encode: f64,
    /// From huffman to palette.
    pub(super) transcode: f64,
}

/// Measures a device on the coded tensors of this file, all in one launch, by events on its stream.
pub(super) fn measure(gpu: &Gpu, file: &[u8], runs: u32) -> Result<Speeds, Failure> {
    let open = OpenFile::read(file).map_err(failed_here)?;
    let container = Container::parse(&open).map_err(failed_here)?;
    let tensors: Vec<_> = container.directory().tensors().collect();
    let coded: Vec<_> = tensors
        .iter()
        .filter_map(|tensor| match tensor.payload() {
            Payload::Coded(planes) => Some((tensor, planes)),
            Payload::Raw(_) => None,
        })
        .collect();
    if coded.is_empty() {
        return Err(Failure::Usage(
            "none of these tensors gets smaller by coding: nothing to decode on a GPU".to_owned(),
        ));
    }
    let planes: Vec<_> = coded.iter().map(|(_, planes)| *planes).collect();
    let weights: u64 = planes.iter().map(|planes| planes.weights()).sum();
    let speed = |seconds: f64| 2e-9 * weights as f64 / seconds;
    let copy = copy_seconds(gpu, 2 * weights, runs).map_err(failed)?;

    let stored: u64 = planes
        .iter()
        .map(|planes| Resident::extent(planes).length)
        .sum();
    let mut sets = (0..sets_of(stored + 2 * weights))
        .map(|_| Set::new(&gpu.stream, &planes, file))
        .collect::<Result<Vec<Set>, _>>()
        .map_err(failed)?;
    let (decode, check_chunks) = measure_decoding(gpu, &mut sets, &coded, runs)?;
    // Of the weights that were decoded, to bytes that must be those of the file.
    let encode = measure_encoding(gpu, &mut sets, file, &coded, runs)?;
    let transcode = measure_transcoding(gpu, &mut sets, &coded, runs)?;
    Ok(Speeds {
        device: gpu.device.name().map_err(failed)?,
        copy: speed(copy),
        decode: speed(decode),
        check_chunks: speed(check_chunks),
        encode: speed(encode),
        transcode: speed(transcode),
    })
}

/// A coded tensor of the file.
type Coded<'a> = (&'a Tensor<'a>, &'a CodedPlanes);

/// Seconds of decoding, and of checking chunks.
fn measure_decoding(
    gpu: &Gpu,
    sets: &mut [Set],
    coded: &[Coded<'_>],
    runs: u32,
) -> Result<(f64, f64), Failure> {
    let batch = |set| Set::decoding(set, gpu);
    let mut batches: Vec<Batch<'_>> = batches(sets, batch)?;
    let decode = median(&gpu.stream, &mut batches, runs, |batch, stream| {
        batch.decode(stream)
    });
    let check = median(&gpu.stream, &mut batches, runs, |batch, stream| {
        batch.check_chunks(stream)
    });
    // What is measured has to be right.
    for batch in &mut batches {
        batch.verdict(&gpu.stream).map_err(failed)?;
        let checksums = batch.checksums(&gpu.stream).map_err(failed)?;
        require_checksums(coded, checksums)?;
    }
    Ok((decode.map_err(failed)?, check.map_err(failed)?))
}

fn measure_encoding(
    gpu: &Gpu,
    sets: &mut [Set],
    file: &[u8],
    coded: &[Coded<'_>],
    runs: u32,
) -> Result<f64, Failure> {
    let encoded: Vec<EncodedTensor>;
    let seconds = {
        let batch = |set| Set::encoding(set, gpu);
        let mut batches: Vec<EncodeBatch<'_>> = batches(sets, batch)?;
        let seconds = median(&gpu.stream, &mut batches, runs, |batch, stream| {
            batch.encode(stream)
        });
        encoded = batches[0].encoded(&gpu.stream).map_err(failed)?;
        seconds.map_err(failed)?
    };
    for ((encoded, payload), (tensor, planes)) in encoded.iter().zip(&sets[0].payloads).zip(coded) {
        let payload = gpu.stream.clone_dtoh(payload).map_err(failed)?;
        let pairs = [
            (encoded.sign_mantissa, planes.sign_mantissa()),
            (encoded.record_ends, planes.record_ends()),
            (encoded.records, planes.records()),
        ];
        if pairs
            .iter()
            .any(|(on_device, in_file)| on_device.of(&payload) != in_file.of(file))
        {
            let name = tensor.name();
            return Err(Failure::Io(format!(
                "the GPU encoded {name:?} to other bytes"
            )));
        }
    }
    require_checksums(coded, encoded.iter().map(|tensor| tensor.checksum))?;
    Ok(seconds)
}

fn measure_transcoding(
    gpu: &Gpu,
    sets: &mut [Set],
    coded: &[Coded<'_>],
    runs: u32,
) -> Result<f64, Failure> {
    let batch = |set| Set::transcoding(set, gpu);
    let mut batches: Vec<TranscodeBatch<'_>> = batches(sets, batch)?;
    let seconds = median(&gpu.stream, &mut batches, runs, |batch, stream| {
        batch.transcode(stream)
    });
    for batch in &mut batches {
        batch.verdict(&gpu.stream).map_err(failed)?;
        let transcoded = batch.transcoded(&gpu.stream).map_err(failed)?;
        require_checksums(coded, transcoded.iter().map(|tensor| tensor.checksum))?;
    }
    seconds.map_err(failed)
}

fn batches<'a, T>(
    sets: &'a mut [Set],
    of: impl Fn(&'a mut Set) -> Result<T, GpuError>,
) -> Result<Vec<T>, Failure> {
    let made: Result<_, GpuError> = sets.iter_mut().map(of).collect();
    made.map_err(failed)
}

fn require_checksums(
    coded: &[Coded<'_>],
    checksums: impl IntoIterator<Item = u32>,
) -> Result<(), Failure> {
    for ((tensor, _), checksum) in coded.iter().zip(checksums) {
        tensor.require_checksum(checksum).map_err(failed)?;
    }
    Ok(())
}

/// Tensors on the device, where they are decoded to, and where they are encoded to.
struct Set {
    residents: Vec<Resident>,
    weights: Vec<CudaSlice<u8>>,
    payloads: Vec<CudaSlice<u8>>,
}

impl Set {
    fn new(
        stream: &Arc<CudaStream>,
        planes: &[&CodedPlanes],
        file: &[u8],
    ) -> Result<Set, GpuError> {
        let upload = |planes: &&CodedPlanes| {
            let payload = Resident::extent(planes).of(file);
            Resident::upload(stream, planes, payload.expect("the file is whole"))
        };
        let room = |bytes: u64| {
            let room = stream.alloc_zeros(bytes as usize);
            room.map_err(GpuError::from)
        };
        let counts = planes.iter().map(|planes| planes.weights());
        let longest = |count| longest_payload_bytes(count, DEFAULT_CHUNK_SIZE_LOG2);
        Ok(Set {
            residents: planes.iter().map(upload).collect::<Result<_, _>>()?,
            weights: counts
                .clone()
                .map(|count| room(2 * count))
                .collect::<Result<_, _>>()?,
            payloads: counts
                .map(|count| room(longest(count)))
                .collect::<Result<_, _>>()?,
        })
    }

    fn decoding<'a>(&'a mut self, gpu: &'a Gpu) -> Result<Batch<'a>, GpuError> {
        let tasks = self.residents.iter().zip(outputs(&mut self.weights, gpu));
        Batch::to_weights(&gpu.device, &gpu.stream, tasks.collect())
    }

    fn encoding<'a>(&'a mut self, gpu: &'a Gpu) -> Result<EncodeBatch<'a>, GpuError> {
        let sources = self.weights.iter();
        let sources = sources.map(|memory| Source::slice(memory, &gpu.stream));
        EncodeBatch::new(
            &gpu.device,
            &gpu.stream,
            sources.zip(outputs(&mut self.payloads, gpu)).collect(),
            Encoding::Huffman,
            DEFAULT_CHUNK_SIZE_LOG2,
        )
    }

    fn transcoding<'a>(&'a mut self, gpu: &'a Gpu) -> Result<TranscodeBatch<'a>, GpuError> {
        let tasks = self.residents.iter().zip(outputs(&mut self.payloads, gpu));
        TranscodeBatch::new(&gpu.device, &gpu.stream, tasks.collect(), Encoding::Palette)
    }
}

fn outputs<'a>(memory: &'a mut [CudaSlice<u8>], gpu: &'a Gpu) -> impl Iterator<Item = Output<'a>> {
    let memory = memory.iter_mut();
    memory.map(|memory| Output::slice(memory, &gpu.stream))
}

/// One is enough where it is so large that its end drives its beginning out of the caches.
fn sets_of(bytes: u64) -> u64 {
    ROTATED_BYTES.div_ceil(bytes).min(64)
}

fn copy_seconds(gpu: &Gpu, bytes: u64, runs: u32) -> Result<f64, GpuError> {
    let room = || gpu.stream.alloc_zeros::<u8>(bytes as usize);
    let mut pairs = (0..sets_of(2 * bytes))
        .map(|_| Ok((room()?, room()?)))
        .collect::<Result<Vec<_>, GpuError>>()?;
    median(&gpu.stream, &mut pairs, runs, |(from, to), stream| {
        Ok(stream.memcpy_dtod(from, to)?)
    })
}

/// The median of all runs, over rotating sets; each set has one more, which comes first and does not count.
fn median<T>(
    stream: &Arc<CudaStream>,
    sets: &mut [T],
    runs: u32,
    mut launch: impl FnMut(&mut T, &Arc<CudaStream>) -> Result<(), GpuError>,
) -> Result<f64, GpuError> {
    for set in &mut *sets {
        launch(set, stream)?;
    }
    let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
    let count = sets.len();
    let mut seconds = Vec::new();
    for run in 0..runs as usize {
        let start = stream.record_event(flags)?;
        launch(&mut sets[run % count], stream)?;
        let end = stream.record_event(flags)?;
        seconds.push(f64::from(start.elapsed_ms(&end)?) / 1e3);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
