//! The CUDA kernels of `unweight-gpu` and `unweight-matmul` on fibers of the CPU, for tests without a
//! GPU.
//!
//! The functions mirror those of `launch/`. Jobs are passed as addresses: the crates of the kernels
//! have their Rust side.

#![expect(unsafe_code, reason = "calls into the kernels, compiled as C++")]
#![cfg(not(no_host_kernels))]

mod device_memory;
mod fragments;
mod grouped;

use std::ffi::c_void;

pub use device_memory::{DeviceMemory, POISON};
pub use fragments::{FragmentsLaunch, fragments_job_bytes, planes_job_bytes};
pub use grouped::{GroupedLaunch, route};

unsafe extern "C" {
    fn unweight_host_layout(count: *mut u32) -> *const u32;
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
    fn unweight_host_decode_fields(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        weight_bytes: u32,
        stage_bytes: u32,
        most_fields: u32,
        seed: u64,
        status: *mut u64,
    );
    fn unweight_host_decode_fields_in_few_blocks(
        job: *const c_void,
        chunk_count: u32,
        blocks: u32,
        warps: u32,
        stage_bytes: u32,
        most_fields: u32,
        seed: u64,
        status: *mut u64,
    );
    safe fn unweight_host_most_runs(weight_bytes: u32) -> u32;
    fn unweight_host_check_blocks(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        constants: *const c_void,
        seed: u64,
        status: *mut u64,
    );
    fn unweight_host_check_chunks(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        field: u32,
        constants: *const c_void,
        seed: u64,
        status: *mut u64,
    );
    fn unweight_host_checksum_weights(
        jobs: *const c_void,
        job_count: u32,
        chunk_count: u32,
        constants: *const c_void,
        seed: u64,
        checksums: *mut u32,
    );
}

/// Numbers of the bitstream in `kernels/abi/bitstream.cuh`, in its order, then the layout of the
/// structures of `kernels/abi`: see `launch/decode.cpp`.
pub fn layout() -> &'static [u32] {
    let mut count = 0;
    // SAFETY: the call writes a number.
    let numbers = unsafe { unweight_host_layout(&raw mut count) };
    // SAFETY: there are that many constants at this address.
    unsafe { std::slice::from_raw_parts(numbers, count as usize) }
}

/// The most runs of ones in a plain mask that the kernels for weights of so many bytes allow.
pub fn most_runs(weight_bytes: u32) -> u32 {
    unweight_host_most_runs(weight_bytes)
}

/// Shared memory of the kernels for any forms.
#[derive(Clone, Copy, Debug)]
pub struct FieldsMemory {
    /// Bytes for a chunk's records.
    pub stage_bytes: u32,
    /// The most coded fields of a job.
    pub most_fields: u32,
}

/// Arguments that all kernels here take.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// First `TensorJob`, whose pointers are addresses of this process.
    pub jobs: *const c_void,
    /// Number of jobs.
    pub job_count: u32,
    /// Chunks of all jobs.
    pub chunk_count: u32,
    /// Seed of the order of threads; 0 leaves them in order.
    pub seed: u64,
}

impl Launch {
    /// `decode_weights`, or `decode_exponents`.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/decode/decode.cu`.
    pub unsafe fn decode(self, stage_bytes: u32, exponents: bool, status: &mut u64) {
        // SAFETY: the caller upholds the kernel's preconditions.
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

    /// `decode_weights_in_few_blocks`, or `decode_exponents_in_few_blocks`, for the first job only.
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
        // SAFETY: the caller upholds the kernel's preconditions.
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

    /// The kernel of `kernels/decode/fields.cu` for weights of so many bytes.
    ///
    /// # Safety
    /// The preconditions at the head of that file.
    pub unsafe fn decode_fields(self, weight_bytes: u32, memory: FieldsMemory, status: &mut u64) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe {
            unweight_host_decode_fields(
                self.jobs,
                self.job_count,
                self.chunk_count,
                weight_bytes,
                memory.stage_bytes,
                memory.most_fields,
                self.seed,
                status,
            );
        }
    }

    /// `decode_fields_2_in_few_blocks`, for the first job only.
    ///
    /// # Safety
    /// The preconditions of [`Launch::decode_fields`].
    pub unsafe fn decode_fields_in_few_blocks(
        self,
        (blocks, warps): (u32, u32),
        memory: FieldsMemory,
        status: &mut u64,
    ) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe {
            unweight_host_decode_fields_in_few_blocks(
                self.jobs,
                self.chunk_count,
                blocks,
                warps,
                memory.stage_bytes,
                memory.most_fields,
                self.seed,
                status,
            );
        }
    }

    /// `check_blocks`.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/checksum/checksum.cu`.
    pub unsafe fn check_blocks(self, constants: *const c_void, status: &mut u64) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe {
            unweight_host_check_blocks(
                self.jobs,
                self.job_count,
                self.chunk_count,
                constants,
                self.seed,
                status,
            );
        }
    }

    /// `check_chunks`, for the records of coded fields 0 to 7.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/checksum/checksum.cu`.
    pub unsafe fn check_chunks(self, constants: *const c_void, status: &mut u64) {
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe {
            for field in 0..8 {
                unweight_host_check_chunks(
                    self.jobs,
                    self.job_count,
                    self.chunk_count,
                    field,
                    constants,
                    self.seed,
                    status,
                );
            }
        }
    }

    /// `checksum_weights`. Writes a checksum for each chunk.
    ///
    /// # Safety
    /// The preconditions at the head of `kernels/checksum/checksum.cu`.
    pub unsafe fn checksum_weights(self, constants: *const c_void, checksums: &mut [u32]) {
        assert_eq!(checksums.len(), self.chunk_count as usize);
        // SAFETY: the caller upholds the kernel's preconditions.
        unsafe {
            unweight_host_checksum_weights(
                self.jobs,
                self.job_count,
                self.chunk_count,
                constants,
                self.seed,
                checksums.as_mut_ptr(),
            );
        }
    }
}
