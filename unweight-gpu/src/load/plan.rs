//! Parts of tensors in groups, and the jobs that decode a group: pure functions, tested without a
//! GPU.

use std::ops::Range;

use unweight_format::{Extent, layout};

use super::pieces::Piece;
use super::planner::Planner;
use super::task::{LoadTask, Source, StoredTensor};
use crate::GpuError;
use crate::decode::job::{Addresses, TensorJob, chunk_size_log2};
use crate::decode::jobs::{DecodeChunks, Elements, JobList, Jobs};

/// Alignment of palettes and record ends.
pub(super) const TABLE_ALIGNMENT: u64 = 16;

/// How much is read, uploaded and decoded at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Length of a pinned buffer, in bytes.
    pub piece_bytes: u64,
    /// Original bytes of a part of a tensor. A part has at least one chunk.
    pub part_bytes: u64,
    /// Original bytes of a group of parts. A group has at least one part.
    pub group_bytes: u64,
    /// Parts of a group.
    pub group_parts: usize,
}

impl Default for LoadLimits {
    /// Pieces of 1 MiB, parts of 16 MiB, groups of 64 MiB and 4096 parts.
    fn default() -> LoadLimits {
        LoadLimits {
            piece_bytes: 1 << 20,
            part_bytes: 16 << 20,
            group_bytes: 64 << 20,
            group_parts: 4096,
        }
    }
}

/// Tensors to load, and the pieces of the file in the order in which they are uploaded.
#[derive(Debug)]
pub struct LoadPlan {
    pub(super) limits: LoadLimits,
    pub(super) tasks: Vec<LoadTask>,
    pub(super) groups: Vec<Group>,
    pieces: Vec<Piece>,
}

/// Parts that are decoded together.
#[derive(Debug, Default)]
pub struct Group {
    pub(super) parts: Vec<Part>,
    /// The pieces that have its payloads.
    pub(super) pieces: Range<usize>,
    /// Scratch memory for its payloads.
    pub(super) scratch_bytes: u64,
    /// Memory for its palettes and record ends.
    pub(super) table_bytes: u64,
    /// Chunks of its outputs.
    pub(super) output_chunks: u64,
}

/// Weights of a tensor, and where their stored bytes are in scratch memory.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) task: usize,
    pub(super) weights: Range<u64>,
    pub(super) kind: Kind,
}

/// Offsets in scratch memory and, for `tables`, in that of palettes and record ends.
#[derive(Debug)]
pub(super) enum Kind {
    Coded {
        chunks: Range<u64>,
        plain: u64,
        records: u64,
        tables: u64,
    },
    /// No field is coded, and some are constant.
    Plain {
        plain: u64,
        blocks: Option<u64>,
        tables: u64,
    },
    /// The plain plane is the output.
    Raw { blocks: Option<u64> },
}

/// Device addresses of a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupAddresses {
    /// Its scratch memory.
    pub scratch: u64,
    /// Its header: the jobs, then the tables of tensors.
    pub header: u64,
}

impl LoadPlan {
    /// Plans to load these tensors. It takes the least reads if they are in the order of their
    /// data.
    pub fn new(tasks: Vec<LoadTask>, limits: LoadLimits) -> LoadPlan {
        let (groups, pieces) = Planner::plan(&tasks, limits);
        LoadPlan {
            limits,
            tasks,
            groups,
            pieces,
        }
    }

    /// The pieces of the file to read, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Host memory of the largest header.
    pub(super) fn most_header_bytes(&self) -> u64 {
        let headers = self.groups.iter().map(Group::header_bytes);
        headers.max().unwrap_or(0)
    }

    /// Chunks of all outputs, each of which has a checksum.
    pub(super) fn output_chunks(&self) -> u64 {
        self.groups.iter().map(|group| group.output_chunks).sum()
    }

    pub(super) fn most_scratch_bytes(&self) -> u64 {
        let scratch = self.groups.iter().map(|group| group.scratch_bytes);
        scratch.max().unwrap_or(0)
    }

