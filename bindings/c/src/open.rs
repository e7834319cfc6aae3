//! Opening and closing of models.

use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use unweight::{Coalesce, MemoryBudget, Model, file};

use crate::callbacks::{CallbackStorage, Reader};
use crate::sized::{self, SizedStruct};
use crate::status::{ErrorReport, Failure, Status, call};

/// An open file. `unweight_close` frees it.
pub struct ModelHandle {
    /// Operations hold the model too, so that a callback that closes the handle leaves the
    /// operation its model.
    model: Arc<Model>,
}

/// Options for opening a file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// `sizeof(unweight_open_options)`.
    pub struct_size: u32,
    /// The most threads that work on an operation, including the caller's. 0: one for each
    /// processor.
    pub threads: u32,
    /// The most bytes that may be allocated for the file and one operation on it. 0: as much as any
    /// valid file of that length needs.
    pub memory_bytes: u64,
    /// The longest gap, in bytes, between two reads that is read too in order to merge them: as
    /// much as the storage delivers in one round trip. For remote storages. 0: reads are not
    /// merged.
    pub merge_gap_bytes: u64,
    /// The longest merged read in bytes. 0: 8 MiB. Without effect if reads are not merged.
    pub merge_longest_bytes: u64,
}

// SAFETY: no padding, integers alone, and the size is first.
unsafe impl SizedStruct for OpenOptions {
    const NAME: &'static str = "unweight_open_options";
    const FIRST_BYTES: usize = 32;
}

/// Opens the file at `path`, a string that ends with a zero byte: on Unix any bytes, elsewhere
/// UTF-8. Only ordinary files can be opened. Reads header, directory and extensions, and checks
/// them.
///
/// `options` may be NULL. On success `*model` is the model, which the caller closes with
/// `unweight_close`; otherwise it is NULL.
///
/// Statuses: `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`, `REFUSED`, `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_open_path(
    path: *const c_char,
    options: *const OpenOptions,
    model: *mut *mut ModelHandle,
    error: *mut ErrorReport,
) -> Status {
    let of_path = |options: &unweight::OpenOptions| {
        // SAFETY: the header requires NULL or a string.
        let path = unsafe { path_of(path, "path") }?;
        let opened = file::open(&path).and_then(|file| {
            let opened = options.open_storage(file);
            opened.map_err(|error| error.at(&path))
        });
        Ok(opened?)
    };
    // SAFETY: the header requires NULL or options, a place for a pointer, and NULL or a report.
    unsafe { open(options, model, error, of_path) }
}

/// Opens a file in memory. Nothing is copied: the `length` bytes at `bytes` must stay as they are
/// until the model is closed and no operation on it runs. `bytes` may be NULL if `length` is 0.
///
/// Otherwise as `unweight_open_path`; `READ_FAILED` and `REFUSED` do not occur.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_open_memory(
    bytes: *const c_void,
    length: usize,
    options: *const OpenOptions,
    model: *mut *mut ModelHandle,
    error: *mut ErrorReport,
) -> Status {
    let of_memory = |options: &unweight::OpenOptions| {
        require_buffer(bytes, length, "bytes")?;
        let bytes: &'static [u8] = match length {
            0 => &[],
            // SAFETY: the header requires as many bytes, which are not NULL, fit into memory, and
            // stay as they are until the model is closed. Only the model has this reference.
            _ => unsafe { slice::from_raw_parts(bytes.cast(), length) },
        };
        Ok(options.open_storage(bytes)?)
    };
    // SAFETY: the header requires NULL or options, a place for a pointer, and NULL or a report.
    unsafe { open(options, model, error, of_memory) }
}

/// Opens a file that a callback reads. `*reader` is copied; what its `user` points to must live
/// until the model is closed and no operation on it runs. The file should not change meanwhile. If
/// it does, operations fail, or return bytes of the one or the other version of a chunk.
///
/// Otherwise as `unweight_open_path`; `REFUSED` does not occur. `READ_FAILED` after an error of the
/// callback; `INVALID_FILE` with the rule "file-truncated" if it says that the file ends early.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_open_reader(
    reader: *const Reader,
    options: *const OpenOptions,
    model: *mut *mut ModelHandle,
    error: *mut ErrorReport,
) -> Status {
    let of_reader = |options: &unweight::OpenOptions| {
        // SAFETY: the header requires NULL or a struct of the size that it states.
        let reader = unsafe { sized::read(reader) }?;
        let reader = reader.ok_or_else(|| Failure::null(Reader::NAME))?;
        // SAFETY: the header requires a function as it describes it, until the model is closed.
        let storage = unsafe { CallbackStorage::new(reader) }?;
        Ok(options.open_storage(storage)?)
    };
    // SAFETY: the header requires NULL or options, a place for a pointer, and NULL or a report.
    unsafe { open(options, model, error, of_reader) }
}

