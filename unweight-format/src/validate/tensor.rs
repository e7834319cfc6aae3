//! One tensor of the directory (sections 3.2, 4.1, 4.2 and 4.3).

use crate::dtype::Dtype;
use crate::encoding::Encoding;
use crate::error::{Error, Expected, Rule};
use crate::layout::entry as field;
use crate::limits;
use crate::parse::RawEntry;
use crate::validate::{CodedPlanes, Payload, RawPlane};

/// A tensor: name, type, shape, encoding and payload extents.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    number: u32,
    name: &'a str,
    dims: &'a [[u8; 8]],
    dtype: Dtype,
    element_count: u64,
    checksum: u32,
    entry_offset: u64,
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
        let encoding = Encoding::from_code(raw.encoding).ok_or(Error::new(
            Rule::EncodingUnknown,
            at(field::ENCODING),
            raw.encoding.into(),
            Expected::Words("an encoding of this version"),
        ))?;
        let payload = match encoding {
            Encoding::Raw => Payload::Raw(RawPlane::resolve(&raw, bits / 8, &located)?),
            Encoding::Huffman | Encoding::Palette => Payload::Coded(CodedPlanes::resolve(
                &raw,
                encoding,
                dtype,
                element_count,
                &located,
            )?),
        };
        Ok(Tensor {
            number: located.number,
            name: located.name,
            dims: located.dims,
            dtype,
            element_count,
            checksum: raw.tensor_checksum,
            entry_offset: located.entry_offset,
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
        self.dtype
    }

    /// The product of the dimensions.
    pub const fn element_count(&self) -> u64 {
        self.element_count
    }

    /// Bytes of the original tensor.
    pub const fn data_bytes(&self) -> u64 {
        self.element_count * self.dtype.bits() / 8
    }

    /// The encoding.
    pub const fn encoding(&self) -> Encoding {
        match &self.payload {
            Payload::Raw(_) => Encoding::Raw,
            Payload::Coded(planes) => planes.encoding(),
        }
    }

    /// Extents of the payload.
    pub const fn payload(&self) -> &Payload {
        &self.payload
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
}