    fn stored(&self, part: &Part) -> &StoredTensor {
        match &self.tasks[part.task].source {
            Source::Tensor(stored) => stored,
            Source::Bytes(_) => unreachable!("only tensors of containers have parts"),
        }
    }

    /// The jobs of a group, with outputs at these addresses, one for each task.
    ///
    /// # Errors
    /// [`GpuError::TooManyChunks`].
    pub(crate) fn jobs(
        &self,
        group: &Group,
        at: GroupAddresses,
        outputs: &[u64],
    ) -> Result<Jobs, GpuError> {
        let mut list = JobList::new(Elements::Weights);
        for part in &group.parts {
            let tables = at.header + group.jobs_bytes();
            part.add_to(&mut list, self.stored(part), at.scratch, tables, outputs)?;
        }
        list.finish()
    }

    /// The group's jobs, palettes and record ends, as they are uploaded.
    pub(crate) fn write_header(&self, group: &Group, jobs: &Jobs, to: &mut [u8]) {
        let (job_bytes, tables) = to.split_at_mut(group.jobs_bytes() as usize);
        for (place, job) in job_bytes.chunks_mut(size_of::<TensorJob>()).zip(&jobs.jobs) {
            place.copy_from_slice(&job.to_bytes());
        }
        for part in &group.parts {
            let Some((offset, chunks)) = part.tables() else {
                continue;
            };
            let mut at = offset as usize;
            for bytes in self.stored(part).tables(chunks) {
                tables[at..at + bytes.len()].copy_from_slice(bytes);
                at = (at + bytes.len()).next_multiple_of(TABLE_ALIGNMENT as usize);
            }
        }
    }
}

/// Adds the checksums of the outputs' chunks of a group, `sums`, to those of its tasks.
pub(super) fn combine(jobs: &Jobs, tasks: &[usize], sums: &[u32], checksums: &mut [u32]) {
    for (&task, chunks) in tasks.iter().zip(&jobs.tensors) {
        let checksum = &mut checksums[task];
        *checksum = chunks.combine(*checksum, &sums[chunks.first_chunk as usize..]);
    }
}

impl Group {
    /// The pieces that have its payloads.
    pub fn pieces(&self) -> Range<usize> {
        self.pieces.clone()
    }

    /// Scratch memory for its payloads.
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }

    /// The jobs of parts, and of their blocks.
    fn jobs_bytes(&self) -> u64 {
        let blocks = self.parts.iter().filter(|part| part.kind.has_blocks());
        ((self.parts.len() + blocks.count()) * size_of::<TensorJob>()) as u64
    }

    /// Length of the jobs, palettes and record ends together.
    pub fn header_bytes(&self) -> u64 {
        self.jobs_bytes() + self.table_bytes
    }

    pub(super) fn has_launches(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The tasks of its parts.
    pub(super) fn tasks(&self) -> Vec<usize> {
        self.parts.iter().map(|part| part.task).collect()
    }
}

impl Kind {
    fn has_blocks(&self) -> bool {
        match self {
            Kind::Coded { .. } => false,
            Kind::Plain { blocks, .. } | Kind::Raw { blocks } => blocks.is_some(),
        }
    }
}

impl Part {
    /// The offset of its tables, and the chunks whose record ends they have.
    fn tables(&self) -> Option<(u64, Range<u64>)> {
        match &self.kind {
            Kind::Coded { chunks, tables, .. } => Some((*tables, chunks.clone())),
            Kind::Plain { tables, .. } => Some((*tables, 0..0)),
            Kind::Raw { .. } => None,
        }
    }

