//! Palettes for matrices whose exponents are counted.

use unweight_format::Palette;

/// The number of values of an exponent.
const EXPONENTS: usize = 256;
/// The number of entries of its palette.
const ENTRIES: usize = 16;

/// The 16 exponents with the greatest counts. If fewer occur, the next ones below the greatest that
/// occurs complete the palette, because kernels are faster with consecutive exponents.
pub fn most_frequent(counts: &[u64; EXPONENTS]) -> Palette {
    let greatest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    let mut exponents: Vec<usize> = (0..EXPONENTS).collect();
    exponents.sort_by_key(|&exponent| {
        let (count, is_above) = (counts[exponent], exponent > greatest);
        (
            std::cmp::Reverse(count),
            is_above,
            exponent.abs_diff(greatest),
        )
    });
    exponents.truncate(ENTRIES);
    exponents.sort_unstable();
    let values = std::array::from_fn(|entry| exponents[entry] as u8);
    Palette::new(u8::BITS, values).expect("sorted, and no exponent twice")
}

/// The number of patches that a matrix with these counts of exponents has with a palette.
pub fn patch_count(counts: &[u64; EXPONENTS], palette: &Palette) -> u64 {
    let (values, all) = (palette.values().iter(), counts.iter().sum::<u64>());
    all - values.map(|&value| counts[usize::from(value)]).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette_with(counted: &[(usize, u64)]) -> Palette {
        let mut counts = [0; EXPONENTS];
        for &(exponent, count) in counted {
            counts[exponent] = count;
        }
        most_frequent(&counts)
    }

    #[test]
    fn a_palette_has_the_most_frequent_exponents() {
        let counted: Vec<(usize, u64)> = (0..20).map(|i| (10 * i, 5 + i as u64)).collect();
        let palette = palette_with(&counted);
        assert!(
            palette
                .values()
                .iter()
                .map(|&v| usize::from(v))
                .eq((4..20).map(|i| 10 * i))
        );
    }

    #[test]
    fn a_palette_of_few_exponents_is_consecutive() {
        assert_eq!(palette_with(&[(120, 1)]).base(), Some(105));
        assert_eq!(
            palette_with(&[(118, 9), (120, 1), (117, 9)]).base(),
            Some(105)
        );
        // Fewer than 15 exponents are below the greatest one.
        assert_eq!(palette_with(&[(3, 7), (0, 1)]).base(), Some(0));
        assert_eq!(palette_with(&[]).base(), Some(0));
        assert_eq!(palette_with(&[(255, 1)]).base(), Some(240));
    }

    #[test]
    fn patches_are_the_weights_that_a_palette_lacks() {
        let mut counts = [0; EXPONENTS];
        (counts[3], counts[15], counts[16], counts[255]) = (5, 6, 7, 8);
        assert_eq!(
            patch_count(
                &counts,
                &Palette::new(8, std::array::from_fn(|i| i as u8)).unwrap()
            ),
            15
        );
    }
}
