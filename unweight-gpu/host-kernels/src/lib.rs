//! The CUDA kernels of `unweight-gpu`, run by fibers of the CPU: the same source, no GPU. For tests.
//!
//! The functions mirror `kernels/host/launch.cpp`. Structures go in as addresses: their Rust side stands in `unweight-gpu`.

#![expect(unsafe_code, reason = "calls into the kernels, compiled as C++")]
#![cfg(not(no_host_kernels))]

mod device_memory;
mod fragments;

use std::ffi::c_void;

pub use device_memory::{DeviceMemory, POISON};
pub use fragments::{FragmentsLaunch, fragments_job_bytes, planes_job_bytes};

unsafe extern "C" {
    safe fn unweight_host_layout(number: u32) -> u32;
    fn unweight_host_decode(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        stage_bytes: u32,
        exponents: bool,
        seed: u64,
        status: *mut u64,
    );
    fn unweight_host_decode_in_few_blocks(
        job: *const c_void,
        chunk_count: u32,
        blocks: u32,
        warps: u32,
        stage_bytes: u32,
        exponents: bool,
        seed: u64,
        status: *mut u64,
    );
    fn unweight_host_check_chunks(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        constants: *const c_void,
        seed: u64,
        status: *mut u64,
    );
    fn unweight_host_checksum_weights(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        constants: *const c_void,
        of_planes: bool,
        seed: u64,
        checksums: *mut u32,
    );
}

/// The numbers of the bitstream in `kernels/layout.cuh`, in its order, and last the bytes of a `TensorJob`.
pub fn layout() -> Vec<u32> {
    (0..)
        .map(|number| unweight_host_layout(number))
        .take_while(|&number| number != u32::MAX)
        .collect()
}

/// A launch: what each kernel here takes.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// The first `TensorJob`, whose pointers are addresses of this process.
    pub jobs: *const c_void,
    /// How many there are.
    pub job_count: u32,
    /// Chunks of all jobs.
    pub chunk_count: u32,
    /// Orders the threads; 0 leaves them in order.
    pub seed: u64,
}

impl Launch {
    /// `decode_weights`, or `decode_exponents`.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/decode.cu`.
    pub unsafe fn decode(self, stage_bytes: u32, exponents: bool, status: &mut u64) {
        // SAFETY: the caller's.
        unsafe {
            unweight_host_decode(
                self.jobs,
                self.job_count,
                self.chunk_count,
                stage_bytes,
                exponents,
                self.seed,
                status,
            );
        }
    }

    /// `decode_weights_in_few_blocks`, or `decode_exponents_in_few_blocks`: so many blocks of so many warps, for the first job alone.
    ///
    /// # Safety
    /// As [`Launch::decode`].
    pub unsafe fn decode_in_few_blocks(
        self,
        (blocks, warps): (u32, u32),
        stage_bytes: u32,
        exponents: bool,
        status: &mut u64,
    ) {
        // SAFETY: the caller's.
        unsafe {
            unweight_host_decode_in_few_blocks(
                self.jobs,
                self.chunk_count,
                blocks,
                warps,
                stage_bytes,
                exponents,
                self.seed,
                status,
            );
        }
    }

    /// `check_chunks`.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/checksum.cu`.
    pub unsafe fn check_chunks(self, constants: *const c_void, status: &mut u64) {
        // SAFETY: the caller's.
        unsafe {
            unweight_host_check_chunks(
                self.jobs,
                self.job_count,
                self.chunk_count,
                constants,
                self.seed,
                status,
            );
        }
    }

    /// `checksum_weights`, or `checksum_planes`: a checksum for each chunk.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/checksum.cu`.
    pub unsafe fn checksum_weights(
        self,
        constants: *const c_void,
        of_planes: bool,
        checksums: &mut [u32],
    ) {
        assert_eq!(checksums.len(), self.chunk_count as usize);
        // SAFETY: the caller's.
        unsafe {
            unweight_host_checksum_weights(
                self.jobs,
                self.job_count,
                self.chunk_count,
                constants,
                of_planes,
                self.seed,
                checksums.as_mut_ptr(),
            );
        }
    }
}
