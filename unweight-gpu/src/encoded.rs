//! What the encoder made of a tensor, and how it gets into a file.

use unweight_format::write::{CodedParameters, ContainerWriter, Sink, WriteError};
use unweight_format::{Extent, layout};

/// A tensor that was encoded: how, and where its planes stand in its output, in bytes from there. They follow one another as in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedTensor {
    /// Encoding, chunk size, and the palette that was chosen.
    pub parameters: CodedParameters,
    /// How many weights it has.
    pub weights: u64,
    /// CRC-32 of the source's bytes.
    pub checksum: u32,
    /// A byte for each weight.
    pub sign_mantissa: Extent,
    /// 4 bytes for each chunk, in units of 16 bytes.
    pub record_ends: Extent,
    /// The records.
    pub records: Extent,
}

impl EncodedTensor {
    /// Bytes of the planes, and what lies between them.
    pub const fn payload_bytes(&self) -> u64 {
        self.records.end()
    }

    /// Writes the next tensor of `writer` from `payload`, the output's first [`EncodedTensor::payload_bytes`] bytes. Gives false if the tensor
    /// does not become smaller so: then it is the next still, and to be stored raw (section 11.7).
    ///
    /// # Errors
    /// [`ContainerWriter`]'s.
    ///
    /// # Panics
    /// If `payload` is shorter, or its record ends are not those that the device wrote.
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
