//! Coded tensors that are given another encoding in one launch of each kernel.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use unweight_format::Encoding;
use unweight_format::layout::PLANE_ALIGNMENT;

use crate::encode::{Sources, Task};
use crate::encode_job::EncodeJob;
use crate::{Batch, Device, EncodeBatch, EncodedTensor, GpuError, Output, Resident};

/// Tensors to be transcoded together (section 11.8), each with where its planes go. Made once, scratch included; its launches neither allocate nor wait.
///
/// Records become exponent planes, a byte for each weight, and these become records; sign-mantissa bytes are copied. The bytes are those that the
/// reference's transcoding gives, under each tensor's own chunk size. A tensor that has the encoding already becomes canonical.
///
/// Launch on the stream that the tensors were uploaded on, or on one that waits for it. As with [`Batch`], dropping it waits for what it launched,
/// and it must not be forgotten while it is running.
#[derive(Debug)]
pub struct TranscodeBatch<'a> {
    // Both wait when they are dropped, so that nothing runs any more when the exponents' memory is freed.
    decode: Batch<'a>,
    encode: EncodeBatch<'a>,
    _exponents: CudaSlice<u8>,
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
        // SAFETY: what decoding does not write is never taken for more than a byte of any value.
        let exponents = unsafe { stream.alloc::<u8>(bytes.max(1) as usize)? };
        let mut at = exponents.device_ptr(stream).0;
        let (mut to_exponents, mut tasks) = (vec![], vec![]);
        for (resident, output) in tensors {
            let planes = resident.planes();
            to_exponents.push((resident, Output::at(at, room(resident))));
            let chunk_size_log2 = planes.chunk_size_log2();
            tasks.push(Task {
                job: EncodeJob {
                    exponents: at,
                    source_sign_mantissa: resident.addresses(stream).sign_mantissa,
                    ..EncodeJob::new(encoding, planes.weights(), chunk_size_log2, 0)
                },
                source: at,
                chunk_size_log2,
                output,
            });
            at += room(resident);
        }
        Ok(TranscodeBatch {
            decode: Batch::to_exponents(device, stream, to_exponents)?,
            encode: EncodeBatch::of(device, stream, tasks, Sources::Planes, encoding)?,
            _exponents: exponents,
        })
    }

    /// Launches the check of every chunk checksum of the sources. Returns at once.
    ///
    /// # Errors
    /// The driver's.
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.check_chunks(stream)
    }

    /// Launches decoder and encoder. Returns at once; the outputs hold nothing to be trusted until [`TranscodeBatch::verdict`].
    ///
    /// # Errors
    /// The driver's.
    pub fn transcode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.decode(stream)?;
        self.encode.encode(stream)
    }

    /// Waits for the stream, and says whether the sources kept every rule in every launch since the last verdict.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`]: the first bad chunk, and the rule that the reference would name; the driver's.
    pub fn verdict(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.decode.verdict(stream)
    }

    /// What the last [`TranscodeBatch::transcode`] made of each tensor. The checksum is that of the weights, computed from the exponents and the
    /// sign-mantissa bytes that were written: it is to be compared with the one that the source's directory states. Waits for the stream.
    ///
    /// # Errors
    /// The driver's.
    pub fn transcoded(&self, stream: &Arc<CudaStream>) -> Result<Vec<EncodedTensor>, GpuError> {
        self.encode.encoded(stream)
    }
}
