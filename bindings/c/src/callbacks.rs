//! Functions of the caller: a storage that is read by one, progress, and output.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::{io, ops::ControlFlow};

use unweight::format::Extent;
use unweight::{Error, Storage, StorageError};

use crate::sized::SizedStruct;
use crate::status::Failure;

/// Read callback: reads up to `length` bytes, at least 1, at byte `offset` into `buffer`. It returns
/// the number of bytes that were read, which may be less than `length`; 0 if the bytes end at
/// `offset`; a negative number after an error. `offset + length` is at most the reader's
/// `byte_length`.
///
/// It is called from several threads at the same time, unless the model was opened with `threads` =
/// 1: then only from the threads that call this library. A number above `length` is an error. Bytes
/// that it counts and did not write are unspecified; checksums find them.
pub type ReadAt = Option<
    unsafe extern "C" fn(user: *mut c_void, offset: u64, buffer: *mut u8, length: usize) -> i64,
>;

/// Progress callback: `done_bytes` of about `total_bytes` are done. It returns 0 to go on; anything
/// else cancels the operation. It may be called from other threads than the caller's, but never
/// twice at a time. `done_bytes` does not decrease, and is 0 when work begins. The callback is not
/// called again after it has cancelled.
pub type Progress =
    Option<unsafe extern "C" fn(user: *mut c_void, done_bytes: u64, total_bytes: u64) -> c_int>;

/// Output callback: takes the next `length` bytes, at least 1. It returns 0 to go on; anything else
/// ends the operation with `UNWEIGHT_STATUS_WRITE_FAILED`. It is called from the thread that called
/// this library.
pub type WriteBytes =
    Option<unsafe extern "C" fn(user: *mut c_void, bytes: *const u8, length: usize) -> c_int>;

/// A file that a callback reads, for `unweight_open_reader`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// `sizeof(unweight_reader)`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Length of the file in bytes.
    pub byte_length: u64,
    /// Passed to `read_at`.
    pub user: *mut c_void,
    /// Reads bytes. Not NULL.
    pub read_at: ReadAt,
}

// SAFETY: no padding where pointers have 4 or 8 bytes; integers, a raw pointer and a function
// pointer that may be null; the size is first.
unsafe impl SizedStruct for Reader {
    const NAME: &'static str = "unweight_reader";
    const FIRST_BYTES: usize = 16 + 2 * size_of::<usize>();
}

/// The caller's pointer, which goes to the caller's functions and nowhere else.
#[derive(Clone, Copy)]
struct User(*mut c_void);

// SAFETY: the pointer is not used here. The header says on which threads the functions that get it
// are called.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    fn get(self) -> *mut c_void {
        self.0
    }
}

/// A storage that a function of the caller reads.
pub(crate) struct CallbackStorage {
    byte_length: u64,
    user: User,
    read_at: unsafe extern "C" fn(*mut c_void, u64, *mut u8, usize) -> i64,
}

impl CallbackStorage {
    /// # Safety
    /// `read_at` must be a function as [`ReadAt`] describes it, for as long as the result is used.
    pub(crate) unsafe fn new(reader: Reader) -> Result<CallbackStorage, Failure> {
        if reader.reserved != 0 {
            return Err(Failure::argument(format!(
                "unweight_reader.reserved is {}, expected 0",
                reader.reserved
            )));
        }
        Ok(CallbackStorage {
            byte_length: reader.byte_length,
            user: User(reader.user),
            read_at: reader
                .read_at
                .ok_or_else(|| Failure::null("unweight_reader.read_at"))?,
        })
    }
}

impl Storage for CallbackStorage {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.byte_length)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let end = extent.offset.checked_add(extent.length);
        if end.is_none_or(|end| end > self.byte_length) {
            return Err(StorageError::ends_at(extent, self.byte_length).into());
        }
        let length = usize::try_from(extent.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        buffer.try_reserve(length.saturating_sub(buffer.len()))?;
        buffer.resize(length, 0);
        let mut done = 0;
        while done < length {
            let rest = &mut buffer[done..];
            let at = extent.offset + done as u64;
            // SAFETY: the creator of the storage promises a function that writes at most this many
            // bytes.
            let answer =
                unsafe { (self.read_at)(self.user.get(), at, rest.as_mut_ptr(), rest.len()) };
            match usize::try_from(answer) {
                Ok(0) => return Err(StorageError::ends_at(extent, at).into()),
                Ok(count) if count <= rest.len() => done += count,
                Ok(count) => {
                    return Err(io::Error::other(format!(
                        "the read callback returned {count} bytes, expected at most {}",
                        rest.len()
                    )));
                }
                Err(_) => {
                    return Err(io::Error::other(format!(
                        "the read callback returned {answer}"
                    )));
                }
            }
        }
        Ok(buffer)
    }
}

/// Calls a progress callback, never twice at a time, with numbers that do not decrease.
pub(crate) struct Progressing {
    progress: Progress,
    user: User,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done_bytes: u64,
    is_cancelled: bool,
}

impl Progressing {
    /// # Safety
    /// `progress` must be NULL or a function as [`Progress`] describes it, for as long as the
    /// result is used.
    pub(crate) unsafe fn new(progress: Progress, user: *mut c_void) -> Progressing {
        Progressing {
            progress,
            user: User(user),
            state: Mutex::default(),
        }
    }

    /// Work of this many bytes begins.
    pub(crate) fn begin(&self, total_bytes: u64) -> ControlFlow<()> {
        self.report(total_bytes, |_| 0)
    }

    /// So many bytes of the work are done.
    pub(crate) fn tell(&self, done_bytes: u64, total_bytes: u64) -> ControlFlow<()> {
        self.report(total_bytes, |before| before.max(done_bytes))
    }

    /// So many more bytes of the work are done.
    pub(crate) fn advance(&self, bytes: u64, total_bytes: u64) -> ControlFlow<()> {
        self.report(total_bytes, |before| before.saturating_add(bytes))
    }

    fn report(&self, total_bytes: u64, done: impl FnOnce(u64) -> u64) -> ControlFlow<()> {
        let Some(progress) = self.progress else {
            return ControlFlow::Continue(());
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_cancelled {
            state.done_bytes = done(state.done_bytes);
            // SAFETY: the creator promises a function as the header describes it. The lock keeps a
            // second call out.
            let answer = unsafe { progress(self.user.get(), state.done_bytes, total_bytes) };
            state.is_cancelled = answer != 0;
        }
        match state.is_cancelled {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The output of a restoration: a function of the caller.
pub(crate) struct CallbackOutput {
    write: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> c_int,
    user: User,
}

impl CallbackOutput {
    /// # Safety
    /// `write` must be NULL or a function as [`WriteBytes`] describes it, for as long as the result
    /// is used.
    pub(crate) unsafe fn new(
        write: WriteBytes,
        user: *mut c_void,
    ) -> Result<CallbackOutput, Failure> {
        Ok(CallbackOutput {
            write: write.ok_or_else(|| Failure::null("the write callback"))?,
            user: User(user),
        })
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the creator promises a function that reads at most this many bytes.
        match unsafe { (self.write)(self.user.get(), bytes.as_ptr(), bytes.len()) } {
            0 => Ok(()),
            answer => Err(Error::Write(io::Error::other(format!(
                "the write callback returned {answer}"
            )))),
        }
    }
}
