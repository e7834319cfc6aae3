//! Storages and numbers of threads greater than any machine has. The sums of their sizes do not
//! overflow.

use std::io;

use unweight::{CompressOptions, CompressPlan, MemoryBudget, Storage};
use unweight_format::Extent;

/// A storage with a header, followed by zeros up to this length.
struct Vast {
    header: Vec<u8>,
    length: u64,
}

impl Storage for Vast {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let bytes = self.header.iter().copied().chain(std::iter::repeat(0));
        buffer.clear();
        buffer.extend(
            bytes
                .skip(extent.offset as usize)
                .take(extent.length as usize),
        );
        Ok(buffer)
    }
}

/// A safetensors file of BF16 tensors: `count` tensors with the most elements allowed, and a last
/// one of `last_elements`.
fn vast(count: u64, last_elements: u64) -> Vast {
    const ELEMENTS: u64 = 1 << 56;
    let mut begin = 0;
    let mut tensors = Vec::new();
    for number in 0..=count {
        let elements = if number < count {
            ELEMENTS
        } else {
            last_elements
        };
        let end = begin + 2 * elements;
        tensors.push(format!(
            r#""{number}":{{"dtype":"BF16","shape":[{elements}],"data_offsets":[{begin},{end}]}}"#
        ));
        begin = end;
    }
    let json = format!("{{{}}}", tensors.join(","));
    let header = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    Vast {
        length: header.len() as u64 + begin,
        header,
    }
}

#[test]
fn sums_over_a_vast_source_do_not_overflow() {
    let most = (1 << 56) - (1 << 14);
    for (count, last) in [(1, 0), (63, most), (64, 0), (127, 0), (127, most)] {
        for selected in [true, false] {
            let options = CompressOptions::new().select(move |_| selected);
            let plan = CompressPlan::read(&vast(count, last), &options).unwrap();
            let data = plan.header().data_bytes();
            assert!(plan.bytes_to_read() >= data);
            let bytes = plan.container_bytes();
            // Each type has a bit that is always plain.
            assert!(*bytes.start() >= data / 64 && *bytes.end() > data);
        }
    }
}

#[test]
fn any_number_of_threads_leaves_the_budget_as_large_as_it_was() {
    for threads in [1, u64::MAX / (1 << 20), u64::MAX] {
        let budget = MemoryBudget::for_length(u64::MAX);
        assert!(budget.with_threads(threads).bytes() > budget.bytes());
    }
}
