//! Modules of a device.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::Ptx;

use super::cache::{KernelCache, Key};
use super::{Module, nvrtc};
use crate::{ComputeCapability, GpuError};

/// Loads modules, each once.
#[derive(Debug)]
pub(crate) struct ModuleLoader {
    capability: ComputeCapability,
    driver_version: i32,
    /// The cache for images that NVRTC compiles.
    cache: Option<KernelCache>,
    /// Few, and compared by all of their parts: crates may have modules of the same path.
    loaded: Mutex<Vec<(Module, Arc<CudaModule>)>>,
}

impl ModuleLoader {
    pub(crate) fn new(
        capability: ComputeCapability,
        driver_version: i32,
        cache: Option<KernelCache>,
    ) -> ModuleLoader {
        ModuleLoader {
            capability,
            driver_version,
            cache,
            loaded: Mutex::default(),
        }
    }

    /// The module, from its image, or from the result of NVRTC in this or an earlier process.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`]; [`GpuError::Compile`]; the errors of the driver.
    pub(crate) fn load(
        &self,
        context: &Arc<CudaContext>,
        module: &Module,
    ) -> Result<Arc<CudaModule>, GpuError> {
        // A panic leaves the list whole.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = loaded.iter().find(|(known, _)| known == module) {
            return Ok(known.clone());
        }
        let loaded_now = self.load_anew(context, module)?;
        loaded.push((*module, loaded_now.clone()));
        Ok(loaded_now)
    }

    fn load_anew(
        &self,
        context: &Arc<CudaContext>,
        module: &Module,
    ) -> Result<Arc<CudaModule>, GpuError> {
        let load = |image: &[u8]| Ok(context.load_module(Ptx::from_binary(image.to_vec()))?);
        if module.is_built_in() {
            return load(module.image);
        }
        if !nvrtc::is_present() {
            return Err(GpuError::NoKernels);
        }
        let compile = || module.compile(self.capability);
        let Some(cache) = &self.cache else {
            return load(&compile()?);
        };
        cache.load(&self.key(module)?, compile, load)
    }

    /// Everything that the image of a module depends on.
    fn key(&self, module: &Module) -> Result<[u8; 32], GpuError> {
        let (major, minor) = nvrtc::version()?;
        let ComputeCapability {
            major: device_major,
            minor: device_minor,
        } = self.capability;
        let mut key = Key::new();
        key.add(module.path).add(module.source);
        // Any header may be included by another header, so all are passed.
        for header in module.headers.iter().copied().flatten() {
            key.add(header.name).add(header.text);
        }
        for option in &module.options(self.capability) {
            key.add(option);
        }
        key.add(&format!("NVRTC {major}.{minor}"))
            .add(&format!("driver {}", self.driver_version))
            .add(&format!("device ({device_major}, {device_minor})"));
        Ok(key.finish())
    }
}
