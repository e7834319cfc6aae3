//! Comparison of the rules, types and limits of this crate with the specification's tables.

use std::collections::BTreeMap;

use unweight_format::{Dtype, Form, Rule, limits};

const SPEC: &str = include_str!("data/unweight.md");

/// The cells of all table rows.
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
        for section in rule.section().split(", ") {
            assert!(
                sections[section].contains(&format!("`{}`", rule.id())),
                "{} in {section}",
                rule.id()
            );
        }
    }
}

#[test]
fn every_dtype_has_the_specs_code_bits_bytes_and_fields() {
    let in_spec: Vec<String> = rows()
        .filter(|cells| cells.len() == 5 && cells[0].parse::<u8>().is_ok())
        .map(|cells| cells.join(" ").replace('`', ""))
        .collect();
    let in_code: Vec<String> = Dtype::ALL
        .iter()
        .map(|dtype| {
            let fields: Vec<String> = dtype
                .fields()
                .iter()
                .map(|field| format!("[{}..{}]", field.high(), field.low()))
                .collect();
            let fields = match fields.is_empty() {
                true => "none".to_owned(),
                false => fields.join(" "),
            };
            let (code, bits, bytes) = (dtype.code(), dtype.bits(), dtype.weight_bytes());
            format!("{code} {dtype} {bits} {bytes} {fields}")
        })
        .collect();
    assert_eq!(in_code, in_spec);
}

#[test]
fn every_form_has_the_specs_code_and_name() {
    let in_spec: Vec<String> = rows()
        .filter(|cells| cells.len() == 3 && cells[0].parse::<u8>().is_ok())
        .map(|cells| format!("{} {}", cells[0], cells[1]))
        .collect();
    let in_code: Vec<String> = (0..=u8::MAX)
        .filter_map(Form::from_code)
        .map(|form| format!("{} {form}", form.code()))
        .collect();
    assert_eq!(in_code, in_spec);
}

#[test]
fn every_limit_is_the_specs() {
    let in_spec: BTreeMap<&str, &str> = rows()
        .filter(|cells| cells.len() == 3 && cells[2].starts_with("`limit-"))
        .map(|cells| (cells[2].trim_matches('`'), cells[1]))
        .collect();
    let power = |value: u64| format!("2^{}", value.ilog2());
    let in_code = BTreeMap::from([
        (
            "limit-tensors",
            format!("{} = 1,048,576", power(limits::TENSORS.into())),
        ),
        ("limit-directory", power(limits::DIRECTORY_BYTES) + " bytes"),
        ("limit-source", power(limits::SOURCE_BYTES) + " bytes"),
        (
            "limit-extensions",
            power(limits::EXTENSION_BYTES.into()) + " bytes",
        ),
        ("limit-rank", limits::RANK.to_string()),
        ("limit-name", "65,535 bytes".to_owned()),
        ("limit-elements", power(limits::ELEMENTS)),
        ("limit-coded", power(limits::CODED_BYTES)),
    ]);
    assert_eq!(limits::NAME_BYTES, 65_535);
    assert!(
        in_spec
            .iter()
            .map(|(&rule, &most)| (rule, most.to_owned()))
            .eq(in_code)
    );
}
