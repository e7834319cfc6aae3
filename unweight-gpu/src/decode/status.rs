//! The kernels' report: the first bad chunk of a launch, and the rule that it breaks.

use unweight_format::Rule;

/// Status word without an error.
pub const GOOD: u64 = u64::MAX;

/// Rules by their number in `kernels/abi/status.cuh`, from 1.
const RULES: [Rule; 15] = [
    Rule::RecordCrc,
    Rule::RecordKind,
    Rule::RecordEncoding,
    Rule::RecordReserved,
    Rule::CodeLength,
    Rule::CodeOversubscribed,
    Rule::CodeIncomplete,
    Rule::LaneEnds,
    Rule::RecordLength,
    Rule::RecordPadding,
    Rule::PatchOrder,
    Rule::PatchPosition,
    Rule::LaneOverrun,
    Rule::LaneUnderrun,
    Rule::LanePadding,
];

/// The first bad chunk of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk {
    /// The index of its tensor in the batch.
    pub tensor: usize,
    /// The index of the chunk in its tensor, also if the batch has only some of the tensor's
    /// chunks.
    pub chunk: u64,
    /// The rule that the reference reports.
    pub rule: Rule,
}

/// A status word: the first bad chunk of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The index of the chunk in the launch, which may have chunks of many tensors.
    pub chunk_in_launch: u32,
    /// The rule that the reference reports.
    pub rule: Rule,
}

/// Parses a status word: `chunk << 8 | rule`, or [`GOOD`].
pub fn read(status: u64) -> Option<Report> {
    if status == GOOD {
        return None;
    }
    let number = (status & 0xff) as usize;
    Some(Report {
        chunk_in_launch: (status >> 8) as u32,
        rule: RULES[number - 1],
    })
}
