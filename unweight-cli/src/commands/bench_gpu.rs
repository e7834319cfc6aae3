//! Measurements of `unweight bench` on the device.

use std::sync::Arc;

use unweight::{DEFAULT_CHUNK_SIZE_LOG2, container::OpenFile};
use unweight_format::{Dtype, Encoding, Extent, Payload, Tensor};
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream, sys::CUevent_flags};
use unweight_gpu::{
    Batch, DecodeTask, DeviceTensor, EncodeBatch, EncodeTask, EncodedTensor, GpuError, Launched,
    TranscodeBatch, TranscodeTask, longest_payload_bytes,
};

use super::failed as failed_here;
use crate::failure::Failure;
use crate::gpu::{Gpu, failed};

/// Bytes of memory that runs rotate through, so that each run begins with cold caches. This is more
/// than the L2 of any device so far.
const ROTATED_BYTES: u64 = 512 << 20;

/// Speeds in GB/s of weights, medians.
pub(super) struct Speeds {
    pub(super) device: String,
    pub(super) copy: f64,
    pub(super) decode: f64,
    pub(super) check_chunks: f64,
    /// Speed of encoding to huffman.
    pub(super) encode: f64,
    /// Speed of transcoding from huffman to palette.
    pub(super) transcode: f64,
}

/// Measures a device on the tensors of this file that are not raw, all in one launch, with events on its
/// stream.
pub(super) fn measure(gpu: &Gpu, file: &[u8], runs: u32) -> Result<Speeds, Failure> {
    let open = OpenFile::read(file).map_err(failed_here)?;
    let container = open.container();
    let mut stored: Vec<_> = container.directory().tensors().collect();
    stored.retain(|tensor| !tensor.forms().is_raw());
    if stored.is_empty() {
        return Err(Failure::Usage(
            "none of these tensors gets smaller: nothing to decode on a GPU".to_owned(),
        ));
    }
    let data_bytes: u64 = stored.iter().map(|tensor| tensor.data_bytes()).sum();
    let speed = |seconds: f64| 1e-9 * data_bytes as f64 / seconds;
    let copy = copy_seconds(gpu, data_bytes, runs).map_err(failed)?;

    let payloads = stored.iter().map(|tensor| tensor.payload().extent().length);
    let tensors = (0..sets_of(payloads.sum::<u64>() + data_bytes))
        .map(|_| upload(gpu, &stored, file))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let decoded = measure_decoding(gpu, &tensors, &stored, runs)?;
    // The decoded weights are encoded. The result must equal the bytes of the file.
    let encode = measure_encoding(gpu, decoded.weights, file, &stored, runs)?;
    let transcode = measure_transcoding(gpu, &tensors, &stored, runs)?;
    Ok(Speeds {
        device: gpu.device().name().map_err(failed)?,
        copy: speed(copy),
        decode: speed(decoded.seconds),
        check_chunks: speed(decoded.check_seconds),
        encode: speed(encode),
        transcode: speed(transcode),
    })
}

/// The tensors of one set, on the device.
type Tensors = Vec<Arc<DeviceTensor>>;

fn upload(gpu: &Gpu, stored: &[Tensor<'_>], file: &[u8]) -> Result<Tensors, GpuError> {
    let upload = |tensor: &Tensor<'_>| {
        let payload = tensor.payload().extent().of(file);
        let payload = payload.expect("the file is whole");
        DeviceTensor::upload(gpu.device(), tensor, payload).map(Arc::new)
    };
    stored.iter().map(upload).collect()
}

