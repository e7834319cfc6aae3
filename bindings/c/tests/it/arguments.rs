//! Arguments that are not allowed, and the layout of structs.

use std::ffi::CStr;
use std::mem::offset_of;
use std::ptr::{null, null_mut};

use unweight_c::*;

use crate::support::*;

#[test]
fn versions_are_those_of_the_package() {
    assert_eq!(unweight_abi_version(), UNWEIGHT_ABI_VERSION);
    // SAFETY: a string that lives as long as the library.
    let version = unsafe { CStr::from_ptr(unweight_version()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}

/// A change of these numbers breaks programs, and needs another `UNWEIGHT_ABI_VERSION`.
#[test]
#[cfg(target_pointer_width = "64")]
fn structs_keep_their_layout() {
    assert_eq!(size_of::<ErrorReport>(), 512);
    assert_eq!(offset_of!(ErrorReport, message), 64);
    assert_eq!(size_of::<OpenOptions>(), 32);
    assert_eq!(offset_of!(OpenOptions, merge_longest_bytes), 24);
    assert_eq!(size_of::<Reader>(), 32);
    assert_eq!(offset_of!(Reader, read_at), 24);
    assert_eq!(size_of::<TensorInfo>(), 592);
    assert_eq!(offset_of!(TensorInfo, name), 48);
    assert_eq!(offset_of!(TensorInfo, dims), 80);
    assert_eq!(size_of::<FileOptions>(), 48);
    assert_eq!(offset_of!(FileOptions, user), 40);
    assert_eq!(size_of::<FileReport>(), 32);
}

#[test]
fn null_pointers_are_refused() {
    let (file, model) = (file(), model());
    let (bytes, length) = (file.as_ptr().cast(), file.len());
    let mut info = empty_info();
    let mut byte = 0u8;
    let buffer = (&raw mut byte).cast();
    let path = c"model.unw".as_ptr();
    let statuses = [
        // SAFETY: the library refuses NULL; all else is valid.
        status(|error| unsafe { unweight_open_memory(bytes, length, null(), null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_open_path(path, null(), null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_get_tensor(null(), 0, &mut info, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_get_tensor(model.0, 0, null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_find_tensor(model.0, null(), 1, &mut info, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_find_tensor(null(), path, 1, &mut info, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_read_tensor(null(), 0, buffer, 1, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_read_tensor(model.0, 0, null_mut(), 200_000, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_read_bytes(model.0, 0, 0, null_mut(), 1, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_read_weights(model.0, 0, 0, 1, null_mut(), 2, error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_verify(null(), None, null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_restore(model.0, None, null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_compress_file(null(), path, null(), null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_restore_file(path, null(), null(), null_mut(), error) }),
    ];
    assert_eq!(statuses, [Status::InvalidArgument; 14]);
    for open in [
        // SAFETY: as above.
        opened(|model, error| unsafe { unweight_open_path(null(), null(), model, error) }),
        // SAFETY: as above.
        opened(|model, error| unsafe { unweight_open_reader(null(), null(), model, error) }),
        // SAFETY: as above.
        opened(|model, error| unsafe { unweight_open_memory(null(), 1, null(), model, error) }),
    ] {
        assert_eq!(open.err().unwrap().status, Status::InvalidArgument);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { unweight_tensor_count(null()) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { unweight_restored_bytes(null()) }, 0);
    // SAFETY: as above.
    unsafe { unweight_close(null_mut()) };
    // SAFETY: a report is not needed.
    let unreported = unsafe { unweight_verify(null(), None, null_mut(), null_mut()) };
    assert_eq!(unreported, Status::InvalidArgument);
}

#[test]
fn empty_memory_is_no_file() {
    let said = opened(|model, error| {
        // SAFETY: NULL is allowed without bytes.
        unsafe { unweight_open_memory(null(), 0, null(), model, error) }
    });
    assert_eq!(said.err().unwrap().rule, "file-truncated");
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let byte = 0u8;
    for length in [usize::MAX, 1 << (usize::BITS - 1)] {
        let said = opened(|model, error| {
            // SAFETY: the library refuses lengths that no memory has before it reads.
            unsafe { unweight_open_memory((&raw const byte).cast(), length, null(), model, error) }
        });
        assert_eq!(said.err().unwrap().status, Status::InvalidArgument);
    }
}

#[test]
fn structs_without_a_size_are_refused() {
    let file: &'static [u8] = file().leak();
    for struct_size in [0, 4, 31, 5000, u32::MAX] {
        let options = OpenOptions {
            struct_size,
            ..options()
        };
        let said = open_memory(file, Some(&options)).err().unwrap();
        assert_eq!(said.status, Status::InvalidArgument);
        assert!(said.message.contains("unweight_open_options.struct_size"));
    }
    let model = model();
    let mut info = TensorInfo {
        struct_size: 0,
        ..empty_info()
    };
    // SAFETY: the library refuses the size.
    let status = status(|error| unsafe { unweight_get_tensor(model.0, 0, &mut info, error) });
    assert_eq!(status, Status::InvalidArgument);
}

#[test]
fn options_bound_memory_and_threads() {
    let file: &'static [u8] = file().leak();
    let tiny = OpenOptions {
        memory_bytes: 100,
        ..options()
    };
    let said = open_memory(file, Some(&tiny)).err().unwrap();
    assert_eq!(said.status, Status::OverBudget);
    let little = OpenOptions {
        memory_bytes: 4 << 10,
        ..options()
    };
    let model = open_memory(file, Some(&little)).unwrap_or_else(|said| panic!("{said:?}"));
    assert_eq!(model.verify().status, Status::OverBudget);
    let enough = OpenOptions {
        memory_bytes: 1 << 20,
        threads: 3,
        ..options()
    };
    let model = open_memory(file, Some(&enough)).unwrap_or_else(|said| panic!("{said:?}"));
    assert_eq!(model.verify().status, Status::Ok);
}
