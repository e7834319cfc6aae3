//! Merged reads of neighbouring chunks, blocks, planes and tensors.

use std::ops::Range;
use std::slice;

use unweight_format::{Extent, Tensor, layout};

use super::Container;
use super::chunk::stored_plain;
use super::index::{TensorIndex, piece_weights};
use crate::memory::largest_chunk_bytes;
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::Items;
use crate::{Coalesce, Executor, Storage};

impl<'a, S: Storage + ?Sized> Container<'a, S> {
    /// The same container, whose reads within these windows do not ask the storage.
    pub(super) fn with_windows<'b>(self, windows: &'b [Window]) -> Container<'b, S>
    where
        'a: 'b,
    {
        Container { windows, ..self }
    }

    /// The longest merged read beside `needed_bytes` of memory for the operation; 0 if reads are not
    /// merged. The bytes are held twice while they are read.
    pub(super) fn longest_window(&self, needed_bytes: u64) -> u64 {
        let spare = self.budget.bytes().saturating_sub(needed_bytes);
        self.coalesce
            .map_or(0, |coalesce| coalesce.longest().min(spare / 4))
    }

    /// Reads the payload of a tensor into `window` if it is not longer than `longest`, together with
    /// the payloads of the tensors that follow.
    pub(super) fn load_payloads(&self, number: u32, longest: u64, window: &mut Window) {
        let payloads = |from: u32| {
            let numbers = from..self.directory.tensor_count();
            let tensors = numbers.filter_map(|number| self.directory.tensor(number));
            tensors.map(|tensor| tensor.payload().extent())
        };
        let (Some(coalesce), Some(first)) = (self.coalesce, payloads(number).next()) else {
            return;
        };
        if first.length > 0 && window.get(first).is_none() {
            match first.length <= longest {
                true => {
                    let merged = coalesce.merged(first, payloads(number + 1), longest);
                    window.load(self.storage, merged);
                }
                false => *window = Window::default(),
            }
        }
    }

    /// The same container with the payload of this tensor in `window`, if it is not longer than
    /// `longest` and no window has it.
    pub(super) fn with_payload<'b>(
        &'b self,
        tensor: &Tensor<'_>,
        longest: u64,
        window: &'b mut Window,
    ) -> Container<'b, S> {
        let payload = tensor.payload().extent();
        let may_be_read = (1..=longest).contains(&payload.length);
        if !may_be_read || self.in_window(payload) {
            return *self;
        }
        window.load(self.storage, payload);
        self.with_windows(slice::from_ref(window))
    }

    /// The same container with the payload of this tensor in `window`, if it is so short that
    /// reading all of it costs less than a round trip.
    pub(super) fn with_short_payload<'b>(
        &'b self,
        tensor: &Tensor<'_>,
        window: &'b mut Window,
    ) -> Container<'b, S> {
        let longest = self.longest_window_beside_chunk(tensor);
        let gap = self.coalesce.map_or(0, Coalesce::gap);
        self.with_payload(tensor, longest.min(gap), window)
    }

    /// The same container with both extents of this tensor in `window`, if they are so near each
    /// other that reading what is between them costs less than a round trip.
    pub(super) fn with_both<'b>(
        &'b self,
        tensor: &Tensor<'_>,
        [first, next]: [Extent; 2],
        window: &'b mut Window,
    ) -> Container<'b, S> {
        let longest = self.longest_window_beside_chunk(tensor);
        let merged = self.coalesce.map_or(first, |coalesce| {
            coalesce.merged(first, std::iter::once(next), longest)
        });
        if merged == first || self.in_window(merged) {
            return *self;
        }
        window.load(self.storage, merged);
        self.with_windows(slice::from_ref(window))
    }

    /// The longest merged read beside one chunk of this tensor in work.
    fn longest_window_beside_chunk(&self, tensor: &Tensor<'_>) -> u64 {
        self.longest_window(self.held_bytes() + largest_chunk_bytes(tensor))
    }

    fn in_window(&self, extent: Extent) -> bool {
        let mut windows = self.windows.iter();
        windows.any(|window| window.get(extent).is_some())
    }
}

/// The two extents that hold pieces of a tensor, of which there is at least one: records and plain
/// bytes, or block checksums and blocks.
fn extents(index: &TensorIndex<'_>, pieces: Range<u64>) -> [Extent; 2] {
    let (payload, ends) = (index.payload(), index.record_ends());
    if payload.forms().is_coded() {
        let (first, last) = (ends.chunk(pieces.start), ends.chunk(pieces.end - 1));
        let records = Extent {
            offset: first.offset,
            length: last.end() - first.offset,
        };
        return [records, payload.plain_of_chunks(pieces)];
    }
    let weights = index.piece(pieces.start).start..index.piece(pieces.end - 1).end;
    stored_plain(payload, payload.plain_of_weights(weights))
}

