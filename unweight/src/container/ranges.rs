//! Ranges of tensors. Only the chunks or blocks that contain the range are read, one at a time.

use std::ops::Range;

use half::bf16;
use unweight_format::{CodedPlanes, Payload, RawPlane, Tensor, layout};

use unweight_cpu::fast::Output;

use super::Container;
use super::coalesce::RangeReads;
use crate::memory::{chunk_bytes, largest_chunk};
use crate::storage::coalesce::Window;
use crate::{Coalesce, ReadError, Storage};

impl<S: Storage + ?Sized> Container<'_, S> {
    /// Decodes the weights with indices in `range` of a BF16 tensor, coded or raw, into `weights`.
    /// Reads and checks only the chunks or blocks that contain them. The content of `weights` is
    /// unspecified after an error.
    ///
    /// # Errors
    /// The rules of sections 4.2, 4.3, 5 and 6.
    ///
    /// # Panics
    /// If the tensor is not BF16, the range leaves it, or `weights` is not as long as the range.
    pub fn decode_range(
        &self,
        tensor: &Tensor<'_>,
        range: Range<u64>,
        weights: &mut [bf16],
    ) -> Result<(), ReadError> {
        assert_eq!(tensor.dtype(), unweight_format::Dtype::Bf16);
        assert!(range.start <= range.end && range.end <= tensor.element_count());
        assert_eq!(weights.len() as u64, range.end - range.start);
        if range.is_empty() {
            return Ok(());
        }
        let mut window = Window::default();
        let container = self.with_short_payload(tensor, &mut window);
        let decoded = match tensor.payload() {
            Payload::Raw(plane) => {
                container.with_raw_range(plane, 2 * range.start..2 * range.end, |at, bytes| {
                    // Blocks have an even number of bytes, and the range begins and ends on weight
                    // boundaries.
                    let weights = &mut weights[at / 2..];
                    for (weight, &bytes) in weights.iter_mut().zip(bytes.as_chunks().0) {
                        *weight = bf16::from_le_bytes(bytes);
                    }
                })
            }
            Payload::Coded(planes) => container.decode_coded_range(planes, range, weights),
        };
        decoded.map_err(|error| error.of_tensor(tensor.name()))
    }

    /// The same container with the payload of this tensor in `window`, if it is so short that
    /// reading all of it costs less than a round trip.
    fn with_short_payload<'b>(
        &'b self,
        tensor: &Tensor<'_>,
        window: &'b mut Window,
    ) -> Container<'b, S> {
        let needed = self.held_bytes() + chunk_bytes(largest_chunk(tensor));
        let gap = self.coalesce.map_or(0, Coalesce::gap);
        self.with_payload(tensor, self.longest_window(needed).min(gap), window)
    }

    fn decode_coded_range(
        &self,
        planes: &CodedPlanes,
        range: Range<u64>,
        weights: &mut [bf16],
    ) -> Result<(), ReadError> {
        let mut decoded = Vec::new();
        let mut at = range.start;
        let chunk_of = |weight: u64| weight >> planes.chunk_size_log2();
        let chunks = chunk_of(at)..chunk_of(range.end.max(1) - 1) + 1;
        let mut reads = RangeReads::of_chunks(self, planes, chunks);
        while at < range.end {
            let shape = planes.chunk(chunk_of(at));
            let container = reads.chunk(planes, shape.number);
            let chunk_end = shape.first_weight + u64::from(shape.weights);
            let end = chunk_end.min(range.end);
            let record = container.record_extent(planes, shape.number)?;
            let place = (at - range.start) as usize..(end - range.start) as usize;
            if place.len() == shape.weights as usize {
                container.decode_chunk(planes, &shape, record, &mut weights[place])?;
            } else {
                decoded.resize(shape.weights as usize, bf16::ZERO);
                container.decode_chunk(planes, &shape, record, &mut decoded)?;
                let first = (at - shape.first_weight) as usize;
                weights[place.clone()].copy_from_slice(&decoded[first..first + place.len()]);
            }
            at = end;
        }
        Ok(())
    }

    /// Reads the original bytes with indices in `range` of any tensor into `output`. Reads and
    /// checks only the chunks or blocks that contain them. The content of `output` is unspecified
    /// after an error.
    ///
    /// # Errors
    /// The rules of sections 4.2, 4.3, 5 and 6.
    ///
    /// # Panics
    /// If the range leaves the tensor, or `output` is not as long as the range.
    pub fn read_bytes(
        &self,
        tensor: &Tensor<'_>,
        range: Range<u64>,
        output: &mut [u8],
    ) -> Result<(), ReadError> {
        assert!(range.start <= range.end && range.end <= tensor.data_bytes());
        assert_eq!(output.len() as u64, range.end - range.start);
        if range.is_empty() {
            return Ok(());
        }
        let mut window = Window::default();
        let container = self.with_short_payload(tensor, &mut window);
        let done = match tensor.payload() {
            Payload::Raw(plane) => container.with_raw_range(plane, range, |at, bytes| {
                output[at..at + bytes.len()].copy_from_slice(bytes);
            }),
            Payload::Coded(planes) => container.read_coded_bytes(planes, range, output),
        };
        done.map_err(|error| error.of_tensor(tensor.name()))
    }

    /// Decodes one chunk at a time, because a range may be long, and may begin or end within a
    /// weight.
    fn read_coded_bytes(
        &self,
        planes: &CodedPlanes,
        range: Range<u64>,
        output: &mut [u8],
    ) -> Result<(), ReadError> {
        let mut decoded = Vec::new();
        let mut at = range.start;
        let chunk_of = |byte: u64| (byte / 2) >> planes.chunk_size_log2();
        let chunks = chunk_of(at)..chunk_of(range.end.max(1) - 1) + 1;
        let mut reads = RangeReads::of_chunks(self, planes, chunks);
        while at < range.end {
            let shape = planes.chunk(chunk_of(at));
            let container = reads.chunk(planes, shape.number);
            let chunk_start = 2 * shape.first_weight;
            let end = range.end.min(chunk_start + 2 * u64::from(shape.weights));
            let record = container.record_extent(planes, shape.number)?;
            decoded.resize(2 * shape.weights as usize, 0);
            let mut bytes = Output::from(&mut decoded[..]);
            container.decode_chunk_into(planes, &shape, record, &mut bytes)?;
            output[(at - range.start) as usize..(end - range.start) as usize].copy_from_slice(
                &decoded[(at - chunk_start) as usize..(end - chunk_start) as usize],
            );
            at = end;
        }
        Ok(())
    }

    /// Calls `then` with the bytes in `range` of a raw tensor, block by block, with the offset of
    /// each piece in the range.
    fn with_raw_range(
        &self,
        plane: &RawPlane,
        range: Range<u64>,
        mut then: impl FnMut(usize, &[u8]),
    ) -> Result<(), ReadError> {
        let mut buffer = Vec::new();
        let mut at = range.start;
        let blocks = at / layout::BLOCK_BYTES..range.end.div_ceil(layout::BLOCK_BYTES);
        let mut reads = RangeReads::of_blocks(self, blocks);
        while at < range.end {
            let number = at / layout::BLOCK_BYTES;
            let container = reads.block(plane, number);
            let block = container.read_block(plane, number, &mut buffer)?;
            let start = number * layout::BLOCK_BYTES;
            let end = range.end.min(start + block.len() as u64);
            then(
                (at - range.start) as usize,
                &block[(at - start) as usize..(end - start) as usize],
            );
            at = end;
        }
        Ok(())
    }
}
