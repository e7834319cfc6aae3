//! A container under construction in memory.

use std::convert::Infallible;
use std::mem;

use unweight_format::Extent;
use unweight_format::write::Sink;

use super::prepare_pages;
use crate::Threads;

/// A container under construction in memory, which threads fill side by side.
///
/// A vector is a sink as well. It moves when it grows, and one thread clears its new bytes. This
/// sink takes its address space at the start, and the memory when it is needed, in huge pages where
/// the system has them.
///
/// ```
/// # fn main() -> Result<(), unweight::Error> {
/// # let weights = vec![unweight::half::bf16::ONE; 1_000_000];
/// use unweight::output::MemorySink;
/// use unweight::{Threads, Writer};
///
/// // A container is seldom longer than its tensors.
/// let sink = MemorySink::new(2_000_000, &Threads::default());
/// let file = Writer::new().tensor("w", &[1_000_000], &weights).finish(sink)?.into_vec();
/// # assert!(file.len() < 1_500_000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemorySink {
    /// What is behind the container's bytes is zero, and takes no memory before it is written.
    bytes: Vec<u8>,
    length: usize,
    /// The bytes from the start on whose pages are prepared.
    prepared: usize,
    threads: Threads,
}

impl MemorySink {
    /// An empty sink for a container of probably at most so many bytes. It can become longer. The
    /// pages are prepared by `threads`.
    pub fn new(likely_bytes: u64, threads: &Threads) -> MemorySink {
        MemorySink {
            bytes: zeros(usize::try_from(likely_bytes).unwrap_or(usize::MAX)),
            length: 0,
            prepared: 0,
            threads: threads.clone(),
        }
    }

    /// The container.
    pub fn into_vec(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        bytes.truncate(self.length);
        bytes.shrink_to_fit();
        bytes
    }
}

/// So many zeros, which take no memory yet; none if the system has no address space for them.
fn zeros(bytes: usize) -> Vec<u8> {
    let mut probe = Vec::<u8>::new();
    let reserved = probe.try_reserve_exact(bytes);
    // Optimization barrier: the compiler might otherwise remove the allocation.
    std::hint::black_box(&mut probe);
    drop(mem::take(&mut probe));
    match reserved {
        Ok(()) => vec![0; bytes],
        Err(_) => Vec::new(),
    }
}

impl Sink for MemorySink {
    type Error = Infallible;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        let length = bytes.len() as u64;
        let memory = self.memory(Extent { offset, length });
        memory.expect("it is memory").copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> Result<(), Infallible> {
        self.length = self.length.min(length as usize);
        Ok(())
    }

    fn memory(&mut self, extent: Extent) -> Option<&mut [u8]> {
        let [start, end] = [extent.offset, extent.end()].map(|offset| {
            usize::try_from(offset).expect("memory holds less than the address space")
        });
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.length = self.length.max(end);
        if self.prepared < end {
            prepare_pages(&mut self.bytes[self.prepared..end], &self.threads);
            self.prepared = end;
        }
        Some(&mut self.bytes[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_a_vector_holds() {
        for likely in [0, 100, 20 << 20, u64::MAX] {
            let mut sink = MemorySink::new(likely, &Threads::new(2));
            let mut vector = Vec::new();
            for (offset, length) in [(0, 10), (50, 7), (3 << 20, 9 << 20), (20, 40)] {
                let bytes: Vec<u8> = (0..length).map(|i: u32| i as u8 | 1).collect();
                sink.write_at(offset, &bytes).unwrap();
                vector.write_at(offset, &bytes).unwrap();
            }
            Sink::truncate(&mut sink, 10 << 20).unwrap();
            Sink::truncate(&mut vector, 10 << 20).unwrap();
            assert!(sink.into_vec() == vector, "{likely}");
        }
    }
}
