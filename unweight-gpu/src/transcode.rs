//! Coded tensors that are given another encoding in one launch of each kernel.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result};
use unweight_format::Encoding;
use unweight_format::layout::PLANE_ALIGNMENT;

use crate::encode::{Kept, Sources, Task};
use crate::encode_job::EncodeJob;
use crate::input::Kind;
use crate::job::TensorJob;
use crate::launch::DeviceBuffer;
use crate::{Batch, Device, DeviceTensor, EncodeBatch, EncodedTensor, GpuError, Input, Output};

/// Tensors to be transcoded together (section 11.8), each with where its planes go. Made once, scratch included; its launches neither allocate nor wait.
///
/// Records become records; sign-mantissa bytes are copied. The bytes are those that the reference's transcoding gives, under each tensor's own chunk size.
///
/// This supposes that a source has the palette that a canonical encoder gives it, and its records' kinds. If one in the batch has not, which
/// [`TranscodeBatch::status`] finds, all tensors take the fallback, by exponent planes, which is a third as fast. Tensors some of which have the encoding already
/// take it at once: they become canonical.
///
/// A chunk's checksum follows from its source's, so a wrong one stays wrong.
///
/// As with [`Batch`], it owns its outputs and keeps its tensors; dropping it waits, and forgetting it loses the memory.
#[derive(Debug)]
pub struct TranscodeBatch {
    /// Each keeps what its launches use, exponents and the other's jobs too.
    decode: Batch,
    encode: EncodeBatch,
    device: Device,
    /// Whether every tensor has the other encoding.
    is_direct: bool,
    /// 1 if the outputs are worth nothing, and the fallback has to be taken.
    detour: Arc<DeviceBuffer<u32>>,
}

impl TranscodeBatch {
    /// A batch of these tensors. `encoding` is huffman or palette; an output has [`longest_payload_bytes`](crate::longest_payload_bytes). Waits for what uses
    /// the outputs now.
    ///
    /// # Errors
    /// As [`EncodeBatch::new`].
    ///
    /// # Panics
    /// If the encoding is raw, or an output's address not a multiple of 256.
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
        // Zeros, for the checksum of a tensor that could not be decoded to them.
        let exponents: Arc<CudaSlice<u8>> = Arc::new(own.alloc_zeros(bytes.max(1) as usize)?);
        let inputs: Vec<Input> = tensors.iter().map(|(tensor, _)| tensor.into()).collect();
        let decode = Batch::to_exponents_in(device, &inputs, &exponents, room_of)?;
        let detour = Arc::new(DeviceBuffer::new(own.alloc_zeros(1)?, own));

        let mut at = exponents.device_ptr(own).0;
        let jobs = &decode.owned().jobs;
        let mut source = jobs.address;
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
    /// As [`Batch::decode`].
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.check_chunks(stream)
    }

    /// Launches what transcodes. Returns at once; the outputs hold nothing to be trusted until [`TranscodeBatch::status`].
    ///
    /// # Errors
    /// As [`Batch::decode`].
    pub fn transcode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        if !self.is_direct {
            return self.transcode_by_planes(stream);
        }
        let decode = self.decode.used_on(stream)?;
        let (stage_bytes, status) = (decode.stage_bytes, decode.status.address);
        // SAFETY: the sources are `DeviceTensor`s of the other encoding, and the stage is as their longest record needs it; `new` gave the batch what it keeps.
        unsafe {
            self.encode
                .encode_records(stream, stage_bytes, status, self.detour.address)
        }
    }

    /// The fallback: decoder and encoder.
    fn transcode_by_planes(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.decode(stream)?;
        self.encode.encode(stream)
    }

    /// Waits for the launches, and says whether the sources kept every rule in every one since this was last asked. If they did, the outputs are as the last
    /// launch had to leave them, by the fallback where that is needed.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`]: the first bad chunk, and the rule that the reference would name; the driver's.
    pub fn status(&mut self) -> Result<(), GpuError> {
        self.decode.status()?;
        let own = self.device.own_stream().clone();
        if self.is_direct && own.clone_dtoh(&self.detour.memory)? != [0] {
            // SAFETY: the one word of this memory, which nobody uses: all launches were waited for.
            unsafe { result::memset_d8_async(self.detour.address, 0, 4, own.cu_stream())? };
            self.transcode_by_planes(&own)?;
            self.decode.status()?;
        }
        Ok(())
    }

    /// What the last [`TranscodeBatch::transcode`] made of each tensor, after its status. The checksum is that of the weights, decoded from what was written:
    /// it is to be compared with the one that the source's directory states. Waits for the launches.
    ///
    /// # Errors
    /// As [`EncodeBatch::encoded`].
    pub fn transcoded(&mut self) -> Result<Vec<EncodedTensor>, GpuError> {
        self.encode.encoded()
    }

    /// Waits for the launches and gives back the outputs, in their order, but those that were given as addresses.
    ///
    /// # Errors
    /// As [`EncodeBatch::into_outputs`].
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        self.encode.into_outputs()
    }
}
