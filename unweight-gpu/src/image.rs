//! Kernel modules for the driver: images compiled when the crate was built, or source for NVRTC.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::Ptx;

use crate::GpuError;
use crate::kernel_cache::{KernelCache, Key};
use crate::nvrtc::{self, Header};

/// A `.cu` file.
pub(crate) struct Module {
    /// Path below `kernels/`.
    path: &'static str,
    source: &'static str,
    /// The images. The list is empty if there was no compiler when the crate was built.
    image: &'static [u8],
    /// True if the module uses instructions that only Hopper has.
    hopper: bool,
}

// build.rs writes a constant for each module of `kernels/modules.txt`, and `MODULES` and `HEADERS`.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The compute capability of Hopper.
pub(crate) const HOPPER: (i32, i32) = (9, 0);

/// The source of a device's images.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) capability: (i32, i32),
    pub(crate) driver_version: i32,
    /// The cache for images that NVRTC compiles.
    pub(crate) cache: Option<KernelCache>,
}

impl Images {
    /// Loads a module from its image, or from the result of NVRTC in this or an earlier process.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`]; [`GpuError::Compile`]; the errors of the driver.
    pub(crate) fn load(
        &self,
        context: &Arc<CudaContext>,
        module: &Module,
    ) -> Result<Arc<CudaModule>, GpuError> {
        let load = |image: &[u8]| Ok(context.load_module(Ptx::from_binary(image.to_vec()))?);
        if !module.image.is_empty() {
            return load(module.image);
        }
        if !nvrtc::is_present() {
            return Err(GpuError::NoKernels);
        }
        let options = module.options(self.capability);
        let compile = || module.compile(&options);
        let Some(cache) = &self.cache else {
            return load(&compile()?);
        };
        let (major, minor) = nvrtc::version()?;
        let mut key = Key::new();
        key.add(module.path).add(module.source);
        // Any header may be included by another header, so all are passed.
        for header in HEADERS {
            key.add(header.name).add(header.text);
        }
        for option in &options {
            key.add(option);
        }
        key.add(&format!("NVRTC {major}.{minor}"))
            .add(&format!("driver {}", self.driver_version))
            .add(&format!("device {:?}", self.capability));
        cache.load(&key.finish(), compile, load)
    }
}

impl Module {
    fn options(&self, (major, minor): (i32, i32)) -> Vec<String> {
        let specific = if self.hopper { "a" } else { "" };
        vec![
            "--std=c++17".to_owned(),
            format!("--gpu-architecture=sm_{major}{minor}{specific}"),
        ]
    }

    fn compile(&self, options: &[String]) -> Result<Vec<u8>, GpuError> {
        nvrtc::compile(self.source, self.path, HEADERS, options)
    }
}

/// Whether the decoding kernels were compiled when the crate was built. If not, NVRTC compiles them
/// at first use.
pub const fn kernels_are_built_in() -> bool {
    !DECODE.image.is_empty() && !CHECKSUM.image.is_empty()
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
        assert!(nvrtc::is_present());
        for module in MODULES {
            for capability in [(8, 0), HOPPER] {
                if capability == HOPPER || !module.hopper {
                    let image = module.compile(&module.options(capability)).unwrap();
                    assert!(image.starts_with(b"\x7fELF"), "{}", module.path);
                }
            }
        }
    }

    #[test]
    #[ignore = "needs NVRTC"]
    fn an_error_of_nvrtc_has_the_compiler_s_messages() {
        let source = "__global__ void f() { g(); }";
        let error = nvrtc::compile(source, "bad.cu", &[], &[]).unwrap_err();
        assert!(error.to_string().contains("identifier \"g\""), "{error}");
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
                // The header of the host tests' emulator is not part of a device build.
                let emulator = name.starts_with("emulator/");
                assert!(known || emulator, "{file} includes {name}");
            }
        }
    }
}
