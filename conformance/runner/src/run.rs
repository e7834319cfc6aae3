//! Runs the cases of a corpus over threads.

mod keep;
mod options;
mod trial;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub use self::options::RunOptions;
use self::trial::Run;
#[cfg(feature = "harness")]
pub(crate) use self::trial::Run as CaseRun;
use crate::{Case, CaseReport, Corpus, Expect, Outcome, Parameters, Report, RunError, Subject};

/// The subjects of a run. The cases of a subject that is not there are reported as not run.
#[derive(Clone, Copy, Default)]
pub struct Subjects<'a> {
    /// Runs the accept, reject and prefixes cases.
    pub decoder: Option<&'a dyn Subject>,
    /// Runs the encode and encode-refuse cases.
    pub encoder: Option<&'a dyn Subject>,
    /// Runs the transcode and transcode-refuse cases.
    pub transcoder: Option<&'a dyn Subject>,
}

/// Runs the selected cases of `corpus`.
///
/// `watch` hears of each case as it is done, in no order. The report has the order of the manifest.
/// It is an error when no case matches the filters or none of those that match can be run, when the
/// corpus cannot be read, or when a subject cannot be started.
pub fn run_with(
    corpus: &Corpus,
    options: &RunOptions,
    subjects: Subjects<'_>,
    watch: &(dyn Fn(&CaseReport) + Sync),
) -> Result<Report, RunError> {
    options.check_ids(corpus)?;
    let cases: Vec<&Case> = corpus
        .cases()
        .iter()
        .filter(|case| options.selects(case))
        .collect();
    if cases.is_empty() {
        return Err(RunError(
            "no case matches the options; the command list shows all cases".into(),
        ));
    }
    if let Some(encoder) = subjects.encoder {
        check_placeholders(corpus, "encode", encoder)?;
    }
    if let Some(transcoder) = subjects.transcoder {
        check_placeholders(corpus, "transcode", transcoder)?;
    }
    let rules = rules_of(corpus);
    let run = Run {
        corpus,
        options,
        subjects,
        rules: &rules,
    };
    let reports = run_all(&run, &cases, watch)?;
    if !reports.iter().any(|report| report.outcome.ran()) {
        return Err(RunError(format!(
            "none of the {} matching cases could be run; {}: {}",
            reports.len(),
            reports[0].case.id,
            reports[0].outcome
        )));
    }
    Ok(Report {
        name: None,
        format_version: corpus.manifest().format_version.clone(),
        license: corpus.manifest().license.clone(),
        profile: options.profile,
        lenient: options.lenient,
        filtered: cases.len() < corpus.cases().iter().filter(|case| !case.large).count(),
        ignored: corpus.manifest().ignored.clone(),
        cases: reports,
    })
}

/// Rejects a placeholder for which no case of the kind has a value: it is a mistake in the command.
fn check_placeholders(corpus: &Corpus, kind: &str, subject: &dyn Subject) -> Result<(), RunError> {
    let parameters = corpus
        .cases()
        .iter()
        .filter(|case| case.kind() == kind)
        .filter_map(|case| parameters_of(&case.expect));
    let known: BTreeSet<&str> = parameters
        .flat_map(|parameters| parameters.iter().map(|(name, _)| name))
        .collect();
    match subject
        .takes()
        .unwrap_or_default()
        .into_iter()
        .find(|name| !known.contains(name))
    {
        Some(name) if !known.is_empty() => {
            let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
            Err(RunError(format!(
                "the {kind}r's command has {{{name}}}, which no {kind} case sets; there are {}",
                known.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// The parameters of a case, if it has any.
fn parameters_of(expect: &Expect) -> Option<&Parameters> {
    match expect {
        Expect::Encode { parameters, .. }
        | Expect::EncodeRefuse { parameters }
        | Expect::Transcode { parameters, .. }
        | Expect::TranscodeRefuse { parameters, .. } => Some(parameters),
        Expect::Accept(_) | Expect::Reject { .. } | Expect::Prefixes { .. } => None,
    }
}

/// Every rule that a case names.
pub(crate) fn rules_of(corpus: &Corpus) -> HashSet<&str> {
    let cases = corpus.cases().iter();
    let rules = cases.clone().filter_map(|case| case.rule());
    let core_rules = cases.filter_map(|case| case.core_rule.as_deref());
    rules.map(|(rule, _)| rule).chain(core_rules).collect()
}

/// Runs the cases on as many threads as the options say. The reports have the order of `cases`.
fn run_all(
    run: &Run<'_>,
    cases: &[&Case],
    watch: &(dyn Fn(&CaseReport) + Sync),
) -> Result<Vec<CaseReport>, RunError> {
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<CaseReport>>> = cases.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some((case, slot)) = take(&next, cases, &slots) {
            match run.one(case) {
                Ok(report) => {
                    watch(&report);
                    if run.options.fail_fast && report.unexpected() {
                        next.store(cases.len(), Ordering::Relaxed);
                    }
                    *slot.lock().expect("only this thread holds the slot") = Some(report);
                }
                Err(error) => {
                    // Stops the other threads after their current case.
                    next.store(cases.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..run.options.jobs.clamp(1, cases.len()))
            .map(|_| scope.spawn(work))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    let done = slots
        .into_iter()
        .map(|slot| slot.into_inner().expect("no worker panicked"));
    // Only a run that stops at the first failure leaves slots empty.
    let not_run = |case: &&Case| {
        let why = "not run: an earlier case failed, and --fail-fast is given".into();
        CaseReport::new(case, Outcome::NotRun { why })
    };
    Ok(done
        .zip(cases)
        .map(|(report, case)| report.unwrap_or_else(|| not_run(case)))
        .collect())
}

/// The next case that no thread has started, and the slot for its report.
fn take<'a, C, S>(next: &AtomicUsize, cases: &'a [C], slots: &'a [S]) -> Option<(&'a C, &'a S)> {
    let position = next.fetch_add(1, Ordering::Relaxed);
    cases.get(position).zip(slots.get(position))
}
