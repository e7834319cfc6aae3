//! Interface for crates that add kernels, such as `unweight-matmul`. Programs that encode or decode
//! do not need it.
//!
//! A crate lists its kernels in `kernels/modules.txt`, compiles them with `unweight-gpu-build`, and
//! gets a [`Module`] for each. It implements [`KernelSet`] for the functions that it launches,
//! takes the set from [`Device::kernels`](crate::Device::kernels) when it creates an object that
//! launches, and keeps it there. [`Launch`] launches, and [`InFlight`] owns memory until the
//! launches are done.
//!
//! Other kernels may include this crate's headers. `DEP_UNWEIGHT_GPU_KERNELS_INCLUDE` has their
//! folder in the build script of a crate that depends on this one, and [`HEADERS`] has their texts.

mod cache;
mod header;
mod launch;
mod loader;
mod module;
mod nvrtc;
pub(crate) mod own;
mod set;
mod stream;

pub use crate::memory::{
    DeviceBuffer, Handover, InFlight, RelaxedCapture, WaitAtEnd, require_context,
    require_no_capture,
};
pub use header::Header;
pub use launch::{Launch, WARP};
pub use module::Module;
pub use own::HEADERS;
pub use set::{KernelSet, load_with_shared};
pub use stream::LaunchStream;

pub(crate) use cache::KernelCache;
pub(crate) use loader::ModuleLoader;
pub(crate) use set::KernelSets;
