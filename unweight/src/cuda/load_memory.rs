//! Host memory of loads to a device.

use unweight_format::Tensor;
use unweight_gpu::load::{LoadLimits, LoaderOptions};

use crate::memory::index_bytes;
use crate::{MemoryBudget, OverBudget, Purpose};

/// Need of a tensor of a section beside its index: what is known of it, its parts and their jobs.
const PER_TENSOR: u64 = 1 << 10;
/// Need of each byte of an index: it is read, and a copy is checked.
const INDEX_BYTES_PER_BYTE: u64 = 2;
/// Needs of the tensors whose indexes are in memory at a time, if the budget allows.
const SECTION_BYTES: u64 = 16 << 20;
/// Most bytes of the header of a part: jobs, palettes, and the alignment of tables.
const HEADER_BYTES_PER_PART: u64 = 512;
/// Most bytes of record ends for each original byte, as a divisor: chunks have at least 4096 bytes,
/// and record ends of at most 8 fields.
const DATA_BYTES_PER_HEADER_BYTE: u64 = 4096 / (4 * 8);
/// Headers in pinned memory.
const HEADERS: u64 = 2;

/// The smallest values that a small budget leads to.
const LEAST: LoaderOptions = LoaderOptions {
    limits: LoadLimits {
        piece_bytes: 64 << 10,
        part_bytes: 1 << 20,
        group_bytes: 2 << 20,
        group_parts: 64,
    },
    pieces_in_work: 2,
    pieces_in_copy: 1,
};

/// How a load uses host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoadMemory {
    pub(super) options: LoaderOptions,
    /// Needs of the tensors ([`tensor_bytes`]) that are loaded at a time.
    pub(super) section_bytes: u64,
}

/// Need of a tensor while its section is loaded.
pub(super) fn tensor_bytes(tensor: &Tensor<'_>) -> u64 {
    PER_TENSOR + INDEX_BYTES_PER_BYTE * index_bytes(tensor)
}

impl LoadMemory {
    /// The use of a budget, of which `held` bytes are in use. `largest_tensor` is the greatest need
    /// of a tensor.
    ///
    /// # Errors
    /// [`OverBudget`] if the least memory does not fit.
    pub(super) fn new(
        budget: MemoryBudget,
        held: u64,
        largest_tensor: u64,
        threads: usize,
    ) -> Result<LoadMemory, OverBudget> {
        let least = held + largest_tensor + pinned_bytes(&LEAST);
        budget.require(Purpose::Tensor, least)?;
        let spare = budget.bytes() - least;
        let section_bytes = largest_tensor + SECTION_BYTES.min(spare / 4);
        let allowed = budget.bytes() - held - section_bytes;
        let mut options = LoaderOptions {
            limits: LoadLimits::default(),
            pieces_in_work: 2 * threads.max(1),
            pieces_in_copy: threads.max(8),
        };
        // Shorter pieces come first, then fewer ones, then smaller groups.
        while pinned_bytes(&options) > allowed {
            let limits = &mut options.limits;
            if limits.piece_bytes > LEAST.limits.piece_bytes {
                limits.piece_bytes /= 2;
            } else if options.pieces_in_copy > LEAST.pieces_in_copy {
                options.pieces_in_copy /= 2;
            } else if options.pieces_in_work > LEAST.pieces_in_work {
                options.pieces_in_work = LEAST.pieces_in_work.max(options.pieces_in_work / 2);
            } else {
                let [least, limits] = [&LEAST.limits, &*limits];
                options.limits = LoadLimits {
                    part_bytes: least.part_bytes.max(limits.part_bytes / 2),
                    group_bytes: least.group_bytes.max(limits.group_bytes / 2),
                    group_parts: least.group_parts.max(limits.group_parts / 2),
                    ..*limits
                };
            }
        }
        Ok(LoadMemory {
            options,
            section_bytes,
        })
    }
}

/// Pinned memory of a loader.
fn pinned_bytes(options: &LoaderOptions) -> u64 {
    let limits = &options.limits;
    let pieces = (options.pieces_in_work + options.pieces_in_copy) as u64;
    // A group has more than `group_bytes` only if a single chunk has.
    let ends = limits.group_bytes.max(1 << 20) / DATA_BYTES_PER_HEADER_BYTE;
    let header = HEADER_BYTES_PER_PART * limits.group_parts as u64 + ends;
    pieces * limits.piece_bytes + HEADERS * header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: u64, threads: usize) -> Result<LoadMemory, OverBudget> {
        LoadMemory::new(MemoryBudget::of_bytes(bytes), 1000, 5000, threads)
    }

    #[test]
    fn every_budget_is_kept_and_the_default_one_suffices() {
        let least = of(0, 4).unwrap_err().needed_bytes;
        assert!(least < 1 << 20, "{least}");
        assert_eq!(of(least - 1, 4).unwrap_err().allowed_bytes, least - 1);
        for threads in [1, 2, 16, 1000] {
            let mut bytes = least;
            while bytes < 1 << 33 {
                let memory = of(bytes, threads).unwrap();
                let used = 1000 + memory.section_bytes + pinned_bytes(&memory.options);
                assert!(used <= bytes, "{used} of {bytes}");
                assert!(memory.section_bytes >= 5000);
                bytes += bytes / 3;
            }
        }
        let default = MemoryBudget::for_length(1 << 20).with_threads(16);
        let memory = LoadMemory::new(default, 1000, 5000, 16).unwrap();
        assert_eq!(memory.options.limits, LoadLimits::default());
        assert_eq!(memory.options.pieces_in_work, 32);
    }
}
