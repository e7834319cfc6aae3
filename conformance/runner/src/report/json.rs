//! The report as JSON.

use serde_json::{Value, json};

use super::{CaseReport, Report, Verdict};
use crate::{Outcome, Profile};

pub(super) fn write(report: &Report) -> String {
    let tally = report.tally();
    let agreement = report.rule_agreement();
    let document = json!({
        "format_version": report.format_version,
        "profile": report.profile.to_string(),
        "filtered": report.filtered,
        "totals": {
            "cases": tally.cases(), "passed": tally.passed, "failed": tally.failed, "not_run": tally.not_run,
        },
        "rule_agreement": {
            "same": agreement.same, "other": agreement.other, "none": agreement.none,
        },
        "verdicts": {
            "core": verdict(report.decoder_verdict(Profile::Core)),
            "full": verdict(report.decoder_verdict(Profile::Full)),
            "encoder": verdict(report.encoder_verdict()),
            "transcoder": verdict(report.transcoder_verdict()),
        },
        "cases": report.cases.iter().map(case).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed(_) => "passed",
        Verdict::Failed(_) => "failed",
        Verdict::NotJudged(_) => "not-judged",
    }
}

fn case(report: &CaseReport) -> Value {
    let case = &report.case;
    let difference = match &report.outcome {
        Outcome::WrongOutput(difference) | Outcome::WrongBytes(difference) => {
            json!({"tensor": difference.tensor, "offset": difference.offset})
        }
        _ => Value::Null,
    };
    json!({
        "id": case.id,
        "kind": case.kind(),
        "profile": case.profile.to_string(),
        "sections": case.sections.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "outcome": report.outcome.id(),
        "reason": (!report.outcome.passed()).then(|| report.outcome.to_string()),
        "difference": difference,
        "rule": case.rule().map(|(rule, _)| rule),
        "named_rule": report.named_rule,
        "seconds": report.duration.as_secs_f64(),
        "stdout": report.stdout,
        "stderr": report.stderr,
    })
}
