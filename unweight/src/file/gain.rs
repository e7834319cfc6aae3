//! Reasons why a file did not become smaller.

use std::fmt;

use crate::Storage;
use crate::container::Container;
use crate::options::Selection;

/// The reason why a container is not shorter than its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoGain {
    /// It has no tensors.
    NoTensors,
    /// None of its tensors is selected.
    NoneSelected,
    /// Some of its tensors became smaller, but what is stored besides them takes as much as that
    /// saves.
    TooSmall,
    /// None of its tensors becomes smaller: they are too small, or their bits too random.
    NotCompressible,
}

impl NoGain {
    /// The reason why a container is not shorter than its source of this length. None if it is
    /// shorter.
    pub(super) fn of<S: Storage + ?Sized>(
        container: &Container<'_, S>,
        selection: &Selection,
        source_bytes: u64,
    ) -> Option<NoGain> {
        if container.header().file_length() < source_bytes {
            return None;
        }
        let tensors = || container.directory().tensors();
        Some(if tensors().next().is_none() {
            NoGain::NoTensors
        } else if !tensors().any(|tensor| selection.has(tensor.name())) {
            NoGain::NoneSelected
        } else if tensors().any(|tensor| !tensor.forms().is_raw()) {
            NoGain::TooSmall
        } else {
            NoGain::NotCompressible
        })
    }
}

impl fmt::Display for NoGain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoGain::NoTensors => "it has no tensors",
            NoGain::NoneSelected => "none of its tensors is selected",
            NoGain::TooSmall => "its tensors are too small to make up for headers and checksums",
            NoGain::NotCompressible => "its tensors are too small, or their bits too random",
        })
    }
}
