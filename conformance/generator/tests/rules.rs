//! The rules are the same in all places that list them: the specification, `unweight-format`, the
//! corpus, and the cases.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use unweight_conformance_runner::Corpus;
use unweight_conformance_runner::coverage::{Coverage, Spec};
use unweight_format::Rule;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn spec() -> Spec {
    let text = fs::read_to_string(repository().join("spec/unweight.md")).unwrap();
    Spec::parse(&text).unwrap()
}

fn corpus() -> Corpus {
    Corpus::open(repository().join("conformance/corpus")).unwrap()
}

#[test]
fn the_format_crate_has_the_rules_of_the_specification_in_its_order() {
    let of_spec: Vec<_> = spec()
        .rules
        .into_iter()
        .map(|rule| (rule.id, rule.category, rule.section))
        .collect();
    let of_format: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| {
            let category = rule.category().name();
            (
                rule.id().to_owned(),
                category.to_owned(),
                rule.section().to_owned(),
            )
        })
        .collect();
    assert_eq!(of_spec, of_format);
}

#[test]
fn the_corpus_breaks_every_rule_and_names_no_other() {
    let of_format: BTreeSet<_> = Rule::ALL
        .iter()
        .map(|rule| (rule.id().to_owned(), rule.category().name().to_owned()))
        .collect();
    let corpus = corpus();
    let of_corpus = corpus
        .cases()
        .iter()
        .filter(|case| case.kind() == "reject")
        .filter_map(|case| case.rule())
        .map(|(rule, category)| (rule.to_owned(), category.to_string()))
        .collect();
    assert_eq!(of_format, of_corpus);
}

#[test]
fn a_case_that_breaks_a_rule_exercises_its_section() {
    for case in corpus().cases() {
        let Some((id, _)) = case.rule() else { continue };
        let rule = Rule::ALL.iter().find(|rule| rule.id() == id).unwrap();
        let sections: Vec<String> = case.sections.iter().map(ToString::to_string).collect();
        for section in rule.section().split(", ") {
            assert!(sections.contains(&section.to_owned()), "{}", case.id);
        }
    }
}

#[test]
fn the_coverage_document_is_up_to_date_and_has_no_gap() {
    let (spec, corpus) = (spec(), corpus());
    let coverage = Coverage::new(&spec, corpus.cases());
    assert_eq!(coverage.problems(), Vec::<String>::new());
    let written = fs::read_to_string(repository().join("conformance/COVERAGE.md")).unwrap();
    assert!(
        written == coverage.to_markdown(),
        "run `cargo run -p unweight-conformance-runner -- coverage > conformance/COVERAGE.md`"
    );
}
