//! The code that a canonical encoder chooses, and its cost: sections 11.4 and 11.5.

use super::code::{self, NONE};

/// How often each value occurs.
pub(super) type Counts = [u64; 256];

pub(super) fn count(values: &[u8]) -> Counts {
    let mut counts = [0; 256];
    values
        .iter()
        .for_each(|value| counts[usize::from(*value)] += 1);
    counts
}

/// The cost of a code for these counts, in bits.
pub(super) fn cost(lengths: &[u8; 16], palette: &[u8], counts: &Counts) -> u64 {
    let placeholder = code::codes(lengths)
        .first()
        .map_or(0, |(_, length, _)| *length);
    // A value without a code is coded as the placeholder and patched.
    let mut bits = [u64::from(placeholder) + 24; 256];
    for (entry, value) in palette.iter().enumerate() {
        if lengths[entry] != NONE {
            bits[usize::from(*value)] = lengths[entry].into();
        }
    }
    counts
        .iter()
        .zip(bits)
        .map(|(count, bits)| count * bits)
        .sum()
}

/// `choose_code(h, N, palette)`.
pub(super) fn choose_code(counts: &Counts, total: u64, palette: &[u8]) -> [u8; 16] {
    let count = |entry: usize| counts[usize::from(palette[entry])];
    let entries = || 0..palette.len();
    let mut first: Vec<usize> = entries()
        .filter(|&entry| 4096 * count(entry) >= total && count(entry) > 0)
        .collect();
    if first.is_empty() {
        let most = entries().rev().max_by_key(|&entry| count(entry));
        first.extend(most);
    }
    let second: Vec<usize> = entries()
        .filter(|&entry| 64 * count(entry) >= total)
        .collect();
    let inside: u64 = second.iter().map(|&entry| count(entry)).sum();
    let code = code_of(&first, palette, counts);
    if !second.is_empty() && second != first && 64 * (total - inside) <= total {
        let other = code_of(&second, palette, counts);
        if cost(&other, palette, counts) < cost(&code, palette, counts) {
            return other;
        }
    }
    code
}

/// `code_of(set, h)`.
fn code_of(set: &[usize], palette: &[u8], counts: &Counts) -> [u8; 16] {
    let mut lengths = [NONE; 16];
    if let [only] = set {
        lengths[*only] = 0;
        return lengths;
    }
    let mut items: Vec<Package> = set
        .iter()
        .map(|&entry| {
            let mut times = [0; 16];
            times[entry] = 1;
            let count = counts[usize::from(palette[entry])];
            Package { count, times }
        })
        .collect();
    // Stable: entries of a set ascend.
    items.sort_by_key(|item| item.count);
    set.iter().for_each(|&entry| lengths[entry] = 0);
    for package in package_merge(&items) {
        for entry in set {
            lengths[*entry] += package.times[*entry];
        }
    }
    lengths
}

/// A count, and how often each entry is in the multiset.
#[derive(Clone, Copy)]
struct Package {
    count: u64,
    times: [u8; 16],
}

/// The elements whose multisets make the lengths.
fn package_merge(items: &[Package]) -> Vec<Package> {
    let mut list = items.to_vec();
    for _ in 0..7 {
        let packages = list.chunks_exact(2).map(|pair| Package {
            count: pair[0].count + pair[1].count,
            times: std::array::from_fn(|entry| pair[0].times[entry] + pair[1].times[entry]),
        });
        // Stable: of equal counts an item stands before a package.
        let mut merged: Vec<Package> = items.iter().copied().chain(packages).collect();
        merged.sort_by_key(|package| package.count);
        list = merged;
    }
    list.truncate(2 * items.len() - 2);
    list
}
