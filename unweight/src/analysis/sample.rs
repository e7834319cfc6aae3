//! Samples of tensors that are not compressed yet.

use unweight_cpu::reference::ValueCounts;
use unweight_format::Extent;

use super::collector::Found;
use crate::breakdown::TensorBreakdown;
use crate::safetensors::SourceTensor;
use crate::{
    CompressOptions, DEFAULT_CHUNK_SIZE_LOG2, Error, OpenOptions, Storage, Threads, Writer,
    read_extent,
};

/// The most chunks of a tensor that are compressed.
const CHUNKS: u64 = 8;

/// The sample of a tensor, compressed.
pub(super) struct Sampled {
    breakdown: TensorBreakdown,
    counts: Vec<ValueCounts>,
    bytes: u64,
}

/// Bytes of a chunk of this tensor.
fn chunk_bytes(tensor: &SourceTensor) -> u64 {
    (tensor.dtype.weight_bytes() as u64) << DEFAULT_CHUNK_SIZE_LOG2
}

/// Bytes of the sample of a tensor.
pub(super) fn bytes_of(tensor: &SourceTensor) -> u64 {
    (tensor.end - tensor.begin).min(CHUNKS * chunk_bytes(tensor))
}

impl Sampled {
    /// Reads and compresses the sample of a tensor that has these bytes in `storage`.
    pub(super) fn of<S: Storage>(
        storage: &S,
        tensor: &SourceTensor,
        data: Extent,
        threads: &Threads,
        buffer: &mut Vec<u8>,
    ) -> Result<Sampled, Error> {
        let mut sample = Vec::with_capacity(bytes_of(tensor) as usize);
        for extent in extents(data, bytes_of(tensor), chunk_bytes(tensor)) {
            let bytes = read_extent(storage, extent, buffer);
            sample.extend_from_slice(bytes.map_err(|error| Error::Read(error.into()))?);
        }
        let bytes = sample.len() as u64;
        let elements = bytes.saturating_mul(8) / tensor.dtype.bits();
        let options = CompressOptions::new().threads(threads.clone());
        let file = Writer::with_options(options)
            .tensor_bytes("", tensor.dtype, &[elements], &sample)
            .finish(Vec::new())?;
        let model = OpenOptions::new()
            .threads(threads.clone())
            .open_bytes(file)?;
        let container = model.container();
        let only = container
            .directory()
            .tensor(0)
            .expect("one tensor was written");
        let (breakdown, counts) = container.counted_breakdown(&only, threads)?;
        Ok(Sampled {
            breakdown,
            counts,
            bytes,
        })
    }

    /// What is found of the whole tensor, if the rest is as the sample.
    pub(super) fn found(self, tensor: &SourceTensor) -> Found<'_> {
        let data_bytes = tensor.end - tensor.begin;
        Found {
            name: &tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            data_bytes,
            payload_bytes: None,
            read_bytes: self.bytes,
            breakdown: self.breakdown,
            counts: self.counts,
        }
    }
}

/// Extents of `sample` bytes of `data`, whole chunks at even distances. `sample` is a number of
/// chunks, or all of `data`.
fn extents(data: Extent, sample: u64, chunk: u64) -> impl Iterator<Item = Extent> {
    let whole = sample == data.length;
    let count = if whole { 1 } else { sample / chunk };
    let length = if whole { sample } else { chunk };
    let last = (data.length - length) / chunk;
    (0..count).map(move |number| Extent {
        offset: data.offset + number * last / count.saturating_sub(1).max(1) * chunk,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_apart_and_within_the_data() {
        for length in [
            0,
            1,
            99,
            100,
            799,
            800,
            801,
            899,
            900,
            12_345,
            u64::MAX >> 8,
        ] {
            let data = Extent { offset: 7, length };
            let all: Vec<Extent> = extents(data, length.min(800), 100).collect();
            assert_eq!(
                all.iter().map(|extent| extent.length).sum::<u64>(),
                length.min(800)
            );
            assert!(
                all.iter().all(|extent| extent.end() <= data.end()),
                "{length}"
            );
            assert!(
                all.windows(2).all(|two| two[0].end() <= two[1].offset),
                "{length}"
            );
        }
    }
}
