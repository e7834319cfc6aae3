//! Batches of coded tensors that are converted to another encoding.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use unweight_format::Encoding;

use super::by_weights::ByWeights;
use super::direct::Direct;
use crate::memory::Output;
use crate::{Device, DeviceTensor, EncodedTensor, GpuError, Launched};

/// Coded tensors of any types to transcode together (section 11.9), each with the output for its
/// payload. A batch is created once, including its scratch; its launches neither allocate nor wait.
/// The output equals that of the reference's transcoding, with each tensor's own forms and chunk
/// size.
///
/// BF16 tensors of which the exponent alone is coded, in the other encoding, are converted from
/// records to records, while their plain planes are copied. This assumes that they have the palette
/// and the kinds of records of a canonical encoder. [`TranscodeBatch::status`] finds out if one of
/// them has not. They are then decoded to weights and encoded from these, as all other tensors are
/// at once, which has a third of the speed. The scratch holds the weights of all tensors.
///
/// A chunk's checksum is derived from its source's in conversions of records, so a wrong checksum
/// stays wrong.
///
/// Like a [`Batch`](crate::Batch) it owns its outputs and keeps its tensors. Dropping it waits, and
/// forgetting it leaks the memory.
#[derive(Debug)]
pub struct TranscodeBatch {
    /// None without such tensors.
    direct: Option<Direct>,
    by_weights: Option<ByWeights>,
    /// Whether each task is direct, in the order of the tasks.
    are_direct: Vec<bool>,
}

/// A tensor to transcode, and where to.
#[derive(Debug)]
pub struct TranscodeTask {
    /// The tensor.
    pub tensor: Arc<DeviceTensor>,
    /// The memory for its payload in the other encoding.
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
    /// A batch of these tensors. An output must have
    /// [`longest_payload_bytes`](crate::longest_payload_bytes). Waits for the current users of the
    /// outputs. Tensors without coded fields need no transcoding, and keep their forms.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::new`](crate::EncodeBatch::new).
    ///
    /// # Panics
    /// If an output's address is not a multiple of 256.
    pub fn new(
        device: &Device,
        tasks: Vec<TranscodeTask>,
        encoding: Encoding,
    ) -> Result<TranscodeBatch, GpuError> {
        let is_direct = |task: &TranscodeTask| {
            let payload = task.tensor.payload();
            payload.forms().is_bf16_exponent() && payload.forms().form(0) != encoding.form()
        };
        let are_direct = tasks.iter().map(is_direct).collect();
        let (direct, others): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_direct);
        let direct = (!direct.is_empty()).then(|| Direct::new(device, direct, encoding));
        let by_weights = (!others.is_empty()).then(|| ByWeights::new(device, others, encoding));
        Ok(TranscodeBatch {
            direct: direct.transpose()?,
            by_weights: by_weights.transpose()?,
            are_direct,
        })
    }

    /// Launches the check of every chunk checksum of the sources. Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`](crate::Batch::decode).
    pub fn check_chunks(
        &mut self,
        stream: &Arc<CudaStream>,
    ) -> Result<Launched<'_, TranscodeBatch>, GpuError> {
        if let Some(direct) = &mut self.direct {
            direct.source.check_chunks(stream)?.defer_status();
        }
        if let Some(by_weights) = &mut self.by_weights {
            by_weights.source.check_chunks(stream)?.defer_status();
        }
        Ok(Launched { batch: self })
    }

    /// Launches the transcoding. Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`](crate::Batch::decode).
    pub fn transcode(
        &mut self,
        stream: &Arc<CudaStream>,
    ) -> Result<Launched<'_, TranscodeBatch>, GpuError> {
        if let Some(direct) = &mut self.direct {
            direct.transcode(stream)?;
        }
        if let Some(by_weights) = &mut self.by_weights {
            by_weights.transcode(stream)?;
        }
        Ok(Launched { batch: self })
    }

    /// Waits for the launches, and returns whether the sources kept every rule in all launches
    /// since the last query. If they did, the outputs have the result of the last launch. Tensors
    /// whose records could not be converted are encoded here.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`] with the first bad chunk and the rule that the reference reports; the
    /// errors of the driver.
    pub fn status(&mut self) -> Result<(), GpuError> {
        let direct = self.direct.as_mut().map_or(Ok(()), Direct::status);
        let by_weights = self.by_weights.as_mut();
        let by_weights = by_weights.map_or(Ok(()), |group| group.source.status());
        direct.map_err(|error| self.of_task(error, true))?;
        by_weights.map_err(|error| self.of_task(error, false))
    }

    /// The error, with the number of the task.
    fn of_task(&self, error: GpuError, is_direct: bool) -> GpuError {
        match error {
            GpuError::BadChunk(mut bad) => {
                let tasks = self.are_direct.iter().enumerate();
                let mut of_group = tasks.filter(|(_, direct)| **direct == is_direct);
                let task = of_group.nth(bad.tensor);
                bad.tensor = task.expect("each tensor is of a task").0;
                GpuError::BadChunk(bad)
            }
            other => other,
        }
    }

    /// The results of the last [`TranscodeBatch::transcode`] for each tensor, to be called after
    /// its status. The checksum is that of the weights decoded from the output, or of those that it
    /// was encoded from. The caller must compare it with the checksum in the source's directory.
    /// Waits for the launches.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::encoded`](crate::EncodeBatch::encoded).
    pub fn transcoded(&mut self) -> Result<Vec<EncodedTensor>, GpuError> {
        let direct = self.direct.as_mut().map(Direct::transcoded);
        let others = self.by_weights.as_mut();
        let others = others.map(|group| group.encode.encoded());
        let (direct, others) = (direct.transpose()?, others.transpose()?);
        Ok(merged(&self.are_direct, direct, others))
    }

    /// Waits for the launches and returns the outputs in their order, without those that were given
    /// as addresses.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::into_outputs`](crate::EncodeBatch::into_outputs).
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        let direct = self.direct.map(Direct::into_outputs);
        let others = self.by_weights;
        let others = others.map(|group| group.encode.into_all_outputs());
        let (direct, others) = (direct.transpose()?, others.transpose()?);
        let outputs = merged(&self.are_direct, direct, others).into_iter();
        Ok(outputs.filter_map(Output::into_slice).collect())
    }
}

/// Both groups in the order of the tasks.
fn merged<T>(are_direct: &[bool], direct: Option<Vec<T>>, others: Option<Vec<T>>) -> Vec<T> {
    let mut direct = direct.into_iter().flatten();
    let mut others = others.into_iter().flatten();
    let next = |is_direct: &bool| match is_direct {
        true => direct.next(),
        false => others.next(),
    };
    are_direct.iter().filter_map(next).collect()
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
