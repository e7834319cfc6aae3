//! Backends for decoding and encoding.

use unweight_cpu::fast::{Codec, Isa};

#[cfg(feature = "cuda")]
use crate::CudaDevice;

/// A backend for decoding and encoding. All give the same bytes and the same errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The fastest instruction set of this processor, unless `UNWEIGHT_CPU_ISA` names another.
    #[default]
    Auto,
    /// This instruction set, or the fastest available one if the processor does not support it.
    Cpu(Isa),
    /// This CUDA device, for tensors of any type with coded fields that are decoded whole:
    /// [`Model::verify`](crate::Model::verify), [`Model::restore`](crate::Model::restore),
    /// [`Tensor::read_into`](crate::Tensor::read_into) and the variants of these. The CPU does
    /// ranges, other tensors and transcoding, the same way as with [`Backend::Auto`].
    #[cfg(feature = "cuda")]
    Cuda(CudaDevice),
}

impl Backend {
    /// The codec for the CPU's part.
    pub(crate) fn codec(&self) -> Codec {
        match self {
            Backend::Auto => Codec::current(),
            Backend::Cpu(isa) => Codec::of(*isa).unwrap_or_else(Codec::current),
            #[cfg(feature = "cuda")]
            Backend::Cuda(_) => Codec::current(),
        }
    }
}
