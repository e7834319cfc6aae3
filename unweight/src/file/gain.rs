//! Reasons why a file did not become smaller.

use std::collections::BTreeSet;
use std::fmt;

use unweight_format::{Dtype, Encoding};

use crate::Storage;
use crate::container::Container;
use crate::options::Selection;

/// The reason why a container is not shorter than its source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoGain {
    /// It has no tensors.
    NoTensors,
    /// It has no BF16 tensors, but tensors of these types.
    NoBf16(Vec<Dtype>),
    /// None of its BF16 tensors is selected.
    NoneSelected,
    /// Its tensors are coded, but what is stored besides them takes as much as that saves.
    TooSmall,
    /// None of its BF16 tensors becomes smaller: they are too small, or their exponents too random.
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
        let bf16 = || tensors().filter(|tensor| tensor.dtype() == Dtype::Bf16);
        let is_coded = tensors().any(|tensor| tensor.encoding() != Encoding::Raw);
        Some(if tensors().next().is_none() {
            NoGain::NoTensors
        } else if bf16().next().is_none() {
            let mut seen = BTreeSet::new();
            let dtypes = tensors().map(|tensor| tensor.dtype());
            NoGain::NoBf16(
                dtypes
                    .filter(|dtype| seen.insert(dtype.to_string()))
                    .collect(),
            )
        } else if !bf16().any(|tensor| selection.has(tensor.name())) {
            NoGain::NoneSelected
        } else if is_coded {
            NoGain::TooSmall
        } else {
            NoGain::NotCompressible
        })
    }
}

impl fmt::Display for NoGain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoGain::NoTensors => f.write_str("it has no tensors"),
            NoGain::NoBf16(dtypes) => {
                let mut names: Vec<String> = dtypes.iter().map(Dtype::to_string).collect();
                names.sort();
                write!(f, "it has no BF16 tensors, but {}", names.join(", "))
            }
            NoGain::NoneSelected => f.write_str("none of its BF16 tensors is selected"),
            NoGain::TooSmall => {
                f.write_str("its tensors are too small to make up for headers and checksums")
            }
            NoGain::NotCompressible => {
                f.write_str("its BF16 tensors are too small, or their exponents too random")
            }
        }
    }
}
