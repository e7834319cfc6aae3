//! Transcoding of records to records.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, result};
use unweight_format::Encoding;

use super::TranscodeTask;
use super::by_weights::{WeightScratch, prepared_task};
use super::kernels::TranscodeKernels;
use super::launch::RecordLaunch;
use crate::decode::job::TensorJob;
use crate::encode::plan::Sources;
use crate::encode::{Encoder, Kept};
use crate::memory::{DeviceBuffer, Output};
use crate::{Batch, Device, DeviceTensor, EncodeBatch, EncodedTensor, GpuError};

/// BF16 tensors of which the exponent alone is coded, in the other encoding.
#[derive(Debug)]
pub(super) struct Direct {
    /// Has the jobs of the records and the status word. Decodes the tensors to scratch if their
    /// records cannot be converted.
    pub(super) source: Batch,
    /// Converts the records.
    encode: EncodeBatch,
    /// Encodes the scratch to the same outputs. Made when it is needed.
    fallback: Option<EncodeBatch>,
    device: Device,
    kernels: Arc<TranscodeKernels>,
    encoding: Encoding,
    tensors: Vec<Arc<DeviceTensor>>,
    /// The memory and the addresses of the scratch.
    weights: (Arc<CudaSlice<u8>>, Vec<u64>),
    /// 1 if records could not be converted. The outputs are then worthless.
    needs_fallback: Arc<DeviceBuffer<u32>>,
}

impl Direct {
    pub(super) fn new(
        device: &Device,
        tasks: Vec<TranscodeTask>,
        encoding: Encoding,
    ) -> Result<Direct, GpuError> {
        let own = device.own_stream();
        let scratch = WeightScratch::new(device, tasks.iter().map(|task| &task.tensor))?;
        let needs_fallback = Arc::new(DeviceBuffer::new(own.alloc_zeros(1)?, own));
        let decoding = scratch.source.owned();
        let mut kept: Vec<Kept> = vec![
            scratch.memory.clone(),
            decoding.jobs.clone(),
            decoding.status.clone(),
            needs_fallback.clone(),
        ];
        let jobs = decoding.jobs.address();
        let (mut prepared, mut tensors) = (vec![], vec![]);
        for (number, (task, &weights)) in (0..).zip(tasks.into_iter().zip(&scratch.addresses)) {
            let TranscodeTask { tensor, output } = task;
            let job = jobs + size_of::<TensorJob>() as u64 * number;
            prepared.push(prepared_task(&tensor, encoding, job, weights, output));
            kept.push(tensor.clone());
            tensors.push(tensor);
        }
        Ok(Direct {
            encode: EncodeBatch::of(device, prepared, Sources::Records, kept)?,
            source: scratch.source,
            fallback: None,
            device: device.clone(),
            kernels: device.kernels()?,
            encoding,
            tensors,
            weights: (scratch.memory, scratch.addresses),
            needs_fallback,
        })
    }

    pub(super) fn transcode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.fallback = None;
        let decoding = self.source.used_on(stream)?;
        let launch = RecordLaunch {
            kernels: &self.kernels,
            encoding: self.encoding,
            stage_bytes: decoding.stage_bytes(),
            status: &decoding.status,
            needs_fallback: &self.needs_fallback,
        };
        // SAFETY: the sources are `DeviceTensor`s of the other encoding, and the stage is large
        // enough for their longest record; `new` gave the batch the memory that it keeps.
        let launch = |encoder: &Encoder| unsafe { launch.launch(encoder, stream) };
        self.encode.launch(stream, launch)
    }

    /// The status of the sources. Encodes from weights if records could not be converted.
    pub(super) fn status(&mut self) -> Result<(), GpuError> {
        self.source.status()?;
        let own = self.device.own_stream().clone();
        if own.clone_dtoh(self.needs_fallback.memory())? == [0] {
            return Ok(());
        }
        // SAFETY: this memory has a single word, and nobody uses it, because all launches were
        // waited for.
        unsafe { result::memset_d8_async(self.needs_fallback.address(), 0, 4, own.cu_stream())? };
        self.source.decode(&own)?.defer_status();
        let mut fallback = self.new_fallback()?;
        fallback.encode(&own)?;
        self.fallback = Some(fallback);
        self.source.status()
    }

    fn new_fallback(&self) -> Result<EncodeBatch, GpuError> {
        let outputs = self.encode.owned().output_extents();
        let (memory, addresses) = &self.weights;
        let tasks = self.tensors.iter().zip(addresses).zip(outputs);
        let prepared = tasks.map(|((tensor, &weights), (address, bytes))| {
            let output = Output::at_kept_address(address, bytes);
            prepared_task(tensor, self.encoding, weights, weights, output)
        });
        let kept: Vec<Kept> = vec![memory.clone()];
        EncodeBatch::of(&self.device, prepared.collect(), Sources::Weights, kept)
    }

    pub(super) fn transcoded(&mut self) -> Result<Vec<EncodedTensor>, GpuError> {
        match &mut self.fallback {
            Some(fallback) => fallback.encoded(),
            None => self.encode.encoded(),
        }
    }

    /// Waits for the launches and returns the outputs.
    pub(super) fn into_outputs(self) -> Result<Vec<Output>, GpuError> {
        if let Some(fallback) = self.fallback {
            fallback.into_outputs()?;
        }
        self.encode.into_all_outputs()
    }
}
