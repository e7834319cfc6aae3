//! Layout of a tensor's payload, given its forms and its number of weights (section 3.5).

use super::Payload;
use crate::error::{Expected, Rule};
use crate::extent::Extent;
use crate::form::{CodedField, Forms};
use crate::layout::{self, PALETTE_ENTRIES, RECORD_ALIGNMENT, align, tensor_alignment};
use crate::limits;

impl Payload {
    /// The payload of a tensor of `weights` weights whose predecessor's ends at offset `before`.
    /// `chunk_size_log2` is 12 to 16 if a field is coded, and 0 otherwise. The records have their
    /// greatest length; see [`with_records_bytes`](Payload::with_records_bytes).
    ///
    /// # Errors
    /// `form-empty`, `limit-coded`, `chunk-size`; `payload-end` if the payload would end above
    /// 2^64; `limit-elements` if there are more weights than any tensor has.
    pub fn place(
        before: u64,
        forms: Forms,
        weights: u64,
        chunk_size_log2: u8,
    ) -> Result<Payload, Rule> {
        if weights == 0 && !forms.is_raw() {
            return Err(Rule::FormEmpty);
        }
        let most_coded = limits::CODED_BYTES / u64::from(forms.dtype().weight_bytes() as u32);
        if forms.is_coded() && weights > most_coded {
            return Err(Rule::LimitCoded);
        }
        let fits = match forms.is_coded() {
            true => limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2),
            false => chunk_size_log2 == 0,
        };
        if !fits {
            return Err(Rule::ChunkSize);
        }
        if weights > limits::ELEMENTS {
            return Err(Rule::LimitElements);
        }
        Payload::extents(before, forms, weights, chunk_size_log2).ok_or(Rule::PayloadEnd)
    }

    /// The payload, or `None` above 64 bits.
    fn extents(before: u64, forms: Forms, weights: u64, chunk_size_log2: u8) -> Option<Payload> {
        if weights == 0 {
            return Some(Payload::empty(before, forms));
        }
        // At most 2^56 weights of 64 bits.
        let plane_bytes = (weights * u64::from(forms.plain_bits())).div_ceil(8);
        let alignment = tensor_alignment(weights * forms.dtype().weight_bytes() as u64);
        let plain = extent(align(before, alignment)?, plane_bytes)?;

        let block_checksums = match forms.is_coded() || plane_bytes <= layout::BLOCK_BYTES {
            true => extent(plain.end(), 0)?,
            false => extent(
                align(plain.end(), layout::BLOCK_CHECKSUM_BYTES)?,
                layout::BLOCK_CHECKSUM_BYTES * plane_bytes.div_ceil(layout::BLOCK_BYTES),
            )?,
        };
        let palettes = match forms.is_raw() {
            true => extent(block_checksums.end(), 0)?,
            false => extent(
                align(block_checksums.end(), alignment)?,
                (PALETTE_ENTRIES * forms.palette_count()) as u64,
            )?,
        };
        let (record_ends, records_offset) = match forms.is_coded() {
            true => {
                let records = weights.div_ceil(1 << chunk_size_log2) * forms.coded_count() as u64;
                let ends = extent(palettes.end(), layout::RECORD_END_BYTES * records)?;
                (ends, align(ends.end(), RECORD_ALIGNMENT)?)
            }
            false => (extent(palettes.end(), 0)?, palettes.end()),
        };
        let payload = Payload {
            forms,
            weights,
            chunk_size_log2,
            plain,
            block_checksums,
            palettes,
            record_ends,
            records: extent(records_offset, 0)?,
        };
        // A payload this close to 2^64 is in no file, but its rules are those of any other.
        let left = (u64::MAX - records_offset) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
        let longest = payload.longest_records_bytes().min(left);
        Some(payload.ending_with(longest))
    }

    fn empty(at: u64, forms: Forms) -> Payload {
        let nothing = Extent {
            offset: at,
            length: 0,
        };
        Payload {
            forms,
            weights: 0,
            chunk_size_log2: 0,
            plain: nothing,
            block_checksums: nothing,
            palettes: nothing,
            record_ends: nothing,
            records: nothing,
        }
    }

    fn ending_with(self, records_bytes: u64) -> Payload {
        Payload {
            records: Extent {
                length: records_bytes,
                ..self.records
            },
            ..self
        }
    }

    /// This payload with another length of its records, or `None` if no records of this tensor have
    /// that length together.
    pub fn with_records_bytes(self, bytes: u64) -> Option<Payload> {
        let end = self.records.offset.checked_add(bytes)?;
        self.with_end(end).ok()
    }

    /// This payload, but with records up to the offset `end`. An error has the end expected.
    pub(crate) fn with_end(self, end: u64) -> Result<Payload, Expected> {
        let start = self.records.offset;
        if !self.forms.is_coded() {
            return match end == start {
                true => Ok(self),
                false => Err(Expected::Exactly(start)),
            };
        }
        let least = start.saturating_add(RECORD_ALIGNMENT * self.record_count());
        let most = start.saturating_add(self.longest_records_bytes());
        if end < least {
            Err(Expected::AtLeast(least))
        } else if end > most {
            Err(Expected::AtMost(most))
        } else if !(end - start).is_multiple_of(RECORD_ALIGNMENT) {
            Err(Expected::Words("records that are a multiple of 16 bytes"))
        } else {
            Ok(self.ending_with(end - start))
        }
    }

    /// The sum of the greatest lengths of all records (section 5.1).
    pub fn longest_records_bytes(&self) -> u64 {
        let Some(others) = self.chunk_count().checked_sub(1) else {
            return 0;
        };
        let last = self.chunk(others);
        let longest = |coded: CodedField| {
            let longest = |weights| layout::longest_record_bytes(weights, coded.field.width());
            others * longest(1 << self.chunk_size_log2) + longest(last.weights)
        };
        self.forms.coded().map(longest).sum()
    }

    /// Whether the payload is shorter than that of the same tensor with plain fields alone, both
    /// aligned. A canonical encoder stores the tensor raw otherwise (section 11.8).
    pub fn saves_space(&self) -> bool {
        self.saves_space_with(self.records.length)
    }

    /// Same as [`saves_space`](Payload::saves_space), for records of another length.
    pub(crate) fn saves_space_with(&self, records_bytes: u64) -> bool {
        // A payload has at most 2^60 bytes, so no sum leaves 64 bits.
        let data_bytes = self.weights * self.forms.dtype().weight_bytes() as u64;
        let raw = match data_bytes <= layout::BLOCK_BYTES {
            true => data_bytes,
            false => {
                let blocks = data_bytes.div_ceil(layout::BLOCK_BYTES);
                data_bytes.next_multiple_of(layout::BLOCK_CHECKSUM_BYTES)
                    + layout::BLOCK_CHECKSUM_BYTES * blocks
            }
        };
        let this = self.records.offset - self.start() + records_bytes;
        let alignment = tensor_alignment(data_bytes);
        this.next_multiple_of(alignment) < raw.next_multiple_of(alignment)
    }
}

