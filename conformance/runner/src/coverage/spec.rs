//! Parser of the specification's numbered headings and of the rule table in its section "Rules".

use std::fmt;

use crate::Section;

/// The numbered headings and the rules of the specification.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The headings, in the order of the document.
    pub headings: Vec<Heading>,
    /// The rules, in the order of the table.
    pub rules: Vec<Rule>,
}

/// A numbered heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Its number.
    pub section: Section,
    /// Its title.
    pub title: String,
}

/// A row of the rule table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule's id.
    pub id: String,
    /// Its category, as it is written.
    pub category: String,
    /// Its section, as it is written.
    pub section: String,
}

impl Spec {
    /// Reads the headings and the rule table from the specification's Markdown.
    pub fn parse(markdown: &str) -> Result<Self, SpecError> {
        let mut headings = Vec::new();
        let mut rules: Vec<Rule> = Vec::new();
        let mut in_fence = false;
        let mut in_rules = false;
        for (number, line) in (1..).zip(markdown.lines()) {
            if line.trim_start().starts_with("```") {
                in_fence = !in_fence;
            } else if in_fence {
                continue;
            } else if let Some(heading) = heading(line) {
                in_rules = heading.title == "Rules";
                headings.push(heading);
            } else if in_rules && line.starts_with("| `") {
                let rule = rule(line).ok_or_else(|| SpecError {
                    problem: format!("line {number}: a row of the rule table needs four cells, rule | category | section | broken when"),
                })?;
                if rules.iter().any(|earlier| earlier.id == rule.id) {
                    return Err(SpecError {
                        problem: format!(
                            "line {number}: rule `{}` stands in the table twice",
                            rule.id
                        ),
                    });
                }
                rules.push(rule);
            }
        }
        if rules.is_empty() {
            let problem =
                "no rule table under a heading \"## 10. Rules\"; is this the specification?".into();
            return Err(SpecError { problem });
        }
        Ok(Self { headings, rules })
    }
}

/// `## 3. Container` and `### 3.1 File header`.
fn heading(line: &str) -> Option<Heading> {
    let text = line
        .strip_prefix("## ")
        .or_else(|| line.strip_prefix("### "))?;
    let (number, title) = text.split_once(' ')?;
    let section = number.strip_suffix('.').unwrap_or(number).parse().ok()?;
    Some(Heading {
        section,
        title: title.trim().to_owned(),
    })
}

fn rule(row: &str) -> Option<Rule> {
    let cells: Vec<&str> = row
        .trim()
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let [id, category, section, _broken_when] = cells[..] else {
        return None;
    };
    let id = id.strip_prefix('`')?.strip_suffix('`')?;
    Some(Rule {
        id: id.to_owned(),
        category: category.to_owned(),
        section: section.to_owned(),
    })
}

/// Error of a specification that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// The problem and its line.
    pub problem: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for SpecError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headings_outside_fences_and_rules_inside_their_section() {
        let spec = Spec::parse(concat!(
            "# Title\n## 9. Limits\n| what | rule |\n| --- | --- |\n| `limit-x` | 9 |\n",
            "```\n## 8. Not a heading\n```\n",
            "## 10. Rules\n| rule | category | section | broken when |\n| --- | --- | --- | --- |\n",
            "| `file-magic` | malformed | 3.1 | x |\n### 10.1 More\n| `not-a-rule` | a | b | c |\n",
        ))
        .unwrap();
        let numbers: Vec<String> = spec
            .headings
            .iter()
            .map(|heading| heading.section.to_string())
            .collect();
        assert_eq!(numbers, ["9", "10", "10.1"]);
        assert_eq!(spec.rules.len(), 1);
        assert_eq!(spec.rules[0].id, "file-magic");
        assert_eq!(spec.rules[0].category, "malformed");
        assert_eq!(spec.rules[0].section, "3.1");
    }

    #[test]
    fn refuses_a_document_without_rules_and_a_broken_table() {
        for (markdown, problem) in [
            ("# Something else\n", "no rule table"),
            ("## 10. Rules\n| `a` | b |\n", "line 2: a row"),
            (
                "## 10. Rules\n| `a` | b | 3 | c |\n| `a` | b | 3 | c |\n",
                "line 3: rule `a` stands in the table twice",
            ),
        ] {
            let error = Spec::parse(markdown).unwrap_err();
            assert!(error.problem.contains(problem), "{error}");
        }
    }
}
