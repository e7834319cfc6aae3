//! Sections 3.2 to 3.4 and 9: files that a decoder with small limits of its own would reject.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::draft::{Draft, Tensor};

pub(super) fn add(cases: &mut Cases) {
    let many =
        (0..4200u32).map(|i| Tensor::raw(&format!("{:x}", i * 11 % 4200), Dtype::U8, &[0], vec![]));
    cases.accept(
        "tensors-above-4096",
        &["3.2", "9"],
        "a file has up to 2^20 tensors",
        &Draft::of(many.collect::<Vec<_>>()),
    );
    let long = (0..18u8).map(|i| {
        let name = format!("{}{}", "n".repeat(65_533), 10 + i * 5 % 18);
        Tensor::bytes(&name, vec![i])
    });
    cases.accept(
        "directory-above-1-mib",
        &["3.2", "9"],
        "a directory has up to 2^28 bytes, however long the names are",
        &Draft::of(long.collect::<Vec<_>>()),
    );
    let space = " ".repeat((1 << 20) + 5);
    cases.accept(
        "source-above-1-mib",
        &["3.3", "9"],
        "a source section has up to 2^28 bytes",
        &Draft::of([Tensor::bytes("r", vec![1])]).with_json(format!(
            r#"{{{space}"r":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#
        )),
    );
    cases.accept(
        "extensions-above-64-kib",
        &["3.4", "9"],
        "extensions have up to 2^28 bytes, and an item as many as fit",
        &Draft::of([Tensor::bytes("r", vec![1])]).with_items(&[(0x7000_0000, &[0; 70_001])]),
    );
    let name = "long".repeat(16_383);
    cases.accept(
        "json-with-a-name-of-65532-bytes",
        &["3.3", "9"],
        "strings of the JSON are as long as names may be",
        &Draft::of([Tensor::bytes(&name, vec![1])]).with_source(),
    );
    cases.accept(
        "json-of-rank-64",
        &["3.3", "9"],
        "a shape has up to 64 dimensions",
        &Draft::of([Tensor::raw("r", Dtype::U8, &[1; 64], vec![1])]).with_source(),
    );
}
