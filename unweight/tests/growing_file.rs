//! A file that grows while it is opened is checked against a single length.

use unweight::{MemoryBudget, container::OpenFile};
use unweight_format::{Encoding, Rule};
use unweight_testkit::{Length, Script, TestStorage, container_of, trained_like};

#[test]
fn a_file_that_grows_while_it_is_opened_is_truncated_and_not_over_budget() {
    let file = container_of(&trained_like(5_000), Encoding::Huffman, 12);
    // The first query of the length gives 100.
    let script = Script {
        lengths: vec![Length::LessBy(file.len() as u64 - 100)],
        ..Script::default()
    };
    let growing = TestStorage::scripted(&file[..], script);
    // This budget is enough for a file of 100 bytes, which has no directory.
    let budget = |length: u64| MemoryBudget::of_bytes(if length > 100 { 1 << 20 } else { 64 });
    let error = OpenFile::read_with(&growing, budget).unwrap_err();
    assert_eq!(error.rule(), Some(Rule::FileTruncated));
    OpenFile::read_with(&growing, budget).unwrap();
}
