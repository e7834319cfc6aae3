//! Inputs of a batch.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::CudaSlice;

use crate::DeviceTensor;

/// A tensor of any type and forms, or some chunks of a coded one. A batch keeps it, and nobody can
/// write to it during that time.
#[derive(Clone, Debug)]
pub struct Input(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Coded {
        tensor: Arc<DeviceTensor>,
        chunks: Range<u64>,
    },
    /// A tensor without coded fields.
    Plain(Arc<DeviceTensor>),
    /// The data of a raw tensor.
    Data(Arc<CudaSlice<u8>>),
}

impl Input {
    /// Some chunks of a coded tensor. Their weights begin at the start of the output.
    ///
    /// # Panics
    /// If the tensor does not have all these chunks.
    pub fn chunks(tensor: Arc<DeviceTensor>, chunks: Range<u64>) -> Input {
        let count = tensor.payload().chunk_count();
        assert!(
            chunks.start <= chunks.end && chunks.end <= count,
            "chunks {chunks:?} of {count}"
        );
        Input(Kind::Coded { tensor, chunks })
    }

    /// The data of a raw tensor of any type. Its block checksums are not checked. The caller
    /// compares the checksum from `Batch::checksums` with the directory's.
    pub const fn raw_tensor(memory: Arc<CudaSlice<u8>>) -> Input {
        Input(Kind::Data(memory))
    }
}

impl From<Arc<DeviceTensor>> for Input {
    fn from(tensor: Arc<DeviceTensor>) -> Input {
        match tensor.payload().forms().is_coded() {
            true => {
                let chunks = 0..tensor.payload().chunk_count();
                Input::chunks(tensor, chunks)
            }
            false => Input(Kind::Plain(tensor)),
        }
    }
}

impl From<&Arc<DeviceTensor>> for Input {
    fn from(tensor: &Arc<DeviceTensor>) -> Input {
        tensor.clone().into()
    }
}
