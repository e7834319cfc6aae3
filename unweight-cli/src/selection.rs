//! Selection of the tensors that are to be compressed, by patterns of their names.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::failure::Failure;

/// Selection of the tensors that are to be compressed.
pub(crate) struct Selection {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Selection, Failure> {
        let globs = |patterns: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for pattern in patterns {
                builder.add(Glob::new(pattern)?);
            }
            builder.build()
        };
        let wrong = |error: globset::Error| Failure::Usage(error.to_string());
        Ok(Selection {
            include: match include {
                [] => None,
                patterns => Some(globs(patterns).map_err(wrong)?),
            },
            exclude: globs(exclude).map_err(wrong)?,
        })
    }

    /// Whether all tensors are selected because no pattern was given.
    pub(crate) fn is_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let included = self
            .include
            .as_ref()
            .is_none_or(|include| include.is_match(name));
        included && !self.exclude.is_match(name)
    }
}
