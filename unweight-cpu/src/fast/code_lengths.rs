//! Code lengths and costs without allocation (section 11.3). The result equals that of
//! [`reference::choose_code`](crate::reference::choose_code), and takes about a microsecond.

use unweight_format::Code;
use unweight_format::layout::{LONGEST_CODE_BITS, PALETTE_ENTRIES, PATCH_BYTES};

/// Number of occurrences of each palette entry in a chunk.
pub type EntryCounts = [u64; PALETTE_ENTRIES];

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

/// `choose_code` of section 11.3, for a chunk or tensor of `total` weights.
pub(super) fn choose_code(counts: &EntryCounts, total: u64) -> Code {
    let mut items = Items::default();
    for (entry, &count) in counts.iter().enumerate() {
        // A rarer exponent is cheaper as a patch than as a code of 8 bits.
        if count > 0 && 4096 * count >= total {
            items.push(entry, count);
        }
    }
    if items.count == 0 {
        let greatest = counts.iter().copied().max().unwrap_or(0);
        let first = counts.iter().position(|&count| count == greatest);
        items.push(first.unwrap_or(0), greatest);
    }
    let items = &items.sorted[..items.count];

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
    Code::from_lengths(lengths).expect("package-merge gives a complete code")
}

/// Items, sorted by weight and entry.
#[derive(Default)]
struct Items {
    sorted: [Package; PALETTE_ENTRIES],
    count: usize,
}

impl Items {
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

/// The cost of a code, in bits (section 11.3).
pub(super) fn cost_bits(counts: &EntryCounts, total: u64, code: &Code) -> u64 {
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
