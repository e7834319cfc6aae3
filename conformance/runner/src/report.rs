//! The report of a run: each case's outcome, and the verdicts.

mod json;
mod junit;
mod text;

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{Case, Expect, Ignored, Outcome, Profile, Section};

/// Result of a run. `Display` prints it as text.
#[derive(Debug, Clone)]
#[must_use]
pub struct Report {
    /// Name of what was tested, where the caller has set it.
    pub name: Option<String>,
    /// The manifest's format version.
    pub format_version: String,
    /// The manifest's license.
    pub license: String,
    /// The profile that was claimed.
    pub profile: Profile,
    /// Whether rejections passed that named no rule.
    pub lenient: bool,
    /// Whether options left cases out, so that the run cannot show that a profile passes.
    pub filtered: bool,
    /// What the runner did not know of the manifest.
    pub ignored: Ignored,
    /// The selected cases, in the order of the manifest.
    pub cases: Vec<CaseReport>,
}

/// One case's outcome.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// The case.
    pub case: Case,
    /// Its outcome.
    pub outcome: Outcome,
    /// The rule that the decoder named when it rejected, if it is one that the corpus knows.
    pub named_rule: Option<String>,
    /// The number of rejections in this case, of prefixes as well, that named no rule.
    pub unnamed: usize,
    /// The reason in the list of known failures (it may be empty), if the case is listed.
    pub known_failure: Option<String>,
    /// The beginning of what a command wrote to stdout.
    pub stdout: String,
    /// The beginning of what a command wrote to stderr.
    pub stderr: String,
    /// How long the case took.
    pub duration: Duration,
}

impl CaseReport {
    pub(crate) fn new(case: &Case, outcome: Outcome) -> Self {
        Self {
            case: case.clone(),
            outcome,
            named_rule: None,
            unnamed: 0,
            known_failure: None,
            stdout: String::new(),
            stderr: String::new(),
            duration: Duration::ZERO,
        }
    }

    /// Whether the case failed and is not known to, or passed although it is known to fail.
    pub fn unexpected(&self) -> bool {
        match self.known_failure {
            None => self.outcome.failed(),
            Some(_) => self.outcome.passed(),
        }
    }
}

/// A count of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Run and not passed.
    pub failed: usize,
    /// Skipped or not run.
    pub not_run: usize,
}

impl Tally {
    /// All cases.
    pub fn cases(&self) -> usize {
        self.passed + self.failed + self.not_run
    }

    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            outcome if outcome.passed() => self.passed += 1,
            outcome if outcome.failed() => self.failed += 1,
            _ => self.not_run += 1,
        }
    }

    fn of<'a>(cases: impl Iterator<Item = &'a CaseReport>) -> Self {
        let mut tally = Self::default();
        cases.for_each(|report| tally.add(&report.outcome));
        tally
    }
}

/// Verdict of a run on a profile, on an encoder, or on a transcoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every case was run and passed.
    Passed(Tally),
    /// Some case failed.
    Failed(Tally),
    /// No case failed, but not every case was run; the reason.
    NotJudged(&'static str),
}

/// Number of rejections that named the rule of the case. Informative: a decoder may name any broken
/// rule, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleAgreement {
    /// The rule of the case was named.
    pub same: usize,
    /// Another rule was named.
    pub other: usize,
    /// No rule was named.
    pub none: usize,
}

impl Report {
    /// Whether no case failed but the known ones, and all of these that were run did fail.
    pub fn passed(&self) -> bool {
        !self.cases.iter().any(CaseReport::unexpected)
    }

    /// The cases that were run, did not pass, and are not known to fail.
    pub fn failures(&self) -> impl Iterator<Item = &CaseReport> {
        let cases = self.cases.iter();
        cases.filter(|report| report.outcome.failed() && report.known_failure.is_none())
    }

    /// The cases that failed, as was known.
    pub fn known_failures(&self) -> impl Iterator<Item = &CaseReport> {
        let cases = self.cases.iter();
        cases.filter(|report| report.outcome.failed() && report.known_failure.is_some())
    }

    /// The cases that passed although they are listed as known failures.
    pub fn unexpected_passes(&self) -> impl Iterator<Item = &CaseReport> {
        let cases = self.cases.iter();
        cases.filter(|report| report.outcome.passed() && report.known_failure.is_some())
    }

    /// The number of rejections that named no rule, prefixes included.
    pub fn unnamed(&self) -> usize {
        self.cases.iter().map(|report| report.unnamed).sum()
    }

