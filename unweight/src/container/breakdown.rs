//! What the stored bits of a tensor are for, field by field.

use std::ops::AddAssign;

use unweight_cpu::fast::{Codec, Output};
use unweight_cpu::reference::{ValueCounts, decode_values};
use unweight_format::layout::{
    LANE_ENDS_BYTES, PALETTE_ENTRIES, PATCH_BYTES, RECORD_CHECKED_FROM, RECORD_END_BYTES,
    RECORD_HEADER_BYTES,
};
use unweight_format::{Body, Dtype, Error, Field, Form, Payload, Record, Tensor};

use super::Container;
use super::index::TensorIndex;
use crate::threads::{Items, in_order};
use crate::{Executor, ReadError, Storage};

/// The stored bits of a tensor, field by field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Breakdown {
    /// The fields of the type.
    pub fields: Vec<FieldBreakdown>,
    /// What belongs to no field: plain bits outside of all fields, block checksums, and padding,
    /// with that in front of the payload.
    pub others: StoredBits,
}

/// The stored bits of one field of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldBreakdown {
    /// The field.
    pub field: Field,
    /// Its form.
    pub form: Form,
    /// Shannon entropy of its values in bits per weight.
    pub entropy_bits: f64,
    /// The bits that are stored for it.
    pub stored: StoredBits,
}

/// Numbers of bits by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredBits {
    /// Bits of the plain plane.
    pub plain: u64,
    /// Huffman codes, or palette indices.
    pub codes: u64,
    /// Values of verbatim records.
    pub verbatim: u64,
    /// Patches.
    pub patches: u64,
    /// Lane ends.
    pub lane_ends: u64,
    /// Kinds, patch counts and code lengths.
    pub record_headers: u64,
    /// Record ends.
    pub record_ends: u64,
    /// The palette, or the value of a constant field.
    pub palettes: u64,
    /// Checksums of records and blocks.
    pub checksums: u64,
    /// Padding.
    pub padding: u64,
}

impl Breakdown {
    /// All bits that are stored for the tensor.
    pub fn total(&self) -> StoredBits {
        let mut total = self.others;
        self.fields.iter().for_each(|field| total += field.stored);
        total
    }
}

impl StoredBits {
    /// The purposes with their names and bits.
    pub fn by_purpose(&self) -> [(&'static str, u64); 10] {
        [
            ("plain", self.plain),
            ("codes", self.codes),
            ("verbatim", self.verbatim),
            ("patches", self.patches),
            ("lane ends", self.lane_ends),
            ("record headers", self.record_headers),
            ("record ends", self.record_ends),
            ("palettes", self.palettes),
            ("checksums", self.checksums),
            ("padding", self.padding),
        ]
    }

    /// The sum.
    pub fn sum(&self) -> u64 {
        self.by_purpose().iter().map(|(_, bits)| bits).sum()
    }

    /// What a record takes. `codes` is the number of bits of its codes or indices.
    fn of_record(record: &Record<'_>, codes: u64) -> StoredBits {
        let mut stored = StoredBits {
            codes,
            patches: 8 * (PATCH_BYTES * record.patches().len()) as u64,
            record_headers: 8 * (RECORD_HEADER_BYTES - RECORD_CHECKED_FROM) as u64,
            checksums: 8 * RECORD_CHECKED_FROM as u64,
            ..StoredBits::default()
        };
        match record.body() {
            Body::Verbatim(_) => {
                let shape = record.shape();
                stored.verbatim = u64::from(shape.weights()) * u64::from(shape.width());
            }
            Body::Huffman { .. } => stored.lane_ends = 8 * LANE_ENDS_BYTES as u64,
            Body::Palette(_) => {}
        }
        // The rest is padding: unused bits of the lanes' last bytes, and the record's own padding.
        stored.padding = 8 * record.bytes().len() as u64 - stored.sum();
        stored
    }
}

impl AddAssign for StoredBits {
    fn add_assign(&mut self, other: StoredBits) {
        self.plain += other.plain;
        self.codes += other.codes;
        self.verbatim += other.verbatim;
        self.patches += other.patches;
        self.lane_ends += other.lane_ends;
        self.record_headers += other.record_headers;
        self.record_ends += other.record_ends;
        self.palettes += other.palettes;
        self.checksums += other.checksums;
        self.padding += other.padding;
    }
}

/// The bits of the records of some chunks, and the counts of the values of all fields there, by the
/// number of the field.
struct OfChunks {
    records: Vec<StoredBits>,
    counts: Vec<ValueCounts>,
}

impl OfChunks {
    fn none(dtype: Dtype) -> OfChunks {
        let fields = dtype.fields().len();
        OfChunks {
            records: vec![StoredBits::default(); fields],
            counts: vec![ValueCounts::default(); fields],
        }
    }

