//! What a batch decodes.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::CudaSlice;

use crate::DeviceTensor;

/// A coded tensor, some of its chunks, or a raw tensor, which is copied. A batch keeps it, and nobody can write it meanwhile.
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
    /// Chunks of a tensor; their weights stand from the beginning of the output on.
    ///
    /// # Panics
    /// If the tensor has no such chunks.
    pub fn chunks(tensor: Arc<DeviceTensor>, chunks: Range<u64>) -> Input {
        let count = tensor.planes().chunk_count();
        assert!(
            chunks.start <= chunks.end && chunks.end <= count,
            "chunks {chunks:?} of {count}"
        );
        Input(Kind::Coded { tensor, chunks })
    }

    /// A raw tensor, of any type. Its checksums of blocks are not looked at; `Batch::checksums` gives what the directory's is to be compared with.
    pub const fn raw(memory: Arc<CudaSlice<u8>>) -> Input {
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
