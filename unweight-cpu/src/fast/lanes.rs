//! The lane streams of one record, in a layout that lets kernels read past the end of a stream.

use unweight_format::Lanes;
use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, LONGEST_CODE_BITS, STEP_WEIGHTS};

/// Greatest total length of a record's lane streams, because lane ends are u16.
const STREAMS_BYTES: usize = u16::MAX as usize;
/// Steps of the largest chunk.
pub(super) const MOST_STEPS: usize = (1 << 16) / STEP_WEIGHTS;
/// The greatest length of a lane's codes. Even in an invalid record, no lane is read further than
/// this from its start: a symbol takes at most eight bits, as `every_code_has_runs_within_bounds`
/// tests.
const LONGEST_LANE_BYTES: usize = MOST_STEPS * LANE_STEP_WEIGHTS * LONGEST_CODE_BITS as usize / 8;
/// The most bytes in a kernel's load.
pub(super) const WINDOW_BYTES: usize = 16;
/// Size of [`LaneBuffer`] in bytes: any lane of any record, with a window behind it.
pub(super) const BUFFER_BYTES: usize = STREAMS_BYTES + 1 + LONGEST_LANE_BYTES + WINDOW_BYTES;

/// Bytes of a row: the longest lane, and the last run's eight bytes, which may begin before it. The
/// remaining bytes stagger the rows within pages. Without them the rows would evict each other and
/// the table of runs from the L1 cache.
pub(super) const ROW_BYTES: usize = MOST_STEPS * LANE_STEP_WEIGHTS + 8 + 1152;
/// A row for each lane. Encoding stores a lane stream in each row. Decoding uses only the rows of
/// one group.
pub(super) type Rows = [[u8; ROW_BYTES]; LANES];

/// A copy of a record's lane streams with padding behind them.
///
/// A record has no guard of its own: its last lane ends up to 15 bytes before the record does, and
/// a file's guard is outside of the slice. Copying some 11 KB into a buffer that stays in the cache
/// costs a kernel 1 to 2 %. In exchange every window of a kernel is within the buffer.
#[derive(Debug)]
pub(super) struct LaneBuffer {
    bytes: Box<[u8; BUFFER_BYTES]>,
    /// The start of each lane in `bytes`.
    starts: [u32; LANES],
    ends: [u32; LANES],
    /// The address of the end of the streams in the record.
    behind: usize,
}

impl Default for LaneBuffer {
    fn default() -> Self {
        let bytes = vec![0; BUFFER_BYTES].into_boxed_slice();
        LaneBuffer {
            bytes: bytes.try_into().expect("as many as were made"),
            starts: [0; LANES],
            ends: [0; LANES],
            behind: 0,
        }
    }
}

impl LaneBuffer {
    /// Copies the streams of a record.
    pub(super) fn fill(&mut self, lanes: &Lanes<'_>) {
        let streams = lanes.streams();
        self.behind = streams.as_ptr_range().end.addr();
        self.bytes[..streams.len()].copy_from_slice(streams);
        let mut start = 0;
        for lane in 0..LANES {
            self.starts[lane] = start;
            start = lanes.end(lane) as u32;
            self.ends[lane] = start;
        }
    }

    pub(super) fn bytes(&self) -> &[u8; BUFFER_BYTES] {
        &self.bytes
    }

    /// The likely address of the next record, only for prefetching.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn behind(&self) -> *const u8 {
        std::ptr::without_provenance(self.behind)
    }

    /// Bits of the longest lane.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn longest_bits(&self) -> usize {
        let lengths = self.starts.iter().zip(&self.ends);
        let lengths = lengths.map(|(start, end)| 8 * (end - start));
        lengths.max().unwrap_or(0) as usize
    }

    /// The first bit of each lane, as a bit position in the buffer.
    pub(super) fn first_bits(&self) -> [u32; LANES] {
        self.starts.map(|start| 8 * start)
    }

    /// Whether lanes whose codes end before these bit positions end as section 5.2 requires. If
    /// not, the record must be rejected.
    pub(super) fn end_at(&self, bits: &[u32; LANES]) -> bool {
        bits.iter().zip(&self.ends).all(|(&bit, &end)| {
            let padding = match bit % 8 {
                0 => 0,
                used => self.bytes[(bit / 8) as usize] >> used,
            };
            bit.div_ceil(8) == end && padding == 0
        })
    }
}
