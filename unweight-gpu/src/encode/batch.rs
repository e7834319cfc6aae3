//! Batches of tensors that are encoded with one launch of each kernel.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use unweight_format::{Dtype, Encoding, limits};

use super::EncodedTensor;
use super::choose::choose_forms;
use super::launch::{Encoder, Kept, PreparedTask};
use super::plan::Sources;
use super::sample::SampledTensor;
use crate::memory::{Handover, InFlight, Output, Source};
use crate::{Device, GpuError};

/// Tensors of any types to encode together (section 11), each with the output for its payload. A
/// batch is created once, including its scratch; its launches neither allocate nor wait.
///
/// BF16 tensors of which the exponent alone is coded are read twice. All other tensors that are not
/// raw are first split into their plain plane and the values of their coded fields, which take one
/// byte of scratch for each weight and field.
///
/// Like a [`Batch`](crate::Batch) it owns its outputs and keeps its sources. Dropping it waits, and
/// forgetting it leaks the memory.
#[derive(Debug)]
pub struct EncodeBatch(InFlight<Encoder>);

/// A tensor to encode, and where to.
#[derive(Debug)]
pub struct EncodeTask {
    pub(super) dtype: Dtype,
    /// The weights.
    pub source: Source,
    /// The memory for its payload.
    pub output: Output,
}

impl EncodeTask {
    /// Encodes this source, a tensor of this type, to this output.
    ///
    /// # Panics
    /// If the source's length is not a multiple of that of a weight.
    pub fn new(dtype: Dtype, source: impl Into<Source>, output: impl Into<Output>) -> EncodeTask {
        let source = source.into();
        let weight_bytes = dtype.weight_bytes() as u64;
        assert!(
            source.bytes().is_multiple_of(weight_bytes),
            "{} bytes of {dtype}, expected a multiple of {weight_bytes}",
            source.bytes()
        );
        EncodeTask {
            dtype,
            source,
            output: output.into(),
        }
    }
}

impl EncodeBatch {
    /// A batch of these tensors. Chooses the forms of their fields from a sample and, where a field
    /// may be constant, from all weights, and waits for that: the sources must have their weights.
    /// An output must have [`longest_payload_bytes`](crate::longest_payload_bytes). Waits for the
    /// current users of the outputs and the current writers of the sources.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; [`GpuError::TooManyChunks`];
    /// [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and [`GpuError::Compile`], because the
    /// first batch of a device loads the encoder's kernels; the errors of the driver, including out
    /// of memory.
    ///
    /// # Panics
    /// If the chunk size is not 12 to 16, or an output's address is not a multiple of 256.
    #[expect(unsafe_code, reason = "addresses of sources")]
    pub fn new(
        device: &Device,
        tasks: Vec<EncodeTask>,
        encoding: Encoding,
        chunk_size_log2: u8,
    ) -> Result<EncodeBatch, GpuError> {
        assert!(limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2));
        let (mut tensors, mut kept): (Vec<_>, Vec<Kept>) = (vec![], vec![]);
        let mut outputs = vec![];
        let handover = Handover::new(device.context())?;
        for EncodeTask {
            dtype,
            source,
            output,
        } in tasks
        {
            let address = source.address(handover.stream(), device.context())?;
            let sampled = SampledTensor {
                dtype,
                weights: source.bytes() / dtype.weight_bytes() as u64,
                encoding,
                chunk_size_log2,
            };
            tensors.push((sampled, address));
            kept.push(Arc::new(source));
            outputs.push(output);
        }
        handover.finish()?;
        // SAFETY: sources are aligned (`Source`), and kept.
        let forms = unsafe { choose_forms(device, &tensors)? };
        let prepared = tensors.iter().zip(forms).zip(outputs);
        let prepared = prepared.map(|((&(tensor, source), forms), output)| PreparedTask {
            forms,
            weights: tensor.weights,
            chunk_size_log2,
            source,
            checked: source,
            output,
        });
        EncodeBatch::of(device, prepared.collect(), Sources::Weights, kept)
    }

    /// A batch of tensors with these forms. `kept` has the memory of their addresses.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::new`].
    pub(crate) fn of(
        device: &Device,
        tasks: Vec<PreparedTask>,
        sources: Sources,
        kept: Vec<Kept>,
    ) -> Result<EncodeBatch, GpuError> {
        Encoder::new(device, tasks, sources, kept).map(EncodeBatch)
    }

    /// Launches the encoder. Returns at once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`](crate::Batch::decode).
    pub fn encode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.launch(stream, |encoder| encoder.encode(stream))
    }

    /// Calls `launch`, which must make all launches of an encoding on this stream.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::encode`], and those of `launch`.
    pub(crate) fn launch(
        &mut self,
        stream: &Arc<CudaStream>,
        launch: impl FnOnce(&Encoder) -> Result<(), GpuError>,
    ) -> Result<(), GpuError> {
        self.0.launch(stream, |encoder| {
            encoder.is_encoded = false;
            launch(encoder)?;
            encoder.is_encoded = true;
            Ok(())
        })
    }

    /// The results of the last [`EncodeBatch::encode`] for each tensor. Waits for it.
    ///
    /// # Errors
    /// [`GpuError::NotEncoded`] if nothing was encoded or the encoding failed; the errors of the
    /// driver.
    pub fn encoded(&mut self) -> Result<Vec<EncodedTensor>, GpuError> {
        let own = self.0.owned().device.own_stream().clone();
        self.0.launch(&own, |encoder| encoder.encoded(&own))
    }

    /// The batch's state, when its launches are done.
    pub(crate) fn owned(&self) -> &Encoder {
        self.0.owned()
    }

    /// Waits for the launches and returns the outputs in their order, without those that were given
    /// as addresses.
    ///
    /// # Errors
    /// [`GpuError::Capturing`] if launches may have become part of a graph; the errors of the
    /// driver. The outputs are leaked on an error.
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        let outputs = self.into_all_outputs()?.into_iter();
        Ok(outputs.filter_map(Output::into_slice).collect())
    }

    /// Same as [`EncodeBatch::into_outputs`], with all outputs.
    pub(crate) fn into_all_outputs(self) -> Result<Vec<Output>, GpuError> {
        Ok(self.0.into_owned()?.outputs)
    }
}
