//! Operations on an open file as a whole.

use std::ffi::c_void;
use std::ptr::null_mut;

use unweight::Error;

use crate::callbacks::{CallbackOutput, Progress, Progressing, WriteBytes};
use crate::open::{ModelHandle, model_of};
use crate::status::{ErrorReport, Status, call};

/// Checks every rule of the format and every checksum of the file. `progress` may be NULL. It is
/// called with `user`, counts decoded bytes, and is called from the thread that called this
/// function.
///
/// Statuses: `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`, `CANCELLED`, `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_verify(
    model: *const ModelHandle,
    progress: Progress,
    user: *mut c_void,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        // SAFETY: the header requires NULL or a function as it describes it.
        let progress = unsafe { Progressing::new(progress, user) };
        let total = model.restored_bytes();
        if progress.begin(total).is_break() {
            return Err(Error::Cancelled.into());
        }
        let verified = model.restore_with(|bytes| {
            match progress.advance(bytes.len() as u64, total).is_break() {
                true => Err(Error::Cancelled),
                false => Ok(()),
            }
        });
        Ok(verified?)
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

/// Passes the source, byte for byte and in order, to `write`, which is called with `user`. Checks
/// every rule of the format and every checksum on the way. After a failure the output must be
/// discarded: some checks are complete only after everything has been read.
///
/// Statuses: those of `unweight_verify` but `CANCELLED`; `WRITE_FAILED` if `write` ends it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_restore(
    model: *const ModelHandle,
    write: WriteBytes,
    user: *mut c_void,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        // SAFETY: the header requires NULL or a function as it describes it.
        let output = unsafe { CallbackOutput::new(write, user) }?;
        Ok(model.restore_with(|bytes| output.put(bytes))?)
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

/// Number of bytes that `unweight_restore` writes. 0 if `model` is NULL. `UINT64_MAX` if the file
/// states more than that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_restored_bytes(model: *const ModelHandle) -> u64 {
    let mut bytes = 0;
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        bytes = unsafe { model_of(model) }?.restored_bytes();
        Ok(())
    };
    // SAFETY: there is no report.
    unsafe { call(null_mut(), work) };
    bytes
}
