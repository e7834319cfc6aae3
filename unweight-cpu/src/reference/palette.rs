//! The palette of a coded field (section 11.3).

use std::cmp::Reverse;

use unweight_format::Palette;
use unweight_format::layout::{NARROW_BITS, PALETTE_ENTRIES};

use super::ValueCounts;

/// The palette that the deterministic encoder chooses for a field of `width` bits with these
/// counts.
///
/// # Panics
/// If the width is not 1 to 8 bits, or a counted value is above it.
pub fn choose_palette(counts: &ValueCounts, width: u32) -> Palette {
    if width <= NARROW_BITS {
        return Palette::lowest(width);
    }
    let greatest_value = u8::MAX >> (8 - width);
    let mut chosen: Vec<u8> = (0..=u8::MAX)
        .filter(|&value| counts.of(value) > 0)
        .collect();
    let greatest = chosen.last().copied().unwrap_or(0);
    chosen.sort_by_key(|&value| (Reverse(counts.of(value)), value));
    chosen.truncate(PALETTE_ENTRIES);
    // Exponents of trained weights become rarer downwards, so filling up from there keeps the
    // palette consecutive.
    let below = (0..greatest).rev();
    let above = greatest..=greatest_value;
    for value in below.chain(above) {
        if chosen.len() < PALETTE_ENTRIES && !chosen.contains(&value) {
            chosen.push(value);
        }
    }
    chosen.sort_unstable();
    let values = chosen
        .try_into()
        .expect("32 values or more fill 16 entries");
    Palette::new(width, values).expect("sorted, no value twice, and none above the width")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette_of(values: &[u8]) -> [u8; 16] {
        of_width(8, values)
    }

    fn of_width(width: u32, values: &[u8]) -> [u8; 16] {
        let mut counts = ValueCounts::default();
        counts.add_values(values);
        *choose_palette(&counts, width).padded()
    }

    #[test]
    fn takes_the_sixteen_commonest_and_the_smaller_of_equals() {
        let mut values: Vec<u8> = (100..120).collect();
        values.extend(105..120);
        assert_eq!(
            palette_of(&values),
            core::array::from_fn(|i| match i {
                0 => 100,
                _ => 104 + i as u8,
            })
        );
    }

    #[test]
    fn completes_a_small_palette_downwards_first() {
        let consecutive = core::array::from_fn(|i| 106 + i as u8);
        assert_eq!(palette_of(&(110..122).collect::<Vec<_>>()), consecutive);
        let with_zero = core::array::from_fn(|i| if i == 0 { 0 } else { 106 + i as u8 });
        assert_eq!(palette_of(&[0, 110, 121]), with_zero);
        assert_eq!(palette_of(&[3]), core::array::from_fn(|i| i as u8));
        assert_eq!(palette_of(&[255]), core::array::from_fn(|i| 240 + i as u8));
    }

    #[test]
    fn completes_the_palette_of_a_narrower_field_with_its_own_values() {
        assert_eq!(of_width(5, &[3]), core::array::from_fn(|i| i as u8));
        assert_eq!(
            of_width(5, &[31, 2]),
            core::array::from_fn(|i| match i {
                0 => 2,
                _ => 16 + i as u8,
            })
        );
    }

    #[test]
    fn has_all_values_of_a_field_of_four_bits_or_fewer() {
        assert_eq!(of_width(4, &[9]), core::array::from_fn(|i| i as u8));
        assert_eq!(of_width(2, &[3])[..5], [0, 1, 2, 3, 0]);
    }
}