/// Upper bound on the length of each extent of a piece.
fn longest_extent(index: &TensorIndex<'_>) -> u64 {
    let payload = index.payload();
    let weights = piece_weights(payload);
    let plain = (weights * u64::from(payload.forms().plain_bits())).div_ceil(8);
    if payload.forms().is_coded() {
        let longest = payload
            .forms()
            .coded()
            .map(|coded| layout::longest_record_bytes(weights as u32, coded.field.width()));
        longest.sum::<u64>().max(plain)
    } else if payload.forms().is_raw() {
        plain
    } else {
        // The first and the last block may have weights of other pieces.
        plain + 2 * layout::BLOCK_BYTES
    }
}

/// The pieces of a whole tensor, in groups that are read at once. A thread works on all pieces of a
/// group, so that other threads read other groups at the same time.
pub(super) struct Groups<'g, S: ?Sized> {
    container: &'g Container<'g, S>,
    index: &'g TensorIndex<'g>,
    /// Number of pieces in a group.
    per_group: u64,
    items: Items,
    /// The groups that threads have read; None if each piece is read on its own.
    windows: Option<Pool<[Window; 2]>>,
}

impl<'g, S: Storage + ?Sized> Groups<'g, S> {
    /// The pieces of the tensor of this index, of which `in_work` may be in memory at a time.
    pub(super) fn new(
        container: &'g Container<'g, S>,
        index: &'g TensorIndex<'g>,
        in_work: u64,
        executor: &dyn Executor,
    ) -> Self {
        let count = index.piece_count();
        let mut groups = Groups {
            container,
            index,
            per_group: 1,
            items: Items::new(count).at_most(in_work),
            windows: None,
        };
        if let Some(coalesce) = container.coalesce
            && count > 1
            && !groups.in_window()
        {
            // A piece in work has memory for 8 times its original bytes, and its share of a window
            // takes twice these bytes while it is read. Half of the pieces in work thus leave
            // enough for windows.
            let in_work = (in_work / 2).max(1);
            let threads = in_work.min(executor.threads() as u64).max(1);
            let longest = coalesce.longest() / longest_extent(index);
            let for_each_thread = count.div_ceil(threads).max(Items::PER_TASK);
            let per_group = longest.min(in_work / threads).min(for_each_thread);
            if per_group > 1 {
                groups.per_group = per_group;
                groups.windows = Some(Pool::default());
                groups.items = Items::new(count).at_most(in_work).per_task(per_group);
            }
        }
        groups
    }

    pub(super) fn items(&self) -> Items {
        self.items
    }

    /// Calls `then` with the container for piece `number`, whose group has been read.
    pub(super) fn with<T>(&self, number: u64, then: impl FnOnce(&Container<'_, S>) -> T) -> T {
        let Some(pool) = &self.windows else {
            return then(self.container);
        };
        let mut windows = pool.take();
        let first = number - number % self.per_group;
        let pieces = first..self.index.piece_count().min(first + self.per_group);
        for (window, extent) in windows.iter_mut().zip(extents(self.index, pieces)) {
            // A read that failed is not repeated for each piece of the group.
            window.load_once(self.container.storage, extent);
        }
        let done = then(&self.container.with_windows(&windows));
        pool.put(windows);
        done
    }

    fn in_window(&self) -> bool {
        let extents = extents(self.index, 0..self.index.piece_count());
        extents
            .iter()
            .all(|&extent| self.container.in_window(extent))
    }
}

/// The pieces of a range, which are read one after the other.
pub(super) struct RangeReads<'r, S: ?Sized> {
    container: &'r Container<'r, S>,
    index: &'r TensorIndex<'r>,
    /// End of the range.
    end: u64,
    /// Number of pieces in a group; 1 if each is read on its own.
    per_group: u64,
    /// End of the group that was read last.
    group_end: u64,
    /// The extents of a group.
    windows: [Window; 2],
}

impl<'r, S: Storage + ?Sized> RangeReads<'r, S> {
    /// These pieces of the tensor of this index, with merged reads of at most `longest` bytes.
    pub(super) fn new(
        container: &'r Container<'r, S>,
        index: &'r TensorIndex<'r>,
        pieces: Range<u64>,
        longest: u64,
    ) -> Self {
        let count = pieces.end - pieces.start;
        RangeReads {
            container,
            per_group: (longest / longest_extent(index)).clamp(1, count.max(1)),
            index,
            group_end: pieces.start,
            end: pieces.end,
            windows: Default::default(),
        }
    }

    /// The container for piece `number`, whose group has been read.
    pub(super) fn piece(&mut self, number: u64) -> Container<'_, S> {
        if self.per_group == 1 {
            return *self.container;
        }
        if number >= self.group_end {
            self.group_end = self.end.min(number + self.per_group);
            let extents = extents(self.index, number..self.group_end);
            for (window, extent) in self.windows.iter_mut().zip(extents) {
                window.load(self.container.storage, extent);
            }
        }
        self.container.with_windows(&self.windows)
    }
}

impl<S: Storage + ?Sized> Container<'_, S> {
    /// The longest merged reads of pieces of this tensor one after the other; 0 if they are not
    /// merged.
    pub(super) fn longest_range_read(&self, tensor: &Tensor<'_>) -> u64 {
        match self.windows {
            // Both windows and the record ends together are not longer than the longest one.
            [] => self.longest_window_beside_chunk(tensor) / 3,
            // With a payload in memory there is nothing to merge.
            _ => 0,
        }
    }
}
