//! Options of a run: which cases, how strictly, and what is kept.

use std::{path::PathBuf, thread};

use crate::{Case, Corpus, KnownFailures, Profile, RunError, Section};

/// Selection of cases, and how they are run.
///
/// A case is selected if it satisfies each kind of selection that is given. Within one kind, one
/// match is enough.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The profile that is claimed.
    pub profile: Profile,
    /// Selects the cases whose id contains one of these.
    pub filters: Vec<String>,
    /// Selects the cases with these ids, besides those that `filters` select.
    pub exact: Vec<String>,
    /// Selects the cases that break one of these rules.
    pub rules: Vec<String>,
    /// Selects the cases that exercise one of these sections or a section within it.
    pub sections: Vec<Section>,
    /// Selects the cases of these kinds, such as `reject`.
    pub kinds: Vec<String>,
    /// Selects the cases that a decoder passes which has done the steps up to this one.
    pub step: Option<u8>,
    /// Whether cases with large files are selected too; those that `exact` names always are.
    pub large: bool,
    /// The number of cases that run at a time, at least 1.
    pub jobs: usize,
    /// Whether a rejection that names no rule passes, whoever made it.
    pub lenient: bool,
    /// Whether the run stops at the first unexpected failure.
    pub fail_fast: bool,
    /// Cases that are known to fail.
    pub known_failures: KnownFailures,
    /// A folder that gets the input, the output, stdout and stderr of each call.
    pub keep: Option<PathBuf>,
}

impl Default for RunOptions {
    /// Profile full, every case, as many jobs as cores.
    fn default() -> Self {
        Self {
            profile: Profile::Full,
            filters: Vec::new(),
            exact: Vec::new(),
            rules: Vec::new(),
            sections: Vec::new(),
            kinds: Vec::new(),
            step: None,
            large: false,
            jobs: thread::available_parallelism().map_or(1, usize::from),
            lenient: false,
            fail_fast: false,
            known_failures: KnownFailures::default(),
            keep: None,
        }
    }
}

impl RunOptions {
    /// Whether a case is selected.
    pub fn selects(&self, case: &Case) -> bool {
        let rule = case.rule().map(|(rule, _)| rule);
        let by_id = self.filters.is_empty() && self.exact.is_empty()
            || self.filters.iter().any(|filter| case.id.contains(filter))
            || self.exact.contains(&case.id);
        let by_rule = any_or_empty(&self.rules, |wanted| rule == Some(wanted));
        let by_section = any_or_empty(&self.sections, |wanted| {
            case.sections
                .iter()
                .any(|section| section.is_within(wanted))
        });
        let by_kind = any_or_empty(&self.kinds, |kind| case.kind() == kind);
        let by_step = match (self.step, case.step) {
            (None, _) => true,
            (Some(done), Some(step)) => step <= done,
            (Some(_), None) => false,
        };
        let by_size = self.large || !case.large || self.exact.contains(&case.id);
        by_size && by_id && by_rule && by_section && by_kind && by_step
    }

    /// Refuses ids that no case has: they are misspelt, or of another corpus.
    pub(crate) fn check_ids(&self, corpus: &Corpus) -> Result<(), RunError> {
        let exists = |id: &str| corpus.cases().iter().any(|case| case.id == id);
        let listed = self.known_failures.ids().find(|id| !exists(id));
        if let Some(id) = listed {
            return Err(RunError(format!(
                "the list of known failures has `{id}`, which is no case of this corpus; take it out"
            )));
        }
        match self.exact.iter().find(|id| !exists(id)) {
            Some(id) => Err(RunError(format!(
                "there is no case `{id}`; the command list shows all cases"
            ))),
            None => Ok(()),
        }
    }
}

fn any_or_empty<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}
