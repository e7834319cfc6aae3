//! The kernels of fragment form.

#![expect(unsafe_code, reason = "calls into the kernels, compiled as C++")]

use std::ffi::c_void;

unsafe extern "C" {
    safe fn unweight_host_fragments_job_bytes() -> u32;
    safe fn unweight_host_planes_job_bytes() -> u32;
    fn unweight_host_arrange_planes(job: *const c_void, panels: u32, seed: u64);
    fn unweight_host_count_matrix_exponents(job: *const c_void, panels: u32, seed: u64);
    fn unweight_host_count_patches(job: *const c_void, panels: u32, seed: u64);
    fn unweight_host_arrange(job: *const c_void, panels: u32, seed: u64);
    fn unweight_host_restore(job: *const c_void, panels: u32, seed: u64);
}

/// Bytes of a `FragmentsJob` as the kernels have it.
pub fn fragments_job_bytes() -> usize {
    unweight_host_fragments_job_bytes() as usize
}

/// Bytes of a `PlanesJob` as the kernels have it.
pub fn planes_job_bytes() -> usize {
    unweight_host_planes_job_bytes() as usize
}

/// Arguments of the kernels of fragment form.
#[derive(Clone, Copy, Debug)]
pub struct FragmentsLaunch {
    /// `FragmentsJob`, `PlanesJob` for `arrange_planes`, or `ExponentCountsJob` for
    /// `count_matrix_exponents`. Its pointers are addresses of this process.
    pub job: *const c_void,
    /// Row panels of its matrix.
    pub panels: u32,
    /// Seed of the order of threads; 0 leaves them in order.
    pub seed: u64,
}

impl FragmentsLaunch {
    /// `count_matrix_exponents`.
    ///
    /// # Safety
    /// The preconditions of [`FragmentsLaunch::count_patches`].
    pub unsafe fn count_matrix_exponents(self) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe { unweight_host_count_matrix_exponents(self.job, self.panels, self.seed) }
    }

    /// `count_patches`.
    ///
    /// # Safety
    /// The preconditions at the head of `unweight-matmul/kernels/matmul/fragments.cu`.
    pub unsafe fn count_patches(self) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe { unweight_host_count_patches(self.job, self.panels, self.seed) }
    }

    /// `arrange`.
    ///
    /// # Safety
    /// The preconditions of [`FragmentsLaunch::count_patches`].
    pub unsafe fn arrange(self) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe { unweight_host_arrange(self.job, self.panels, self.seed) }
    }

    /// `arrange_planes`.
    ///
    /// # Safety
    /// The preconditions of [`FragmentsLaunch::count_patches`].
    pub unsafe fn arrange_planes(self) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe { unweight_host_arrange_planes(self.job, self.panels, self.seed) }
    }

    /// `restore`.
    ///
    /// # Safety
    /// The preconditions of [`FragmentsLaunch::count_patches`].
    pub unsafe fn restore(self) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe { unweight_host_restore(self.job, self.panels, self.seed) }
    }
}
