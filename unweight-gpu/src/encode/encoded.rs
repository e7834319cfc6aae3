//! Result of encoding a tensor, and its transfer into a file.

use unweight_format::write::{ContainerWriter, Sink, WriteError};
use unweight_format::{Extent, Palettes, Payload, layout};

/// An encoded tensor: its forms and palettes, and its payload at the start of its output, in the
/// layout of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedTensor {
    /// The forms of the fields, the palettes of those that are coded, and the values of those that
    /// are constant.
    pub palettes: Palettes,
    /// The parts of the payload, with extents relative to the start of the output. Block checksums
    /// are not there, nor is anything if all fields are plain.
    pub payload: Payload,
    /// CRC-32 of the source's bytes.
    pub checksum: u32,
}

impl EncodedTensor {
    /// Whether the tensor is stored raw: all its fields are plain, or coding does not make it
    /// smaller (section 11.8). The output is not needed then.
    pub fn is_raw(&self) -> bool {
        self.payload.forms().is_raw() || !self.payload.saves_space()
    }

    /// Size of the payload in the output.
    pub fn payload_bytes(&self) -> u64 {
        match self.payload.forms().is_raw() {
            true => 0,
            false => self.payload.end(),
        }
    }

    /// Writes the next tensor of `writer` from `output`, the output's first
    /// [`EncodedTensor::payload_bytes`] bytes. Returns false if the tensor
    /// [is raw](EncodedTensor::is_raw). It is then still the next tensor, and its data must be
    /// written.
    ///
    /// # Errors
    /// The errors of [`ContainerWriter`].
    ///
    /// # Panics
    /// If `output` is shorter, or if its record ends are not those that the device wrote.
    pub fn write<S: Sink>(
        &self,
        output: &[u8],
        writer: &mut ContainerWriter<'_, S>,
    ) -> Result<bool, WriteError<S::Error>> {
        if self.is_raw() {
            return Ok(false);
        }
        let payload = &self.payload;
        let of = |extent: Extent| extent.of(output).expect("it holds all parts");
        if !payload.forms().is_coded() {
            let mut plain = writer.plain(&self.palettes)?;
            plain.write(of(payload.plain()))?;
            plain.finish(self.checksum)?;
            return Ok(true);
        }
        let mut coded = writer.coded(&self.palettes, payload.chunk_size_log2())?;
        let (ends, records) = (of(payload.record_ends()), of(payload.records()));
        let mut start = 0;
        let mut of_all = ends.as_chunks().0.iter().map(|&end| {
            let end = u32::from_le_bytes(end) as usize * layout::RECORD_ALIGNMENT as usize;
            let record = &records[start..end];
            start = end;
            record
        });
        for number in 0..payload.chunk_count() {
            let of_chunk = of_all.by_ref().take(payload.forms().coded_count());
            let of_chunk: Vec<&[u8]> = of_chunk.collect();
            coded.chunk(of(payload.chunk(number).plain), &of_chunk)?;
        }
        coded.finish(self.checksum)?;
        Ok(true)
    }
}
