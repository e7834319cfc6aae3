//! The palette of a tensor (section 11.2).

use std::cmp::Reverse;

use unweight_format::Palette;
use unweight_format::layout::PALETTE_ENTRIES;

use super::ExponentCounts;

/// The palette that the deterministic encoder chooses for a tensor with these counts.
pub fn choose_palette(counts: &ExponentCounts) -> Palette {
    let mut chosen: Vec<u8> = (0..=255)
        .filter(|&exponent| counts.of(exponent) > 0)
        .collect();
    let greatest = chosen.last().copied().unwrap_or(0);
    chosen.sort_by_key(|&exponent| (Reverse(counts.of(exponent)), exponent));
    chosen.truncate(PALETTE_ENTRIES);
    // Exponents of trained weights become rarer downwards, so filling up from there keeps the
    // palette consecutive.
    let below = (0..greatest).rev();
    let above = greatest..=255;
    for exponent in below.chain(above) {
        if chosen.len() < PALETTE_ENTRIES && !chosen.contains(&exponent) {
            chosen.push(exponent);
        }
    }
    chosen.sort_unstable();
    let exponents = chosen.try_into().expect("256 exponents fill 16 entries");
    Palette::new(exponents).expect("sorted, and no exponent twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette_of(exponents: &[u8]) -> [u8; 16] {
        let mut counts = ExponentCounts::default();
        counts.add_exponents(exponents);
        *choose_palette(&counts).exponents()
    }

    #[test]
    fn takes_the_sixteen_commonest_and_the_smaller_of_equals() {
        let mut exponents: Vec<u8> = (100..120).collect();
        exponents.extend(105..120);
        assert_eq!(
            palette_of(&exponents),
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
}
