//! The report as JSON.

use serde_json::{Value, json};

use super::{CaseReport, Report, Verdict};
use crate::{Outcome, Profile, inspect::WeightDifference};

pub(super) fn write(report: &Report) -> String {
    let tally = report.tally();
    let agreement = report.rule_agreement();
    let document = json!({
        "name": report.name,
        "format_version": report.format_version,
        "profile": report.profile.to_string(),
        "lenient": report.lenient,
        "filtered": report.filtered,
        "runner_version": env!("CARGO_PKG_VERSION"),
        "ignored": {"cases": report.ignored.cases, "members": report.ignored.members},
        "totals": {
            "cases": tally.cases(), "passed": tally.passed, "failed": tally.failed, "not_run": tally.not_run,
            "known_failures": report.known_failures().count(),
            "unexpected_passes": report.unexpected_passes().count(),
            "unnamed_rejections": report.unnamed(),
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
            let weight = difference.weight.as_ref();
            json!({
                "tensor": difference.tensor, "offset": difference.offset, "weight": weight.map(first_weight),
            })
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
        "unnamed_rejections": report.unnamed,
        "known_failure": report.known_failure,
        "seconds": report.duration.as_secs_f64(),
        "stdout": report.stdout,
        "stderr": report.stderr,
    })
}

fn first_weight(weight: &WeightDifference) -> Value {
    let bits = |bits: u64| format!("{bits:#x}");
    json!({
        "index": weight.index, "chunk": weight.chunk, "step": weight.step, "lane": weight.lane,
        "expected": bits(weight.expected), "found": weight.found.map(bits), "lines": weight.lines,
    })
}
