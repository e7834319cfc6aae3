//! The device's part of `unweight bench`.

use std::sync::Arc;

use unweight_cpu::{Container, OpenFile};
use unweight_format::{CodedPlanes, Payload};
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream, sys::CUevent_flags};
use unweight_gpu::{Batch, GpuError, Output, Resident};

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
    let mut batches = sets
        .iter_mut()
        .map(|set| set.batch(gpu))
        .collect::<Result<Vec<Batch<'_>>, _>>()
        .map_err(failed)?;
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
        for ((tensor, _), checksum) in coded.iter().zip(checksums) {
            tensor.require_checksum(checksum).map_err(failed)?;
        }
    }
    Ok(Speeds {
        device: gpu.device.name().map_err(failed)?,
        copy: speed(copy),
        decode: speed(decode.map_err(failed)?),
        check_chunks: speed(check.map_err(failed)?),
    })
}

/// Tensors on the device, and where they are decoded to.
struct Set {
    residents: Vec<Resident>,
    outputs: Vec<CudaSlice<u8>>,
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
        let room = |planes: &&CodedPlanes| {
            stream
                .alloc_zeros(2 * planes.weights() as usize)
                .map_err(GpuError::from)
        };
        Ok(Set {
            residents: planes.iter().map(upload).collect::<Result<_, _>>()?,
            outputs: planes.iter().map(room).collect::<Result<_, _>>()?,
        })
    }

    fn batch<'a>(&'a mut self, gpu: &'a Gpu) -> Result<Batch<'a>, GpuError> {
        let outputs = self.outputs.iter_mut();
        let outputs = outputs.map(|memory| Output::slice(memory, &gpu.stream));
        let tensors = self.residents.iter().zip(outputs).collect();
        Batch::to_weights(&gpu.device, &gpu.stream, tensors)
    }
}

fn sets_of(bytes: u64) -> u64 {
    (ROTATED_BYTES / bytes).clamp(2, 64)
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
