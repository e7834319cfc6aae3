//! Compressing and restoring files on a disk.

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::path::Path;

use unweight::file::{self, Event};
use unweight::format::limits;
use unweight::{CompressOptions, Error, MemoryBudget};

use crate::callbacks::{Progress, Progressing};
use crate::codes::encoding;
use crate::open::path_of;
use crate::sized::{self, SizedStruct};
use crate::status::{ErrorReport, Failure, Status, call};

/// Flag of `unweight_file_options`: replaces a file that has the name of the output. An input or a
/// folder is never replaced.
pub const UNWEIGHT_FILE_FORCE: u32 = 1;
/// Flag of `unweight_file_options`: decodes a compressed file again and compares it with its source
/// before it gets its name. Without effect on restoring, which checks everything anyway.
pub const UNWEIGHT_FILE_VERIFY: u32 = 2;

/// Options for operations on files.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FileOptions {
    /// `sizeof(unweight_file_options)`.
    pub struct_size: u32,
    /// The most threads that work, including the caller's. 0: one for each processor.
    pub threads: u32,
    /// The most bytes that may be allocated. 0: as much as any valid file of that length needs.
    pub memory_bytes: u64,
    /// For compressing: a value of `unweight_encoding`.
    pub encoding: u32,
    /// For compressing: binary logarithm of the number of weights in a chunk, 12 to 16. 0: 15.
    pub chunk_size_log2: u32,
    /// `UNWEIGHT_FILE_FORCE` and `UNWEIGHT_FILE_VERIFY`.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
    /// Progress callback, in bytes that were read; may be NULL. With `UNWEIGHT_FILE_VERIFY` it
    /// counts twice, first for compressing and then for verifying.
    pub progress: Progress,
    /// Passed to `progress`.
    pub user: *mut c_void,
}

// SAFETY: no padding where pointers have 4 or 8 bytes; integers, a raw pointer and a function
// pointer that may be null; the size is first.
unsafe impl SizedStruct for FileOptions {
    const NAME: &'static str = "unweight_file_options";
    const FIRST_BYTES: usize = 32 + 2 * size_of::<usize>();
}

/// Result of an operation on a file. The caller sets `struct_size`; the library writes the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FileReport {
    /// `sizeof(unweight_file_report)`.
    pub struct_size: u32,
    /// Number of tensors.
    pub tensors: u32,
    /// Number of tensors that are smaller in the compressed file.
    pub compressed_tensors: u32,
    /// 0.
    pub reserved: u32,
    /// Length of the input in bytes.
    pub input_bytes: u64,
    /// Length of the output in bytes.
    pub output_bytes: u64,
}

// SAFETY: no padding, integers alone, and the size is first.
unsafe impl SizedStruct for FileReport {
    const NAME: &'static str = "unweight_file_report";
    const FIRST_BYTES: usize = 32;
}

/// Compresses the safetensors file at `source` to a file at `output`. The output gets its name when
/// it is complete and on the disk. A failure or cancellation leaves nothing behind. The same source
/// and options give the same bytes, with any number of threads.
///
/// Paths are strings as for `unweight_open_path`. `options` and `report` may be NULL.
///
/// Statuses: `INVALID_SOURCE`, `REFUSED` (for example if the output exists), `OVER_BUDGET`,
/// `READ_FAILED`, `WRITE_FAILED`, `CANCELLED`, `INVALID_ARGUMENT`; `INVALID_FILE` if the
/// verification fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_compress_file(
    source: *const c_char,
    output: *const c_char,
    options: *const FileOptions,
    report: *mut FileReport,
    error: *mut ErrorReport,
) -> Status {
    let compress =
        |input: &Path, output: &Path, options: &_| file::compress(input, output, options);
    // SAFETY: the header requires these pointers and functions of the caller.
    unsafe { convert(source, output, options, report, error, compress) }
}

/// Restores the source of the compressed file at `container` to a file at `output`, byte for byte,
/// and checks every rule of the format and every checksum. Otherwise as `unweight_compress_file`,
/// with `INVALID_FILE` instead of `INVALID_SOURCE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_restore_file(
    container: *const c_char,
    output: *const c_char,
    options: *const FileOptions,
    report: *mut FileReport,
    error: *mut ErrorReport,
) -> Status {
    let restore =
        |input: &Path, output: &Path, options: &_| file::decompress(input, output, options);
    // SAFETY: the header requires these pointers and functions of the caller.
    unsafe { convert(container, output, options, report, error, restore) }
}

