//! Code lengths by package-merge, and the cost of a code (section 11.4).

use unweight_format::layout::{LONGEST_CODE_BITS, PALETTE_ENTRIES, PATCH_BYTES};
use unweight_format::{Code, Palette};

use super::ValueCounts;

/// `choose_code` of section 11.4: the code that the deterministic encoder chooses for the values of
/// `total` weights with these counts.
pub fn choose_code(counts: &ValueCounts, total: u64, palette: &Palette) -> Code {
    let count_of = |entry: usize| counts.of(palette.values()[entry]);
    let entries = || 0..palette.values().len();
    // Step 1. A rarer value is cheaper as a patch than as a code of 8 bits.
    let passes = |&entry: &usize| count_of(entry) > 0 && 4096 * count_of(entry) >= total;
    let mut usual: Vec<usize> = entries().filter(passes).collect();
    if usual.is_empty() {
        // `max_by_key` returns the last of equal maxima, so the iteration is in descending order.
        usual.extend(entries().rev().max_by_key(|&entry| count_of(entry)));
    }
    let code = code_of(&usual, counts, palette);
    // Step 2.
    let frequent: Vec<usize> = entries()
        .filter(|&entry| 64 * count_of(entry) >= total)
        .collect();
    let outside = total - frequent.iter().map(|&entry| count_of(entry)).sum::<u64>();
    if !frequent.is_empty() && frequent != usual && 64 * outside <= total {
        let other = code_of(&frequent, counts, palette);
        if cost_bits(counts, palette, &other) < cost_bits(counts, palette, &code) {
            return other;
        }
    }
    // Step 3.
    code
}

/// `code_of` of section 11.4: the code that these palette entries have, and no others.
fn code_of(entries: &[usize], counts: &ValueCounts, palette: &Palette) -> Code {
    let mut items: Vec<(u64, usize)> = entries
        .iter()
        .map(|&entry| (counts.of(palette.values()[entry]), entry))
        .collect();
    items.sort_unstable();
    let items: Vec<Package> = items
        .iter()
        .map(|&(count, entry)| Package::of_one(entry, count))
        .collect();
    let lengths = package_merge(&items);
    Code::from_lengths(lengths, palette.values().len())
        .expect("package-merge gives a complete code")
}

/// The cost of a code for these counts, in bits (section 11.4).
pub(crate) fn cost_bits(counts: &ValueCounts, palette: &Palette, code: &Code) -> u64 {
    let patch_bits = 8 * PATCH_BYTES as u64;
    let uncoded = u64::from(code.placeholder().length_bits) + patch_bits;
    (0..=u8::MAX)
        .map(|value| {
            let length = palette
                .index_of(value)
                .and_then(|entry| code.length_bits(entry))
                .map_or(uncoded, u64::from);
            counts.of(value) * length
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

/// Code lengths for items sorted by weight, at most 8 bits each: `package_merge` of section 11.4.
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
        Palette::new(8, core::array::from_fn(|i| 100 + i as u8)).unwrap()
    }

    fn lengths_for(counts_by_entry: &[u64]) -> Vec<Option<u8>> {
        let mut counts = ValueCounts::default();
        for (entry, &count) in counts_by_entry.iter().enumerate() {
            counts.add_values(&vec![100 + entry as u8; count as usize]);
        }
        let code = choose_code(&counts, counts.total(), &palette());
        (0..counts_by_entry.len())
            .map(|entry| code.length_bits(entry))
            .collect()
    }

    #[test]
    fn one_value_takes_no_bits() {
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
    fn a_value_rarer_than_one_in_4096_has_no_code() {
        // Too many values are outside the frequent ones for these alone to have codes.
        assert_eq!(lengths_for(&[1, 50, 50, 50, 3945])[0], Some(3));
        assert_eq!(lengths_for(&[1, 50, 50, 50, 3946])[0], None);
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

    #[test]
    fn rare_values_beside_few_frequent_ones_become_patches() {
        // A code for all three takes 2 bits for half of the weights; with the rare one patched all
        // weights but one in a hundred take 0 bits.
        assert_eq!(lengths_for(&[9900, 100]), [Some(0), None]);
        assert_eq!(lengths_for(&[9600, 400]), [Some(1), Some(1)]);
        assert_eq!(
            lengths_for(&[5000, 4980, 20]),
            [Some(1), Some(1), None],
            "patches of 25 bits are cheaper than a second bit for half of the weights"
        );
        assert_eq!(
            lengths_for(&[5000, 2400, 2300, 300]),
            [Some(1), Some(2), Some(3), Some(3)],
            "three in a hundred are too many to be patches"
        );
    }

    #[test]
    fn values_outside_the_palette_count_as_patches() {
        let mut counts = ValueCounts::default();
        counts.add_values(&[100; 50]);
        counts.add_values(&[7; 250_000]);
        let code = choose_code(&counts, counts.total(), &palette());
        assert_eq!(
            code.length_bits(0),
            Some(0),
            "the greatest count, though it is too small"
        );
        counts.add_values(&[101; 50]);
        let code = choose_code(&counts, counts.total(), &palette());
        assert_eq!(code.placeholder().entry, 0, "the least of equal ones");
    }
}
