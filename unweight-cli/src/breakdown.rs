//! Breakdown of a tensor's bits by purpose.

use std::ops::AddAssign;

use serde::Serialize;
use unweight::container::{Container, Items, in_order};
use unweight::{Executor, ReadError, Storage};
use unweight_cpu::reference::{ExponentCounts, decode_exponents};
use unweight_format::layout::{
    LANE_ENDS_BYTES, PATCH_BYTES, RECORD_CHECKED_FROM, RECORD_HEADER_BYTES,
};
use unweight_format::{Body, CodedPlanes, Error, RawPlane, Record, RecordEnds, Tensor};

/// Numbers of bits by the purpose that they serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Breakdown {
    pub(crate) sign_mantissa_bits: u64,
    /// Huffman codes, or palette indices.
    pub(crate) codes_bits: u64,
    /// Exponents of verbatim records.
    pub(crate) verbatim_bits: u64,
    pub(crate) patches_bits: u64,
    pub(crate) lane_ends_bits: u64,
    /// Kinds, patch counts and code lengths.
    pub(crate) record_headers_bits: u64,
    pub(crate) record_ends_bits: u64,
    pub(crate) checksums_bits: u64,
    pub(crate) raw_data_bits: u64,
    pub(crate) padding_bits: u64,
}

impl Breakdown {
    /// All parts with their names.
    pub(crate) fn parts(&self) -> [(&'static str, u64); 10] {
        [
            ("sign-mantissa bytes", self.sign_mantissa_bits),
            ("codes", self.codes_bits),
            ("verbatim exponents", self.verbatim_bits),
            ("patches", self.patches_bits),
            ("lane ends", self.lane_ends_bits),
            ("record headers", self.record_headers_bits),
            ("record ends", self.record_ends_bits),
            ("checksums", self.checksums_bits),
            ("raw data", self.raw_data_bits),
            ("padding", self.padding_bits),
        ]
    }

    pub(crate) fn total_bits(&self) -> u64 {
        self.parts().iter().map(|(_, bits)| bits).sum()
    }

    /// Breakdown of a raw tensor, without padding.
    pub(crate) fn of_raw(plane: &RawPlane) -> Breakdown {
        Breakdown {
            raw_data_bits: 8 * plane.data().length,
            checksums_bits: 8 * plane.checksums().length,
            ..Breakdown::default()
        }
    }

    /// Breakdown of a coded tensor, without the padding between its planes, and the counts of its
    /// exponents.
    pub(crate) fn of_coded<S: Storage + ?Sized>(
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        executor: &dyn Executor,
    ) -> Result<(Breakdown, ExponentCounts), ReadError> {
        let mut total = Breakdown {
            sign_mantissa_bits: 8 * planes.sign_mantissa().length,
            record_ends_bits: 8 * planes.record_ends().length,
            ..Breakdown::default()
        };
        let mut counts = ExponentCounts::default();
        let ends = container.record_ends(planes)?;
        let ends = RecordEnds::parse(planes, &ends)?;
        let in_work = container.chunks_in_work(tensor)?;
        in_order(
            executor,
            Items::new(planes.chunk_count()).at_most(in_work),
            |number| {
                let shape = planes.chunk(number);
                container.with_record(planes, &shape, ends.record(number), |record, _, _| {
                    let mut exponents = Vec::new();
                    let weights = shape.weights as usize;
                    let palette = planes.palette();
                    let code_bits = decode_exponents(record, palette, weights, &mut exponents)?;
                    let mut counts = ExponentCounts::default();
                    counts.add_exponents(&exponents);
                    Ok::<_, Error>((Breakdown::of_record(record, code_bits), counts))
                })
            },
            |(of_record, of_chunk)| {
                total += of_record;
                counts.merge(&of_chunk);
                Ok::<_, ReadError>(())
            },
        )?;
        Ok((total, counts))
    }

    fn of_record(record: &Record<'_>, code_bits: u64) -> Breakdown {
        let mut parts = Breakdown {
            codes_bits: code_bits,
            patches_bits: 8 * (PATCH_BYTES * record.patches().len()) as u64,
            record_headers_bits: 8 * (RECORD_HEADER_BYTES - RECORD_CHECKED_FROM) as u64,
            checksums_bits: 8 * RECORD_CHECKED_FROM as u64,
            ..Breakdown::default()
        };
        match record.body() {
            Body::Verbatim(exponents) => parts.verbatim_bits = 8 * exponents.len() as u64,
            Body::Huffman { .. } => parts.lane_ends_bits = 8 * LANE_ENDS_BYTES as u64,
            Body::Palette(_) => {}
        }
        // The rest is padding: unused bits of the lanes' last bytes, and the record's own padding.
        parts.padding_bits = 8 * record.bytes().len() as u64 - parts.total_bits();
        parts
    }
}

impl AddAssign for Breakdown {
    fn add_assign(&mut self, other: Breakdown) {
        self.sign_mantissa_bits += other.sign_mantissa_bits;
        self.codes_bits += other.codes_bits;
        self.verbatim_bits += other.verbatim_bits;
        self.patches_bits += other.patches_bits;
        self.lane_ends_bits += other.lane_ends_bits;
        self.record_headers_bits += other.record_headers_bits;
        self.record_ends_bits += other.record_ends_bits;
        self.checksums_bits += other.checksums_bits;
        self.raw_data_bits += other.raw_data_bits;
        self.padding_bits += other.padding_bits;
    }
}
