//! The kernels of grouped matmuls.

#![expect(unsafe_code, reason = "calls into the kernels, compiled as C++")]

use std::ffi::c_void;

unsafe extern "C" {
    fn unweight_host_route(job: *const c_void, seed: u64);
    fn unweight_host_grouped_matmul(
        job: *const c_void,
        tile_rows: u32,
        consecutive: bool,
        shared_bytes: u32,
        seed: u64,
    );
    fn unweight_host_grouped_panels(
        job: *const c_void,
        tile_rows: u32,
        consecutive: bool,
        shared_bytes: u32,
        seed: u64,
    );
}

/// `route`, for a `RoutingJob` whose pointers are addresses of this process. A seed of 0 leaves the
/// threads in order.
///
/// # Safety
/// The preconditions at the head of `unweight-matmul/kernels/matmul/routing.cu`.
pub unsafe fn route(job: *const c_void, seed: u64) {
    // SAFETY: the caller upholds the kernel's preconditions.
    unsafe { unweight_host_route(job, seed) }
}

/// Arguments of the kernels of grouped matmuls.
#[derive(Clone, Copy, Debug)]
pub struct GroupedLaunch {
    /// `GroupedMatmulJob`, whose pointers are addresses of this process.
    pub job: *const c_void,
    /// Slots of a tile: they choose the kernel.
    pub tile_rows: u32,
    /// Whether the palette is the first of consecutive exponents.
    pub consecutive: bool,
    /// Shared memory of a block.
    pub shared_bytes: u32,
    /// Seed of the order of threads; 0 leaves them in order.
    pub seed: u64,
}

impl GroupedLaunch {
    /// A kernel of `grouped_matmul.cu`, or of `grouped_panels.cu`.
    ///
    /// # Safety
    /// The preconditions at the head of that file in `unweight-matmul/kernels/matmul`.
    pub unsafe fn multiply(self, by_panels: bool) {
        let launch = match by_panels {
            true => unweight_host_grouped_panels,
            false => unweight_host_grouped_matmul,
        };
        let GroupedLaunch {
            job,
            tile_rows,
            consecutive,
            shared_bytes,
            seed,
        } = self;
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe { launch(job, tile_rows, consecutive, shared_bytes, seed) }
    }
}
