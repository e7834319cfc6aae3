//! Batches of coded tensors that are converted to another encoding, with one launch of each kernel.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result};
use unweight_format::Encoding;
use unweight_format::layout::PLANE_ALIGNMENT;

use crate::encode::{Kept, Sources, Task};
use crate::encode_job::EncodeJob;
use crate::input::Kind;
use crate::job::TensorJob;
use crate::kernels::DeviceBuffer;
use crate::{Batch, Device, DeviceTensor, EncodeBatch, EncodedTensor, GpuError, Input, Output};

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
    /// Whether every tensor has the other encoding.
    is_direct: bool,
    /// 1 if the outputs are invalid and the fallback must be taken.
    detour: Arc<DeviceBuffer<u32>>,
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
    pub fn new<O: Into<Output>>(
        device: &Device,
        tensors: Vec<(Arc<DeviceTensor>, O)>,
        encoding: Encoding,
    ) -> Result<TranscodeBatch, GpuError> {
        let own = device.own_stream();
        let room = |tensor: &DeviceTensor| {
            let weights = tensor.planes().weights();
            weights.next_multiple_of(PLANE_ALIGNMENT)
        };
        let room_of = |input: &Input| match &input.0 {
            Kind::Coded { tensor, .. } => room(tensor),
            Kind::Raw(_) => 0,
        };
        let bytes: u64 = tensors.iter().map(|(tensor, _)| room(tensor)).sum();
        // Zeros give a defined checksum for a tensor whose exponents could not be decoded.
        let exponents: Arc<CudaSlice<u8>> = Arc::new(own.alloc_zeros(bytes.max(1) as usize)?);
        let inputs: Vec<Input> = tensors.iter().map(|(tensor, _)| tensor.into()).collect();
        let decode = Batch::to_exponents_in(device, &inputs, &exponents, room_of)?;
        let detour = Arc::new(DeviceBuffer::new(own.alloc_zeros(1)?, own));

        let mut at = exponents.device_ptr(own).0;
        let jobs = &decode.owned().jobs;
        let mut source = jobs.address();
        let mut is_direct = true;
        let mut tasks = vec![];
        let mut kept: Vec<Kept> = vec![
            exponents.clone(),
            jobs.clone(),
            decode.owned().status.clone(),
            detour.clone(),
        ];
        for (tensor, output) in tensors {
            let planes = tensor.planes();
            is_direct &= planes.encoding() != encoding;
            let chunk_size_log2 = planes.chunk_size_log2();
            tasks.push(Task {
                job: EncodeJob {
                    exponents: at,
                    source_sign_mantissa: tensor.addresses().sign_mantissa,
                    source,
                    ..EncodeJob::new(encoding, planes.weights(), chunk_size_log2, 0)
                },
                source: at,
                chunk_size_log2,
                output: output.into(),
            });
            at += room(&tensor);
            source += TensorJob::BYTES as u64;
            kept.push(tensor);
        }
        Ok(TranscodeBatch {
            encode: EncodeBatch::of(device, tasks, Sources::Planes, kept, encoding)?,
            decode,
            device: device.clone(),
            is_direct,
            detour,
        })
    }

    /// Launches the check of every chunk checksum of the sources. Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.check_chunks(stream)
    }

    /// Launches the transcoding. Returns at once. The outputs must not be trusted before
    /// [`TranscodeBatch::status`] has succeeded.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub fn transcode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        if !self.is_direct {
            return self.transcode_by_planes(stream);
        }
        let decode = self.decode.used_on(stream)?;
        let (stage_bytes, status) = (decode.stage_bytes, decode.status.address());
        // SAFETY: the sources are `DeviceTensor`s of the other encoding, and the stage is large
        // enough for their longest record; `new` gave the batch the memory that it keeps.
        unsafe {
            self.encode
                .encode_records(stream, stage_bytes, status, self.detour.address())
        }
    }

    /// The fallback: runs the decoder and the encoder.
    fn transcode_by_planes(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.decode(stream)?;
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
        if self.is_direct && own.clone_dtoh(self.detour.memory())? != [0] {
            // SAFETY: this memory has a single word, and nobody uses it, because all launches were
            // waited for.
            unsafe { result::memset_d8_async(self.detour.address(), 0, 4, own.cu_stream())? };
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
