//! Merged reads of neighbouring chunks, blocks, planes and tensors.

use std::ops::Range;
use std::slice;

use unweight_format::{CodedPlanes, Extent, RawPlane, RecordEnds, Tensor, layout};

use super::Container;
use crate::memory::chunk_bytes;
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::Items;
use crate::{Executor, Storage};

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
            tensors.map(|tensor| payload_extent(&tensor))
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
        let payload = payload_extent(tensor);
        let may_be_read = (1..=longest).contains(&payload.length);
        if !may_be_read || self.in_window(payload) {
            return *self;
        }
        window.load(self.storage, payload);
        self.with_windows(slice::from_ref(window))
    }

    fn in_window(&self, extent: Extent) -> bool {
        let mut windows = self.windows.iter();
        windows.any(|window| window.get(extent).is_some())
    }
}

fn payload_extent(tensor: &Tensor<'_>) -> Extent {
    let (start, end) = (tensor.payload().start(), tensor.payload().end());
    Extent {
        offset: start,
        length: end - start,
    }
}

/// A plane of chunks or blocks whose extents are known.
#[derive(Clone, Copy)]
pub(super) enum Plane<'p> {
    Raw(&'p RawPlane),
    Coded(&'p CodedPlanes, RecordEnds<'p>),
}

impl Plane<'_> {
    fn count(&self) -> u64 {
        match self {
            Plane::Raw(plane) => plane.block_count(),
            Plane::Coded(planes, _) => planes.chunk_count(),
        }
    }

    /// Upper bound on the length of each extent of an item.
    fn longest_extent(&self) -> u64 {
        match self {
            Plane::Raw(_) => layout::BLOCK_BYTES,
            Plane::Coded(planes, _) => longest_record(planes),
        }
    }

    /// The two extents of these items, of which there is at least one.
    fn extents(&self, items: Range<u64>) -> [Extent; 2] {
        let (first, last) = (items.start, items.end - 1);
        match self {
            Plane::Raw(plane) => block_extents(plane, items),
            Plane::Coded(planes, ends) => [
                between(ends.record(first), ends.record(last)),
                sign_mantissa_extent(planes, items),
            ],
        }
    }
}

fn longest_record(planes: &CodedPlanes) -> u64 {
    layout::longest_record_bytes(1 << planes.chunk_size_log2())
}

/// The bytes from the begin of the first extent to the end of the last one.
fn between(first: Extent, last: Extent) -> Extent {
    Extent {
        offset: first.offset,
        length: last.end().saturating_sub(first.offset),
    }
}

fn sign_mantissa_extent(planes: &CodedPlanes, chunks: Range<u64>) -> Extent {
    let sign_mantissa = |number| planes.chunk(number).sign_mantissa;
    between(sign_mantissa(chunks.start), sign_mantissa(chunks.end - 1))
}

fn block_extents(plane: &RawPlane, blocks: Range<u64>) -> [Extent; 2] {
    let checksums = Extent {
        offset: plane.checksums().offset + blocks.start * layout::BLOCK_CHECKSUM_BYTES,
        length: (blocks.end - blocks.start) * layout::BLOCK_CHECKSUM_BYTES,
    };
    let data = between(plane.block(blocks.start), plane.block(blocks.end - 1));
    [checksums, data]
}

/// The chunks or blocks of a whole tensor, in groups that are read at once. A thread works on all
/// items of a group, so that other threads read other groups at the same time.
pub(super) struct Groups<'g, S: ?Sized> {
    container: &'g Container<'g, S>,
    plane: Plane<'g>,
    /// Number of items in a group.
    per_group: u64,
    items: Items,
    /// The groups that threads have read; None if each item is read on its own.
    windows: Option<Pool<[Window; 2]>>,
}

