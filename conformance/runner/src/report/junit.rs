//! The report as JUnit XML: one suite, a test per case. A crash or a timeout is an `error`, any
//! other failure a `failure`, a known failure is `skipped`.

use std::fmt::Write;

use super::{CaseReport, Report};
use crate::Outcome;

pub(super) fn write(report: &Report) -> String {
    let tally = report.tally();
    let errors = report
        .failures()
        .filter(|case| is_error(&case.outcome))
        .count();
    let failures = report.failures().count() - errors + report.unexpected_passes().count();
    let skipped = tally.not_run + report.known_failures().count();
    let seconds: f64 = report
        .cases
        .iter()
        .map(|case| case.duration.as_secs_f64())
        .sum();
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\"",
        tally.cases()
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = format!("unweight {}", report.format_version);
    let suite = format!(
        "<testsuites {counts}>\n  <testsuite name=\"{}\" {counts}>\n",
        escape(&name)
    );
    xml.push_str(&suite);
    report
        .cases
        .iter()
        .for_each(|case| test_case(case, &mut xml));
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn test_case(report: &CaseReport, xml: &mut String) {
    let element = element(report);
    let name = escape(&report.case.id);
    let class = format!("unweight.{}", report.case.kind());
    let seconds = report.duration.as_secs_f64();
    let head = format!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{seconds:.3}\"");
    let line = match element {
        None => format!("{head}/>\n"),
        Some(element) => format!("{head}>\n{element}    </testcase>\n"),
    };
    xml.push_str(&line);
}

/// Content of the element of a test that did not pass.
fn element(report: &CaseReport) -> Option<String> {
    let outcome = &report.outcome;
    if outcome.passed() {
        let message = "passes, but the list of known failures has it; take it out";
        let element = format!("      <failure type=\"unexpected-pass\" message=\"{message}\"/>\n");
        return report.known_failure.as_ref().map(|_| element);
    }
    let message = escape(&outcome.to_string());
    if !outcome.ran() || report.known_failure.is_some() {
        return Some(format!("      <skipped message=\"{message}\"/>\n"));
    }
    let tag = if is_error(outcome) {
        "error"
    } else {
        "failure"
    };
    let kind = outcome.id();
    let claim = escape(&report.case.claim);
    let mut element =
        format!("      <{tag} type=\"{kind}\" message=\"{message}\">{claim}</{tag}>\n");
    if !report.stderr.is_empty() {
        element.push_str("      <system-err>");
        element.push_str(&escape(&report.stderr));
        element.push_str("</system-err>\n");
    }
    Some(element)
}

fn is_error(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Crashed { .. } | Outcome::TimedOut { .. })
}

/// Escapes for element content and double-quoted attributes. Characters that XML 1.0 cannot have
/// become U+FFFD; line breaks and tabs become references, so that an attribute keeps them.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                write!(escaped, "&#{};", u32::from(c)).expect("writing to a string succeeds");
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn escapes_what_xml_reserves_and_what_it_cannot_hold() {
        assert_eq!(escape("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
        assert_eq!(
            escape("]]>\n\u{0}\u{1b}é\u{ffff}"),
            "]]&gt;&#10;\u{fffd}\u{fffd}é\u{fffd}"
        );
    }
}
