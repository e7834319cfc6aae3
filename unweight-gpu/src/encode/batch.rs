//! Batches of tensors that are encoded with one launch of each kernel.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use unweight_format::{Encoding, limits};

use super::EncodedTensor;
use super::job::EncodeJob;
use super::launch::{Encoder, Kept, PreparedTask, Sources};
use crate::memory::{Handover, InFlight, Output, Source};
use crate::{Device, GpuError};

/// Tensors to encode together (section 11), each with the output for its planes. A batch is created
/// once, including its scratch; its launches neither allocate nor wait.
///
/// Like a [`Batch`](crate::Batch) it owns its outputs and keeps its sources. Dropping it waits, and
/// forgetting it leaks the memory.
#[derive(Debug)]
pub struct EncodeBatch(InFlight<Encoder>);

/// A tensor to encode, and where to.
#[derive(Debug)]
pub struct EncodeTask {
    /// The weights.
    pub source: Source,
    /// The memory for its planes.
    pub output: Output,
}

impl EncodeTask {
    /// Encodes this source to this output.
    pub fn new(source: impl Into<Source>, output: impl Into<Output>) -> EncodeTask {
        EncodeTask {
            source: source.into(),
            output: output.into(),
        }
    }
}

impl EncodeBatch {
    /// A batch of these tensors. `encoding` must be huffman or palette. An output must have
    /// [`longest_payload_bytes`](crate::longest_payload_bytes). Waits for the current users of the
    /// outputs and the current writers of the sources.
    ///
    /// # Errors
    /// [`GpuError::NotCoded`] for a tensor that is always stored raw; [`GpuError::WrongLength`] for
    /// an output that is too short; [`GpuError::TooManyChunks`]; [`GpuError::OtherContext`];
    /// [`GpuError::NoKernels`] and [`GpuError::Compile`], because the first batch of a device loads
    /// the encoder's kernels; the errors of the driver, including out of memory.
    ///
    /// # Panics
    /// If the encoding is raw, the chunk size is not 12 to 16, or an output's address is not a
    /// multiple of 256.
    pub fn new(
        device: &Device,
        tasks: Vec<EncodeTask>,
        encoding: Encoding,
        chunk_size_log2: u8,
    ) -> Result<EncodeBatch, GpuError> {
        assert!(limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2));
        let (mut prepared, mut sources): (Vec<PreparedTask>, Vec<Kept>) = (vec![], vec![]);
        let handover = Handover::new(device.context())?;
        for EncodeTask { source, output } in tasks {
            let address = source.address(handover.stream(), device.context())?;
            prepared.push(PreparedTask {
                job: EncodeJob {
                    weights: address,
                    ..EncodeJob::new(encoding, source.weights(), chunk_size_log2, 0)
                },
                source: address,
                chunk_size_log2,
                output,
            });
            sources.push(Arc::new(source));
        }
        handover.finish()?;
        EncodeBatch::of(device, prepared, Sources::Weights, sources, encoding)
    }

    /// Same as [`EncodeBatch::new`], but for sources of either kind. `kept` has the memory of their
    /// addresses.
    pub(crate) fn of(
        device: &Device,
        tasks: Vec<PreparedTask>,
        sources: Sources,
        kept: Vec<Kept>,
        encoding: Encoding,
    ) -> Result<EncodeBatch, GpuError> {
        Encoder::new(device, tasks, sources, kept, encoding).map(EncodeBatch)
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

    /// Waits for the launches and returns the outputs in their order, without those that were given
    /// as addresses.
    ///
    /// # Errors
    /// [`GpuError::Capturing`] if launches may have become part of a graph; the errors of the
    /// driver. The outputs are leaked on an error.
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        let outputs = self.0.into_owned()?.outputs.into_iter();
        Ok(outputs.filter_map(Output::into_slice).collect())
    }
}
