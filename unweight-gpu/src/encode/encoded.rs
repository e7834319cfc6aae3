//! Result of encoding a tensor, and its transfer into a file.

use unweight_format::write::{CodedParameters, ContainerWriter, Sink, WriteError};
use unweight_format::{Extent, layout};

/// An encoded tensor: its parameters, and the extents of its planes relative to the start of its
/// output. The planes are consecutive as in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedTensor {
    /// Encoding, chunk size and the chosen palette.
    pub parameters: CodedParameters,
    /// The number of weights.
    pub weights: u64,
    /// CRC-32 of the source's bytes.
    pub checksum: u32,
    /// The sign-mantissa plane: a byte for each weight.
    pub sign_mantissa: Extent,
    /// The record ends: 4 bytes for each chunk, in units of 16 bytes.
    pub record_ends: Extent,
    /// The records.
    pub records: Extent,
}

impl EncodedTensor {
    /// Size of the planes, including the padding between them.
    pub const fn payload_bytes(&self) -> u64 {
        self.records.end()
    }

    /// Writes the next tensor of `writer` from `payload`, the output's first
    /// [`EncodedTensor::payload_bytes`] bytes. Returns false if coding does not make the tensor
    /// smaller. It is then still the next tensor, and must be stored raw (section 11.7).
    ///
    /// # Errors
    /// The errors of [`ContainerWriter`].
    ///
    /// # Panics
    /// If `payload` is shorter, or if its record ends are not those that the device wrote.
    pub fn write<S: Sink>(
        &self,
        payload: &[u8],
        writer: &mut ContainerWriter<'_, S>,
    ) -> Result<bool, WriteError<S::Error>> {
        let of = |extent: Extent| extent.of(payload).expect("it holds all planes");
        let mut coded = writer.coded(self.parameters)?;
        let chunks = of(self.sign_mantissa).chunks(1 << self.parameters.chunk_size_log2);
        let (records, mut start) = (of(self.records), 0);
        for (sign_mantissa, end) in chunks.zip(of(self.record_ends).chunks_exact(4)) {
            let end = u32::from_le_bytes(end.try_into().expect("4")) as usize
                * layout::RECORD_ALIGNMENT as usize;
            coded.chunk(sign_mantissa, &records[start..end])?;
            if !coded.saves_space() {
                return Ok(false);
            }
            start = end;
        }
        coded.finish(self.checksum)?;
        Ok(true)
    }
}