/// Closes a model. NULL is allowed. Names that `unweight_tensor_info` points to end with it. No
/// other thread may use the model meanwhile or later. In a callback of an operation on the model,
/// the file stays open until the operation returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_close(model: *mut ModelHandle) {
    // SAFETY: NULL or a handle of `open` that nobody uses any more.
    let close = || {
        if !model.is_null() {
            // SAFETY: the handle is a box that `open` made, and nobody uses it any more.
            drop(unsafe { Box::from_raw(model) });
        }
        Ok(())
    };
    // SAFETY: there is no report.
    unsafe { call(std::ptr::null_mut(), close) };
}

/// # Safety
/// The pointers must be as the header says.
unsafe fn open(
    options: *const OpenOptions,
    model: *mut *mut ModelHandle,
    error: *mut ErrorReport,
    open: impl FnOnce(&unweight::OpenOptions) -> Result<Model, Failure>,
) -> Status {
    let work = || {
        if model.is_null() {
            return Err(Failure::null("model"));
        }
        // SAFETY: the caller promises a place for a pointer.
        unsafe { model.write(std::ptr::null_mut()) };
        // SAFETY: the caller promises NULL or options.
        let options = options_of(unsafe { sized::read(options) }?);
        let opened = Arc::new(open(&options)?);
        let handle = Box::into_raw(Box::new(ModelHandle { model: opened }));
        // SAFETY: the caller promises a place for a pointer.
        unsafe { model.write(handle) };
        Ok(())
    };
    // SAFETY: the caller promises NULL or a report.
    unsafe { call(error, work) }
}

fn options_of(options: Option<OpenOptions>) -> unweight::OpenOptions {
    let mut converted = unweight::OpenOptions::new();
    let Some(options) = options else {
        return converted;
    };
    converted = converted.threads(options.threads as usize);
    if options.memory_bytes != 0 {
        converted = converted.memory(MemoryBudget::of_bytes(options.memory_bytes));
    }
    if options.merge_gap_bytes != 0 {
        let mut coalesce = Coalesce::new().gap_bytes(options.merge_gap_bytes);
        if options.merge_longest_bytes != 0 {
            coalesce = coalesce.longest_bytes(options.merge_longest_bytes);
        }
        converted = converted.coalesce(coalesce);
    }
    converted
}

/// The model of a handle.
///
/// # Safety
/// `handle` must be NULL or a handle that is not closed.
pub(crate) unsafe fn model_of(handle: *const ModelHandle) -> Result<Arc<Model>, Failure> {
    // SAFETY: the caller promises a handle that is not closed.
    let handle = unsafe { handle.as_ref() };
    Ok(handle.ok_or_else(|| Failure::null("model"))?.model.clone())
}

/// A path of the caller.
///
/// # Safety
/// `path` must be NULL or a string that ends with a zero byte.
pub(crate) unsafe fn path_of(path: *const c_char, what: &str) -> Result<PathBuf, Failure> {
    if path.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: the caller promises a string.
    let bytes = unsafe { CStr::from_ptr(path) };
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(std::ffi::OsStr::from_bytes(bytes.to_bytes()).into())
    }
    #[cfg(not(unix))]
    match bytes.to_str() {
        Ok(path) => Ok(path.into()),
        Err(_) => Err(Failure::argument(format!("{what} is not UTF-8"))),
    }
}

/// Checks that a buffer of the caller can be one: it is not NULL, unless it is empty, and no longer
/// than any memory.
pub(crate) fn require_buffer(
    buffer: *const c_void,
    length: usize,
    what: &str,
) -> Result<(), Failure> {
    if buffer.is_null() && length > 0 {
        return Err(Failure::null(what));
    }
    match isize::try_from(length) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::argument(format!(
            "{what} has {length} bytes, expected at most {}",
            isize::MAX
        ))),
    }
}