    fn add_to(
        &self,
        list: &mut JobList,
        stored: &StoredTensor,
        scratch: u64,
        tables_at: u64,
        outputs: &[u64],
    ) -> Result<(), GpuError> {
        let StoredTensor { payload, parts } = stored;
        let size = payload.forms().dtype().weight_bytes() as u64;
        let weights = self.weights.end - self.weights.start;
        let to = outputs[self.task] + self.weights.start * size;
        let plain_extent = payload.plain_of_weights(self.weights.clone());
        let plain_bytes = plain_extent.length;
        let skipped_plain = plain_extent.offset - payload.plain().offset;
        let decode = |at, skipped: u64, chunk_count| {
            let skipped = u32::try_from(skipped).map_err(|_| GpuError::TooManyChunks(skipped))?;
            Ok::<_, GpuError>(DecodeChunks {
                job: TensorJob::new(payload, parts.palettes(), at, to, 0, skipped),
                weights,
                chunk_count,
                longest_records_bytes: parts.longest_records_bytes(),
            })
        };
        match &self.kind {
            Kind::Coded {
                chunks,
                plain,
                records,
                tables,
            } => {
                let palettes = tables_at + tables;
                let ends = palettes + payload.palettes().length.next_multiple_of(TABLE_ALIGNMENT);
                let skipped_ends =
                    payload.record_ends_of(chunks.clone()).offset - payload.record_ends().offset;
                let skipped_records =
                    stored.records(chunks.clone()).offset - payload.records().offset;
                // Kernels add the offsets of the tensor's chunks, so the addresses are those that a
                // whole tensor would have. They may lie outside of the scratch memory.
                let at = Addresses {
                    plain: (scratch + plain).wrapping_sub(skipped_plain),
                    palettes,
                    record_ends: ends.wrapping_sub(skipped_ends),
                    records: (scratch + records).wrapping_sub(skipped_records),
                };
                list.decode(
                    payload,
                    decode(at, chunks.start, chunks.end - chunks.start)?,
                );
            }
            Kind::Plain {
                plain,
                blocks,
                tables,
            } => {
                let palettes = tables_at + tables;
                let at = Addresses {
                    plain: (scratch + plain).wrapping_sub(skipped_plain),
                    palettes,
                    record_ends: palettes,
                    records: palettes,
                };
                if let Some(blocks) = blocks {
                    list.blocks(payload, scratch + plain, plain_bytes, scratch + blocks);
                }
                let log2 = chunk_size_log2(payload);
                let chunk_count = weights.div_ceil(1 << log2);
                list.decode(
                    payload,
                    decode(at, self.weights.start >> log2, chunk_count)?,
                );
            }
            Kind::Raw { blocks } => {
                if let Some(blocks) = blocks {
                    list.blocks(payload, to, plain_bytes, scratch + blocks);
                }
                list.copied(to, plain_bytes);
            }
        }
        Ok(())
    }
}

impl StoredTensor {
    /// The palettes, and the record ends of these chunks.
    pub(super) fn tables(&self, chunks: Range<u64>) -> [&[u8]; 2] {
        let StoredTensor { payload, parts } = self;
        let (palettes, ends) = parts.bytes().split_at(payload.palettes().length as usize);
        let part = match payload.forms().is_coded() {
            true => payload.record_ends_of(chunks),
            false => payload.record_ends(),
        };
        let start = (part.offset - payload.record_ends().offset) as usize;
        [palettes, &ends[start..start + part.length as usize]]
    }

    /// The extent of the records of these chunks, by the checked record ends.
    pub(super) fn records(&self, chunks: Range<u64>) -> Extent {
        let StoredTensor { payload, parts } = self;
        let (_, ends) = parts.bytes().split_at(payload.palettes().length as usize);
        let end_before = |chunk: u64| match payload.record_index(chunk, 0) {
            0 => 0,
            record => {
                let at = (record - 1) as usize * layout::RECORD_END_BYTES as usize;
                let end: [u8; 4] = ends[at..at + 4].try_into().expect("four bytes");
                u64::from(u32::from_le_bytes(end)) * layout::RECORD_ALIGNMENT
            }
        };
        let (start, end) = (end_before(chunks.start), end_before(chunks.end));
        Extent {
            offset: payload.records().offset + start,
            length: end - start,
        }
    }
}
