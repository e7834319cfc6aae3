//! The report as text: sections, failures with their reasons, cases that were not run, and the
//! verdicts.

use std::{
    collections::BTreeMap,
    fmt::{self, Formatter, Write},
};

use super::{CaseReport, Report, RuleAgreement, rule_to_name};
use crate::{Difference, Outcome, Profile, inspect::WeightDifference};

/// Lines of stderr that are shown for a failing case.
const STDERR_LINES: usize = 8;

/// Ids that are shown of a list of cases that have nothing wrong.
const SHOWN_IDS: usize = 5;

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
    known(report, f)?;
    not_run(report, f)?;
    agreement(report, f)?;
    unnamed(report, f)?;
    ignored(report, f)?;
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
    if let Outcome::WrongOutput(Difference {
        weight: Some(weight),
        ..
    }) = &report.outcome
    {
        first_weight(weight, f)?;
    }
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

fn first_weight(weight: &WeightDifference, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "    first differing weight: number {}", weight.index)?;
    if let (Some(chunk), Some(step), Some(lane)) = (weight.chunk, weight.step, weight.lane) {
        write!(f, ", chunk {chunk}, step {step}, lane {lane}")?;
    }
    f.write_char('\n')?;
    weight
        .lines
        .iter()
        .try_for_each(|line| writeln!(f, "      {line}"))
}

fn not_run(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let mut reasons = BTreeMap::<String, Vec<&str>>::new();
    for case in report.cases.iter().filter(|case| !case.outcome.ran()) {
        let reason = match &case.outcome {
            Outcome::Skipped if case.case.is_decode() => {
                "skipped: a decoder of profile core may accept or reject these files".to_owned()
            }
            Outcome::Skipped => "skipped: belongs to profile full".to_owned(),
            outcome => outcome.to_string(),
        };
        reasons.entry(reason).or_default().push(&case.case.id);
    }
    for (reason, ids) in &reasons {
        let number = count(ids.len(), "case");
        writeln!(f, "{number} {reason}\n    {}\n", some_of(ids))?;
    }
    Ok(())
}

/// Known failures, and an error for each that passed.
fn known(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    for case in report.unexpected_passes() {
        writeln!(
            f,
            "FAILED {}: passes, but the list of known failures has it; take it out\n",
            case.case.id
        )?;
    }
    let ids: Vec<&str> = report
        .known_failures()
        .map(|case| case.case.id.as_str())
        .collect();
    if !ids.is_empty() {
        let number = count(ids.len(), "known failure");
        writeln!(f, "{number}\n    {}\n", some_of(&ids))?;
    }
    Ok(())
}

fn unnamed(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    match report.unnamed() {
        0 => Ok(()),
        number => {
            let rule = if report.lenient {
                "passed, because the run is lenient"
            } else {
                "a decoder's or a transcoder's command has to name one"
            };
            let number = count(number, "rejection");
            writeln!(
                f,
                "{number} (prefixes counted singly) named no rule: {rule}.\n"
            )
        }
    }
}

fn ignored(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let list = |counts: &BTreeMap<String, usize>| {
        let parts = counts
            .iter()
            .map(|(what, number)| format!("{what} ({number})"));
        parts.collect::<Vec<String>>().join(", ")
    };
    let ignored = &report.ignored;
    if !ignored.cases.is_empty() {
        let number = count(ignored.case_count(), "case");
        writeln!(
            f,
            "{number} ignored, which this runner does not know: {}. Use a newer runner.\n",
            list(&ignored.cases)
        )?;
    }
    if !ignored.members.is_empty() {
        writeln!(
            f,
            "Members of the manifest that this runner does not know: {}\n",
            list(&ignored.members)
        )?;
    }
    Ok(())
}

/// The first ids, and the number of the others.
fn some_of(ids: &[&str]) -> String {
    let shown = ids[..ids.len().min(SHOWN_IDS)].join(", ");
    match ids.len().saturating_sub(SHOWN_IDS) {
        0 => shown,
        more => format!("{shown}, and {more} more (--verbose and --json have all)"),
    }
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
