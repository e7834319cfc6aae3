//! The report as text: sections, failures with their reasons, cases that were not run, and the
//! verdicts.

use std::{
    collections::BTreeMap,
    fmt::{self, Formatter, Write},
};

use super::{CaseReport, Report, RuleAgreement, rule_to_name};
use crate::{Outcome, Profile};

/// Lines of stderr that are shown for a failing case.
const STDERR_LINES: usize = 8;

pub(super) fn write(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let tally = report.tally();
    writeln!(
        f,
        "Unweight {} corpus ({}), profile {}: {}, {} passed, {} failed, {} not run\n",
        report.format_version,
        report.license,
        report.profile,
        count(tally.cases(), "case"),
        tally.passed,
        tally.failed,
        tally.not_run
    )?;
    sections(report, f)?;
    report.failures().try_for_each(|case| failure(case, f))?;
    not_run(report, f)?;
    agreement(report, f)?;
    writeln!(f, "core decoder: {}", report.decoder_verdict(Profile::Core))?;
    writeln!(f, "full decoder: {}", report.decoder_verdict(Profile::Full))?;
    writeln!(f, "encoder:      {}", report.encoder_verdict())?;
    writeln!(f, "transcoder:   {}", report.transcoder_verdict())
}

fn sections(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "section  cases  passed  failed  not run")?;
    for (section, tally) in report.tally_by_section() {
        let (cases, section) = (tally.cases(), section.to_string());
        writeln!(
            f,
            "{section:<7}  {cases:>5}  {:>6}  {:>6}  {:>7}",
            tally.passed, tally.failed, tally.not_run
        )?;
    }
    writeln!(f, "A case counts in each section that it exercises.\n")
}

fn failure(report: &CaseReport, f: &mut Formatter<'_>) -> fmt::Result {
    let sections: Vec<String> = report
        .case
        .sections
        .iter()
        .map(ToString::to_string)
        .collect();
    writeln!(
        f,
        "FAILED {} ({}): {}, section {}",
        report.case.id,
        report.case.kind(),
        report.outcome.id(),
        sections.join(", ")
    )?;
    writeln!(f, "    claim: {}", report.case.claim)?;
    writeln!(f, "    {}", report.outcome)?;
    let shown = |line: &str| {
        line.chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect::<String>()
    };
    for line in report.stderr.lines().take(STDERR_LINES) {
        writeln!(f, "    stderr: {}", shown(line))?;
    }
    f.write_char('\n')
}

fn not_run(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let mut reasons = BTreeMap::<String, Vec<&str>>::new();
    for case in report.cases.iter().filter(|case| !case.outcome.ran()) {
        let reason = match &case.outcome {
            Outcome::Skipped => "skipped: belongs to profile full".to_owned(),
            outcome => outcome.to_string(),
        };
        reasons.entry(reason).or_default().push(&case.case.id);
    }
    for (reason, ids) in &reasons {
        writeln!(
            f,
            "{} {reason}\n    {}\n",
            count(ids.len(), "case"),
            ids.join(", ")
        )?;
    }
    Ok(())
}

fn agreement(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let RuleAgreement { same, other, none } = report.rule_agreement();
    if same + other + none == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "Of {}, {same} named the rule of the case, {other} another rule, {none} none (information: naming is free).",
        count(same + other + none, "rejection")
    )?;
    for case in &report.cases {
        if let (Some(rule), Some(named)) = (rule_to_name(case), &case.named_rule)
            && named != rule
        {
            writeln!(
                f,
                "    {}: expected `{rule}`, named `{named}`",
                case.case.id
            )?;
        }
    }
    f.write_char('\n')
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
