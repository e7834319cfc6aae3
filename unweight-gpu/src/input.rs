//! What a batch decodes.

use std::ops::Range;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use crate::Resident;

/// A coded tensor, some of its chunks, or a raw tensor, which is copied.
#[derive(Clone, Debug)]
pub struct Input<'a>(pub(crate) Kind<'a>);

#[derive(Clone, Debug)]
pub(crate) enum Kind<'a> {
    Coded {
        resident: &'a Resident,
        chunks: Range<u64>,
    },
    Raw {
        address: u64,
        bytes: u64,
        _memory: std::marker::PhantomData<&'a [u8]>,
    },
}

impl<'a> Input<'a> {
    /// Chunks of a tensor; their weights stand from the beginning of the output on.
    ///
    /// # Panics
    /// If the tensor has no such chunks.
    pub fn chunks(resident: &'a Resident, chunks: Range<u64>) -> Input<'a> {
        let count = resident.planes().chunk_count();
        assert!(
            chunks.start <= chunks.end && chunks.end <= count,
            "chunks {chunks:?} of {count}"
        );
        Input(Kind::Coded { resident, chunks })
    }

    /// A raw tensor, of any type. Its checksums of blocks are not looked at; `Batch::checksums` gives what the directory's is to be compared with.
    pub fn raw(memory: &'a CudaSlice<u8>, stream: &CudaStream) -> Input<'a> {
        let (address, _reading) = memory.device_ptr(stream);
        Input(Kind::Raw {
            address,
            bytes: memory.num_bytes() as u64,
            _memory: std::marker::PhantomData,
        })
    }
}

impl<'a> From<&'a Resident> for Input<'a> {
    fn from(resident: &'a Resident) -> Input<'a> {
        Input::chunks(resident, 0..resident.planes().chunk_count())
    }
}