    fn merge(&mut self, other: &OfChunks) {
        for (records, more) in self.records.iter_mut().zip(&other.records) {
            *records += *more;
        }
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.merge(more);
        }
    }

    fn count(&mut self, codec: Codec, dtype: Dtype, weights: &[u8]) {
        for (&field, counts) in dtype.fields().iter().zip(&mut self.counts) {
            codec.count_field(dtype, field, weights, counts);
        }
    }
}

impl<S: Storage + ?Sized> Container<'_, S> {
    /// What the stored bits of a tensor are for. Reads and checks the whole tensor, except its
    /// checksum and the zero padding between its parts.
    ///
    /// # Errors
    /// The rules of sections 3.5, 5 and 6; [`ReadError::OverBudget`], [`ReadError::Io`],
    /// [`ReadError::Executor`].
    pub fn breakdown(
        &self,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
    ) -> Result<Breakdown, ReadError> {
        let named = |error: ReadError| error.of_tensor(tensor.name());
        let in_work = self.chunks_in_work(tensor)?;
        let mut buffer = Vec::new();
        let index = self.index(tensor, &mut buffer).map_err(named)?;
        let mut found = OfChunks::none(tensor.dtype());
        in_order(
            executor,
            Items::new(index.piece_count()).at_most(in_work),
            |number| self.of_piece(&index, number).map_err(named),
            |of_piece| {
                found.merge(&of_piece);
                Ok::<_, ReadError>(())
            },
        )?;
        Ok(of_tensor(tensor, &found))
    }

    fn of_piece(&self, index: &TensorIndex<'_>, number: u64) -> Result<OfChunks, ReadError> {
        let forms = index.payload().forms();
        let mut found = OfChunks::none(forms.dtype());
        let mut weights = vec![0; index.piece_bytes(number) as usize];
        self.decode_piece(index, number, &mut Output::from(&mut weights[..]))?;
        found.count(self.codec(), forms.dtype(), &weights);
        if forms.is_coded() {
            self.with_records(index, number, |records, _, _| {
                let mut values = Vec::new();
                for (record, coded) in records.iter().zip(forms.coded()) {
                    let palette = index.palettes().coded(coded.number);
                    let palette = palette.expect("a coded field has a palette");
                    let codes = decode_values(record, palette, &mut values)?;
                    found.records[coded.field_number] = StoredBits::of_record(record, codes);
                }
                Ok::<_, Error>(())
            })?;
        }
        Ok(found)
    }
}

fn of_tensor(tensor: &Tensor<'_>, found: &OfChunks) -> Breakdown {
    let payload: &Payload = tensor.payload();
    let (forms, weights) = (payload.forms(), payload.weights());
    let palette = 8 * PALETTE_ENTRIES as u64;
    let ends = 8 * RECORD_END_BYTES * payload.chunk_count();
    let field = |(number, (field, form)): (usize, (Field, Form))| {
        let mut stored = found.records[number];
        match form {
            Form::Plain => stored.plain = weights * u64::from(field.width()),
            Form::Constant => stored.palettes = palette,
            _ => {
                stored.palettes = palette;
                stored.record_ends = ends;
            }
        }
        FieldBreakdown {
            field,
            form,
            entropy_bits: found.counts[number].entropy_bits(),
            stored,
        }
    };
    let fields: Vec<FieldBreakdown> = forms.iter().enumerate().map(field).collect();
    let in_fields: u64 = fields.iter().map(|field| field.stored.plain).sum();
    let mut breakdown = Breakdown {
        others: StoredBits {
            plain: weights * u64::from(forms.plain_bits()) - in_fields,
            checksums: 8 * payload.block_checksums().length,
            ..StoredBits::default()
        },
        fields,
    };
    // The rest is padding: in front of the payload, of the plain plane, and between the parts.
    let [before, ..] = tensor.padding();
    let all = 8 * (before.length + payload.extent().length);
    breakdown.others.padding = all - breakdown.total().sum();
    breakdown
}
