//! Models for tests, and calls with their report.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

use unweight_c::*;
use unweight_testkit::{bytes_of, container_of, trained_like};

/// Weights of the tensor "w" of [`file`]: 25 chunks of 4096, the last one not full.
pub(crate) const WEIGHTS: usize = 100_000;

/// A container of one BF16 tensor "w".
pub(crate) fn file() -> Vec<u8> {
    let weights = trained_like(WEIGHTS);
    container_of(&weights, unweight::Encoding::Huffman, 12)
}

/// The bytes of "w".
pub(crate) fn weights() -> Vec<u8> {
    bytes_of(&trained_like(WEIGHTS))
}

/// What a call said.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) status: Status,
    pub(crate) rule: String,
    pub(crate) message: String,
}

/// Calls a function with a report full of other bytes, and checks that the report fits the status.
pub(crate) fn said(call: impl FnOnce(*mut ErrorReport) -> Status) -> Said {
    let mut report = std::mem::MaybeUninit::<ErrorReport>::uninit();
    // SAFETY: a local variable of this size.
    unsafe {
        report
            .as_mut_ptr()
            .cast::<u8>()
            .write_bytes(0x5a, size_of::<ErrorReport>())
    };
    let status = call(report.as_mut_ptr());
    // SAFETY: every call writes the whole report, and tests compare the parts.
    let report = unsafe { report.assume_init() };
    let said = Said {
        status,
        rule: text(&report.rule),
        message: text(&report.message),
    };
    assert_eq!(report.status, status);
    assert_eq!(report.reserved, 0);
    assert_eq!(said.message.is_empty(), status == Status::Ok, "{said:?}");
    assert_eq!(said.rule.is_empty(), text(&report.category).is_empty());
    if status == Status::Ok {
        assert_eq!(report.offset, UNWEIGHT_NO_OFFSET);
    }
    said
}

pub(crate) fn status(call: impl FnOnce(*mut ErrorReport) -> Status) -> Status {
    said(call).status
}

fn text(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|&byte| byte as u8).collect();
    let text = CStr::from_bytes_until_nul(&bytes).unwrap();
    text.to_str().unwrap().to_owned()
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// An open model that closes itself. It can be used from several threads.
pub(crate) struct Handle(pub(crate) *mut ModelHandle);

// SAFETY: the header allows every call but closing on any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: nobody else has the model.
        unsafe { unweight_close(self.0) };
    }
}

pub(crate) fn options() -> OpenOptions {
    OpenOptions {
        struct_size: size_of::<OpenOptions>() as u32,
        threads: 0,
        memory_bytes: 0,
        merge_gap_bytes: 0,
        merge_longest_bytes: 0,
    }
}

/// Opens bytes that outlive the model.
pub(crate) fn open_memory(
    bytes: &'static [u8],
    options: Option<&OpenOptions>,
) -> Result<Handle, Said> {
    let options = options.map_or(null(), |options| options);
    opened(|model, error| {
        // SAFETY: the bytes live as long as the program.
        unsafe { unweight_open_memory(bytes.as_ptr().cast(), bytes.len(), options, model, error) }
    })
}

/// The result of a function that opens a model.
pub(crate) fn opened(
    open: impl FnOnce(*mut *mut ModelHandle, *mut ErrorReport) -> Status,
) -> Result<Handle, Said> {
    // A failure must replace this with NULL.
    let mut model = std::ptr::dangling_mut();
    let said = said(|error| open(&mut model, error));
    match said.status {
        Status::Ok => Ok(Handle(model)),
        _ => {
            assert!(model.is_null());
            Err(said)
        }
    }
}

/// [`file`], open in memory.
pub(crate) fn model() -> Handle {
    open_memory(file().leak(), None).unwrap_or_else(|said| panic!("{said:?}"))
}

impl Handle {
    pub(crate) fn read_tensor(&self, number: u32, buffer: &mut [u8]) -> Said {
        let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: an open model and a buffer of this length.
        said(|error| unsafe { unweight_read_tensor(self.0, number, start, length, error) })
    }

    pub(crate) fn read_bytes(&self, offset: u64, buffer: &mut [u8]) -> Said {
        let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: an open model and a buffer of this length.
        said(|error| unsafe { unweight_read_bytes(self.0, 0, offset, start, length, error) })
    }

    pub(crate) fn read_weights(&self, first: u64, count: u64, buffer: &mut [u8]) -> Said {
        let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        said(|error| {
            // SAFETY: an open model and a buffer of this length.
            unsafe { unweight_read_weights(self.0, 0, first, count, start, length, error) }
        })
    }

    pub(crate) fn verify(&self) -> Said {
        // SAFETY: an open model, and no callback.
        said(|error| unsafe { unweight_verify(self.0, None, null_mut(), error) })
    }

    pub(crate) fn info(&self, number: u32) -> Result<TensorInfo, Said> {
        let mut info = empty_info();
        // SAFETY: an open model and an info.
        let said = said(|error| unsafe { unweight_get_tensor(self.0, number, &mut info, error) });
        match said.status {
            Status::Ok => Ok(info),
            _ => Err(said),
        }
    }

    pub(crate) fn find(&self, name: &[u8]) -> Result<TensorInfo, Said> {
        let mut info = empty_info();
        let said = said(|error| {
            // SAFETY: an open model, a name of this length and an info.
            unsafe {
                unweight_find_tensor(self.0, name.as_ptr().cast(), name.len(), &mut info, error)
            }
        });
        match said.status {
            Status::Ok => Ok(info),
            _ => Err(said),
        }
    }
}

/// The name of a tensor of an open model.
pub(crate) fn name_of(info: &TensorInfo) -> &[u8] {
    // SAFETY: the test keeps the model open.
    unsafe { std::slice::from_raw_parts(info.name.cast(), info.name_bytes) }
}

pub(crate) fn empty_info() -> TensorInfo {
    TensorInfo {
        struct_size: size_of::<TensorInfo>() as u32,
        number: 0,
        dtype: 0,
        rank: 0,
        element_bits: 0,
        weight_bytes: 0,
        element_count: 0,
        data_bytes: 0,
        stored_bytes: 0,
        name: null(),
        name_bytes: 0,
        dtype_name: [0; UNWEIGHT_DTYPE_NAME_BYTES],
        dims: [0; UNWEIGHT_MAX_RANK],
    }
}

/// A pointer for callbacks.
pub(crate) fn user<T>(value: &T) -> *mut c_void {
    (&raw const *value).cast_mut().cast()
}
