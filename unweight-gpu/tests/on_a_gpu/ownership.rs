//! Memory of launches is not used otherwise before they end, even if the batch is dropped or
//! leaked.

#![expect(unsafe_code, reason = "a word that a kernel waits for")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, PinnedHostSlice, sys};
use half::bf16;
use unweight::container::OpenFile;
use unweight_format::{Dtype, Encoding};
use unweight_gpu::{
    Batch, DecodeTask, Device, DeviceTensor, EncodeBatch, EncodeTask, GpuError, Launched,
    TranscodeBatch, TranscodeTask, cudarc, longest_payload_bytes,
};

use unweight_testkit::{bytes_of, container_of};

use crate::OnAGpu;
use crate::tensors::{on_device, weights};

const LOG2: u8 = 12;
/// Number of launches that take long enough for other work to come between.
const LAUNCHES: usize = 200;
const PATTERN: u8 = 0xa5;

struct Tensor {
    weights: Vec<bf16>,
    coded: Arc<DeviceTensor>,
}

impl Tensor {
    fn new(device: &Device) -> Tensor {
        let weights = weights(5_000_000, 11);
        let file = container_of(&weights, Encoding::Huffman, LOG2);
        let open = OpenFile::read(file.as_slice()).unwrap();
        let container = open.container();
        let coded = on_device(&container, &file, device).remove(0);
        Tensor { weights, coded }
    }

    fn bytes(&self) -> usize {
        2 * self.weights.len()
    }

    fn batch(&self, device: &Device, stream: &Arc<CudaStream>) -> Batch {
        let output = stream.alloc_zeros::<u8>(self.bytes()).unwrap();
        Batch::to_weights(device, vec![DecodeTask::new(&self.coded, output)]).unwrap()
    }

    fn require_decoded(&self, batch: Batch, stream: &Arc<CudaStream>) {
        let output = batch.into_outputs().unwrap().remove(0);
        assert!(stream.clone_dtoh(&output).unwrap() == bytes_of(&self.weights));
    }
}

/// Allocates and writes much memory after the launches, and checks that it keeps its content.
fn require_memory_of_its_own(gpu: &OnAGpu, bytes: usize) {
    let other = gpu.device.stream().unwrap();
    let pattern = vec![PATTERN; bytes];
    let memory: Vec<CudaSlice<u8>> = (0..8)
        .map(|_| other.clone_htod(&pattern).unwrap())
        .collect();
    other.synchronize().unwrap();
    gpu.stream.synchronize().unwrap();
    for memory in &memory {
        assert!(other.clone_dtoh(memory).unwrap() == pattern);
    }
}

/// A batch in a cycle of references, which leaks it.
struct Cycle(Mutex<Option<(Batch, Arc<Cycle>)>>);

fn lose_in_a_cycle(batch: Batch) {
    let cycle = Arc::new(Cycle(Mutex::new(None)));
    *cycle.0.lock().unwrap() = Some((batch, cycle.clone()));
}

pub(crate) fn a_batch_that_is_lost_frees_nothing_that_runs(gpu: &OnAGpu) {
    for lose in [std::mem::forget::<Batch>, lose_in_a_cycle, drop::<Batch>] {
        let tensor = Tensor::new(&gpu.device);
        let mut batch = tensor.batch(&gpu.device, &gpu.stream);
        for _ in 0..LAUNCHES {
            batch.decode(&gpu.stream).unwrap().defer_status();
        }
        lose(batch);
        let bytes = tensor.bytes();
        drop(tensor);
        require_memory_of_its_own(gpu, bytes);
    }
}

/// A gate that holds a stream until it is opened.
struct Gate {
    word: PinnedHostSlice<u32>,
}

impl Gate {
    /// A closed gate for all later launches on the stream.
    fn close(stream: &CudaStream) -> Gate {
        let flags = sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the memory is written before it is read.
        let word = unsafe { stream.context().alloc_pinned_with_flags(1, flags) };
        let mut gate = Gate {
            word: word.unwrap(),
        };
        let at = gate.write(0);
        let until = sys::CUstreamWaitValue_flags::CU_STREAM_WAIT_VALUE_EQ as u32;
        // SAFETY: mapped host memory has the same address on the device. Every test opens the gate
        // and waits for the stream before the gate is dropped.
        unsafe { sys::cuStreamWaitValue32_v2(stream.cu_stream(), at, 1, until) }
            .result()
            .unwrap();
        gate
    }

