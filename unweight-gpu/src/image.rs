//! Kernel modules as the driver loads them: images made when the crate was built, or source for
//! NVRTC.

use cudarc::nvrtc::Ptx;

use crate::GpuError;
use crate::nvrtc::{self, Header};

/// One `.cu` file.
pub(crate) struct Module {
    /// Path below `kernels/`.
    path: &'static str,
    source: &'static str,
    /// Empty if there was no compiler when the crate was built.
    image: &'static [u8],
    /// True if the module uses instructions that only Hopper has.
    hopper: bool,
}

// A constant for each module of `kernels/modules.txt`, `MODULES` and `HEADERS`. build.rs writes
// them.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The compute capability of Hopper.
pub(crate) const HOPPER: (i32, i32) = (9, 0);

impl Module {
    /// For a device of this compute capability.
    pub(crate) fn load(&self, (major, minor): (i32, i32)) -> Result<Ptx, GpuError> {
        if !self.image.is_empty() {
            return Ok(Ptx::from_binary(self.image.to_vec()));
        }
        self.compile((major, minor))
    }

    fn compile(&self, (major, minor): (i32, i32)) -> Result<Ptx, GpuError> {
        let specific = if self.hopper { "a" } else { "" };
        let options = [
            "--std=c++17".to_owned(),
            format!("--gpu-architecture=compute_{major}{minor}{specific}"),
        ];
        nvrtc::compile(self.source, self.path, HEADERS, &options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs nvcc when the crate is built"]
    fn an_image_was_made_of_every_module() {
        for module in MODULES {
            assert!(!module.image.is_empty(), "{}", module.path);
        }
    }

    #[test]
    #[ignore = "needs NVRTC"]
    fn nvrtc_compiles_every_module() {
        for module in MODULES {
            for capability in [(8, 0), HOPPER] {
                if capability == HOPPER || !module.hopper {
                    module.compile(capability).unwrap();
                }
            }
        }
    }

    #[test]
    fn every_include_of_a_module_or_header_is_a_header() {
        let modules = MODULES.iter().map(|module| (module.path, module.source));
        let headers = HEADERS.iter().map(|header| (header.name, header.text));
        for (file, text) in modules.chain(headers) {
            for line in text.lines() {
                let Some(name) = line.trim().strip_prefix("#include ") else {
                    continue;
                };
                let name = name.trim_matches('"');
                let known = HEADERS.iter().any(|header| header.name == name);
                // The emulator of the host tests, which a device build leaves out.
                let emulator = name.starts_with("emulator/");
                assert!(known || emulator, "{file} includes {name}");
            }
        }
    }
}
