//! Code lengths and costs without allocation (section 11.4). The result equals that of
//! [`reference::choose_code`](crate::reference::choose_code), and takes about a microsecond.

use unweight_format::Code;
use unweight_format::layout::{LONGEST_CODE_BITS, PALETTE_ENTRIES, PATCH_BYTES};

use crate::EntryCounts;

/// Greatest length of a list: the items plus half as many packages as the previous list has
/// elements.
const LIST: usize = 2 * PALETTE_ENTRIES;

/// An item, or a package of items.
#[derive(Clone, Copy, Default)]
struct Package {
    weight: u64,
    /// Number of occurrences of each entry, four bits each. In a whole list of level *k* no entry
    /// occurs more than *k* times, and there are 8 levels.
    occurrences: u64,
}

/// `choose_code` of section 11.4, for a palette of `entries` entries and the values of `total`
/// weights.
pub(super) fn choose_code(counts: &EntryCounts, total: u64, entries: usize) -> Code {
    let counts = &counts[..entries];
    // A rarer value is cheaper as a patch than as a code of 8 bits.
    let mut usual = Items::of(counts, |count| count > 0 && 4096 * count >= total);
    if usual.count == 0 {
        let greatest = counts.iter().copied().max().unwrap_or(0);
        let first = counts.iter().position(|&count| count == greatest);
        usual.push(first.unwrap_or(0), greatest);
    }
    let code = usual.code(entries);
    let frequent = Items::of(counts, |count| 64 * count >= total);
    let outside = total - frequent.total();
    // Every frequent value is a usual one.
    if frequent.count > 0 && frequent.count != usual.count && 64 * outside <= total {
        let other = frequent.code(entries);
        if cost_bits(counts, total, &other) < cost_bits(counts, total, &code) {
            return other;
        }
    }
    code
}

/// Items, sorted by weight and entry.
#[derive(Default)]
struct Items {
    sorted: [Package; PALETTE_ENTRIES],
    count: usize,
}

impl Items {
    /// The entries whose counts pass.
    fn of(counts: &[u64], passes: impl Fn(u64) -> bool) -> Items {
        let mut items = Items::default();
        for (entry, &count) in counts.iter().enumerate() {
            if passes(count) {
                items.push(entry, count);
            }
        }
        items
    }

    fn sorted(&self) -> &[Package] {
        &self.sorted[..self.count]
    }

    fn total(&self) -> u64 {
        self.sorted().iter().map(|item| item.weight).sum()
    }

    /// `code_of` of section 11.4, for a palette of `entries` entries.
    fn code(&self, entries: usize) -> Code {
        let items = self.sorted();
        let mut list = [Package::default(); LIST];
        list[..items.len()].copy_from_slice(items);
        let mut length = items.len();
        for _level in 2..=LONGEST_CODE_BITS {
            (list, length) = next_list(items, &list[..length]);
        }
        let mut lengths = [None; PALETTE_ENTRIES];
        let taken = &list[..2 * items.len() - 2];
        let occurrences: u64 = taken.iter().map(|package| package.occurrences).sum();
        for item in items {
            let entry = item.occurrences.trailing_zeros() as usize / 4;
            lengths[entry] = Some((occurrences >> (4 * entry) & 15) as u8);
        }
        Code::from_lengths(lengths, entries).expect("package-merge gives a complete code")
    }

    /// Inserts an entry in sorted order. Entries come in ascending order.
    fn push(&mut self, entry: usize, weight: u64) {
        let mut place = self.count;
        while place > 0 && self.sorted[place - 1].weight > weight {
            self.sorted[place] = self.sorted[place - 1];
            place -= 1;
        }
        let occurrences = 1 << (4 * entry);
        self.sorted[place] = Package {
            weight,
            occurrences,
        };
        self.count += 1;
    }
}

/// Merges items and pairs of the elements of `list` by weight. Of equal weights, items come first.
fn next_list(items: &[Package], list: &[Package]) -> ([Package; LIST], usize) {
    let (pairs, _) = list.as_chunks();
    let mut packages = pairs.iter().map(|[left, right]| Package {
        weight: left.weight + right.weight,
        occurrences: left.occurrences + right.occurrences,
    });
    let mut merged = [Package::default(); LIST];
    let mut length = 0;
    let mut push = |package| {
        merged[length] = package;
        length += 1;
    };
    let mut package = packages.next();
    for &item in items {
        while let Some(lighter) = package.filter(|package| package.weight < item.weight) {
            push(lighter);
            package = packages.next();
        }
        push(item);
    }
    package.into_iter().chain(packages).for_each(push);
    (merged, length)
}

/// The cost of a code, in bits (section 11.4).
pub(super) fn cost_bits(counts: &[u64], total: u64, code: &Code) -> u64 {
    let mut coded = 0;
    let mut bits = 0;
    for (entry, &count) in counts.iter().enumerate() {
        if let Some(length) = code.length_bits(entry) {
            coded += count;
            bits += count * u64::from(length);
        }
    }
    let patch_bits = 8 * PATCH_BYTES as u64;
    bits + (total - coded) * (u64::from(code.placeholder().length_bits) + patch_bits)
}