    fn write(&mut self, value: u32) -> u64 {
        let word = self.word.as_mut_ptr().unwrap();
        // SAFETY: the pointer is valid for this one word, and the device only reads it.
        unsafe { word.write_volatile(value) };
        word as u64
    }
}

/// Runs `work` on another thread while the stream is held, and checks that it does not end before
/// the stream continues.
fn require_that_it_waits<T: Send>(stream: &CudaStream, work: impl FnOnce() -> T + Send) -> T {
    let mut gate = Gate::close(stream);
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        std::thread::sleep(Duration::from_millis(200));
        let is_early = thread.is_finished();
        gate.write(1);
        let result = thread.join().unwrap();
        assert!(!is_early, "it did not wait");
        result
    });
    stream.synchronize().unwrap();
    result
}

pub(crate) fn giving_memory_back_waits_for_launches(gpu: &OnAGpu) {
    let stream = &gpu.stream;
    let tensor = Tensor::new(&gpu.device);
    let launched = |batch: &mut Batch| batch.decode(stream).unwrap().defer_status();

    let mut batch = tensor.batch(&gpu.device, stream);
    require_that_it_waits(stream, move || {
        launched(&mut batch);
        drop(batch);
    });
    let mut batch = tensor.batch(&gpu.device, stream);
    let batch = require_that_it_waits(stream, move || {
        launched(&mut batch);
        batch.status().unwrap();
        batch
    });
    tensor.require_decoded(batch, stream);
    let mut batch = tensor.batch(&gpu.device, stream);
    require_that_it_waits(stream, move || {
        launched(&mut batch);
        batch.into_outputs().unwrap()
    });
    let mut batch = tensor.batch(&gpu.device, stream);
    require_that_it_waits(stream, move || {
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            launched(&mut batch);
            panic!("this is a test");
        }));
        assert!(panicked.is_err());
    });
}

pub(crate) fn launches_on_two_streams_come_one_after_the_other(gpu: &OnAGpu) {
    let [first, second] = [gpu.device.stream().unwrap(), gpu.device.stream().unwrap()];
    let on_first = first.clone();
    let tensor = Tensor::new(&gpu.device);
    let mut batch = tensor.batch(&gpu.device, &first);
    let batch = require_that_it_waits(&first, move || {
        batch.decode(&on_first).unwrap().defer_status();
        batch.decode(&second).unwrap().defer_status();
        batch
    });
    tensor.require_decoded(batch, &gpu.stream);
}

pub(crate) fn outputs_that_others_write_are_waited_for(gpu: &OnAGpu) {
    let stream = gpu.device.stream().unwrap();
    let tensor = Tensor::new(&gpu.device);
    let mut output = stream.alloc_zeros::<u8>(tensor.bytes()).unwrap();
    stream.synchronize().unwrap();
    let mut gate = Gate::close(&stream);
    stream.memset_zeros(&mut output).unwrap();
    let batch = std::thread::scope(|scope| {
        let (coded, device) = (&tensor.coded, &gpu.device);
        let thread =
            scope.spawn(move || Batch::to_weights(device, vec![DecodeTask::new(coded, output)]));
        std::thread::sleep(Duration::from_millis(200));
        let is_early = thread.is_finished();
        gate.write(1);
        let batch = thread.join().unwrap();
        assert!(!is_early, "it did not wait");
        batch
    });
    let mut batch = batch.unwrap();
    batch.decode(&gpu.stream).unwrap().defer_status();
    tensor.require_decoded(batch, &gpu.stream);
}

