//! Section 3.2: names that are not UTF-8, their order, and ranks that a narrow number would hold.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::s3_3_text::NO_UTF_8;
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

pub(super) fn add(cases: &mut Cases) {
    for (what, bytes) in NO_UTF_8 {
        cases.reject(
            &format!("name-with-{what}"),
            Rule::NameUtf8,
            "a name is UTF-8 as RFC 3629 defines it",
            of_names(&[bytes]),
        );
    }
    let long = |end: &str| format!("{}{end}", "n".repeat(300)).into_bytes();
    let swapped: [(&str, &str, [Vec<u8>; 2]); 5] = [
        (
            "behind-a-nul",
            "a name does not end at a NUL",
            [b"a\0b".to_vec(), b"a\0a".to_vec()],
        ),
        (
            "of-a-nul-behind-the-whole",
            "a name does not end at a NUL",
            [b"a\0".to_vec(), b"a".to_vec()],
        ),
        (
            "behind-8-bytes",
            "names are compared to their ends",
            [b"12345678b".to_vec(), b"12345678a".to_vec()],
        ),
        (
            "behind-300-bytes",
            "names are compared to their ends",
            [long("b"), long("a")],
        ),
        (
            "of-capitals",
            "names are compared byte by byte",
            [b"a".to_vec(), b"B".to_vec()],
        ),
    ];
    for (id, claim, names) in swapped {
        let forge = of_names(&[&names[0], &names[1]]);
        let at = |number| forge.entry(number, entry::BY_NAME);
        let (first, second) = (at(0), at(1));
        cases.reject(
            &format!("by-name-in-the-wrong-order-{id}"),
            Rule::NameOrder,
            claim,
            forge.put_u32(first, 0).put_u32(second, 1).stamp_directory(),
        );
    }
    for rank in [128, 200, 256, 320, 65_536] {
        let tensor = Tensor::raw("r", Dtype::U8, &vec![1; rank], vec![1]);
        cases.reject(
            &format!("rank-{rank}"),
            Rule::LimitRank,
            "a tensor has at most 64 dimensions",
            Draft::of([tensor]).forge(),
        );
    }
}

fn of_names(names: &[&[u8]]) -> Forge {
    let tensor = |(name, number): (&&[u8], u8)| Tensor::bytes("", vec![number]).named(*name);
    Draft::of(names.iter().zip(1..).map(tensor).collect::<Vec<_>>()).forge()
}
