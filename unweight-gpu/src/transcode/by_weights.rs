//! Transcoding by way of weights: tensors are decoded to scratch, and encoded from there.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use unweight_format::layout::NARROW_BITS;
use unweight_format::{Encoding, Forms};

use super::TranscodeTask;
use crate::encode::plan::Sources;
use crate::encode::sample::ChosenForms;
use crate::encode::{Kept, PreparedTask};
use crate::memory::Output;
use crate::{Batch, DecodeTask, Device, DeviceTensor, EncodeBatch, GpuError};

/// Tensors that are transcoded by way of their weights.
#[derive(Debug)]
pub(super) struct ByWeights {
    /// Decodes the tensors to scratch.
    pub(super) source: Batch,
    /// Encodes the scratch.
    pub(super) encode: EncodeBatch,
}

impl ByWeights {
    pub(super) fn new(
        device: &Device,
        tasks: Vec<TranscodeTask>,
        encoding: Encoding,
    ) -> Result<ByWeights, GpuError> {
        let scratch = WeightScratch::new(device, tasks.iter().map(|task| &task.tensor))?;
        let prepared = tasks.into_iter().zip(&scratch.addresses);
        let prepared = prepared.map(|(task, &weights)| {
            let tensor = &task.tensor;
            prepared_task(tensor, encoding, weights, weights, task.output)
        });
        let kept: Vec<Kept> = vec![scratch.memory.clone()];
        Ok(ByWeights {
            encode: EncodeBatch::of(device, prepared.collect(), Sources::Weights, kept)?,
            source: scratch.source,
        })
    }

    pub(super) fn transcode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.source.decode(stream)?.defer_status();
        self.encode.encode(stream)
    }
}

/// Scratch for the weights of tensors, and the batch that decodes them to it.
pub(super) struct WeightScratch {
    pub(super) source: Batch,
    pub(super) memory: Arc<CudaSlice<u8>>,
    /// The addresses of the weights of each tensor.
    pub(super) addresses: Vec<u64>,
}

impl WeightScratch {
    pub(super) fn new<'a>(
        device: &Device,
        tensors: impl Iterator<Item = &'a Arc<DeviceTensor>> + Clone,
    ) -> Result<WeightScratch, GpuError> {
        let own = device.own_stream();
        let padded = |tensor: &DeviceTensor| tensor.data_bytes().next_multiple_of(256);
        let bytes: u64 = tensors.clone().map(|tensor| padded(tensor)).sum();
        // Zeros give a defined checksum for a tensor that could not be decoded.
        let memory: Arc<CudaSlice<u8>> = Arc::new(own.alloc_zeros(bytes.max(1) as usize)?);
        let mut at = memory.device_ptr(own).0;
        let (mut tasks, mut addresses) = (vec![], vec![]);
        for tensor in tensors {
            let bytes = padded(tensor);
            tasks.push(DecodeTask::new(tensor, Output::at_kept_address(at, bytes)));
            addresses.push(at);
            at += bytes;
        }
        Ok(WeightScratch {
            source: Batch::to_weights_in(device, tasks, &memory)?,
            memory,
            addresses,
        })
    }
}

/// The task that encodes a tensor's weights, or converts its records.
pub(super) fn prepared_task(
    tensor: &DeviceTensor,
    encoding: Encoding,
    source: u64,
    weights: u64,
    output: Output,
) -> PreparedTask {
    let payload = tensor.payload();
    PreparedTask {
        forms: ChosenForms {
            forms: transcoded_forms(payload.forms(), encoding),
            constant_bits: tensor.palettes().constant_bits(),
        },
        weights: payload.weights(),
        chunk_size_log2: payload.chunk_size_log2().max(12),
        source,
        checked: weights,
        output,
    }
}

/// The forms of a tensor that is transcoded to this encoding (section 11.9): that of coded fields
/// of more than 4 bits changes.
fn transcoded_forms(forms: Forms, encoding: Encoding) -> Forms {
    let wide = forms
        .coded()
        .filter(|coded| coded.field.width() > NARROW_BITS);
    wide.fold(forms, |forms, coded| {
        let changed = forms.with(coded.field_number, encoding.form());
        changed.expect("a wide field can have both forms")
    })
}
