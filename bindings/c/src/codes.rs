//! Numbers of element types and encodings.

use unweight::Encoding;

use crate::status::Failure;

/// Element types. The values are the type codes of the file format.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of safetensors")]
#[expect(non_camel_case_types, reason = "the names are those of safetensors")]
pub enum DtypeCode {
    BOOL = 1,
    U8 = 2,
    I8 = 3,
    F8_E5M2 = 4,
    F8_E4M3 = 5,
    F8_E8M0 = 6,
    F8_E4M3FNUZ = 7,
    F8_E5M2FNUZ = 8,
    F4 = 9,
    F6_E2M3 = 10,
    F6_E3M2 = 11,
    I16 = 12,
    U16 = 13,
    F16 = 14,
    BF16 = 15,
    I32 = 16,
    U32 = 17,
    F32 = 18,
    I64 = 19,
    U64 = 20,
    F64 = 21,
    C64 = 22,
}

/// Encodings of the fields that are coded.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodingCode {
    /// Huffman codes: the smallest files.
    Huffman = 0,
    /// Indices into palettes of 16 values, where a field is wider than 4 bits: simpler to decode.
    Palette = 1,
}

/// The encoding with this number.
pub(crate) fn encoding(code: u32) -> Result<Encoding, Failure> {
    match code {
        code if code == EncodingCode::Huffman as u32 => Ok(Encoding::Huffman),
        code if code == EncodingCode::Palette as u32 => Ok(Encoding::Palette),
        code => Err(Failure::argument(format!(
            "found encoding {code}, expected a value of unweight_encoding"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use unweight::Dtype;

    use super::*;

    #[test]
    fn every_type_has_its_code_of_the_format() {
        use DtypeCode::*;
        let codes = [
            BOOL,
            U8,
            I8,
            F8_E5M2,
            F8_E4M3,
            F8_E8M0,
            F8_E4M3FNUZ,
            F8_E5M2FNUZ,
            F4,
            F6_E2M3,
            F6_E3M2,
            I16,
            U16,
            F16,
            BF16,
            I32,
            U32,
            F32,
            I64,
            U64,
            F64,
            C64,
        ];
        assert_eq!(codes.len(), Dtype::ALL.len());
        for (code, dtype) in codes.into_iter().zip(Dtype::ALL) {
            assert_eq!(code as u32, u32::from(dtype.code()));
            assert_eq!(format!("{code:?}"), dtype.name());
        }
    }
}
