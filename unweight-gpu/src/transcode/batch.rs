//! Batches of coded tensors that are converted to another encoding, with one launch of each kernel.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result};
use unweight_format::Encoding;
use unweight_format::layout::PLANE_ALIGNMENT;

use super::kernels::TranscodeKernels;
use super::launch::RecordLaunch;
use crate::decode::job::TensorJob;
use crate::encode::job::EncodeJob;
use crate::encode::{Encoder, Kept, PreparedTask, Sources};
use crate::memory::{DeviceBuffer, Output};
use crate::{
    Batch, DecodeTask, Device, DeviceTensor, EncodeBatch, EncodedTensor, GpuError, Launched,
};

/// Tensors to transcode together (section 11.8), each with the output for its planes. A batch is
/// created once, including its scratch; its launches neither allocate nor wait.
///
/// Records are converted to records, and sign-mantissa bytes are copied. The output equals that of
/// the reference's transcoding, with each tensor's own chunk size.
///
/// This assumes that a source has the palette and the kinds of records of a canonical encoder.
/// [`TranscodeBatch::status`] finds out if one in the batch has not. All tensors then take the
/// fallback by exponent planes, which has a third of the speed. A batch in which some tensors have
/// the target encoding already takes the fallback at once, and these tensors become canonical.
///
/// A chunk's checksum is derived from its source's, so a wrong checksum stays wrong.
///
/// Like a [`Batch`] it owns its outputs and keeps its tensors. Dropping it waits, and forgetting it
/// leaks the memory.
#[derive(Debug)]
pub struct TranscodeBatch {
    /// Decoding and encoding each keep what their launches use. This includes the exponents and the
    /// other's jobs.
    decode: Batch,
    encode: EncodeBatch,
    device: Device,
    kernels: Arc<TranscodeKernels>,
    /// Whether every tensor has the other encoding.
    is_direct: bool,
    /// 1 if the outputs are invalid and the fallback must be taken.
    needs_fallback: Arc<DeviceBuffer<u32>>,
}

/// A tensor to transcode, and where to.
#[derive(Debug)]
pub struct TranscodeTask {
    /// The tensor.
    pub tensor: Arc<DeviceTensor>,
    /// The memory for its planes in the other encoding.
    pub output: Output,
}

impl TranscodeTask {
    /// Transcodes this tensor to this output.
    pub fn new(tensor: Arc<DeviceTensor>, output: impl Into<Output>) -> TranscodeTask {
        TranscodeTask {
            tensor,
            output: output.into(),
        }
    }
}

impl TranscodeBatch {
    /// A batch of these tensors. `encoding` must be huffman or palette. An output must have
    /// [`longest_payload_bytes`](crate::longest_payload_bytes). Waits for the current users of the
    /// outputs.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::new`].
    ///
    /// # Panics
    /// If the encoding is raw, or an output's address is not a multiple of 256.
    pub fn new(
        device: &Device,
        tasks: Vec<TranscodeTask>,
        encoding: Encoding,
    ) -> Result<TranscodeBatch, GpuError> {
        let own = device.own_stream();
        let padded = |tensor: &DeviceTensor| {
            let weights = tensor.planes().weights();
            weights.next_multiple_of(PLANE_ALIGNMENT)
        };
        let bytes: u64 = tasks.iter().map(|task| padded(&task.tensor)).sum();
        // Zeros give a defined checksum for a tensor whose exponents could not be decoded.
        let exponents: Arc<CudaSlice<u8>> = Arc::new(own.alloc_zeros(bytes.max(1) as usize)?);
        let mut at = exponents.device_ptr(own).0;
        let mut decode_tasks = vec![];
        let mut exponents_at = vec![];
        for task in &tasks {
            let bytes = padded(&task.tensor);
            let output = Output::at_kept_address(at, bytes);
            decode_tasks.push(DecodeTask::new(&task.tensor, output));
            exponents_at.push(at);
            at += bytes;
        }
        let decode = Batch::to_exponents_in(device, decode_tasks, &exponents)?;
        let needs_fallback = Arc::new(DeviceBuffer::new(own.alloc_zeros(1)?, own));

        let jobs = &decode.owned().jobs;
        let mut input = jobs.address();
        let mut is_direct = true;
        let mut prepared = vec![];
        let mut kept: Vec<Kept> = vec![
            exponents.clone(),
            jobs.clone(),
            decode.owned().status.clone(),
            needs_fallback.clone(),
        ];
        for (TranscodeTask { tensor, output }, exponents) in tasks.into_iter().zip(exponents_at) {
            let planes = tensor.planes();
            is_direct &= planes.encoding() != encoding;
            let chunk_size_log2 = planes.chunk_size_log2();
            prepared.push(PreparedTask {
                job: EncodeJob {
                    exponents,
                    input_sign_mantissa: tensor.addresses().sign_mantissa,
                    input,
                    ..EncodeJob::new(encoding, planes.weights(), chunk_size_log2, 0)
                },
                source: exponents,
                chunk_size_log2,
                output,
            });
            input += size_of::<TensorJob>() as u64;
            kept.push(tensor);
        }
        Ok(TranscodeBatch {
            encode: EncodeBatch::of(device, prepared, Sources::Planes, kept, encoding)?,
            decode,
            device: device.clone(),
            kernels: device.kernels()?,
            is_direct,
            needs_fallback,
        })
    }

