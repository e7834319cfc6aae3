//! The palette of a coded field (section 3.5).

use crate::layout::{PALETTE_ENTRIES, palette_entries};

/// The values of a coded field that can be coded, strictly ascending: 16, or all values of a field
/// of fewer than 4 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Palette {
    /// Zero from `entries` on.
    values: [u8; PALETTE_ENTRIES],
    width: u8,
}

impl Palette {
    /// A palette of a field of `width` bits, as a payload has it: min(16, 2^width) values, then
    /// zeros.
    ///
    /// # Errors
    /// `palette-values`: the index of the first byte that is not greater than the one before it, is
    /// 2^width or more, or should be zero.
    ///
    /// # Panics
    /// If the width is not 1 to 8 bits.
    pub fn new(width: u32, values: [u8; PALETTE_ENTRIES]) -> Result<Palette, usize> {
        assert!((1..=8).contains(&width), "a field of {width} bits");
        let entries = palette_entries(width);
        for (index, &value) in values.iter().enumerate() {
            let is_valid = match index < entries {
                true => u32::from(value) < 1 << width && (index == 0 || values[index - 1] < value),
                false => value == 0,
            };
            if !is_valid {
                return Err(index);
            }
        }
        Ok(Palette {
            values,
            width: width as u8,
        })
    }

    /// The lowest values of a field of `width` bits, from 0 up. A field of at most 4 bits has no
    /// other palette.
    ///
    /// # Panics
    /// If the width is not 1 to 8 bits.
    pub const fn lowest(width: u32) -> Palette {
        assert!(width >= 1 && width <= 8, "a field has 1 to 8 bits");
        let mut values = [0; PALETTE_ENTRIES];
        let mut index = 0;
        while index < palette_entries(width) {
            values[index] = index as u8;
            index += 1;
        }
        Palette {
            values,
            width: width as u8,
        }
    }

    /// The values, by palette index.
    pub fn values(&self) -> &[u8] {
        &self.values[..palette_entries(self.width())]
    }

    /// The bytes in the payload: the values by palette index, then zeros for indices that the
    /// palette does not have.
    pub const fn padded(&self) -> &[u8; PALETTE_ENTRIES] {
        &self.values
    }

    /// Bits of the field.
    pub const fn width(&self) -> u32 {
        self.width as u32
    }

    /// The palette index of a value.
    pub fn index_of(&self, value: u8) -> Option<usize> {
        self.values().binary_search(&value).ok()
    }

    /// The first value, if the values are consecutive: value = base + index.
    pub fn base(&self) -> Option<u8> {
        let (first, last) = (self.values[0], *self.values().last()?);
        (usize::from(last - first) == self.values().len() - 1).then_some(first)
    }
}

impl core::fmt::Debug for Palette {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Palette").field(&self.values()).finish()
    }
}

/// The list of its values.
#[cfg(feature = "serde")]
impl serde::Serialize for Palette {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_sixteen_ascending_values_of_a_wide_field() {
        let values: [u8; 16] = core::array::from_fn(|i| 10 + i as u8);
        let palette = Palette::new(5, values).unwrap();
        assert_eq!((palette.values(), palette.base()), (&values[..], Some(10)));
        assert_eq!(palette.index_of(25), Some(15));
        assert_eq!(palette.index_of(26), None);
        let above_the_field: [u8; 16] = core::array::from_fn(|i| 17 + i as u8);
        assert_eq!(Palette::new(5, above_the_field), Err(15));
        assert!(Palette::new(6, above_the_field).is_ok());
        let mut gap = values;
        gap[15] = 31;
        assert_eq!(Palette::new(5, gap).unwrap().base(), None);
        gap[3] = gap[2];
        assert_eq!(Palette::new(5, gap), Err(3));
        assert_eq!(Palette::new(8, [0; 16]), Err(1));
    }

    #[test]
    fn has_every_value_of_a_narrow_field_and_then_zeros() {
        for width in 1..=4 {
            let palette = Palette::lowest(width);
            assert_eq!(palette.values().len(), 1 << width);
            assert_eq!(Palette::new(width, *palette.padded()), Ok(palette));
            assert_eq!(palette.base(), Some(0));
            for index in 0..16 {
                let mut values = *palette.padded();
                values[index] += 1;
                assert!(Palette::new(width, values).is_err(), "{width} {index}");
            }
        }
        // The zeros behind it are no entries.
        assert_eq!(Palette::lowest(2).index_of(4), None);
    }
}