pub(crate) fn a_capturing_stream_is_an_error(gpu: &OnAGpu) {
    let stream = &gpu.device.stream().unwrap();
    let tensor = Tensor::new(&gpu.device);
    let payload = || {
        let longest = longest_payload_bytes(Dtype::Bf16, tensor.weights.len() as u64, LOG2);
        stream.alloc_zeros::<u8>(longest as usize).unwrap()
    };
    let mut decode = tensor.batch(&gpu.device, stream);
    let source = Arc::new(stream.clone_htod(&bytes_of(&tensor.weights)).unwrap());
    let tasks = vec![EncodeTask::new(Dtype::Bf16, source, payload())];
    let mut encode = EncodeBatch::new(&gpu.device, tasks, Encoding::Huffman, LOG2).unwrap();
    let tasks = vec![TranscodeTask::new(tensor.coded.clone(), payload())];
    let mut transcode = TranscodeBatch::new(&gpu.device, tasks, Encoding::Palette).unwrap();

    stream.synchronize().unwrap();
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    for result in [
        decode.decode(stream).map(Launched::defer_status),
        decode.check_chunks(stream).map(Launched::defer_status),
        encode.encode(stream),
        transcode.transcode(stream).map(Launched::defer_status),
        transcode.check_chunks(stream).map(Launched::defer_status),
    ] {
        assert!(matches!(result, Err(GpuError::Capturing)), "{result:?}");
    }
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    // Nothing was captured, and the capture is valid.
    let graph = stream.end_capture(flags).unwrap();
    drop(graph);

    decode.decode(stream).unwrap().finish().unwrap();
    tensor.require_decoded(decode, stream);
    encode.encode(stream).unwrap();
    encode.encoded().unwrap();
    transcode.transcode(stream).unwrap().finish().unwrap();
}

pub(crate) fn a_capture_that_begins_after_a_launch_frees_nothing(gpu: &OnAGpu) {
    let stream = &gpu.device.stream().unwrap();
    for takes_outputs in [true, false] {
        let tensor = Tensor::new(&gpu.device);
        let mut batch = tensor.batch(&gpu.device, stream);
        for _ in 0..LAUNCHES {
            batch.decode(stream).unwrap().defer_status();
        }
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).unwrap();
        if takes_outputs {
            let taken = batch.into_outputs().map(drop);
            assert!(matches!(taken, Err(GpuError::Capturing)), "{taken:?}");
        } else {
            drop(batch);
        }
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        // The capture is empty and was not invalidated.
        drop(stream.end_capture(flags).unwrap());
        let bytes = tensor.bytes();
        drop(tensor);
        require_memory_of_its_own(gpu, bytes);
        stream.synchronize().unwrap();
    }
}

pub(crate) fn streams_and_memory_of_others_are_errors(gpu: &OnAGpu) {
    let tensor = Tensor::new(&gpu.device);
    let mut batch = tensor.batch(&gpu.device, &gpu.stream);
    // Another context of the same device: no events order its streams with ours.
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let result = batch.decode(&stream);
    assert!(matches!(result, Err(GpuError::OtherContext)), "{result:?}");
    let output = stream.alloc_zeros::<u8>(tensor.bytes()).unwrap();
    let result =
        Batch::to_weights(&gpu.device, vec![DecodeTask::new(&tensor.coded, output)]).map(drop);
    assert!(matches!(result, Err(GpuError::OtherContext)), "{result:?}");
    let result = batch.decode(&gpu.device.context().per_thread_stream());
    assert!(
        matches!(result, Err(GpuError::PerThreadStream)),
        "{result:?}"
    );
    batch
        .decode(&gpu.device.context().default_stream())
        .unwrap()
        .defer_status();
    tensor.require_decoded(batch, &gpu.stream);
}

pub(crate) fn a_batch_keeps_its_device_and_stream(gpu: &OnAGpu) {
    let device = Device::open(0).unwrap();
    let stream = device.stream().unwrap();
    let tensor = Tensor::new(&device);
    let mut batch = tensor.batch(&device, &stream);
    for _ in 0..LAUNCHES {
        batch.decode(&stream).unwrap().defer_status();
    }
    drop((device, stream));
    batch.status().unwrap();
    let output = batch.into_outputs().unwrap().remove(0);
    let stream = output.stream().clone();
    assert!(stream.clone_dtoh(&output).unwrap() == bytes_of(&tensor.weights));
    require_memory_of_its_own(gpu, tensor.bytes());
}
