//! Batches of tensors that are decoded together.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};

use super::DecodeTask;
use super::jobs::Elements;
use super::launch::Decoding;
use crate::memory::{InFlight, Output};
use crate::{Device, GpuError, Launched};

/// Tensors of any types and forms, or chunks of tensors, to decode together, each with its output.
/// Each kind of tensor that occurs takes one launch: BF16 of which the exponent alone is coded, and
/// all else by the bytes of a weight. Raw tensors are copied. A batch is created once; its launches
/// neither allocate nor wait.
///
/// A batch owns its outputs and keeps its inputs. [`Batch::into_outputs`] waits for the launches
/// and returns the outputs. Dropping a batch waits too, and forgetting one leaks the memory.
/// Launches may be on any stream of the device's context. Launches on different streams run one
/// after the other.
///
/// Decoded data must not be trusted before the status ([`Launched::finish`] or [`Batch::status`])
/// was queried and [`Batch::checksums`] was compared with the directory.
/// [`decode_verified`](crate::decode_verified) does all of this for one tensor.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use unweight_format::Tensor;
/// # use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError};
/// # type Tensors<'a> = [(Tensor<'a>, Arc<DeviceTensor>)];
/// # fn decode(device: &Device, tensors: &Tensors<'_>) -> Result<(), GpuError> {
/// let stream = device.stream()?;
/// let mut tasks = vec![];
/// for (tensor, uploaded) in tensors {
///     let weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
///     tasks.push(DecodeTask::new(uploaded, weights));
/// }
/// let mut batch = Batch::to_weights(device, tasks)?;
/// batch.check_chunks(&stream)?.defer_status();
/// batch.decode(&stream)?.finish()?;
/// for ((tensor, _), checksum) in tensors.iter().zip(batch.checksums()?) {
///     tensor.require_checksum(checksum)?;
/// }
/// let weights = batch.into_outputs()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch(InFlight<Decoding>);

impl Batch {
    /// A batch that decodes these tensors to weights. Batching pays most for small tensors. Waits
    /// for the current users of the outputs.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; [`GpuError::TooManyChunks`];
    /// [`GpuError::OtherContext`]; the errors of the driver.
    pub fn to_weights(device: &Device, tasks: Vec<DecodeTask>) -> Result<Batch, GpuError> {
        Decoding::new(device, tasks, Elements::Weights, None).map(Batch)
    }

    /// A batch that decodes the exponents of these BF16 tensors, with one byte for each weight.
    ///
    /// # Errors
    /// The errors of [`Batch::to_weights`].
    ///
    /// # Panics
    /// If one of the tensors has another type, or its exponent is not coded.
    pub fn to_exponents(device: &Device, tasks: Vec<DecodeTask>) -> Result<Batch, GpuError> {
        Decoding::new(device, tasks, Elements::Exponents, None).map(Batch)
    }

    /// Same as [`Batch::to_weights`], but for outputs that are addresses in this memory.
    pub(crate) fn to_weights_in(
        device: &Device,
        tasks: Vec<DecodeTask>,
        weights: &Arc<CudaSlice<u8>>,
    ) -> Result<Batch, GpuError> {
        Decoding::new(device, tasks, Elements::Weights, Some(weights.clone())).map(Batch)
    }

    /// Launches the decoder and the copies of raw tensors. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::Capturing`], [`GpuError::OtherContext`] and [`GpuError::PerThreadStream`] for a
    /// stream that does not allow launches; the errors of the driver.
    pub fn decode(&mut self, stream: &Arc<CudaStream>) -> Result<Launched<'_, Batch>, GpuError> {
        self.0.launch(stream, |batch| batch.decode(stream))?;
        Ok(Launched { batch: self })
    }

    /// Launches the check of every chunk checksum, and of every block checksum of a whole tensor.
    /// Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub fn check_chunks(
        &mut self,
        stream: &Arc<CudaStream>,
    ) -> Result<Launched<'_, Batch>, GpuError> {
        self.0.launch(stream, |batch| batch.check_chunks(stream))?;
        Ok(Launched { batch: self })
    }

    /// The CRC-32 of every output. Waits for the launches.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Panics
    /// If the batch decodes to exponent planes.
    #[must_use = "the weights are not to be trusted until their checksum equals the directory's"]
    pub fn checksums(&mut self) -> Result<Vec<u32>, GpuError> {
        let batch = self.0.owned();
        assert_eq!(
            batch.elements,
            Elements::Weights,
            "checksums are of weights"
        );
        let own = batch.device.own_stream().clone();
        self.0.launch(&own, |batch| batch.checksums())
    }

    /// Waits for the launches, and returns whether all of them since the last query kept every
    /// rule.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`] with the first bad chunk and the rule that the reference reports; the
    /// errors of the driver.
    #[must_use = "what was decoded is not to be trusted after an error"]
    pub fn status(&mut self) -> Result<(), GpuError> {
        let own = self.0.owned().device.own_stream().clone();
        self.0.launch(&own, |batch| batch.status())
    }

    /// Waits for the launches and returns the outputs in their order, without those that were given
    /// as addresses. Their content must not be trusted unless [`Batch::status`] has succeeded.
    ///
    /// # Errors
    /// [`GpuError::Capturing`] if launches may have become part of a graph; the errors of the
    /// driver. The outputs are leaked on an error.
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        let outputs = self.0.into_owned()?.outputs.into_iter();
        Ok(outputs.filter_map(Output::into_slice).collect())
    }

    /// The state of the batch, for additional launches on this stream. They run after those of the
    /// batch.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub(crate) fn used_on(&mut self, stream: &Arc<CudaStream>) -> Result<&Decoding, GpuError> {
        self.0.launch(stream, |_| Ok(()))?;
        Ok(self.0.owned())
    }

    pub(crate) fn owned(&self) -> &Decoding {
        self.0.owned()
    }
}

impl Launched<'_, Batch> {
    /// Same as [`Batch::status`].
    ///
    /// # Errors
    /// The errors of [`Batch::status`].
    pub fn finish(self) -> Result<(), GpuError> {
        self.batch.status()
    }
}
