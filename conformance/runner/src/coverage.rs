//! Coverage: the cases of each section and rule of the specification, as a generated Markdown
//! document.

mod document;
mod spec;

use std::collections::BTreeMap;

pub use spec::{Heading, Rule, Spec, SpecError};

use crate::{Case, Section};

/// The cases of a corpus by section and by rule of the specification.
#[derive(Debug)]
pub struct Coverage<'a> {
    spec: &'a Spec,
    cases: &'a [Case],
    by_section: BTreeMap<&'a Section, Vec<&'a Case>>,
    by_rule: BTreeMap<&'a str, Vec<&'a Case>>,
}

impl<'a> Coverage<'a> {
    /// Sorts the cases by section and rule.
    pub fn new(spec: &'a Spec, cases: &'a [Case]) -> Self {
        let mut by_section = BTreeMap::<_, Vec<_>>::new();
        let mut by_rule = BTreeMap::<_, Vec<_>>::new();
        for case in cases {
            for section in &case.sections {
                by_section.entry(section).or_default().push(case);
            }
            if let Some((rule, _)) = case.rule() {
                by_rule.entry(rule).or_default().push(case);
            }
        }
        Self {
            spec,
            cases,
            by_section,
            by_rule,
        }
    }

    /// The Markdown document. It depends only on the specification and the manifest.
    pub fn to_markdown(&self) -> String {
        document::write(self)
    }

    /// Gaps between the specification and the corpus, a sentence each: a rule without a case, or a
    /// case that names a rule, a category or a section that the specification does not have.
    pub fn problems(&self) -> Vec<String> {
        let uncovered = self
            .spec
            .rules
            .iter()
            .filter(|rule| !self.by_rule.contains_key(rule.id.as_str()));
        let mut problems: Vec<String> = uncovered
            .map(|rule| format!("rule `{}` has no case", rule.id))
            .collect();
        for case in self.cases {
            for section in &case.sections {
                if !self
                    .spec
                    .headings
                    .iter()
                    .any(|heading| heading.section == *section)
                {
                    problems.push(format!(
                        "case `{}` names section {section}, which the specification does not have",
                        case.id
                    ));
                }
            }
            let Some((id, category)) = case.rule() else {
                continue;
            };
            match self.spec.rules.iter().find(|rule| rule.id == id) {
                None => problems.push(format!(
                    "case `{}` names rule `{id}`, which the specification does not have",
                    case.id
                )),
                Some(rule) if rule.category != category.to_string() => problems.push(format!(
                    "case `{}` has category {category}, but the specification has `{id}` as {}",
                    case.id, rule.category
                )),
                Some(_) => {}
            }
        }
        problems
    }

    fn of_section(&self, section: &Section) -> &[&'a Case] {
        self.by_section.get(section).map_or(&[], Vec::as_slice)
    }

    fn of_rule(&self, rule: &str) -> &[&'a Case] {
        self.by_rule.get(rule).map_or(&[], Vec::as_slice)
    }
}