    /// Panics with the whole report unless every case that was run passed. For use in a test.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.passed(), "the decoder does not conform\n\n{self}");
    }

    /// All cases.
    pub fn tally(&self) -> Tally {
        Tally::of(self.cases.iter())
    }

    /// The cases by section. A case counts in each section that it names.
    pub fn tally_by_section(&self) -> BTreeMap<Section, Tally> {
        let mut sections = BTreeMap::<Section, Tally>::new();
        for report in &self.cases {
            for section in &report.case.sections {
                sections
                    .entry(section.clone())
                    .or_default()
                    .add(&report.outcome);
            }
        }
        sections
    }

    /// The verdict of the accept, reject and prefixes cases on a decoder of `profile`. A run judges
    /// the profile that it was made for, because core and full expect different answers.
    pub fn decoder_verdict(&self, profile: Profile) -> Verdict {
        if profile != self.profile {
            return Verdict::NotJudged(match profile {
                Profile::Core => "run it with --profile core",
                Profile::Full => "run it with --profile full",
            });
        }
        let belongs = |report: &&CaseReport| {
            report.case.is_decode() && !matches!(report.outcome, Outcome::Skipped)
        };
        let tally = Tally::of(self.cases.iter().filter(belongs));
        let why_not = if tally.passed == 0 {
            "no decoder was given"
        } else {
            "some cases were not run"
        };
        self.verdict(tally, why_not)
    }

    /// The verdict of the encode and encode-refuse cases on an encoder.
    pub fn encoder_verdict(&self) -> Verdict {
        let tally = Tally::of(self.cases.iter().filter(is_encode));
        let why_not = if tally.passed == 0 {
            "no encode case was run"
        } else {
            "some encode cases were not run"
        };
        self.verdict(tally, why_not)
    }

    /// The verdict of the transcode and transcode-refuse cases on a transcoder.
    pub fn transcoder_verdict(&self) -> Verdict {
        let tally = Tally::of(self.cases.iter().filter(is_transcode));
        let why_not = if tally.passed == 0 {
            "no transcode case was run"
        } else {
            "some transcode cases were not run"
        };
        self.verdict(tally, why_not)
    }

    fn verdict(&self, tally: Tally, why_not: &'static str) -> Verdict {
        match tally {
            Tally { failed: 1.., .. } => Verdict::Failed(tally),
            Tally { not_run: 1.., .. } => Verdict::NotJudged(why_not),
            _ if self.filtered => Verdict::NotJudged("options left cases out"),
            _ if self.ignored.case_count() > 0 => {
                Verdict::NotJudged("the corpus has cases that this runner does not know")
            }
            Tally { passed: 0, .. } => Verdict::NotJudged("the corpus has no such case"),
            Tally { .. } => Verdict::Passed(tally),
        }
    }

    /// Number of rejections of reject and transcode-refuse cases that named the rule of the case.
    pub fn rule_agreement(&self) -> RuleAgreement {
        let mut agreement = RuleAgreement::default();
        for report in &self.cases {
            let Some(rule) = rule_to_name(report) else {
                continue;
            };
            match &report.named_rule {
                Some(named) if named == rule => agreement.same += 1,
                Some(_) => agreement.other += 1,
                None => agreement.none += 1,
            }
        }
        agreement
    }

    /// A line for each case that ran and whose subject named another rule than the case does, or
    /// none. A case is passed with any rule; this is for subjects that promise more.
    pub fn differently_named(&self) -> Vec<String> {
        let cases = self.cases.iter().filter_map(|report| {
            let (rule, _) = report.case.rule()?;
            let named = report.named_rule.as_deref();
            let differs = report.outcome.ran() && named != Some(rule);
            differs.then(|| format!("{}: {rule}, not {named:?}", report.case.id))
        });
        cases.collect()
    }

    /// The report as a JSON document, described in the README.
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// The report as a JUnit XML document.
    pub fn to_junit(&self) -> String {
        junit::write(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed(tally) => {
                write!(f, "passed, {} of {} cases", tally.passed, tally.cases())
            }
            Verdict::Failed(tally) => {
                write!(f, "FAILED, {} of {} cases", tally.failed, tally.cases())
            }
            Verdict::NotJudged(why) => write!(f, "not judged: {why}"),
        }
    }
}

/// The rule of a case that a subject may have named: of one file, which it rejected.
fn rule_to_name(report: &CaseReport) -> Option<&str> {
    match (&report.case.expect, &report.outcome) {
        (Expect::Reject { rule, .. } | Expect::TranscodeRefuse { rule, .. }, Outcome::Passed) => {
            Some(rule)
        }
        _ => None,
    }
}

fn is_encode(report: &&CaseReport) -> bool {
    matches!(
        report.case.expect,
        Expect::Encode { .. } | Expect::EncodeRefuse { .. }
    )
}