impl<'g, S: Storage + ?Sized> Groups<'g, S> {
    /// The items of this plane, of which `in_work` may be in memory at a time.
    pub(super) fn new(
        container: &'g Container<'g, S>,
        plane: Plane<'g>,
        in_work: u64,
        executor: &dyn Executor,
    ) -> Self {
        let count = plane.count();
        let mut groups = Groups {
            container,
            plane,
            per_group: 1,
            items: Items::new(count).at_most(in_work),
            windows: None,
        };
        if let Some(coalesce) = container.coalesce
            && count > 1
            && !groups.in_window()
        {
            // An item in work has memory for 16 bytes for each weight, and its share of a window
            // takes 4 while it is read. Half of the items in work thus leave enough for windows.
            let in_work = (in_work / 2).max(1);
            let threads = in_work.min(executor.threads() as u64).max(1);
            let longest = coalesce.longest() / plane.longest_extent();
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

    /// Calls `then` with the container for item `number`, whose group has been read.
    pub(super) fn with<T>(&self, number: u64, then: impl FnOnce(&Container<'_, S>) -> T) -> T {
        let Some(pool) = &self.windows else {
            return then(self.container);
        };
        let mut windows = pool.take();
        let first = number - number % self.per_group;
        let items = first..self.plane.count().min(first + self.per_group);
        for (window, extent) in windows.iter_mut().zip(self.plane.extents(items)) {
            // A read that failed is not repeated for each item of the group.
            window.load_once(self.container.storage, extent);
        }
        let done = then(&self.container.with_windows(&windows));
        pool.put(windows);
        done
    }

    fn in_window(&self) -> bool {
        let extents = self.plane.extents(0..self.plane.count());
        extents
            .iter()
            .all(|&extent| self.container.in_window(extent))
    }
}

/// The chunks or blocks of a range, which are read one after the other.
pub(super) struct RangeReads<'r, S: ?Sized> {
    container: &'r Container<'r, S>,
    items: Range<u64>,
    /// Number of items in a group; 1 if each is read on its own.
    per_group: u64,
    /// End of the group that was read last.
    group_end: u64,
    /// The longest window.
    longest: u64,
    /// Record ends of all items, then the two extents of a group.
    windows: [Window; 3],
}

impl<'r, S: Storage + ?Sized> RangeReads<'r, S> {
    /// The chunks of a coded tensor.
    pub(super) fn of_chunks(
        container: &'r Container<'r, S>,
        planes: &CodedPlanes,
        chunks: Range<u64>,
    ) -> Self {
        let mut reads = RangeReads::new(
            container,
            chunks.clone(),
            1 << planes.chunk_size_log2(),
            longest_record(planes),
        );
        if reads.per_group > 1 {
            let first = chunks.start.saturating_sub(1);
            let ends = Extent {
                offset: planes.record_ends().offset + first * layout::RECORD_END_BYTES,
                length: (chunks.end - first) * layout::RECORD_END_BYTES,
            };
            if ends.length <= reads.longest {
                reads.windows[0].load(container.storage, ends);
            }
        }
        reads
    }

    /// The blocks of a raw tensor.
    pub(super) fn of_blocks(container: &'r Container<'r, S>, blocks: Range<u64>) -> Self {
        RangeReads::new(
            container,
            blocks,
            layout::BLOCK_BYTES / 2,
            layout::BLOCK_BYTES,
        )
    }

    fn new(
        container: &'r Container<'r, S>,
        items: Range<u64>,
        item_weights: u64,
        longest_extent: u64,
    ) -> Self {
        let needed = container.held_bytes() + chunk_bytes(item_weights);
        // The three windows together are not longer than the longest one. With a payload in memory
        // there is nothing to merge.
        let longest = match container.windows {
            [] => container.longest_window(needed) / 3,
            _ => 0,
        };
        RangeReads {
            container,
            group_end: items.start,
            longest,
            per_group: (longest / longest_extent).clamp(1, (items.end - items.start).max(1)),
            items,
            windows: Default::default(),
        }
    }

    /// The container for chunk `number`, whose group has been read.
    pub(super) fn chunk(&mut self, planes: &CodedPlanes, number: u64) -> Container<'_, S> {
        self.group(number, |container, chunks| {
            // If a record end is invalid, the chunks are read one by one up to it.
            let record = |number| container.record_extent(planes, number);
            let records = between(record(chunks.start).ok()?, record(chunks.end - 1).ok()?);
            let most = longest_record(planes) * (chunks.end - chunks.start);
            let is_possible = (1..=most).contains(&records.length);
            is_possible.then(|| [records, sign_mantissa_extent(planes, chunks)])
        })
    }

    /// The container for block `number`, whose group has been read.
    pub(super) fn block(&mut self, plane: &RawPlane, number: u64) -> Container<'_, S> {
        self.group(number, |_, blocks| Some(block_extents(plane, blocks)))
    }

    fn group(
        &mut self,
        number: u64,
        extents: impl FnOnce(&Container<'_, S>, Range<u64>) -> Option<[Extent; 2]>,
    ) -> Container<'_, S> {
        if self.per_group == 1 {
            return *self.container;
        }
        if number >= self.group_end {
            self.group_end = self.items.end.min(number + self.per_group);
            let container = self.container.with_windows(&self.windows[..1]);
            if let Some(extents) = extents(&container, number..self.group_end) {
                for (window, extent) in self.windows[1..].iter_mut().zip(extents) {
                    window.load(self.container.storage, extent);
                }
            }
        }
        self.container.with_windows(&self.windows)
    }
}
