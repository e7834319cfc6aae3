//! Selection of the ISA whose kernels run. This module is the only place that decides it.

use std::fmt;
use std::sync::OnceLock;

use super::kernels::Kernels;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The environment variable with the name of the ISA, for tests and measurements.
pub const ISA_VARIABLE: &str = "UNWEIGHT_CPU_ISA";

/// An instruction set (ISA) that the codec has kernels for. All give the same bytes and the same
/// errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// The [reference](mod@crate::reference), which the others must equal.
    Reference,
    /// Safe Rust with several lanes in flight.
    Portable,
    /// Little-endian aarch64 with NEON.
    Neon,
    /// x86-64 with AVX2, BMI1, BMI2, LZCNT and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, CD, DQ, VL, VBMI and VBMI2, and VPCLMULQDQ.
    Avx512,
}

impl Isa {
    /// Every ISA. Those of one machine are in order from the slowest on.
    pub const ALL: [Isa; 5] = [
        Isa::Reference,
        Isa::Portable,
        Isa::Neon,
        Isa::Avx2,
        Isa::Avx512,
    ];

    /// The name, in the spelling of [`ISA_VARIABLE`].
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Reference => "reference",
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The ISAs that this machine can run, from the slowest on.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|&isa| Codec::of(isa).is_some())
    }

    /// The fastest ISA that this machine can run.
    pub fn best() -> Isa {
        Isa::available()
            .last()
            .expect("the reference runs everywhere")
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The codec for an ISA that this machine can run. Copies are cheap.
#[derive(Clone, Copy)]
pub struct Codec {
    isa: Isa,
    /// The kernels; None for the reference.
    pub(super) kernels: Option<&'static Kernels>,
}

impl Codec {
    /// The codec for this ISA, if this machine can run it.
    pub fn of(isa: Isa) -> Option<Codec> {
        let kernels = match isa {
            Isa::Reference => None,
            Isa::Portable => Some(&portable::KERNELS),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::Neon => Some(neon::kernels()?),
            #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
            Isa::Neon => return None,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(avx2::kernels()?),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(avx512::kernels()?),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => return None,
        };
        Some(Codec { isa, kernels })
    }

    /// The codec of [`Isa::Avx2`] for processors with a slow PEXT, if this machine can run it. It
    /// allows tests and measurements on processors with a fast PEXT.
    #[doc(hidden)]
    pub fn avx2_without_pext() -> Option<Codec> {
        #[cfg(target_arch = "x86_64")]
        return Some(Codec {
            isa: Isa::Avx2,
            kernels: Some(avx2::kernels_without_pext()?),
        });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The default codec: that of the ISA in [`ISA_VARIABLE`], which is read once. If the variable
    /// is not set, or this machine cannot run its ISA, the fastest one is used (see
    /// [`Codec::named_by_environment`]).
    pub fn current() -> Codec {
        static CURRENT: OnceLock<Codec> = OnceLock::new();
        let best = || Codec::of(Isa::best()).expect("the best ISA is available");
        *CURRENT.get_or_init(|| {
            Codec::named_by_environment()
                .ok()
                .flatten()
                .unwrap_or_else(best)
        })
    }

    /// The codec of the ISA in [`ISA_VARIABLE`], if the variable is set.
    ///
    /// # Errors
    /// [`UnknownIsa`]. A program should report it, so that it does not measure a different ISA.
    pub fn named_by_environment() -> Result<Option<Codec>, UnknownIsa> {
        let Some(value) = std::env::var_os(ISA_VARIABLE) else {
            return Ok(None);
        };
        let named = Isa::ALL.into_iter().find(|isa| value == isa.name());
        match named.and_then(Codec::of) {
            Some(codec) => Ok(Some(codec)),
            None => Err(UnknownIsa(value.to_string_lossy().into_owned())),
        }
    }

    /// The ISA of the codec.
    pub const fn isa(&self) -> Isa {
        self.isa
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Codec").field(&self.isa).finish()
    }
}

/// The value of [`ISA_VARIABLE`] is not an ISA that this machine can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa(String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Isa::available().map(Isa::name).collect();
        let names = names.join(", ");
        write!(f, "{ISA_VARIABLE} is {:?}, expected one of {names}", self.0)
    }
}

impl std::error::Error for UnknownIsa {}
