//! Kernel modules: images compiled when their crate was built, or source for NVRTC.

use super::{Header, nvrtc};
use crate::{ComputeCapability, GpuError};

/// A kernel module: a `.cu` file. `unweight-gpu-build` writes a constant for each one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// Path below the crate's folder `kernels`.
    pub path: &'static str,
    /// The text of the file.
    pub source: &'static str,
    /// The headers that it may include, directly or not.
    pub headers: &'static [&'static [Header]],
    /// The fat binary. It is empty if there was no compiler when the crate was built.
    pub image: &'static [u8],
    /// True if the module uses instructions that only Hopper has.
    pub hopper: bool,
}

impl Module {
    /// Whether the module was compiled when its crate was built. If not, NVRTC compiles it at first
    /// use.
    pub const fn is_built_in(&self) -> bool {
        !self.image.is_empty()
    }

    /// The options of NVRTC for this device.
    pub(super) fn options(&self, capability: ComputeCapability) -> Vec<String> {
        let ComputeCapability { major, minor } = capability;
        let specific = if self.hopper { "a" } else { "" };
        vec![
            "--std=c++17".to_owned(),
            format!("--gpu-architecture=sm_{major}{minor}{specific}"),
        ]
    }

    /// Compiles the module with NVRTC, which must be present, to a cubin for this device.
    ///
    /// # Errors
    /// [`GpuError::Compile`] with NVRTC's messages.
    pub fn compile(&self, capability: ComputeCapability) -> Result<Vec<u8>, GpuError> {
        let options = self.options(capability);
        nvrtc::compile(self.source, self.path, self.headers, &options)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Module").field(&self.path).finish()
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Header").field(&self.name).finish()
    }
}
