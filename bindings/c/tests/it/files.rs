//! Files on a disk.

use std::ffi::{CString, c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use unweight_c::*;
use unweight_testkit::{bf16, safetensors_file, trained_like};

use crate::support::*;

fn source() -> Vec<u8> {
    safetensors_file(&[bf16("w", &trained_like(WEIGHTS))])
}

fn file_options() -> FileOptions {
    FileOptions {
        struct_size: size_of::<FileOptions>() as u32,
        threads: 0,
        memory_bytes: 0,
        encoding: 0,
        chunk_size_log2: 0,
        flags: 0,
        reserved: 0,
        progress: None,
        user: null_mut(),
    }
}

/// A folder with a source, and paths for outputs.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), source()).unwrap();
        Folder { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn c_path(&self, name: &str) -> CString {
        c_path(&self.path(name))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn compress(&self, options: Option<&FileOptions>) -> Said {
        let options = options.map_or(null(), |options| options);
        let (source, output) = (self.c_path("model.safetensors"), self.c_path("model.unw"));
        said(|error| {
            // SAFETY: strings, options and a callback that outlive the call.
            unsafe {
                unweight_compress_file(source.as_ptr(), output.as_ptr(), options, null_mut(), error)
            }
        })
    }
}

#[test]
fn a_file_is_compressed_read_and_restored() {
    let folder = Folder::new();
    let (source, output) = (
        folder.c_path("model.safetensors"),
        folder.c_path("model.unw"),
    );
    let options = FileOptions {
        encoding: EncodingCode::Palette as u32,
        chunk_size_log2: 12,
        flags: UNWEIGHT_FILE_VERIFY,
        threads: 2,
        memory_bytes: 8 << 20,
        ..file_options()
    };
    let mut report = FileReport {
        struct_size: size_of::<FileReport>() as u32,
        ..FileReport::default()
    };
    let done = status(|error| {
        // SAFETY: strings, options and a report that outlive the call.
        unsafe {
            unweight_compress_file(
                source.as_ptr(),
                output.as_ptr(),
                &options,
                &mut report,
                error,
            )
        }
    });
    assert_eq!(done, Status::Ok);
    let length = |name| fs::metadata(folder.path(name)).unwrap().len();
    assert_eq!((report.tensors, report.compressed_tensors), (1, 1));
    assert_eq!(report.input_bytes, length("model.safetensors"));
    assert_eq!(report.output_bytes, length("model.unw"));

    // SAFETY: a string.
    let model =
        opened(|model, error| unsafe { unweight_open_path(output.as_ptr(), null(), model, error) });
    let model = model.unwrap_or_else(|said| panic!("{said:?}"));
    let mut whole = vec![0; 200_000];
    assert_eq!(model.read_tensor(0, &mut whole).status, Status::Ok);
    assert!(whole == weights());

    let restored = folder.c_path("restored.safetensors");
    let done = status(|error| {
        // SAFETY: strings that outlive the call.
        unsafe {
            unweight_restore_file(
                output.as_ptr(),
                restored.as_ptr(),
                null(),
                null_mut(),
                error,
            )
        }
    });
    assert_eq!(done, Status::Ok);
    assert!(fs::read(folder.path("restored.safetensors")).unwrap() == self::source());
}

#[test]
fn an_output_that_exists_is_replaced_only_by_force() {
    let folder = Folder::new();
    fs::write(folder.path("model.unw"), "mine").unwrap();
    let said = folder.compress(None);
    assert_eq!(said.status, Status::Refused);
    assert!(said.message.contains("exists already"), "{}", said.message);
    assert_eq!(fs::read(folder.path("model.unw")).unwrap(), b"mine");
    let force = FileOptions {
        flags: UNWEIGHT_FILE_FORCE,
        ..file_options()
    };
    assert_eq!(folder.compress(Some(&force)).status, Status::Ok);
    assert!(fs::metadata(folder.path("model.unw")).unwrap().len() > 100_000);
}

#[test]
fn options_that_are_not_known_are_refused() {
    let folder = Folder::new();
    let options = file_options();
    for options in [
        FileOptions {
            encoding: 2,
            ..options
        },
        FileOptions {
            encoding: u32::MAX,
            ..options
        },
        FileOptions {
            chunk_size_log2: 11,
            ..options
        },
        FileOptions {
            chunk_size_log2: 17,
            ..options
        },
        FileOptions {
            chunk_size_log2: 256 + 12,
            ..options
        },
        FileOptions {
            flags: 4,
            ..options
        },
        FileOptions {
            flags: u32::MAX,
            ..options
        },
        FileOptions {
            reserved: 1,
            ..options
        },
        FileOptions {
            struct_size: 0,
            ..options
        },
    ] {
        assert_eq!(
            folder.compress(Some(&options)).status,
            Status::InvalidArgument,
            "{options:?}"
        );
    }
    assert_eq!(folder.names(), ["model.safetensors"]);
}

#[test]
fn a_report_of_a_wrong_size_is_refused_before_the_work() {
    let folder = Folder::new();
    let (source, output) = (
        folder.c_path("model.safetensors"),
        folder.c_path("model.unw"),
    );
    let mut report = FileReport {
        struct_size: 3,
        ..FileReport::default()
    };
    let done = status(|error| {
        // SAFETY: the library refuses the size.
        unsafe {
            unweight_compress_file(source.as_ptr(), output.as_ptr(), null(), &mut report, error)
        }
    });
    assert_eq!(done, Status::InvalidArgument);
    assert_eq!(folder.names(), ["model.safetensors"]);
}

#[test]
fn a_file_of_another_kind_is_named_as_such() {
    let folder = Folder::new();
    fs::write(folder.path("model.safetensors"), "no safetensors file").unwrap();
    assert_eq!(folder.compress(None).status, Status::InvalidSource);
    let (input, output) = (
        folder.c_path("model.safetensors"),
        folder.c_path("restored"),
    );
    let said = said(|error| {
        // SAFETY: strings that outlive the call.
        unsafe { unweight_restore_file(input.as_ptr(), output.as_ptr(), null(), null_mut(), error) }
    });
    assert_eq!(said.status, Status::InvalidFile);
    fs::remove_file(folder.path("model.safetensors")).unwrap();
    assert_eq!(folder.compress(None).status, Status::ReadFailed);
    assert!(folder.names().is_empty());
}

#[test]
fn paths_that_cannot_be_opened_are_named() {
    let folder = Folder::new();
    let open = |path: &Path| {
        let path = c_path(path);
        // SAFETY: a string that outlives the call.
        let open = opened(|model, error| unsafe {
            unweight_open_path(path.as_ptr(), null(), model, error)
        });
        open.err().unwrap()
    };
    let missing = open(&folder.path("missing.unw"));
    assert_eq!(missing.status, Status::ReadFailed);
    assert!(
        missing.message.contains("missing.unw"),
        "{}",
        missing.message
    );
    let invalid = open(&folder.path("model.safetensors"));
    assert_eq!(
        (invalid.status, &*invalid.rule),
        (Status::InvalidFile, "file-magic")
    );
    assert!(
        invalid.message.contains("model.safetensors"),
        "{}",
        invalid.message
    );
    assert_eq!(open(folder.folder.path()).status, Status::Refused);
}

unsafe extern "C" fn cancel_later(user: *mut c_void, done_bytes: u64, total_bytes: u64) -> c_int {
    // SAFETY: `user` is a counter that outlives the call.
    let calls = unsafe { &*user.cast::<AtomicU64>() };
    assert!(total_bytes > 0 && done_bytes <= 2 * total_bytes);
    c_int::from(calls.fetch_add(1, Ordering::Relaxed) == 3)
}

#[test]
fn a_cancelled_operation_leaves_nothing_behind() {
    let (folder, calls) = (Folder::new(), AtomicU64::new(0));
    let options = FileOptions {
        progress: Some(cancel_later),
        user: user(&calls),
        ..file_options()
    };
    assert_eq!(folder.compress(Some(&options)).status, Status::Cancelled);
    assert_eq!(calls.into_inner(), 4);
    assert_eq!(folder.names(), ["model.safetensors"]);
}

#[test]
fn a_file_over_its_budget_leaves_nothing_behind() {
    let folder = Folder::new();
    let options = FileOptions {
        memory_bytes: 1000,
        ..file_options()
    };
    assert_eq!(folder.compress(Some(&options)).status, Status::OverBudget);
    assert_eq!(folder.names(), ["model.safetensors"]);
}
