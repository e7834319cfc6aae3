//! Writes one tensor without coded fields into a container (section 3.5).

use alloc::vec::Vec;

use crate::error::Rule;
use crate::layout;
use crate::palettes::Palettes;
use crate::payload::Payload;
use crate::write::container::{Begun, write_palettes, write_zeros};
use crate::write::directory::Outcome;
use crate::write::{ContainerWriter, Misuse, Sink, WriteError};

/// Writes one tensor whose fields are plain or constant: its plain plane.
#[derive(Debug)]
pub struct PlainWriter<'w, 'a, S> {
    container: &'w mut ContainerWriter<'a, S>,
    palettes: Palettes,
    payload: Payload,
    /// Number of the tensor.
    number: u32,
    written: u64,
    block: crc32fast::Hasher,
    plane: crc32fast::Hasher,
    checksums: Vec<u8>,
}

impl<'w, 'a, S: Sink> PlainWriter<'w, 'a, S> {
    pub(super) fn begin(
        container: &'w mut ContainerWriter<'a, S>,
        palettes: &Palettes,
    ) -> Result<Self, WriteError<S::Error>> {
        if palettes.forms().is_coded() {
            return Err(WriteError::Misuse(Misuse::CodedIsNotPlain));
        }
        let Begun { number, payload } = container.begin_tensor(palettes.forms(), 0)?;
        Ok(PlainWriter {
            container,
            palettes: *palettes,
            payload,
            number,
            written: 0,
            block: crc32fast::Hasher::new(),
            plane: crc32fast::Hasher::new(),
            checksums: Vec::new(),
        })
    }
}

impl<S: Sink> PlainWriter<'_, '_, S> {
    /// Appends any number of bytes of the plain plane.
    ///
    /// # Errors
    /// [`Misuse::PlaneTooLong`] if the plane has fewer bytes; `padding` if a padding bit is not
    /// zero. In both cases, nothing is written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError<S::Error>> {
        let expected = self.payload.plain().length;
        let found = self.written + bytes.len() as u64;
        if found > expected {
            return Err(WriteError::Misuse(Misuse::PlaneTooLong { found, expected }));
        }
        let last = bytes.last().copied().filter(|_| found == expected);
        if last.unwrap_or(0) & self.payload.plain_padding_mask() != 0 {
            return Err(WriteError::Rule(Rule::Padding, Some(self.number)));
        }
        let at = self.payload.plain().offset + self.written;
        let sink = &mut self.container.sink;
        sink.write_at(at, bytes).map_err(WriteError::Sink)?;
        self.add_to_checksums(bytes);
        Ok(())
    }

    fn add_to_checksums(&mut self, bytes: &[u8]) {
        let plane_bytes = self.payload.plain().length;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let left_in_block = layout::BLOCK_BYTES - self.written % layout::BLOCK_BYTES;
            let take = bytes.len().min(left_in_block as usize);
            let (now, later) = bytes.split_at(take);
            self.block.update(now);
            self.written += take as u64;
            bytes = later;
            if self.written.is_multiple_of(layout::BLOCK_BYTES) || self.written == plane_bytes {
                let block = core::mem::take(&mut self.block);
                self.plane.combine(&block);
                if self.payload.block_count() > 0 {
                    self.checksums.extend(block.finalize().to_le_bytes());
                }
            }
        }
    }

    /// Ends the tensor. `tensor_checksum` is the CRC-32 of its original bytes.
    ///
    /// # Errors
    /// [`Misuse::PlaneTooShort`] if bytes are missing.
    pub fn finish(self, tensor_checksum: u32) -> Result<(), WriteError<S::Error>> {
        let payload = self.payload;
        let (found, expected) = (self.written, payload.plain().length);
        if found != expected {
            return Err(WriteError::Misuse(Misuse::PlaneTooShort {
                found,
                expected,
            }));
        }
        let container = self.container;
        let sink = &mut container.sink;
        let checksums = payload.block_checksums().offset;
        write_zeros(sink, container.payload_end, payload.start())?;
        write_zeros(sink, payload.plain().end(), checksums)?;
        if !self.checksums.is_empty() {
            sink.write_at(checksums, &self.checksums)
                .map_err(WriteError::Sink)?;
        }
        let palette_checksum = write_palettes(sink, &payload, &self.palettes)?;
        container.payload_end = payload.end();
        container.outcomes.push(Outcome {
            forms: payload.forms(),
            chunk_size_log2: 0,
            payload_end: payload.end(),
            tensor_checksum,
            palette_checksum,
        });
        Ok(())
    }

    /// CRC-32 of the plain plane. All of it must be written.
    pub(super) fn plane_checksum(&self) -> u32 {
        self.plane.clone().finalize()
    }
}
