//! Comparison of restored bytes with a source, piece by piece.

use std::fs::File;
use std::path::Path;

use unweight_format::Extent;

use super::input::open;
use crate::diagnostics::FileError;
use crate::error::reading;
use crate::{Error, Storage, read_extent};

/// Comparison of restored bytes with a source, piece by piece.
pub(crate) struct Comparison<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    position: u64,
    buffer: Vec<u8>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn with(path: &'a Path, file: &'a File) -> Result<Comparison<'a>, Error> {
        Ok(Comparison {
            path,
            file,
            length: file.byte_length().map_err(reading(path))?,
            position: 0,
            buffer: Vec::new(),
        })
    }

    /// Compares the next piece. `of` is the file that the piece was restored from.
    pub(crate) fn piece(&mut self, of: &Path, restored: &[u8]) -> Result<(), Error> {
        let extent = Extent {
            offset: self.position,
            length: (restored.len() as u64).min(self.length - self.position),
        };
        let source = read_extent(self.file, extent, &mut self.buffer)
            .map_err(|error| reading(self.path)(error.into()))?;
        if source != restored {
            let pairs = source.iter().zip(restored);
            let equal = pairs.take_while(|(a, b)| a == b).count();
            return Err(FileError::Differs {
                path: of.to_owned(),
                source: self.path.to_owned(),
                offset: self.position + equal as u64,
            }
            .into());
        }
        self.position += extent.length;
        Ok(())
    }

    /// Checks that the source has no more bytes.
    pub(crate) fn finish(self, of: &Path) -> Result<(), Error> {
        if self.position == self.length {
            return Ok(());
        }
        Err(FileError::DiffersInLength {
            path: of.to_owned(),
            restored_bytes: self.position,
            source: self.path.to_owned(),
            source_bytes: self.length,
        }
        .into())
    }
}

/// Checks that two files are equal. They are compared a piece at a time, because they may be of any
/// size.
pub(crate) fn require_equal(copy: &Path, original: &Path) -> Result<(), Error> {
    const PIECE_BYTES: u64 = 1 << 16;
    let failed = reading(copy);
    let (file, source) = (open(copy)?, open(original)?);
    let mut comparison = Comparison::with(original, &source)?;
    let length = file.byte_length().map_err(&failed)?;
    let mut buffer = Vec::new();
    for offset in (0..length).step_by(PIECE_BYTES as usize) {
        let piece = Extent {
            offset,
            length: PIECE_BYTES.min(length - offset),
        };
        let bytes = read_extent(&file, piece, &mut buffer).map_err(|error| failed(error.into()))?;
        comparison.piece(copy, bytes)?;
    }
    comparison.finish(copy)
}
