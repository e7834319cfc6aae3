//! What decodes and encodes.

use unweight_cpu::fast::{Codec, Isa};

#[cfg(feature = "cuda")]
use crate::CudaDevice;

/// What decodes and encodes. All give the same bytes and the same verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The fastest instruction set of this processor, unless `UNWEIGHT_CPU_PATH` names another.
    #[default]
    Auto,
    /// This instruction set. Where the processor does not have it, the fastest one that it has.
    Cpu(Isa),
    /// This CUDA device, for coded tensors that are decoded whole:
    /// [`Model::verify`](crate::Model::verify), [`Model::restore`](crate::Model::restore),
    /// [`Tensor::read_into`](crate::Tensor::read_into) and their like. Ranges, raw tensors and
    /// transcoding are the CPU's, as with [`Backend::Auto`].
    #[cfg(feature = "cuda")]
    Cuda(CudaDevice),
}

impl Backend {
    /// What the CPU's part is done with.
    pub(crate) fn codec(&self) -> Codec {
        match self {
            Backend::Auto => Codec::current(),
            Backend::Cpu(isa) => Codec::of(*isa).unwrap_or_else(Codec::current),
            #[cfg(feature = "cuda")]
            Backend::Cuda(_) => Codec::current(),
        }
    }
}
