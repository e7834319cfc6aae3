//! What decodes and encodes.

use unweight_cpu::fast::{Codec, Isa};

/// What decodes and encodes. All give the same bytes and the same verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The fastest instruction set of this processor, unless `UNWEIGHT_CPU_PATH` names another.
    #[default]
    Auto,
    /// This instruction set. Where the processor does not have it, the fastest one that it has.
    Cpu(Isa),
}

impl Backend {
    pub(crate) fn codec(self) -> Codec {
        match self {
            Backend::Auto => Codec::current(),
            Backend::Cpu(isa) => Codec::of(isa).unwrap_or_else(Codec::current),
        }
    }
}
