//! Writes one raw tensor into a container (sections 3.4 and 4.2).

use alloc::vec::Vec;

use crate::encoding::Encoding;
use crate::layout::{self, PALETTE_ENTRIES};
use crate::write::container::write_zeros;
use crate::write::directory::Outcome;
use crate::write::{ContainerWriter, Misuse, Sink, WriteError};

/// Writes one raw tensor.
#[derive(Debug)]
pub struct RawWriter<'w, 'a, S> {
    container: &'w mut ContainerWriter<'a, S>,
    start: u64,
    data_bytes: u64,
    written: u64,
    block: crc32fast::Hasher,
    tensor: crc32fast::Hasher,
    checksums: Vec<u8>,
}

impl<'w, 'a, S: Sink> RawWriter<'w, 'a, S> {
    pub(super) fn begin(
        container: &'w mut ContainerWriter<'a, S>,
    ) -> Result<Self, WriteError<S::Error>> {
        let (_, declaration, start) = container.begin_tensor()?;
        let elements = declaration.element_count().unwrap_or(0);
        Ok(RawWriter {
            container,
            start,
            data_bytes: elements * declaration.dtype.bits() / 8,
            written: 0,
            block: crc32fast::Hasher::new(),
            tensor: crc32fast::Hasher::new(),
            checksums: Vec::new(),
        })
    }
}

impl<S: Sink> RawWriter<'_, '_, S> {
    /// Appends any number of the original bytes.
    ///
    /// # Errors
    /// [`Misuse::RawTooLong`] if the tensor has fewer bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError<S::Error>> {
        if bytes.len() as u64 > self.data_bytes - self.written {
            return Err(WriteError::Misuse(Misuse::RawTooLong {
                found: self.written + bytes.len() as u64,
                expected: self.data_bytes,
            }));
        }
        self.container
            .sink
            .write_at(self.start + self.written, bytes)
            .map_err(WriteError::Sink)?;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let left_in_block = layout::BLOCK_BYTES - self.written % layout::BLOCK_BYTES;
            let take = bytes.len().min(left_in_block as usize);
            let (now, later) = bytes.split_at(take);
            self.block.update(now);
            self.written += take as u64;
            bytes = later;
            if self.written.is_multiple_of(layout::BLOCK_BYTES) || self.written == self.data_bytes {
                let block = core::mem::take(&mut self.block);
                self.tensor.combine(&block);
                self.checksums.extend(block.finalize().to_le_bytes());
            }
        }
        Ok(())
    }

    /// Ends the tensor.
    ///
    /// # Errors
    /// [`Misuse::RawTooShort`] if bytes are missing.
    pub fn finish(self) -> Result<(), WriteError<S::Error>> {
        if self.written != self.data_bytes {
            return Err(WriteError::Misuse(Misuse::RawTooShort {
                found: self.written,
                expected: self.data_bytes,
            }));
        }
        let container = self.container;
        if self.data_bytes > 0 {
            let sink = &mut container.sink;
            write_zeros(sink, container.payload_end, self.start)?;
            let data_end = self.start + self.data_bytes;
            let checksums = data_end.next_multiple_of(layout::BLOCK_CHECKSUM_BYTES);
            write_zeros(sink, data_end, checksums)?;
            sink.write_at(checksums, &self.checksums)
                .map_err(WriteError::Sink)?;
            container.payload_end = checksums + self.checksums.len() as u64;
        }
        container.outcomes.push(Outcome {
            encoding: Encoding::Raw,
            chunk_size_log2: 0,
            palette: [0; PALETTE_ENTRIES],
            tensor_checksum: self.tensor.finalize(),
            payload_end: container.payload_end,
        });
        Ok(())
    }
}
