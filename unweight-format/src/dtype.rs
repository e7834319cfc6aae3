//! Element types and their fields (section 4.1).

use core::fmt;

use crate::field::Field;

macro_rules! dtypes {
    ($(
        $variant:ident $name:literal $code:literal $bits:literal $weight_bytes:literal
        {$([$high:literal $low:literal])*},
    )*) => {
        /// The type of a tensor's elements, with the name that safetensors gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub enum Dtype {
            $(
                #[doc = concat!("`", $name, "`: ", stringify!($bits), " bits an element.")]
                #[cfg_attr(feature = "serde", serde(rename = $name))]
                $variant,
            )*
        }

        impl Dtype {
            /// Every type, by ascending code.
            pub const ALL: &[Dtype] = &[$(Dtype::$variant,)*];

            /// The type with this code in a directory entry.
            pub const fn from_code(code: u8) -> Option<Dtype> {
                match code {
                    $($code => Some(Dtype::$variant),)*
                    _ => None,
                }
            }

            /// The type's code in a directory entry.
            pub const fn code(self) -> u8 {
                match self { $(Dtype::$variant => $code,)* }
            }

            /// The type with this safetensors name.
            pub fn from_name(name: &str) -> Option<Dtype> {
                match name {
                    $($name => Some(Dtype::$variant),)*
                    _ => None,
                }
            }

            /// The type's safetensors name.
            pub const fn name(self) -> &'static str {
                match self { $(Dtype::$variant => $name,)* }
            }

            /// Bits of one element.
            pub const fn bits(self) -> u64 {
                match self { $(Dtype::$variant => $bits,)* }
            }

            /// Bytes of one weight: 1, 2, 4 or 8. A weight is one element, except that one of `F4`
            /// holds two, and that one of a type of 6 bits is a byte of packed elements.
            pub const fn weight_bytes(self) -> usize {
                match self { $(Dtype::$variant => $weight_bytes,)* }
            }

            /// The fields of a weight, at most [`FIELDS`](crate::layout::FIELDS). At least one bit
            /// of a weight is in no field.
            pub const fn fields(self) -> &'static [Field] {
                match self { $(
                    Dtype::$variant => const { &[$(Field::bits($high, $low),)*] },
                )* }
            }
        }
    };
}

dtypes! {
    Bool "BOOL" 1 8 1 {[7 4] [3 1]},
    U8 "U8" 2 8 1 {[7 4] [3 1]},
    I8 "I8" 3 8 1 {[7 4] [3 1]},
    F8E5M2 "F8_E5M2" 4 8 1 {[6 2] [1 0]},
    F8E4M3 "F8_E4M3" 5 8 1 {[6 3] [2 0]},
    F8E8M0 "F8_E8M0" 6 8 1 {[7 1]},
    F8E4M3Fnuz "F8_E4M3FNUZ" 7 8 1 {[6 3] [2 0]},
    F8E5M2Fnuz "F8_E5M2FNUZ" 8 8 1 {[6 2] [1 0]},
    F4 "F4" 9 4 1 {[7 4] [3 1]},
    F6E2M3 "F6_E2M3" 10 6 1 {},
    F6E3M2 "F6_E3M2" 11 6 1 {},
    I16 "I16" 12 16 2 {[15 12] [11 8] [7 4] [3 1]},
    U16 "U16" 13 16 2 {[15 12] [11 8] [7 4] [3 1]},
    F16 "F16" 14 16 2 {[14 10] [9 7] [6 3] [2 0]},
    Bf16 "BF16" 15 16 2 {[14 7] [6 4] [3 0]},
    I32 "I32" 16 32 4 {[31 28] [27 24] [23 20] [19 16] [15 12] [11 8] [7 4] [3 1]},
    U32 "U32" 17 32 4 {[31 28] [27 24] [23 20] [19 16] [15 12] [11 8] [7 4] [3 1]},
    F32 "F32" 18 32 4 {[30 23] [22 20] [19 16] [15 13] [12 8] [7 0]},
    I64 "I64" 19 64 8 {[63 56] [55 48] [47 40] [39 32] [31 24] [23 16] [15 8] [7 1]},
    U64 "U64" 20 64 8 {[63 56] [55 48] [47 40] [39 32] [31 24] [23 16] [15 8] [7 1]},
    F64 "F64" 21 64 8 {[59 52] [62 60] [47 40] [39 32] [31 24] [23 16] [15 8] [7 0]},
    C64 "C64" 22 64 8 {[30 23] [22 16] [15 8] [7 0] [62 55] [54 48] [47 40] [39 32]},
}

impl Dtype {
    /// The bits that a weight has.
    pub const fn weight_mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.weight_bytes())
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_to_their_type() {
        for code in 0..=u8::MAX {
            if let Some(dtype) = Dtype::from_code(code) {
                assert_eq!(dtype.code(), code);
                assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
            }
        }
        assert_eq!(Dtype::ALL.len(), 22);
        assert_eq!(Dtype::from_code(0), None);
    }

    #[test]
    fn fields_lie_in_the_weight_apart_and_leave_a_bit() {
        for dtype in Dtype::ALL {
            let mut taken = 0u64;
            for field in dtype.fields() {
                assert_eq!(taken & field.mask(), 0, "{dtype}: {field:?} is apart");
                taken |= field.mask();
            }
            assert_eq!(taken & !dtype.weight_mask(), 0, "{dtype}");
            assert_ne!(taken, dtype.weight_mask(), "{dtype}");
            assert!(dtype.fields().len() <= crate::layout::FIELDS, "{dtype}");
        }
    }
}
