//! Coded tensors that are given another encoding in one launch of each kernel.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use unweight_format::Encoding;
use unweight_format::layout::PLANE_ALIGNMENT;

use crate::encode::{Sources, Task};
use crate::encode_job::EncodeJob;
use crate::job::TensorJob;
use crate::launch::Placed;
use crate::{Batch, Device, EncodeBatch, EncodedTensor, GpuError, Output, Resident};

/// Tensors to be transcoded together (section 11.8), each with where its planes go. Made once, scratch included; its launches neither allocate nor wait.
///
/// Records become records; sign-mantissa bytes are copied. The bytes are those that the reference's transcoding gives, under each tensor's own chunk size.
///
/// This supposes that a source has the palette that a canonical encoder gives it, and its records' kinds. If one in the batch has not, which
/// [`TranscodeBatch::verdict`] finds, all tensors take the long way, by exponent planes, which is a third as fast. Tensors some of which have the encoding already
/// take it at once: they become canonical.
///
/// A chunk's checksum follows from its source's, so a wrong one stays wrong.
///
/// Launch on the stream that the tensors were uploaded on, or on one that waits for it. As with [`Batch`], dropping it waits for what it launched,
/// and it must not be forgotten while it is running.
#[derive(Debug)]
pub struct TranscodeBatch<'a> {
    // Both wait when they are dropped, so that nothing runs any more when the exponents' memory is freed.
    decode: Batch<'a>,
    encode: EncodeBatch<'a>,
    _exponents: CudaSlice<u8>,
    /// Whether every tensor has the other encoding.
    is_direct: bool,
    /// 1 if the outputs are worth nothing, and the long way has to be taken.
    detour: Placed<u32>,
}

impl<'a> TranscodeBatch<'a> {
    /// A batch of these tensors. `encoding` is huffman or palette; an output has [`longest_payload_bytes`](crate::longest_payload_bytes).
    ///
    /// # Errors
    /// As [`EncodeBatch::new`].
    ///
    /// # Panics
    /// If the encoding is raw, or an output's address not a multiple of 256.
    pub fn new(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(&'a Resident, Output<'a>)>,
        encoding: Encoding,
    ) -> Result<TranscodeBatch<'a>, GpuError> {
        let room = |resident: &Resident| {
            resident
                .planes()
                .weights()
                .next_multiple_of(PLANE_ALIGNMENT)
        };
        let bytes: u64 = tensors.iter().map(|(resident, _)| room(resident)).sum();
        // Zeros, for the checksum of a tensor that could not be decoded to them.
        let exponents = stream.alloc_zeros::<u8>(bytes.max(1) as usize)?;
        let mut at = exponents.device_ptr(stream).0;
        let mut to_exponents = vec![];
        for (resident, _) in &tensors {
            to_exponents.push((*resident, Output::at(at, room(resident))));
            at += room(resident);
        }
        let decode = Batch::to_exponents(device, stream, to_exponents)?;
        at = exponents.device_ptr(stream).0;
        let mut source = decode.jobs.address;
        let mut is_direct = true;
        let mut tasks = vec![];
        for (resident, output) in tensors {
            let planes = resident.planes();
            is_direct &= planes.encoding() != encoding;
            let chunk_size_log2 = planes.chunk_size_log2();
            tasks.push(Task {
                job: EncodeJob {
                    exponents: at,
                    source_sign_mantissa: resident.addresses(stream).sign_mantissa,
                    source,
                    ..EncodeJob::new(encoding, planes.weights(), chunk_size_log2, 0)
                },
                source: at,
                chunk_size_log2,
                output,
            });
            at += room(resident);
            source += TensorJob::BYTES as u64;
        }
        Ok(TranscodeBatch {
            decode,
            encode: EncodeBatch::of(device, stream, tasks, Sources::Planes, encoding)?,
            _exponents: exponents,
            is_direct,
            detour: Placed::new(stream.alloc_zeros(1)?, stream),
        })
    }

    /// Launches the check of every chunk checksum of the sources. Returns at once.
    ///
    /// # Errors
    /// The driver's.
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.check_chunks(stream)
    }

    /// Launches what transcodes. Returns at once; the outputs hold nothing to be trusted until [`TranscodeBatch::verdict`].
    ///
    /// # Errors
    /// The driver's.
    pub fn transcode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        if !self.is_direct {
            return self.transcode_by_planes(stream);
        }
        // It has what the launches read.
        self.decode.running.on(stream)?;
        let (stage_bytes, status) = (self.decode.stage_bytes, self.decode.status.address);
        // SAFETY: the sources are `Residents` of the other encoding, and the stage is as their longest record needs it.
        unsafe {
            self.encode
                .encode_records(stream, stage_bytes, status, self.detour.address)
        }
    }

    /// The long way: decoder and encoder.
    fn transcode_by_planes(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.decode(stream)?;
        self.encode.encode(stream)
    }

    /// Waits for the stream, and says whether the sources kept every rule in every launch since the last verdict. If they did, the outputs are as the last
    /// launch had to leave them, by the long way where that is needed.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`]: the first bad chunk, and the rule that the reference would name; the driver's.
    pub fn verdict(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.verdict(stream)?;
        if self.is_direct && stream.clone_dtoh(&self.detour.memory)? != [0] {
            stream.memset_zeros(&mut self.detour.memory)?;
            self.transcode_by_planes(stream)?;
            self.decode.verdict(stream)?;
        }
        Ok(())
    }

    /// What the last [`TranscodeBatch::transcode`] made of each tensor, after its verdict. The checksum is that of the weights, decoded from what was written:
    /// it is to be compared with the one that the source's directory states. Waits for the stream.
    ///
    /// # Errors
    /// The driver's.
    pub fn transcoded(&self, stream: &Arc<CudaStream>) -> Result<Vec<EncodedTensor>, GpuError> {
        self.encode.encoded(stream)
    }
}
