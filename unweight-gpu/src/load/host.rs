//! Groups of a plan as lists of launches, for tests that run them on the CPU.

use std::ops::Range;

pub use super::pieces::Destination;
use super::plan::combine;
pub use super::plan::{Group, GroupAddresses};
use super::{LoadPlan, Piece};
use crate::decode::job::TensorJob;
use crate::decode::jobs::{Class, Jobs};

/// The groups of a plan.
pub fn groups(plan: &LoadPlan) -> &[Group] {
    &plan.groups
}

/// The copies of a piece.
pub fn copies(piece: &Piece) -> &[(Range<usize>, Destination)] {
    &piece.copies
}

/// A group with addresses.
#[derive(Debug)]
pub struct GroupRun {
    jobs: Jobs,
    tasks: Vec<usize>,
}

/// Jobs and chunks of a launch.
#[derive(Clone, Copy, Debug)]
pub struct LaunchRange {
    /// Offset of the first job in the header.
    pub jobs_offset: u64,
    /// Number of jobs.
    pub job_count: u32,
    /// Number of chunks.
    pub chunk_count: u32,
}

/// A launch of the decoder.
#[derive(Clone, Copy, Debug)]
pub struct DecoderRun {
    /// Its jobs.
    pub range: LaunchRange,
    /// Bytes of a weight, in the kernels of any forms; None in that of BF16 exponents.
    pub weight_bytes: Option<u32>,
    /// Shared memory for records.
    pub stage_bytes: u32,
    /// The most coded fields of a job.
    pub most_fields: u32,
}

impl GroupRun {
    /// Writes the header of a group, as it is uploaded to its address.
    ///
    /// # Panics
    /// If the group has too many chunks.
    pub fn new(
        plan: &LoadPlan,
        group: &Group,
        at: GroupAddresses,
        outputs: &[u64],
        header: &mut [u8],
    ) -> GroupRun {
        let jobs = plan.jobs(group, at, outputs).expect("few chunks");
        plan.write_header(group, &jobs, header);
        let tasks = group.tasks();
        GroupRun { jobs, tasks }
    }

    /// The launches of decoders.
    pub fn decoders(&self) -> Vec<DecoderRun> {
        let launches = self.jobs.launches.iter().map(|launch| DecoderRun {
            range: range(launch.first_job, launch.job_count, launch.chunk_count),
            weight_bytes: match launch.class {
                Class::Fields(log2) => Some(1 << log2),
                _ => None,
            },
            stage_bytes: launch.stage_bytes,
            most_fields: launch.most_fields,
        });
        launches.collect()
    }

    /// The blocks to check.
    pub fn blocks(&self) -> LaunchRange {
        let blocks = &self.jobs.blocks;
        range(blocks.first_job, blocks.job_count, blocks.chunk_count)
    }

    /// The outputs to checksum.
    pub fn outputs(&self) -> LaunchRange {
        range(0, self.jobs.tensors.len() as u32, self.jobs.output_chunks())
    }

    /// Adds the checksums of the outputs' chunks to those of the tasks.
    pub fn combine(&self, sums: &[u32], found: &mut [u32]) {
        combine(&self.jobs, &self.tasks, sums, found);
    }
}

fn range(first_job: u32, job_count: u32, chunk_count: u32) -> LaunchRange {
    LaunchRange {
        jobs_offset: u64::from(first_job) * size_of::<TensorJob>() as u64,
        job_count,
        chunk_count,
    }
}