fn is_transcode(report: &&CaseReport) -> bool {
    matches!(
        report.case.expect,
        Expect::Transcode { .. } | Expect::TranscodeRefuse { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;

    /// A report with one core reject, one full reject and one encode case, in this order.
    fn report(outcomes: [Outcome; 3]) -> Report {
        let manifest = Manifest::parse(
            r#"{"format_version": "1.0", "license": "CC0-1.0", "cases": [
                {"id": "a", "claim": "c", "kind": "reject", "profile": "core", "sections": ["3.1", "6"], "file": "a",
                 "rule": "file-magic", "category": "malformed"},
                {"id": "b", "claim": "c", "kind": "reject", "profile": "full", "sections": ["6"], "file": "b",
                 "rule": "source-header", "category": "malformed"},
                {"id": "c", "claim": "c", "kind": "encode", "profile": "core", "sections": ["11"], "file": "c",
                 "source": "s", "parameters": {"encoding": "huffman", "chunk": 15}}]}"#,
        )
        .unwrap();
        let case = |(case, outcome)| CaseReport {
            named_rule: Some("file-magic".into()),
            ..CaseReport::new(&case, outcome)
        };
        Report {
            name: None,
            format_version: manifest.format_version,
            license: manifest.license,
            profile: Profile::Full,
            lenient: false,
            filtered: false,
            ignored: manifest.ignored,
            cases: manifest.cases.into_iter().zip(outcomes).map(case).collect(),
        }
    }

    fn not_run() -> Outcome {
        Outcome::NotRun {
            why: "no encoder".into(),
        }
    }

    fn left_output() -> Outcome {
        Outcome::LeftOutput {
            what: "the file".into(),
        }
    }

    #[test]
    fn a_case_that_was_not_run_never_passes() {
        let report = report([Outcome::Passed, Outcome::Passed, not_run()]);
        assert_eq!(
            report.tally(),
            Tally {
                passed: 2,
                failed: 0,
                not_run: 1
            }
        );
        assert_eq!(
            report.encoder_verdict(),
            Verdict::NotJudged("no encode case was run")
        );
        assert!(
            matches!(report.decoder_verdict(Profile::Full), Verdict::Passed(tally) if tally.cases() == 2)
        );
    }

    #[test]
    fn a_run_judges_the_profile_that_it_was_made_for() {
        let report = report([Outcome::Passed, left_output(), not_run()]);
        assert_eq!(
            report.decoder_verdict(Profile::Core),
            Verdict::NotJudged("run it with --profile core")
        );
        assert!(matches!(
            report.decoder_verdict(Profile::Full),
            Verdict::Failed(_)
        ));
        assert!(!report.passed());
    }

    #[test]
    fn a_known_failure_is_none_and_a_known_one_that_passes_is() {
        let mut report = report([Outcome::Passed, left_output(), Outcome::Passed]);
        report.cases[1].known_failure = Some("no memory".into());
        assert!(report.passed());
        assert_eq!(report.known_failures().count(), 1);
        assert!(matches!(
            report.decoder_verdict(Profile::Full),
            Verdict::Failed(_)
        ));
        report.cases[0].known_failure = Some(String::new());
        assert!(!report.passed());
        assert_eq!(report.failures().count(), 0);
        let passes: Vec<&str> = report
            .unexpected_passes()
            .map(|report| report.case.id.as_str())
            .collect();
        assert_eq!(passes, ["a"]);
    }

    #[test]
    fn cases_that_the_runner_does_not_know_leave_the_verdict_open() {
        let mut report = report([Outcome::Passed, Outcome::Passed, Outcome::Passed]);
        report.ignored.cases.insert("kind `dance`".into(), 2);
        assert_eq!(
            report.decoder_verdict(Profile::Full),
            Verdict::NotJudged("the corpus has cases that this runner does not know")
        );
    }

    #[test]
    fn a_filtered_run_can_fail_but_not_pass() {
        let mut report = report([Outcome::Passed, left_output(), Outcome::Passed]);
        report.filtered = true;
        assert_eq!(
            report.encoder_verdict(),
            Verdict::NotJudged("options left cases out")
        );
        assert!(matches!(
            report.decoder_verdict(Profile::Full),
            Verdict::Failed(_)
        ));
    }

    #[test]
    fn a_run_of_profile_core_does_not_judge_full() {
        let mut report = report([Outcome::Passed, Outcome::Skipped, Outcome::Passed]);
        report.profile = Profile::Core;
        assert!(matches!(
            report.decoder_verdict(Profile::Core),
            Verdict::Passed(_)
        ));
        assert_eq!(
            report.decoder_verdict(Profile::Full),
            Verdict::NotJudged("run it with --profile full")
        );
    }

    #[test]
    fn a_case_counts_in_each_of_its_sections() {
        let sections = report([Outcome::Passed, left_output(), not_run()]).tally_by_section();
        let lines: Vec<String> = sections
            .iter()
            .map(|(s, t)| format!("{s}: {} {} {}", t.passed, t.failed, t.not_run))
            .collect();
        assert_eq!(lines, ["3.1: 1 0 0", "6: 1 1 0", "11: 0 0 1"]);
    }

    #[test]
    fn rules_are_compared_where_a_reject_case_passed() {
        let agreement = report([Outcome::Passed, Outcome::Passed, not_run()]).rule_agreement();
        assert_eq!(
            agreement,
            RuleAgreement {
                same: 1,
                other: 1,
                none: 0
            }
        );
    }

    #[test]
    #[should_panic(expected = "left an output behind")]
    fn assert_passed_shows_the_failures() {
        report([Outcome::Passed, left_output(), not_run()]).assert_passed();
    }
}
