//! Inputs of a batch.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::CudaSlice;

use crate::DeviceTensor;

/// A coded tensor, some of its chunks, or a raw tensor, which is copied. A batch keeps it, and
/// nobody can write to it during that time.
#[derive(Clone, Debug)]
pub struct Input(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Coded {
        tensor: Arc<DeviceTensor>,
        chunks: Range<u64>,
    },
    Raw(Arc<CudaSlice<u8>>),
}

impl Input {
    /// Some chunks of a tensor. Their weights begin at the start of the output.
    ///
    /// # Panics
    /// If the tensor does not have all these chunks.
    pub fn chunks(tensor: Arc<DeviceTensor>, chunks: Range<u64>) -> Input {
        let count = tensor.planes().chunk_count();
        assert!(
            chunks.start <= chunks.end && chunks.end <= count,
            "chunks {chunks:?} of {count}"
        );
        Input(Kind::Coded { tensor, chunks })
    }

    /// A raw tensor of any type. Its block checksums are not checked. The caller compares the
    /// checksum from `Batch::checksums` with the directory's.
    pub const fn raw_tensor(memory: Arc<CudaSlice<u8>>) -> Input {
        Input(Kind::Raw(memory))
    }
}

impl From<Arc<DeviceTensor>> for Input {
    fn from(tensor: Arc<DeviceTensor>) -> Input {
        let chunks = 0..tensor.planes().chunk_count();
        Input::chunks(tensor, chunks)
    }
}

impl From<&Arc<DeviceTensor>> for Input {
    fn from(tensor: &Arc<DeviceTensor>) -> Input {
        tensor.clone().into()
    }
}