/// An extent that ends within 64 bits.
fn extent(offset: u64, length: u64) -> Option<Extent> {
    offset.checked_add(length)?;
    Some(Extent { offset, length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::payload::ChunkShape;

    fn place(before: u64, dtype: Dtype, forms: u32, weights: u64, log2: u8) -> Payload {
        let forms = Forms::from_bits(dtype, forms).unwrap();
        Payload::place(before, forms, weights, log2).unwrap()
    }

    fn parts(payload: &Payload) -> [(u64, u64); 5] {
        [
            payload.plain(),
            payload.block_checksums(),
            payload.palettes(),
            payload.record_ends(),
            payload.records(),
        ]
        .map(|extent| (extent.offset, extent.length))
    }

    #[test]
    fn a_coded_exponent_of_bf16_has_the_layout_of_the_spec() {
        // 40,000 weights: 80,000 bytes, so aligned to 256. Two chunks of 32,768.
        let payload = place(1000, Dtype::Bf16, 0x1, 40_000, 15);
        let longest = 16 + 32_768 + 16 + 7_232;
        assert_eq!(
            parts(&payload),
            [
                (1024, 40_000),
                (41_024, 0),
                (41_216, 16),
                (41_232, 8),
                (41_248, longest)
            ]
        );
        assert_eq!(payload.chunk_count(), 2);
        let last = ChunkShape {
            number: 1,
            first_weight: 32_768,
            weights: 7_232,
            plain: Extent {
                offset: 1024 + 32_768,
                length: 7_232,
            },
        };
        assert_eq!(payload.chunk(1), last);
        assert_eq!(payload.with_records_bytes(16), None);
        assert_eq!(payload.with_records_bytes(40), None);
        assert_eq!(payload.with_records_bytes(longest + 16), None);
        let short = payload.with_records_bytes(32).unwrap();
        assert_eq!((short.end(), payload.start()), (41_280, 1024));
    }

    #[test]
    fn parts_of_a_small_tensor_are_aligned_to_16() {
        // A coded exponent leaves 4 plain bits.
        let payload = place(1001, Dtype::F8E4M3, 0x01, 9, 12);
        let expected = [(1008, 5), (1013, 0), (1024, 16), (1040, 4), (1056, 32)];
        assert_eq!(parts(&payload), expected);
        assert_eq!(
            payload.padding().map(|extent| extent.length),
            [0, 11, 12],
            "no byte between the parts is left out"
        );
    }

    #[test]
    fn two_coded_fields_share_one_index_of_records() {
        let payload = place(0, Dtype::Bf16, 0x11, 5_000, 12);
        // Sign and 4 bits of mantissa are plain.
        assert_eq!(payload.plain().length, 5_000 * 5 / 8);
        assert_eq!(payload.palettes().length, 32);
        assert_eq!(payload.record_count(), 4);
        assert_eq!(payload.record_index(1, 1), 3);
        let longest = 16 + 4096 + 16 + 4096 * 3 / 8 + (16 + 904) + 8 + (16 + 339) + 13;
        assert_eq!(payload.records().length, longest);
        let ends = payload.record_ends().offset;
        let of = |chunks| {
            let extent = payload.record_ends_of(chunks);
            (extent.offset - ends, extent.length)
        };
        assert_eq!([of(0..1), of(1..2), of(0..2)], [(0, 8), (4, 12), (0, 16)]);
        assert_eq!(payload.plain_of_chunks(1..2).length, 904 * 5 / 8);
        assert_eq!(payload.plain_of_weights(1..2).length, 2);
        let [exponent, mantissa] = [0, 1].map(|number| {
            let coded = payload.forms().coded_field(number).unwrap();
            payload.record_shape(&payload.chunk(1), &coded)
        });
        assert_eq!((exponent.width(), exponent.joins_plain()), (8, true));
        assert_eq!((mantissa.width(), mantissa.joins_plain()), (3, false));
    }

    #[test]
    fn planes_of_at_most_65536_bytes_have_no_block_checksums() {
        let payload = place(256, Dtype::U8, 0, 65_536, 0);
        assert_eq!((payload.block_count(), payload.end()), (0, 256 + 65_536));
        let payload = place(256, Dtype::U8, 0, 65_537, 0);
        assert_eq!(payload.block_count(), 2);
        assert_eq!(payload.block(1).length, 1);
        assert_eq!(payload.end(), 256 + 65_540 + 8);
        assert_eq!(payload.padding().map(|extent| extent.length), [3, 0, 0]);
        let payload = place(0, Dtype::Bf16, 0x1, 1 << 20, 12);
        assert_eq!(payload.block_count(), 0);
    }

    #[test]
    fn constants_follow_the_block_checksums() {
        // F32 that was BF16: 16 plain bits, three constant fields.
        let payload = place(0, Dtype::F32, 0x33_3000, 40_000, 0);
        assert_eq!(
            parts(&payload),
            [
                (0, 80_000),
                (80_000, 8),
                (80_128, 48),
                (80_176, 0),
                (80_176, 0)
            ]
        );
        assert_eq!(payload.chunk_count(), 0);
        assert!(payload.saves_space());
    }

    #[test]
    fn a_tensor_without_weights_has_no_bytes_and_no_alignment() {
        let payload = place(1001, Dtype::Bf16, 0, 0, 0);
        assert_eq!(parts(&payload), [(1001, 0); 5]);
    }

    #[test]
    fn refuses_what_no_tensor_may_be() {
        let [raw, coded, constant] =
            [0, 1, 3].map(|bits| Forms::from_bits(Dtype::Bf16, bits).unwrap());
        let refused = |forms, weights, log2| Payload::place(0, forms, weights, log2).unwrap_err();
        assert_eq!(refused(coded, 0, 12), Rule::FormEmpty);
        assert_eq!(refused(constant, 0, 0), Rule::FormEmpty);
        assert_eq!(refused(coded, (1 << 35) + 1, 12), Rule::LimitCoded);
        for log2 in [0, 11, 17, 255] {
            assert_eq!(refused(coded, 1, log2), Rule::ChunkSize);
        }
        for forms in [raw, constant] {
            assert_eq!(refused(forms, 1, 12), Rule::ChunkSize);
        }
        assert_eq!(refused(raw, u64::MAX, 0), Rule::LimitElements);
        let past_the_end = Payload::place(u64::MAX - 300, raw, 200, 0);
        assert_eq!(past_the_end.unwrap_err(), Rule::PayloadEnd);
        assert!(Payload::place(0, coded, 1 << 35, 16).is_ok());
    }

    #[test]
    fn saves_space_only_where_the_aligned_payload_is_shorter() {
        let payload = place(0, Dtype::Bf16, 0x1, 1000, 12);
        // 1000 plain bytes, padding, a palette, an end and padding are 1040; raw is 2000.
        assert_eq!(payload.records().offset, 1040);
        let with = |bytes| payload.with_records_bytes(bytes).unwrap().saves_space();
        assert!(with(944));
        assert!(!with(960));
        assert!(!place(0, Dtype::Bf16, 0, 1000, 0).saves_space());
    }
}
