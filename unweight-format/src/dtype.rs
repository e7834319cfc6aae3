//! Element types (section 4.1).

use core::fmt;

macro_rules! dtypes {
    ($($variant:ident $name:literal $code:literal $bits:literal,)*) => {
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
        }
    };
}

dtypes! {
    Bool "BOOL" 1 8,
    U8 "U8" 2 8,
    I8 "I8" 3 8,
    F8E5M2 "F8_E5M2" 4 8,
    F8E4M3 "F8_E4M3" 5 8,
    F8E8M0 "F8_E8M0" 6 8,
    F8E4M3Fnuz "F8_E4M3FNUZ" 7 8,
    F8E5M2Fnuz "F8_E5M2FNUZ" 8 8,
    F4 "F4" 9 4,
    F6E2M3 "F6_E2M3" 10 6,
    F6E3M2 "F6_E3M2" 11 6,
    I16 "I16" 12 16,
    U16 "U16" 13 16,
    F16 "F16" 14 16,
    Bf16 "BF16" 15 16,
    I32 "I32" 16 32,
    U32 "U32" 17 32,
    F32 "F32" 18 32,
    I64 "I64" 19 64,
    U64 "U64" 20 64,
    F64 "F64" 21 64,
    C64 "C64" 22 64,
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
}
