//! The C library of Unweight: a thin layer over the crate `unweight`, whose header is
//! `include/unweight.h`. The comments of public items are the header's, and are written for callers
//! in C; the rules for all pointers, threads and callbacks stand at the top of the header
//! (`cbindgen.toml`).
//!
//! - `status` converts errors, and keeps panics on this side of the border.
//! - `sized` reads and writes structs of callers that were built with an older or newer header.
//! - `callbacks` calls functions of the caller.
//! - `open`, `tensors`, `whole` and `files` have the functions; `cuda` those of devices, with the
//!   feature `cuda`.

#![expect(unsafe_code, reason = "pointers of C callers")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the head of unweight.h states what holds for all pointers"
)]

mod callbacks;
mod codes;
#[cfg(feature = "cuda")]
mod cuda;
mod files;
mod open;
mod sized;
mod status;
mod tensors;
mod whole;

use std::ffi::c_char;

pub use callbacks::{Progress, ReadAt, Reader, WriteBytes};
pub use codes::{DtypeCode, EncodingCode};
#[cfg(feature = "cuda")]
pub use cuda::{
    CudaLoaderHandle, CudaTensor, unweight_cuda_close, unweight_cuda_load, unweight_cuda_open,
};
pub use files::{
    FileOptions, FileReport, UNWEIGHT_FILE_FORCE, UNWEIGHT_FILE_VERIFY, unweight_compress_file,
    unweight_restore_file,
};
pub use open::{
    ModelHandle, OpenOptions, unweight_close, unweight_open_memory, unweight_open_path,
    unweight_open_reader,
};
pub use status::{
    ErrorReport, Status, UNWEIGHT_CATEGORY_BYTES, UNWEIGHT_MESSAGE_BYTES, UNWEIGHT_NO_OFFSET,
    UNWEIGHT_RULE_BYTES,
};
pub use tensors::{
    TensorInfo, UNWEIGHT_DTYPE_NAME_BYTES, UNWEIGHT_MAX_RANK, unweight_find_tensor,
    unweight_get_tensor, unweight_read_bytes, unweight_read_tensor, unweight_read_weights,
    unweight_tensor_count,
};
pub use whole::{unweight_restore, unweight_restored_bytes, unweight_verify};

/// Version of the binary interface that this header describes. It changes when a function or a
/// struct changes in a way that breaks programs. Functions and fields at the end of a struct are
/// added without changing it.
pub const UNWEIGHT_ABI_VERSION: u32 = 1;

/// The `UNWEIGHT_ABI_VERSION` of the library, for comparison with that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn unweight_abi_version() -> u32 {
    UNWEIGHT_ABI_VERSION
}

/// The version of the library, such as "0.1.0". The string lives as long as the library is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn unweight_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