/// Allocates memory for each tensor of a set.
fn outputs(
    gpu: &Gpu,
    stored: &[Tensor<'_>],
    bytes: impl Fn(&Tensor<'_>) -> u64,
) -> Result<Vec<CudaSlice<u8>>, GpuError> {
    let allocate = |tensor| Ok(gpu.stream().alloc_zeros(bytes(tensor) as usize)?);
    stored.iter().map(allocate).collect()
}

fn longest(tensor: &Tensor<'_>) -> u64 {
    let weights = tensor.payload().weights();
    longest_payload_bytes(tensor.dtype(), weights, DEFAULT_CHUNK_SIZE_LOG2)
}

/// Times and results of decoding.
struct Decoded {
    seconds: f64,
    check_seconds: f64,
    /// Decoded weights of each set.
    weights: Vec<Vec<CudaSlice<u8>>>,
}

fn measure_decoding(
    gpu: &Gpu,
    sets: &[Tensors],
    stored: &[Tensor<'_>],
    runs: u32,
) -> Result<Decoded, Failure> {
    let mut batches: Vec<Batch> = batches(sets, |set| {
        let outputs = outputs(gpu, stored, |tensor| tensor.data_bytes())?;
        let tasks = set.iter().zip(outputs);
        let tasks = tasks.map(|(input, output)| DecodeTask::new(input, output));
        Batch::to_weights(gpu.device(), tasks.collect())
    })?;
    let decode = median(gpu.stream(), &mut batches, runs, |batch, stream| {
        batch.decode(stream).map(Launched::defer_status)
    });
    let check = median(gpu.stream(), &mut batches, runs, |batch, stream| {
        batch.check_chunks(stream).map(Launched::defer_status)
    });
    // Results that are measured have to be right.
    for batch in &mut batches {
        batch.status().map_err(failed)?;
        require_checksums(stored, batch.checksums().map_err(failed)?)?;
    }
    let decoded: Result<_, GpuError> = batches.into_iter().map(Batch::into_outputs).collect();
    Ok(Decoded {
        seconds: decode.map_err(failed)?,
        check_seconds: check.map_err(failed)?,
        weights: decoded.map_err(failed)?,
    })
}

fn measure_encoding(
    gpu: &Gpu,
    sets: Vec<Vec<CudaSlice<u8>>>,
    file: &[u8],
    stored: &[Tensor<'_>],
    runs: u32,
) -> Result<f64, Failure> {
    let mut batches: Vec<EncodeBatch> = batches(sets, |set| {
        let dtypes = stored.iter().map(|tensor| tensor.dtype());
        let outputs = outputs(gpu, stored, longest)?;
        let tasks = dtypes.zip(set).zip(outputs);
        let task = |((dtype, source), output): ((Dtype, _), _)| {
            EncodeTask::new(dtype, Arc::new(source), output)
        };
        let tasks = tasks.map(task).collect();
        EncodeBatch::new(
            gpu.device(),
            tasks,
            Encoding::Huffman,
            DEFAULT_CHUNK_SIZE_LOG2,
        )
    })?;
    let seconds = median(gpu.stream(), &mut batches, runs, |batch, stream| {
        batch.encode(stream)
    });
    let seconds = seconds.map_err(failed)?;
    let mut first = batches.swap_remove(0);
    let encoded: Vec<EncodedTensor> = first.encoded().map_err(failed)?;
    let payloads = first.into_outputs().map_err(failed)?;
    for ((encoded, payload), tensor) in encoded.iter().zip(&payloads).zip(stored) {
        let payload = gpu.stream().clone_dtoh(payload).map_err(failed)?;
        let parts = |of: &Payload| [of.plain(), of.record_ends(), of.records()];
        let pairs = parts(&encoded.payload)
            .into_iter()
            .zip(parts(tensor.payload()));
        let is_equal =
            |(on_device, in_file): (Extent, Extent)| on_device.of(&payload) == in_file.of(file);
        let palettes: Vec<u8> = encoded.palettes.stored().flatten().collect();
        let has_palettes = tensor.payload().palettes().of(file) == Some(&palettes[..]);
        if !has_palettes || !pairs.into_iter().all(is_equal) {
            let name = tensor.name();
            return Err(Failure::Io(format!(
                "the GPU encoded {name:?} to other bytes"
            )));
        }
    }
    require_checksums(stored, encoded.iter().map(|tensor| tensor.checksum))?;
    Ok(seconds)
}

fn measure_transcoding(
    gpu: &Gpu,
    sets: &[Tensors],
    stored: &[Tensor<'_>],
    runs: u32,
) -> Result<f64, Failure> {
    let mut batches: Vec<TranscodeBatch> = batches(sets, |set| {
        let tasks = set.iter().cloned().zip(outputs(gpu, stored, longest)?);
        let tasks = tasks.map(|(tensor, output)| TranscodeTask::new(tensor, output));
        TranscodeBatch::new(gpu.device(), tasks.collect(), Encoding::Palette)
    })?;
    let seconds = median(gpu.stream(), &mut batches, runs, |batch, stream| {
        batch.transcode(stream).map(Launched::defer_status)
    });
    for batch in &mut batches {
        batch.status().map_err(failed)?;
        let transcoded = batch.transcoded().map_err(failed)?;
        require_checksums(stored, transcoded.iter().map(|tensor| tensor.checksum))?;
    }
    seconds.map_err(failed)
}

/// Makes a batch for each set.
fn batches<S, B>(
    sets: impl IntoIterator<Item = S>,
    batch: impl FnMut(S) -> Result<B, GpuError>,
) -> Result<Vec<B>, Failure> {
    let made: Result<_, GpuError> = sets.into_iter().map(batch).collect();
    made.map_err(failed)
}

fn require_checksums(
    stored: &[Tensor<'_>],
    checksums: impl IntoIterator<Item = u32>,
) -> Result<(), Failure> {
    for (tensor, checksum) in stored.iter().zip(checksums) {
        tensor.require_checksum(checksum).map_err(failed)?;
    }
    Ok(())
}

/// Number of sets. One set is enough if it is so large that its end drives its beginning out of the
/// caches.
fn sets_of(bytes: u64) -> u64 {
    ROTATED_BYTES.div_ceil(bytes).min(64)
}

fn copy_seconds(gpu: &Gpu, bytes: u64, runs: u32) -> Result<f64, GpuError> {
    let allocate = || gpu.stream().alloc_zeros::<u8>(bytes as usize);
    let mut pairs = (0..sets_of(2 * bytes))
        .map(|_| Ok((allocate()?, allocate()?)))
        .collect::<Result<Vec<_>, GpuError>>()?;
    median(gpu.stream(), &mut pairs, runs, |(from, to), stream| {
        Ok(stream.memcpy_dtod(from, to)?)
    })
}

/// Median of all runs, over rotating sets. Each set has one more run, which comes first and does
/// not count.
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