    /// Launches the check of every chunk checksum of the sources. Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub fn check_chunks(
        &mut self,
        stream: &Arc<CudaStream>,
    ) -> Result<Launched<'_, TranscodeBatch>, GpuError> {
        self.decode.check_chunks(stream)?.defer_status();
        Ok(Launched { batch: self })
    }

    /// Launches the transcoding. Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub fn transcode(
        &mut self,
        stream: &Arc<CudaStream>,
    ) -> Result<Launched<'_, TranscodeBatch>, GpuError> {
        match self.is_direct {
            true => self.transcode_records(stream)?,
            false => self.transcode_by_planes(stream)?,
        }
        Ok(Launched { batch: self })
    }

    fn transcode_records(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        let decode = self.decode.used_on(stream)?;
        let launch = RecordLaunch {
            kernels: &self.kernels,
            stage_bytes: decode.stage_bytes,
            status: &decode.status,
            needs_fallback: &self.needs_fallback,
        };
        // SAFETY: the sources are `DeviceTensor`s of the other encoding, and the stage is large
        // enough for their longest record; `new` gave the batch the memory that it keeps.
        let launch = |encoder: &Encoder| unsafe { launch.launch(encoder, stream) };
        self.encode.launch(stream, launch)
    }

    /// The fallback: runs the decoder and the encoder.
    fn transcode_by_planes(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.decode(stream)?.defer_status();
        self.encode.encode(stream)
    }

    /// Waits for the launches, and returns whether the sources kept every rule in all launches
    /// since the last query. If they did, the outputs have the result of the last launch. The
    /// fallback runs here if it is needed.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`] with the first bad chunk and the rule that the reference reports; the
    /// errors of the driver.
    pub fn status(&mut self) -> Result<(), GpuError> {
        self.decode.status()?;
        let own = self.device.own_stream().clone();
        if self.is_direct && own.clone_dtoh(self.needs_fallback.memory())? != [0] {
            // SAFETY: this memory has a single word, and nobody uses it, because all launches were
            // waited for.
            unsafe {
                result::memset_d8_async(self.needs_fallback.address(), 0, 4, own.cu_stream())?
            };
            self.transcode_by_planes(&own)?;
            self.decode.status()?;
        }
        Ok(())
    }

    /// The results of the last [`TranscodeBatch::transcode`] for each tensor, to be called after
    /// its status. The checksum is that of the weights decoded from the output. The caller must
    /// compare it with the checksum in the source's directory. Waits for the launches.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::encoded`].
    pub fn transcoded(&mut self) -> Result<Vec<EncodedTensor>, GpuError> {
        self.encode.encoded()
    }

    /// Waits for the launches and returns the outputs in their order, without those that were given
    /// as addresses.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::into_outputs`].
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        self.encode.into_outputs()
    }
}

impl Launched<'_, TranscodeBatch> {
    /// Same as [`TranscodeBatch::status`].
    ///
    /// # Errors
    /// The errors of [`TranscodeBatch::status`].
    pub fn finish(self) -> Result<(), GpuError> {
        self.batch.status()
    }
}
