//! One tensor of the directory (sections 3.2, 3.5, 4.1 and 4.2).

use crate::dtype::Dtype;
use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::form::Forms;
use crate::layout::{FORM_BITS, entry as field};
use crate::limits;
use crate::parse::RawEntry;
use crate::payload::Payload;
use crate::validate::require_zero;

/// A tensor: name, type, shape, forms and payload extents.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    number: u32,
    name: &'a str,
    dims: &'a [[u8; 8]],
    element_count: u64,
    checksum: u32,
    palette_checksum: u32,
    entry_offset: u64,
    payload_before: u64,
    payload: Payload,
}

/// Facts of the directory about a tensor, beside the fields of its entry.
pub(crate) struct Located<'a> {
    pub(crate) number: u32,
    pub(crate) name: &'a str,
    /// The dimensions as little-endian u64.
    pub(crate) dims: &'a [[u8; 8]],
    pub(crate) entry_offset: u64,
    /// Offset where the payload of the tensor before ends.
    pub(crate) payload_before: u64,
}

impl<'a> Tensor<'a> {
    pub(crate) fn resolve(raw: RawEntry, located: Located<'a>) -> Result<Tensor<'a>, Error> {
        let at = |offset: u64| located.entry_offset + offset;
        let dtype = Dtype::from_code(raw.dtype).ok_or(Error::new(
            Rule::DtypeUnknown,
            at(field::DTYPE),
            raw.dtype.into(),
            Expected::Words("a dtype code of this version"),
        ))?;
        let dims = located.dims.iter().map(|&bytes| u64::from_le_bytes(bytes));
        let element_count = limits::element_count(dims).ok_or(Error::new(
            Rule::LimitElements,
            at(field::DIMS_END),
            u64::MAX,
            Expected::AtMost(limits::ELEMENTS),
        ))?;
        // At most 2^56 elements of 64 bits.
        let bits = element_count * dtype.bits();
        if bits % 8 != 0 {
            return Err(Error::new(
                Rule::TensorBits,
                at(field::DIMS_END),
                bits,
                Expected::Words("a multiple of 8 bits"),
            ));
        }
        let weights = bits / 8 / dtype.weight_bytes() as u64;
        let forms = forms(&raw, dtype, located.entry_offset)?;
        let payload = payload(&raw, forms, weights, &located)?;
        if forms.is_raw() {
            require_zero(
                Rule::PaletteCrc,
                &raw.palette_checksum.to_le_bytes(),
                at(field::PALETTE_CHECKSUM),
            )?;
        }
        Ok(Tensor {
            number: located.number,
            name: located.name,
            dims: located.dims,
            element_count,
            checksum: raw.tensor_checksum,
            palette_checksum: raw.palette_checksum,
            entry_offset: located.entry_offset,
            payload_before: located.payload_before,
            payload,
        })
    }

    /// The tensor's number, counted from 0 in directory order.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The name; it may be empty.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The dimensions as the directory has them, little-endian u64 each.
    #[cfg(feature = "alloc")]
    pub(crate) const fn stored_shape(&self) -> &'a [[u8; 8]] {
        self.dims
    }

    /// The dimensions, outermost first; none for a scalar.
    pub fn shape(&self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        self.dims.iter().map(|&bytes| u64::from_le_bytes(bytes))
    }

    /// The type of the elements.
    pub const fn dtype(&self) -> Dtype {
        self.forms().dtype()
    }

    /// The product of the dimensions.
    pub const fn element_count(&self) -> u64 {
        self.element_count
    }

    /// Bytes of the original tensor.
    pub const fn data_bytes(&self) -> u64 {
        self.element_count * self.dtype().bits() / 8
    }

    /// The forms of the fields.
    pub const fn forms(&self) -> Forms {
        self.payload.forms()
    }

    /// Extents of the payload.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// All padding of the payload, first of all that before it. An extent may be empty. Neither the
    /// padding before *P0* nor the guard belong to a tensor.
    pub const fn padding(&self) -> [Extent; 4] {
        let before = Extent {
            offset: self.payload_before,
            length: self.payload.start() - self.payload_before,
        };
        let [plain, block_checksums, record_ends] = self.payload.padding();
        [before, plain, block_checksums, record_ends]
    }

    /// CRC-32 of the original bytes, as the directory states it.
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Compares the CRC-32 of decoded bytes with the stated one.
    ///
    /// # Errors
    /// `tensor-crc`.
    pub fn require_checksum(&self, of_decoded: u32) -> Result<(), Error> {
        Error::unless_checksum(
            Rule::TensorCrc,
            self.entry_offset + field::TENSOR_CHECKSUM,
            of_decoded,
            self.checksum,
        )
    }

    /// Compares the CRC-32 of the tensor's palettes with the stated one.
    pub(crate) fn require_palette_checksum(&self, of_palettes: u32) -> Result<(), Error> {
        Error::unless_checksum(
            Rule::PaletteCrc,
            self.entry_offset + field::PALETTE_CHECKSUM,
            of_palettes,
            self.palette_checksum,
        )
    }
}

fn forms(raw: &RawEntry, dtype: Dtype, entry_offset: u64) -> Result<Forms, Error> {
    Forms::from_bits(dtype, raw.forms).map_err(|(rule, number)| {
        let shift = FORM_BITS * number as u32;
        let expected = match rule {
            Rule::FormUnknown => Expected::Words("a form of this version"),
            _ => Expected::Words("a form that this field of the type can have"),
        };
        Error::new(
            rule,
            entry_offset + field::FORMS + u64::from(shift / 8),
            (raw.forms >> shift & 15).into(),
            expected,
        )
    })
}

fn payload(
    raw: &RawEntry,
    forms: Forms,
    weights: u64,
    located: &Located<'_>,
) -> Result<Payload, Error> {
    let broken = |rule, at, found, expected| {
        let offset = located.entry_offset + at;
        Error::new(rule, offset, found, expected)
    };
    let misplaced = |expected| {
        let found = raw.payload_end;
        broken(Rule::PayloadEnd, field::PAYLOAD_END, found, expected)
    };
    let placed = Payload::place(located.payload_before, forms, weights, raw.chunk_size_log2);
    let payload = placed.map_err(|rule| match rule {
        Rule::FormEmpty => {
            let (found, expected) = (forms.bits().into(), Expected::Exactly(0));
            broken(rule, field::FORMS, found, expected)
        }
        Rule::ChunkSize => {
            let expected = match forms.is_coded() {
                true => Expected::Words("12 to 16"),
                false => Expected::Exactly(0),
            };
            let found = raw.chunk_size_log2.into();
            broken(rule, field::CHUNK_SIZE, found, expected)
        }
        Rule::LimitCoded => {
            let bytes = weights * forms.dtype().weight_bytes() as u64;
            let expected = Expected::AtMost(limits::CODED_BYTES);
            broken(rule, field::DIMS_END, bytes, expected)
        }
        _ => misplaced(Expected::Words("a payload that ends below 2^64")),
    })?;
    payload.with_end(raw.payload_end).map_err(misplaced)
}
