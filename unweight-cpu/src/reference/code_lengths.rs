//! Code lengths by package-merge, and the cost of a code (section 11.3).

use unweight_format::layout::{LONGEST_CODE_BITS, PALETTE_ENTRIES, PATCH_BYTES};
use unweight_format::{Code, Palette};

use super::ExponentCounts;

/// `choose_code` of section 11.3: the code that the deterministic encoder chooses for these counts.
pub fn choose_code(counts: &ExponentCounts, palette: &Palette) -> Code {
    let total = counts.total();
    let count_of = |entry: usize| counts.of(palette.exponents()[entry]);
    // A rarer exponent is cheaper as a patch than as a code of 8 bits.
    let passes = |entry: &usize| count_of(*entry) > 0 && 4096 * count_of(*entry) >= total;
    let mut items: Vec<usize> = (0..PALETTE_ENTRIES).filter(passes).collect();
    if items.is_empty() {
        // `max_by_key` returns the last of equal maxima, so the iteration is in descending order.
        items.extend(
            (0..PALETTE_ENTRIES)
                .rev()
                .max_by_key(|&entry| count_of(entry)),
        );
    }
    items.sort_by_key(|&entry| (count_of(entry), entry));
    let items: Vec<Package> = items
        .iter()
        .map(|&entry| Package::of_one(entry, count_of(entry)))
        .collect();
    let lengths = package_merge(&items);
    Code::from_lengths(lengths).expect("package-merge gives a complete code")
}

/// The cost of a code for these counts, in bits (section 11.3).
pub(super) fn cost_bits(counts: &ExponentCounts, palette: &Palette, code: &Code) -> u64 {
    let patch_bits = 8 * PATCH_BYTES as u64;
    let uncoded = u64::from(code.placeholder().length_bits) + patch_bits;
    (0..=255)
        .map(|exponent| {
            let length = palette
                .index_of(exponent)
                .and_then(|entry| code.length_bits(entry))
                .map_or(uncoded, u64::from);
            counts.of(exponent) * length
        })
        .sum()
}

/// An item or a package of items.
#[derive(Clone)]
struct Package {
    weight: u64,
    /// Number of occurrences of each entry in it.
    occurrences: [u8; PALETTE_ENTRIES],
}

impl Package {
    fn of_one(entry: usize, weight: u64) -> Package {
        let mut occurrences = [0; PALETTE_ENTRIES];
        occurrences[entry] = 1;
        Package {
            weight,
            occurrences,
        }
    }

    fn of_two(pair: &[Package]) -> Package {
        let [left, right] = pair else {
            unreachable!("pairs have two elements")
        };
        Package {
            weight: left.weight + right.weight,
            occurrences: core::array::from_fn(|i| left.occurrences[i] + right.occurrences[i]),
        }
    }
}

/// Code lengths for items sorted by weight, at most 8 bits each (section 11.3, steps 2 and 3).
fn package_merge(items: &[Package]) -> [Option<u8>; PALETTE_ENTRIES] {
    let mut list = items.to_vec();
    for _level in 2..=LONGEST_CODE_BITS {
        let packages = list.chunks_exact(2).map(Package::of_two);
        let mut merged: Vec<Package> = items.iter().cloned().chain(packages).collect();
        // The sort is stable: of equal weights, items stay before packages, and each kind keeps its
        // order.
        merged.sort_by_key(|package| package.weight);
        list = merged;
    }
    let mut lengths = [None; PALETTE_ENTRIES];
    for item in items {
        for (length, &occurs) in lengths.iter_mut().zip(&item.occurrences) {
            if occurs > 0 {
                *length = Some(0);
            }
        }
    }
    for package in list.iter().take(2 * items.len() - 2) {
        for (length, occurs) in lengths.iter_mut().zip(package.occurrences) {
            *length = length.map(|length| length + occurs);
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette() -> Palette {
        Palette::new(core::array::from_fn(|i| 100 + i as u8)).unwrap()
    }

    fn lengths_for(counts_by_entry: &[u64]) -> Vec<Option<u8>> {
        let mut counts = ExponentCounts::default();
        for (entry, &count) in counts_by_entry.iter().enumerate() {
            counts.add_exponents(&vec![100 + entry as u8; count as usize]);
        }
        let code = choose_code(&counts, &palette());
        (0..counts_by_entry.len())
            .map(|entry| code.length_bits(entry))
            .collect()
    }

    #[test]
    fn one_exponent_takes_no_bits() {
        assert_eq!(lengths_for(&[0, 9]), [None, Some(0)]);
    }

    #[test]
    fn equal_counts_take_equal_lengths() {
        assert_eq!(lengths_for(&[5; 16]), [Some(4); 16]);
    }

    #[test]
    fn lengths_are_those_of_huffman_where_the_limit_does_not_bind() {
        assert_eq!(
            lengths_for(&[1, 2, 4, 8]),
            [Some(3), Some(3), Some(2), Some(1)]
        );
    }

    #[test]
    fn no_length_exceeds_eight_bits() {
        let fibonacci = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144];
        let lengths = lengths_for(&fibonacci);
        assert_eq!(lengths.iter().max(), Some(&Some(8)));
    }

    #[test]
    fn an_exponent_rarer_than_one_in_4096_has_no_code() {
        assert_eq!(lengths_for(&[1, 4095]), [Some(1), Some(1)]);
        assert_eq!(lengths_for(&[1, 4096]), [None, Some(0)]);
    }

    #[test]
    fn no_code_of_eight_bits_or_fewer_is_cheaper() {
        // The comparison covers all complete length vectors of four entries.
        let counts_by_entry = [700u64, 200, 90, 10];
        let best = (1..=3u8)
            .flat_map(|a| (1..=3u8).map(move |b| (a, b)))
            .flat_map(|(a, b)| (1..=3u8).flat_map(move |c| (1..=3u8).map(move |d| [a, b, c, d])))
            .filter(|lengths| lengths.iter().map(|&l| 256u32 >> l).sum::<u32>() == 256)
            .map(|lengths| {
                lengths
                    .iter()
                    .zip(counts_by_entry)
                    .map(|(&l, n)| u64::from(l) * n)
                    .sum::<u64>()
            })
            .min();
        let chosen = lengths_for(&counts_by_entry);
        let cost: u64 = chosen
            .iter()
            .zip(counts_by_entry)
            .map(|(l, n)| u64::from(l.unwrap()) * n)
            .sum();
        assert_eq!(Some(cost), best);
    }
}
