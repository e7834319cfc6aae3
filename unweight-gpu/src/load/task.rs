//! What is loaded, and where to.

use unweight_format::{Extent, Payload, Tensor};

use crate::decode::checked_parts::CheckedParts;
use crate::{GpuError, Output};

/// A tensor to load, and the device memory for its original bytes.
#[derive(Debug)]
pub struct LoadTask {
    pub(super) source: Source,
    pub(super) output: Output,
    /// Length of the tensor.
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A tensor of a container.
    Tensor(Box<StoredTensor>),
    /// Bytes of a file that are the tensor.
    Bytes(Extent),
}

/// A tensor of a container, with its checked index.
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) payload: Payload,
    pub(super) parts: CheckedParts,
}

/// The extents of a tensor of a container that have to be read before it is loaded, because they
/// are checked on the host. Both may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReads {
    /// The palettes and record ends.
    pub index: Extent,
    /// The last byte of the plain plane, if it has padding bits.
    pub padding: Extent,
}

impl LoadReads {
    /// The extents to read for a payload.
    pub fn of(payload: &Payload) -> LoadReads {
        let (palettes, ends) = (payload.palettes(), payload.record_ends());
        let plain_bits = payload.weights() * u64::from(payload.forms().plain_bits());
        let has_padding = !plain_bits.is_multiple_of(8);
        LoadReads {
            index: Extent {
                offset: palettes.offset,
                length: ends.end() - palettes.offset,
            },
            padding: Extent {
                offset: payload.plain().end() - u64::from(has_padding),
                length: has_padding.into(),
            },
        }
    }
}

impl LoadTask {
    /// A tensor of a container, in any type and forms. `index` and `padding` are the bytes at
    /// [`LoadReads`]; the index is checked.
    ///
    /// # Errors
    /// `palette-crc`, `palette-values`, `record-ends`, `record-too-long`; `padding` in the last
    /// byte of the plain plane; [`GpuError::WrongLength`].
    pub fn tensor(
        tensor: &Tensor<'_>,
        index: &[u8],
        padding: &[u8],
        output: impl Into<Output>,
    ) -> Result<LoadTask, GpuError> {
        let payload = tensor.payload();
        let reads = LoadReads::of(payload);
        for (given, needed) in [(index, reads.index), (padding, reads.padding)] {
            if given.len() as u64 != needed.length {
                return Err(GpuError::WrongLength {
                    needed_bytes: needed.length,
                    given_bytes: given.len() as u64,
                });
            }
        }
        let parts = CheckedParts::copy(tensor, index)?;
        if let Some(&last) = padding.last() {
            payload.require_plain_padding(last)?;
        }
        Ok(LoadTask {
            source: Source::Tensor(Box::new(StoredTensor {
                payload: *payload,
                parts,
            })),
            output: output.into(),
            bytes: tensor.data_bytes(),
        })
    }

    /// Bytes of a file as they are, for example a tensor of a safetensors file. Nothing is checked.
    pub fn bytes(extent: Extent, output: impl Into<Output>) -> LoadTask {
        LoadTask {
            source: Source::Bytes(extent),
            output: output.into(),
            bytes: extent.length,
        }
    }
}
