//! Ranges of tensors. Only the chunks or blocks that contain the range are read, one at a time.

use std::ops::Range;

use half::bf16;
use unweight_format::{Dtype, Tensor, layout};

use unweight_cpu::fast::Output;

use super::Container;
use super::coalesce::RangeReads;
use super::index::{TensorIndex, piece_weights, weight_bytes};
use crate::storage::coalesce::Window;
use crate::{ReadError, Storage};

impl<S: Storage + ?Sized> Container<'_, S> {
    /// Decodes the weights with indices in `range` of a BF16 tensor, in any forms, into `weights`.
    /// Reads and checks only the chunks or blocks that contain them. The content of `weights` is
    /// unspecified after an error.
    ///
    /// # Errors
    /// The errors of [`Container::read_bytes`].
    ///
    /// # Panics
    /// If the tensor is not BF16, the range leaves it, or `weights` is not as long as the range.
    pub fn decode_range(
        &self,
        tensor: &Tensor<'_>,
        range: Range<u64>,
        weights: &mut [bf16],
    ) -> Result<(), ReadError> {
        assert_eq!(tensor.dtype(), Dtype::Bf16);
        assert!(range.start <= range.end && range.end <= tensor.element_count());
        assert_eq!(weights.len() as u64, range.end - range.start);
        let bytes = bytemuck::cast_slice_mut(weights);
        self.read_bytes(tensor, 2 * range.start..2 * range.end, bytes)?;
        from_little_endian(weights);
        Ok(())
    }

    /// Reads the original bytes with indices in `range` of a tensor of any type into `output`.
    /// Reads and checks only the chunks or blocks that contain them. The content of `output` is
    /// unspecified after an error.
    ///
    /// # Errors
    /// The rules of section 3.5 on palettes, record ends, blocks and padding bits, and those of
    /// sections 5 and 6; the errors of the storage; [`ReadError::OverBudget`].
    ///
    /// # Panics
    /// If the range leaves the tensor, or `output` is not as long as the range.
    pub fn read_bytes(
        &self,
        tensor: &Tensor<'_>,
        range: Range<u64>,
        output: &mut [u8],
    ) -> Result<(), ReadError> {
        self.read_bytes_into(tensor, range, output)
    }

    /// Same as [`Container::read_bytes`], but into memory that may be uninitialised. All of it is
    /// initialised on success.
    ///
    /// # Errors
    /// The errors of [`Container::read_bytes`].
    ///
    /// # Panics
    /// If the range leaves the tensor, or `output` is not as long as the range.
    pub fn read_bytes_into<'o>(
        &self,
        tensor: &Tensor<'_>,
        range: Range<u64>,
        output: impl Into<Output<'o>>,
    ) -> Result<(), ReadError> {
        let output = output.into();
        assert!(range.start <= range.end && range.end <= tensor.data_bytes());
        assert_eq!(output.len() as u64, range.end - range.start);
        if range.is_empty() {
            return Ok(());
        }
        let mut window = Window::default();
        let container = self.with_short_payload(tensor, &mut window);
        let done = container.read_pieces(tensor, range, output);
        done.map_err(|error| error.of_tensor(tensor.name()))
    }

    fn read_pieces(
        &self,
        tensor: &Tensor<'_>,
        range: Range<u64>,
        mut output: Output<'_>,
    ) -> Result<(), ReadError> {
        /// Bytes of record ends that are in memory at a time if reads are not merged.
        const ENDS_BYTES: u64 = 4 << 10;
        let payload = tensor.payload();
        let longest = self.longest_range_read(tensor);
        let ends_bytes = ENDS_BYTES.max(longest / 256);
        let chunks_at_once = match payload.forms().coded_count() as u64 {
            0 => u64::MAX,
            coded => ends_bytes / (layout::RECORD_END_BYTES * coded),
        };
        let piece_bytes = piece_weights(payload) * weight_bytes(payload);
        let end = range.end.div_ceil(piece_bytes);
        let mut first = range.start / piece_bytes;
        let (mut palettes, mut decoded) = (None, Vec::new());
        while first < end {
            let pieces = first..end.min(first.saturating_add(chunks_at_once));
            let chunks = match payload.forms().is_coded() {
                true => pieces.clone(),
                false => 0..0,
            };
            let mut buffer = Vec::new();
            let index = self.index_of_chunks(tensor, palettes, chunks, &mut buffer)?;
            palettes = Some(*index.palettes());
            let mut reads = RangeReads::new(self, &index, pieces.clone(), longest);
            for number in pieces.clone() {
                let start = range.start.max(number * piece_bytes);
                let end = range.end.min((number + 1) * piece_bytes);
                let (mut part, rest) = output.split_at((end - start) as usize);
                output = rest;
                let container = reads.piece(number);
                container.read_part(&index, number, start..end, &mut part, &mut decoded)?;
            }
            first = pieces.end;
        }
        Ok(())
    }

    /// Reads these original bytes of piece `number` of a tensor. `decoded` is a buffer.
    pub(super) fn read_part(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        bytes: Range<u64>,
        output: &mut Output<'_>,
        decoded: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let (payload, size) = (index.payload(), weight_bytes(index.payload()));
        // The range may begin and end within a weight.
        let mut weights = bytes.start / size..bytes.end.div_ceil(size);
        if payload.forms().is_raw() {
            let skip = (bytes.start - weights.start * size) as usize;
            return self.with_plain(index, weights, |plain| {
                output.fill(&plain[skip..skip + output.len()]);
            });
        }
        if payload.forms().is_coded() {
            weights = index.piece(number);
        } else {
            // The plain bits of eight weights fill their bytes.
            weights.start -= weights.start % 8;
        }
        let decode = |output: &mut Output<'_>| match payload.forms().is_coded() {
            true => self.decode_piece(index, number, output),
            false => self.decode_plain(index, weights.clone(), output),
        };
        let whole = weights.start * size..weights.end * size;
        if whole == bytes {
            decode(output)?;
        } else {
            decoded.resize((whole.end - whole.start) as usize, 0);
            decode(&mut Output::from(&mut decoded[..]))?;
            let skip = (bytes.start - whole.start) as usize;
            output.fill(&decoded[skip..skip + output.len()]);
        }
        Ok(())
    }
}

/// Converts weights whose bytes are those of a container, which is little-endian.
pub(crate) fn from_little_endian(weights: &mut [bf16]) {
    if cfg!(target_endian = "big") {
        weights
            .iter_mut()
            .for_each(|weight| *weight = bf16::from_bits(weight.to_bits().swap_bytes()));
    }
}
