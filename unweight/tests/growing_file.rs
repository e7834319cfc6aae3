//! A file that grows while it is opened is checked against a single length.

mod containers;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use containers::{ENCODINGS, container_of, trained_like};
use unweight::{MemoryBudget, Storage, container::OpenFile};
use unweight_format::{Extent, Rule};

/// A file that reports a short length at the first query.
#[derive(Debug)]
struct Growing<'a> {
    bytes: &'a [u8],
    was_asked: AtomicBool,
}

impl Storage for Growing<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        match self.was_asked.swap(true, Ordering::Relaxed) {
            true => Ok(self.bytes.len() as u64),
            false => Ok(100),
        }
    }

    fn read<'a>(&'a self, extent: Extent, _: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        extent
            .of(self.bytes)
            .ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn a_file_that_grows_while_it_is_opened_is_truncated_and_not_over_budget() {
    let file = container_of(&trained_like(5_000), ENCODINGS[0], 12);
    let growing = Growing {
        bytes: &file,
        was_asked: AtomicBool::new(false),
    };
    // This budget is enough for a file of 100 bytes, which has no directory.
    let budget = |length: u64| MemoryBudget::of_bytes(if length > 100 { 1 << 20 } else { 64 });
    let error = OpenFile::read_with(&growing, budget).unwrap_err();
    assert_eq!(error.rule(), Some(Rule::FileTruncated));
    OpenFile::read_with(&growing, budget).unwrap();
}
