//! Which instruction set's kernels run: the one place where that is decided.

use std::fmt;
use std::sync::OnceLock;

use super::kernels::Kernels;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The environment variable that names the instruction set, for tests and measurements.
pub const ISA_VARIABLE: &str = "UNWEIGHT_CPU_PATH";

/// An instruction set that the codec has kernels for. All give the same bytes and the same verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// The [reference](mod@crate::reference): what the others must equal.
    Reference,
    /// Safe Rust, several lanes in flight.
    Portable,
    /// Little-endian aarch64 with NEON.
    Neon,
    /// x86-64 with AVX2, BMI1, BMI2, LZCNT and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, CD, DQ, VL, VBMI and VBMI2, and VPCLMULQDQ.
    Avx512,
}

impl Isa {
    /// Every instruction set, slowest first among those of one machine.
    pub const ALL: [Isa; 5] = [
        Isa::Reference,
        Isa::Portable,
        Isa::Neon,
        Isa::Avx2,
        Isa::Avx512,
    ];

    /// The name, as [`ISA_VARIABLE`] has it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Reference => "reference",
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The instruction sets that this machine can run, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|&isa| Codec::of(isa).is_some())
    }

    /// The fastest instruction set that this machine can run.
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

/// The codec for an instruction set that this machine can run. It costs nothing to copy.
#[derive(Clone, Copy)]
pub struct Codec {
    isa: Isa,
    /// None: the reference.
    pub(super) kernels: Option<&'static Kernels>,
}

impl Codec {
    /// The codec for this instruction set, if this machine can run it.
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

    /// The codec of [`Isa::Avx2`] as processors with a slow PEXT have it, if this machine can run it: to test and to measure it elsewhere.
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

    /// The default codec: the one that [`ISA_VARIABLE`] names, which is read once. Without it, or where it names none that
    /// this machine can run, the fastest (see [`Codec::named_by_environment`]).
    pub fn current() -> Codec {
        static CURRENT: OnceLock<Codec> = OnceLock::new();
        let best = || Codec::of(Isa::best()).expect("the best path is available");
        *CURRENT.get_or_init(|| {
            Codec::named_by_environment()
                .ok()
                .flatten()
                .unwrap_or_else(best)
        })
    }

    /// The codec that [`ISA_VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// [`UnknownIsa`]: a program says so rather than measure the wrong thing.
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

    /// The instruction set.
    pub const fn isa(&self) -> Isa {
        self.isa
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Codec").field(&self.isa).finish()
    }
}

/// [`ISA_VARIABLE`] names no instruction set that this machine can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa(String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Isa::available().map(Isa::name).collect();
        let names = names.join(", ");
        write!(
            f,
            "{ISA_VARIABLE} is {:?}; this machine has {names}",
            self.0
        )
    }
}

impl std::error::Error for UnknownIsa {}
