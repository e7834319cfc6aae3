//! Which kernels run: the one place where that is decided.

use std::fmt;
use std::sync::OnceLock;

use super::kernels::Kernels;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The environment variable that names the path, for tests and measurements.
pub const PATH_VARIABLE: &str = "UNWEIGHT_CPU_PATH";

/// A way to do the codec's work. All give the same bytes and the same verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
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

impl Path {
    /// Every path, slowest first among those of one machine.
    pub const ALL: [Path; 5] = [
        Path::Reference,
        Path::Portable,
        Path::Neon,
        Path::Avx2,
        Path::Avx512,
    ];

    /// The path's name, as [`PATH_VARIABLE`] has it.
    pub const fn name(self) -> &'static str {
        match self {
            Path::Reference => "reference",
            Path::Portable => "portable",
            Path::Neon => "neon",
            Path::Avx2 => "avx2",
            Path::Avx512 => "avx512",
        }
    }

    /// The paths that this machine can run, slowest first.
    pub fn available() -> impl Iterator<Item = Path> {
        Path::ALL
            .into_iter()
            .filter(|&path| Codec::of(path).is_some())
    }

    /// The fastest path that this machine can run.
    pub fn best() -> Path {
        Path::available()
            .last()
            .expect("the reference runs everywhere")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A path that this machine can run. It costs nothing to copy.
#[derive(Clone, Copy)]
pub struct Codec {
    path: Path,
    /// None: the reference.
    pub(super) kernels: Option<&'static Kernels>,
}

impl Codec {
    /// The codec of this path, if this machine can run it.
    pub fn of(path: Path) -> Option<Codec> {
        let kernels = match path {
            Path::Reference => None,
            Path::Portable => Some(&portable::KERNELS),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon => Some(neon::kernels()?),
            #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
            Path::Neon => return None,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => Some(avx2::kernels()?),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => Some(avx512::kernels()?),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx2 | Path::Avx512 => return None,
        };
        Some(Codec { path, kernels })
    }

    /// The codec of [`Path::Avx2`] as processors with a slow PEXT have it, if this machine can run it: to test and to measure it elsewhere.
    #[doc(hidden)]
    pub fn avx2_without_pext() -> Option<Codec> {
        #[cfg(target_arch = "x86_64")]
        return Some(Codec {
            path: Path::Avx2,
            kernels: Some(avx2::kernels_without_pext()?),
        });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The codec that everything uses unless told otherwise: that of the path that [`PATH_VARIABLE`] names, which is read once.
    /// Without it, or where it names none that this machine can run, the best (see [`Codec::named_by_environment`]).
    pub fn current() -> Codec {
        static CURRENT: OnceLock<Codec> = OnceLock::new();
        let best = || Codec::of(Path::best()).expect("the best path is available");
        *CURRENT.get_or_init(|| {
            Codec::named_by_environment()
                .ok()
                .flatten()
                .unwrap_or_else(best)
        })
    }

    /// The codec that [`PATH_VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// [`UnknownPath`]: a program says so rather than measure the wrong thing.
    pub fn named_by_environment() -> Result<Option<Codec>, UnknownPath> {
        let Some(value) = std::env::var_os(PATH_VARIABLE) else {
            return Ok(None);
        };
        let named = Path::ALL.into_iter().find(|path| value == path.name());
        match named.and_then(Codec::of) {
            Some(codec) => Ok(Some(codec)),
            None => Err(UnknownPath(value.to_string_lossy().into_owned())),
        }
    }

    /// The path.
    pub const fn path(&self) -> Path {
        self.path
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Codec").field(&self.path).finish()
    }
}

/// [`PATH_VARIABLE`] names a path that does not exist, or that this machine cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPath(String);

impl fmt::Display for UnknownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Path::available().map(Path::name).collect();
        let names = names.join(", ");
        write!(
            f,
            "{PATH_VARIABLE} is {:?}; this machine has the paths {names}",
            self.0
        )
    }
}

impl std::error::Error for UnknownPath {}
