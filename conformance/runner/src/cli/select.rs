//! Options that select cases.

use clap::Args;
use unweight_conformance_runner::{Case, RunOptions, Section};

/// A case is selected if it satisfies each kind of option that is given. All may be repeated.
#[derive(Args)]
pub(super) struct Selection {
    /// Cases whose id contains this text
    #[arg(long = "filter", value_name = "SUBSTRING")]
    filters: Vec<String>,

    /// The case with this id
    #[arg(long, value_name = "ID")]
    exact: Vec<String>,

    /// Cases that break this rule
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,

    /// Cases that exercise this section of the specification, or one within it
    #[arg(long = "section", value_name = "SECTION")]
    sections: Vec<Section>,

    /// Cases of this kind
    #[arg(long = "kind", value_name = "KIND", value_parser = Case::KINDS)]
    kinds: Vec<String>,

    /// Cases that a decoder passes which has done this step of the conformance README and those
    /// before it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    step: Option<u8>,

    /// Also cases of files up to 300 MB, which the runner makes: 2^20 tensors, and sections above the
    /// limits of the format
    #[arg(long)]
    large: bool,
}

impl Selection {
    pub(super) fn options(self) -> RunOptions {
        RunOptions {
            filters: self.filters,
            exact: self.exact,
            rules: self.rules,
            sections: self.sections,
            kinds: self.kinds,
            step: self.step,
            large: self.large,
            ..RunOptions::default()
        }
    }
}
