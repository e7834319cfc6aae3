//! Extents of a tensor's payload (section 3.4).

use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::entry as field;
use crate::validate::tensor::Located;
use crate::validate::{CodedPlanes, RawPlane};

/// A tensor's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The original bytes and their block checksums.
    Raw(RawPlane),
    /// Sign-mantissa bytes and records.
    Coded(CodedPlanes),
}

impl Payload {
    /// Offset where the payload starts. There may be padding before it.
    pub const fn start(&self) -> u64 {
        match self {
            Payload::Raw(plane) => plane.data().offset,
            Payload::Coded(planes) => planes.sign_mantissa().offset,
        }
    }

    /// Offset where the payload ends.
    pub const fn end(&self) -> u64 {
        match self {
            Payload::Raw(plane) => plane.checksums().end(),
            Payload::Coded(planes) => planes.records().end(),
        }
    }
}

/// The bytes between two extents.
pub(super) const fn between(left: Extent, right: Extent) -> Extent {
    Extent {
        offset: left.end(),
        length: right.offset - left.end(),
    }
}

pub(super) fn misplaced_end(located: &Located<'_>, stated: u64, expected: Expected) -> Error {
    let at = located.entry_offset + field::PAYLOAD_END;
    Error::new(Rule::PayloadEnd, at, stated, expected)
}

pub(super) fn past_64_bits(located: &Located<'_>, stated: u64) -> Error {
    misplaced_end(
        located,
        stated,
        Expected::Words("a payload that ends below 2^64"),
    )
}
