//! Comparison of the rules, types and limits of this crate with the specification's tables.

use std::collections::BTreeMap;

use unweight_format::{Dtype, Rule};

const SPEC: &str = include_str!("data/unweight.md");

/// The cells of all table rows whose first cell is code.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    SPEC.lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn every_rule_has_the_specs_id_category_section_and_words() {
    let categories = ["truncated", "malformed", "unsupported", "limit"];
    let in_spec: Vec<[String; 4]> = rows()
        .filter(|cells| cells.len() == 4 && categories.contains(&cells[1]))
        .map(|cells| core::array::from_fn(|i| cells[i].trim_matches('`').to_owned()))
        .collect();
    let in_code: Vec<[String; 4]> = Rule::ALL
        .iter()
        .map(|rule| {
            [
                rule.id(),
                rule.category().name(),
                rule.section(),
                rule.broken_when(),
            ]
            .map(str::to_owned)
        })
        .collect();
    assert!(in_spec.len() > 50, "the table was found");
    assert_eq!(in_code, in_spec);
}

#[test]
fn every_rule_is_named_in_the_section_that_its_row_gives() {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = "";
    for line in SPEC.lines() {
        if let Some(heading) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
            current = heading.split(' ').next().unwrap().trim_end_matches('.');
        }
        sections.entry(current).or_default().push_str(line);
    }
    for rule in Rule::ALL {
        let text = &sections[rule.section()];
        assert!(
            text.contains(&format!("`{}`", rule.id())),
            "{} in {}",
            rule.id(),
            rule.section()
        );
    }
}

#[test]
fn every_dtype_has_the_specs_code_and_bits() {
    let mut in_spec: Vec<(u8, String, u64)> = rows()
        .flat_map(|cells| cells.chunks(3).map(<[_]>::to_vec).collect::<Vec<_>>())
        .filter_map(|cells| {
            let [code, name, bits] = cells[..] else {
                return None;
            };
            Some((
                code.parse().ok()?,
                name.trim_matches('`').to_owned(),
                bits.parse().ok()?,
            ))
        })
        .collect();
    in_spec.sort();
    let in_code: Vec<_> = Dtype::ALL
        .iter()
        .map(|dtype| (dtype.code(), dtype.name().to_owned(), dtype.bits()))
        .collect();
    assert_eq!(in_code, in_spec);
}
