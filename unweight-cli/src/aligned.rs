//! Memory for measurements. It starts on a cache line's boundary, as tensor libraries allocate it,
//! and never grows while the clock runs.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};

use unweight_format::write::Sink;

const LINE_BYTES: usize = 64;

/// A slice whose first element begins a cache line.
pub(crate) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy> Aligned<T> {
    pub(crate) fn filled(value: T, length: usize) -> Aligned<T> {
        let memory = vec![value; length + LINE_BYTES / size_of::<T>()];
        let start = memory.as_ptr().align_offset(LINE_BYTES);
        Aligned {
            memory,
            start,
            length,
        }
    }

    pub(crate) fn of(elements: &[T]) -> Aligned<T> {
        let Some(&first) = elements.first() else {
            return Aligned {
                memory: Vec::new(),
                start: 0,
                length: 0,
            };
        };
        let mut aligned = Aligned::filled(first, elements.len());
        aligned.copy_from_slice(elements);
        aligned
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// A file in memory that is large enough from the start.
pub(crate) struct Region {
    bytes: Aligned<u8>,
    length: usize,
}

impl Region {
    pub(crate) fn new(bytes: usize) -> Region {
        Region {
            bytes: Aligned::filled(0, bytes),
            length: 0,
        }
    }

    /// The file that was written last.
    pub(crate) fn file(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Sink for Region {
    type Error = Infallible;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> Result<(), Infallible> {
        self.length = length as usize;
        Ok(())
    }
}
