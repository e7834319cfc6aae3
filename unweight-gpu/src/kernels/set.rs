//! Kernel functions of a device, by type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaFunction, CudaModule, sys};

use crate::{Device, GpuError};

/// The functions, and perhaps constants in device memory, that some launches need. A device loads
/// each set once, at first use ([`Device::kernels`]).
///
/// ```no_run
/// use cudarc::driver::CudaFunction;
/// use unweight_gpu::kernels::{HEADERS, KernelSet, Module};
/// use unweight_gpu::{Device, GpuError};
/// # use unweight_gpu::cudarc;
///
/// // `unweight-gpu-build` writes this.
/// const NOTHING: Module = Module {
///     path: "nothing.cu",
///     source: "extern \"C\" __global__ void nothing() {}",
///     headers: &[HEADERS],
///     image: &[],
///     hopper: false,
/// };
///
/// struct Nothing(CudaFunction);
///
/// impl KernelSet for Nothing {
///     fn load(device: &Device) -> Result<Nothing, GpuError> {
///         Ok(Nothing(device.load_module(&NOTHING)?.load_function("nothing")?))
///     }
/// }
/// ```
pub trait KernelSet: Sized + Send + Sync + 'static {
    /// Loads the modules ([`Device::load_module`]) and their functions. The set must not keep the
    /// device, or neither is freed.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`]; [`GpuError::Compile`]; the errors of the driver.
    fn load(device: &Device) -> Result<Self, GpuError>;
}

/// The sets that a device has loaded.
#[derive(Debug, Default)]
pub(crate) struct KernelSets(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl KernelSets {
    /// The set of this type, loaded if it is not there.
    ///
    /// # Errors
    /// The errors of [`KernelSet::load`].
    pub(crate) fn get<K: KernelSet>(&self, device: &Device) -> Result<Arc<K>, GpuError> {
        let known = self.lock().get(&TypeId::of::<K>()).cloned();
        let set = match known {
            Some(set) => set,
            None => {
                // The lock is not held, because a set may take another set. Two threads may both
                // load the set, and both get the first one.
                let set = Arc::new(K::load(device)?);
                self.lock().entry(TypeId::of::<K>()).or_insert(set).clone()
            }
        };
        Ok(set.downcast().expect("the key is the type"))
    }

    fn lock(
        &self,
    ) -> impl std::ops::DerefMut<Target = HashMap<TypeId, Arc<dyn Any + Send + Sync>>> {
        // A panic leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads a kernel whose blocks may have this much shared memory, which is more than the default
/// limit of 48 KiB.
///
/// # Errors
/// The errors of the driver.
pub fn load_with_shared(
    module: &Arc<CudaModule>,
    name: &str,
    shared_bytes: u32,
) -> Result<CudaFunction, GpuError> {
    let function = module.load_function(name)?;
    function.set_attribute(
        sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
        shared_bytes as i32,
    )?;
    Ok(function)
}
