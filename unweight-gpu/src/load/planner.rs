//! Makes a plan: divides tensors into parts, and places what is stored of them in scratch memory.

use std::ops::Range;

use unweight_format::{Extent, Payload, layout};

use super::pieces::{Copy, Destination, GAP_BYTES, Piece, pack};
use super::plan::{Group, Kind, LoadLimits, Part, TABLE_ALIGNMENT};
use super::task::{LoadTask, Source, StoredTensor};
use crate::decode::job::chunk_size_log2;

/// Alignment of parts in scratch memory, beside their alignment in the file.
const SCRATCH_ALIGNMENT: u64 = 256;
/// Bytes behind a group's payloads that kernels may read: whole steps of 256 numbers of up to 64
/// bits, and a little more.
const SCRATCH_SLACK_BYTES: u64 = 4 << 10;
/// Weights whose plain bits fill whole blocks, whatever their number.
const PLAIN_UNIT_WEIGHTS: u64 = 8 * layout::BLOCK_BYTES;

/// A plan while it grows.
pub(super) struct Planner {
    limits: LoadLimits,
    groups: Vec<Group>,
    pieces: Vec<Piece>,
    group: Growing,
}

/// A group while it grows.
#[derive(Default)]
struct Growing {
    group: Group,
    copies: Vec<Copy>,
    data_bytes: u64,
}

impl Planner {
    /// The groups of tasks, and the pieces of the file for all of them.
    pub(super) fn plan(tasks: &[LoadTask], limits: LoadLimits) -> (Vec<Group>, Vec<Piece>) {
        let mut planner = Planner {
            limits,
            groups: vec![],
            pieces: vec![],
            group: Growing::default(),
        };
        for (number, task) in tasks.iter().enumerate() {
            planner.add(number, task);
        }
        planner.end_group();
        (planner.groups, planner.pieces)
    }

    fn add(&mut self, number: usize, task: &LoadTask) {
        let stored = match &task.source {
            Source::Tensor(stored) => stored,
            Source::Bytes(extent) => {
                let (task, offset) = (number, 0);
                let to = Destination::Output { task, offset };
                self.group.copies.push(Copy { from: *extent, to });
                return;
            }
        };
        let payload = &stored.payload;
        let size = payload.forms().dtype().weight_bytes() as u64;
        let unit = match payload.forms() {
            forms if forms.is_coded() => 1 << payload.chunk_size_log2(),
            forms if forms.is_raw() => layout::BLOCK_BYTES / size,
            _ => PLAIN_UNIT_WEIGHTS,
        };
        let step = unit * (self.limits.part_bytes / (unit * size)).max(1);
        let mut start = 0;
        while start < payload.weights() {
            let weights = start..payload.weights().min(start + step);
            start = weights.end;
            let bytes = (weights.end - weights.start) * size;
            let is_full = self.group.data_bytes + bytes > self.limits.group_bytes
                || self.group.group.parts.len() >= self.limits.group_parts;
            if is_full && !self.group.group.parts.is_empty() {
                self.end_group();
            }
            self.group.data_bytes += bytes;
            self.group.add(number, stored, weights);
        }
    }

    fn end_group(&mut self) {
        let Growing {
            mut group, copies, ..
        } = std::mem::take(&mut self.group);
        let first = self.pieces.len();
        pack(&copies, self.limits.piece_bytes, &mut self.pieces);
        group.pieces = first..self.pieces.len();
        if group.scratch_bytes > 0 || group.has_launches() {
            group.scratch_bytes += SCRATCH_SLACK_BYTES;
        }
        if !group.pieces.is_empty() || group.has_launches() {
            self.groups.push(group);
        }
    }
}

impl Growing {
    fn add(&mut self, task: usize, stored: &StoredTensor, weights: Range<u64>) {
        let payload = &stored.payload;
        let chunk_weights = match payload.forms().is_raw() {
            true => layout::BLOCK_BYTES / payload.forms().dtype().weight_bytes() as u64,
            false => 1 << chunk_size_log2(payload),
        };
        let count = weights.end - weights.start;
        self.group.output_chunks += count.div_ceil(chunk_weights);
        let plain = payload.plain_of_weights(weights.clone());
        let kind = if payload.forms().is_raw() {
            let size = payload.forms().dtype().weight_bytes() as u64;
            let offset = weights.start * size;
            let to = Destination::Output { task, offset };
            self.copies.push(Copy { from: plain, to });
            let blocks = self.place_blocks(payload, plain);
            Kind::Raw { blocks }
        } else if payload.forms().is_coded() {
            let log2 = payload.chunk_size_log2();
            let chunks = weights.start >> log2..weights.end.div_ceil(1 << log2);
            let plain = self.place(plain);
            let records = self.place(stored.records(chunks.clone()));
            let tables = self.place_tables(stored, chunks.clone());
            Kind::Coded {
                chunks,
                plain,
                records,
                tables,
            }
        } else {
            let at = self.place(plain);
            let blocks = self.place_blocks(payload, plain);
            let tables = self.place_tables(stored, 0..0);
            Kind::Plain {
                plain: at,
                blocks,
                tables,
            }
        };
        self.group.parts.push(Part {
            task,
            weights,
            kind,
        });
    }

    /// The checksums of the blocks of this part of a plain plane.
    fn place_blocks(&mut self, payload: &Payload, plain: Extent) -> Option<u64> {
        if payload.block_count() == 0 {
            return None;
        }
        let first = (plain.offset - payload.plain().offset) / layout::BLOCK_BYTES;
        let count = plain.length.div_ceil(layout::BLOCK_BYTES);
        let checksums = Extent {
            offset: payload.block_checksums().offset + first * layout::BLOCK_CHECKSUM_BYTES,
            length: count * layout::BLOCK_CHECKSUM_BYTES,
        };
        Some(self.place(checksums))
    }

    fn place_tables(&mut self, stored: &StoredTensor, chunks: Range<u64>) -> u64 {
        let at = self.group.table_bytes;
        for bytes in stored.tables(chunks) {
            let end = self.group.table_bytes + bytes.len() as u64;
            self.group.table_bytes = end.next_multiple_of(TABLE_ALIGNMENT);
        }
        at
    }

    /// Places bytes of the file in scratch memory, and returns the offset. Bytes that follow the
    /// last ones closely keep their distance, so that one copy takes both.
    fn place(&mut self, from: Extent) -> u64 {
        if let Some(Copy {
            from: last,
            to: Destination::Scratch(at),
        }) = self.copies.last_mut()
            && from.offset >= last.end()
            && from.offset - last.end() <= GAP_BYTES
        {
            let offset = *at + (from.offset - last.offset);
            last.length = from.end() - last.offset;
            self.group.scratch_bytes = offset + from.length;
            return offset;
        }
        let aligned = self.group.scratch_bytes.next_multiple_of(SCRATCH_ALIGNMENT);
        let offset = aligned + from.offset % SCRATCH_ALIGNMENT;
        self.group.scratch_bytes = offset + from.length;
        let to = Destination::Scratch(offset);
        self.copies.push(Copy { from, to });
        offset
    }
}
