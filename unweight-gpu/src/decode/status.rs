//! The kernels' report: the first bad record of a launch, and the rule that it breaks.

use unweight_format::Rule;

/// Status word without an error.
pub const GOOD: u64 = u64::MAX;

/// Rules by their number in `kernels/abi/status.cuh`, from 1.
const RULES: [Rule; 17] = [
    Rule::RecordCrc,
    Rule::RecordKind,
    Rule::RecordForm,
    Rule::RecordReserved,
    Rule::CodeLength,
    Rule::CodeOversubscribed,
    Rule::CodeIncomplete,
    Rule::LaneEnds,
    Rule::RecordLength,
    Rule::RecordPadding,
    Rule::PatchOrder,
    Rule::PatchPosition,
    Rule::PatchValue,
    Rule::LaneOverrun,
    Rule::LaneUnderrun,
    Rule::LanePadding,
    Rule::BlockCrc,
];

/// The first bad chunk of a batch: the first of those that run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadChunk {
    /// The index of its tensor in the batch.
    pub tensor: usize,
    /// The index of the chunk in its tensor, also if the batch has only some of the tensor's
    /// chunks. For `block-crc`, that of the block.
    pub chunk: u64,
    /// The field whose record breaks the rule, by its number among the fields of the type. None for
    /// `block-crc`.
    pub field: Option<usize>,
    /// The rule that the reference reports.
    pub rule: Rule,
}

/// A status word: the first bad record of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The index of the chunk in the launch, which may have chunks of many tensors.
    pub chunk_in_launch: u32,
    /// The number of the coded field, counted from 0 in the order of fields.
    pub coded_field: usize,
    /// The rule that the reference reports.
    pub rule: Rule,
}

/// Parses a status word: `chunk << 11 | coded field << 8 | rule`, or [`GOOD`].
pub fn read(status: u64) -> Option<Report> {
    if status == GOOD {
        return None;
    }
    let number = (status & 0xff) as usize;
    Some(Report {
        chunk_in_launch: (status >> 11) as u32,
        coded_field: (status >> 8 & 7) as usize,
        rule: RULES[number - 1],
    })
}