/// # Safety
/// The pointers and functions must be as the header says.
unsafe fn convert(
    input: *const c_char,
    output: *const c_char,
    options: *const FileOptions,
    report: *mut FileReport,
    error: *mut ErrorReport,
    convert: impl FnOnce(&Path, &Path, &file::FileOptions) -> Result<file::FileReport, Error>,
) -> Status {
    let work = || {
        // SAFETY: the caller promises NULL or a string.
        let input = unsafe { path_of(input, "the input's path") }?;
        // SAFETY: as above.
        let output = unsafe { path_of(output, "the output's path") }?;
        // SAFETY: the caller promises NULL or options.
        let options = unsafe { sized::read(options) }?;
        // SAFETY: the caller promises that the functions of the options outlive the call.
        let options = unsafe { options_of(options) }?;
        if !report.is_null() {
            // Refuses a report of a wrong size before anything is written.
            // SAFETY: the caller promises a report.
            unsafe { sized::write(report, FileReport::default()) }?;
        }
        let done = convert(&input, &output, &options)?;
        if !report.is_null() {
            let converted = FileReport {
                tensors: done.tensors,
                compressed_tensors: done.compressed_tensors,
                input_bytes: done.input_bytes,
                output_bytes: done.output_bytes,
                ..FileReport::default()
            };
            // SAFETY: the caller promises a report.
            unsafe { sized::write(report, converted) }?;
        }
        Ok(())
    };
    // SAFETY: the caller promises NULL or a report.
    unsafe { call(error, work) }
}

impl Default for FileReport {
    fn default() -> FileReport {
        FileReport {
            struct_size: size_of::<FileReport>() as u32,
            tensors: 0,
            compressed_tensors: 0,
            reserved: 0,
            input_bytes: 0,
            output_bytes: 0,
        }
    }
}

/// # Safety
/// The progress callback must be a function as the header says, for as long as the result is used.
unsafe fn options_of(options: Option<FileOptions>) -> Result<file::FileOptions, Failure> {
    let Some(options) = options else {
        return Ok(file::FileOptions::new());
    };
    let known = UNWEIGHT_FILE_FORCE | UNWEIGHT_FILE_VERIFY;
    if options.flags & !known != 0 || options.reserved != 0 {
        return Err(Failure::argument(format!(
            "unweight_file_options has flags {:#x} and reserved {}, expected only flags of {known:#x} \
             and 0",
            options.flags, options.reserved
        )));
    }
    let mut compression = CompressOptions::new().encoding(encoding(options.encoding)?);
    if options.chunk_size_log2 != 0 {
        compression = compression.chunk_size_log2(chunk_size_log2(options.chunk_size_log2)?);
    }
    let mut converted = file::FileOptions::new()
        .compression(compression)
        .threads(options.threads as usize)
        .force(options.flags & UNWEIGHT_FILE_FORCE != 0)
        .verify(options.flags & UNWEIGHT_FILE_VERIFY != 0);
    if options.memory_bytes != 0 {
        converted = converted.memory(MemoryBudget::of_bytes(options.memory_bytes));
    }
    if options.progress.is_some() {
        // SAFETY: the caller promises the function.
        let progress = unsafe { Progressing::new(options.progress, options.user) };
        converted = converted.events(move |event| match event {
            Event::Begin { total_bytes, .. } => progress.begin(total_bytes),
            Event::Progress { progress: now, .. } => progress.tell(now.done_bytes, now.total_bytes),
            _ => ControlFlow::Continue(()),
        });
    }
    Ok(converted)
}

fn chunk_size_log2(value: u32) -> Result<u8, Failure> {
    let within = |value: &u8| limits::CHUNK_SIZE_LOG2.contains(value);
    u8::try_from(value).ok().filter(within).ok_or_else(|| {
        Failure::argument(format!(
            "unweight_file_options.chunk_size_log2 is {value}, expected 0 or 12 to 16"
        ))
    })
}
