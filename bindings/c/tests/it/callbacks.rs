//! Callbacks that lie, fail, change their answers, call back and close what they are called for.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;

use unweight_c::*;

use crate::support::*;

/// A file behind a callback, which answers as `answer` says.
struct Source {
    file: RwLock<Vec<u8>>,
    calls: AtomicU64,
    /// The number of the call from which on `answer` counts.
    from: AtomicU64,
    answer: Box<Answer>,
}

/// Answers a read at an offset into a buffer.
type Answer = dyn Fn(&Source, u64, &mut [u8]) -> i64 + Send + Sync;

impl Source {
    fn new(answer: impl Fn(&Source, u64, &mut [u8]) -> i64 + Send + Sync + 'static) -> Source {
        Source {
            file: RwLock::new(file()),
            calls: AtomicU64::new(0),
            from: AtomicU64::new(0),
            answer: Box::new(answer),
        }
    }

    /// The true answer.
    fn truth(&self, offset: u64, buffer: &mut [u8]) -> i64 {
        let file = self.file.read().unwrap();
        let rest = &file[file.len().min(offset as usize)..];
        let length = buffer.len().min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        length as i64
    }

    fn reader(&self) -> Reader {
        Reader {
            struct_size: size_of::<Reader>() as u32,
            reserved: 0,
            byte_length: self.file.read().unwrap().len() as u64,
            user: user(self),
            read_at: Some(read_at),
        }
    }

    fn open(&self) -> Result<Handle, Said> {
        self.open_with(&self.reader(), &options())
    }

    fn open_with(&self, reader: &Reader, options: &OpenOptions) -> Result<Handle, Said> {
        opened(|model, error| {
            // SAFETY: every test closes the model before the source ends.
            unsafe { unweight_open_reader(reader, options, model, error) }
        })
    }

    /// Opens, verifies, and reads whole and in part. Returns the first failure.
    fn use_all(&self) -> Option<Said> {
        let model = match self.open() {
            Ok(model) => model,
            Err(said) => return Some(said),
        };
        let mut whole = vec![0; 200_000];
        let done = [
            model.verify(),
            model.read_tensor(0, &mut whole),
            model.read_bytes(50_000, &mut whole[..50_000]),
        ];
        done.into_iter().find(|said| said.status != Status::Ok)
    }
}

unsafe extern "C" fn read_at(
    user: *mut c_void,
    offset: u64,
    buffer: *mut u8,
    length: usize,
) -> i64 {
    // SAFETY: `user` is a source that outlives the model.
    let source = unsafe { &*user.cast::<Source>() };
    // SAFETY: the library's buffer, which is initialised.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    assert!(length > 0);
    let call = source.calls.fetch_add(1, Ordering::Relaxed);
    match call < source.from.load(Ordering::Relaxed) {
        true => source.truth(offset, buffer),
        false => (source.answer)(source, offset, buffer),
    }
}

#[test]
fn short_reads_are_continued() {
    let source = Source::new(|source, offset, buffer| {
        let length = buffer.len().min(1 + offset as usize % 1000);
        source.truth(offset, &mut buffer[..length])
    });
    assert_eq!(source.use_all(), None);
}

#[test]
fn an_answer_that_cannot_be_is_a_failed_read_at_every_call() {
    let answers: [&'static Answer; 6] = [
        &|_, _, _| -1,
        &|_, _, _| i64::MIN,
        &|_, _, _| i64::MAX,
        &|_, _, buffer| buffer.len() as i64 + 1,
        &|_, _, _| i64::from(u32::MAX) + 1,
        &|source, offset, buffer| source.truth(offset, buffer) << 32,
    ];
    for answer in answers {
        let mut from = 0;
        loop {
            let source = Source::new(answer);
            source.from.store(from, Ordering::Relaxed);
            let Some(said) = source.use_all() else { break };
            assert_eq!((said.status, &*said.rule), (Status::ReadFailed, ""));
            assert!(
                said.message.contains("the read callback returned"),
                "{}",
                said.message
            );
            // Later calls are those of other operations.
            from = 2 * from + 1;
        }
        assert!(from > 60, "{from}");
    }
}

#[test]
fn a_file_that_ends_early_is_truncated() {
    for from in [0, 1, 5, 40] {
        let source = Source::new(|_, _, _| 0);
        source.from.store(from, Ordering::Relaxed);
        let said = source.use_all().unwrap();
        assert_eq!(
            (said.status, &*said.rule),
            (Status::InvalidFile, "file-truncated")
        );
    }
}

#[test]
fn a_wrong_length_is_found() {
    let source = Source::new(Source::truth);
    let reader = source.reader();
    let length = reader.byte_length;
    for (byte_length, rule) in [
        (0, "file-truncated"),
        (63, "file-truncated"),
        (length - 1, "file-truncated"),
        // The true end answers the question whether bytes follow.
        (length + 1, ""),
        (1 << 50, ""),
        (u64::MAX, ""),
    ] {
        let reader = Reader {
            byte_length,
            ..reader
        };
        let said = source.open_with(&reader, &options()).err().unwrap();
        assert_eq!(said.rule, rule, "{byte_length}: {said:?}");
        assert_ne!(said.status, Status::Internal);
    }
}

#[test]
fn readers_without_a_function_or_with_unknown_fields_are_refused() {
    let source = Source::new(Source::truth);
    let reader = source.reader();
    for reader in [
        Reader {
            read_at: None,
            ..reader
        },
        Reader {
            reserved: 1,
            ..reader
        },
        Reader {
            struct_size: 8,
            ..reader
        },
    ] {
        let said = source.open_with(&reader, &options()).err().unwrap();
        assert_eq!(said.status, Status::InvalidArgument, "{said:?}");
    }
}

#[test]
fn bytes_that_a_callback_does_not_write_are_found_by_checksums() {
    for from in [0, 1, 2, 3, 4, 30] {
        let source = Source::new(|_, _, buffer| buffer.len() as i64);
        source.from.store(from, Ordering::Relaxed);
        let said = source.use_all().unwrap();
        assert_eq!(said.status, Status::InvalidFile);
    }
}

#[test]
fn a_file_that_changes_between_calls_gives_an_error_or_true_bytes() {
    let other = {
        let mut other = file();
        other.rotate_left(1000);
        other
    };
    let expected = weights();
    for period in 2..20 {
        let other = other.clone();
        let source = Source::new(move |source, offset, buffer| {
            match source.calls.load(Ordering::Relaxed) % period {
                0 => {
                    buffer.copy_from_slice(&other[offset as usize..][..buffer.len()]);
                    buffer.len() as i64
                }
                _ => source.truth(offset, buffer),
            }
        });
        let Ok(model) = source.open() else { continue };
        for start in (0..190_000).step_by(30_000) {
            let mut part = vec![0; 5000];
            match model.read_bytes(start as u64, &mut part).status {
                Status::Ok => assert!(part == expected[start..][..5000]),
                status => assert_eq!(status, Status::InvalidFile),
            }
        }
    }
}

#[test]
fn a_callback_may_read_the_model_that_it_is_called_for() {
    static MODEL: AtomicPtr<ModelHandle> = AtomicPtr::new(null_mut());
    thread_local! {
        static IS_WITHIN: UnsafeCell<bool> = const { UnsafeCell::new(false) };
    }
    let source = Source::new(|source, offset, buffer| {
        let model = MODEL.load(Ordering::Relaxed);
        let is_within = IS_WITHIN.with(|within| {
            // SAFETY: each thread has its own value, and nothing borrows it.
            std::mem::replace(unsafe { &mut *within.get() }, true)
        });
        if !model.is_null() && !is_within {
            let model = std::mem::ManuallyDrop::new(Handle(model));
            let mut part = [0; 100];
            assert_eq!(model.read_bytes(123, &mut part).status, Status::Ok);
            assert_eq!(part, weights()[123..223]);
            let mut whole = vec![0; 200_000];
            assert_eq!(model.read_tensor(0, &mut whole).status, Status::Ok);
            assert_eq!(model.verify().status, Status::Ok);
        }
        // SAFETY: as above.
        IS_WITHIN.with(|within| unsafe { *within.get() = is_within });
        source.truth(offset, buffer)
    });
    for threads in [1, 3] {
        let options = OpenOptions {
            threads,
            ..options()
        };
        let model = source
            .open_with(&source.reader(), &options)
            .unwrap_or_else(|said| panic!("{said:?}"));
        MODEL.store(model.0, Ordering::Relaxed);
        assert_eq!(model.verify().status, Status::Ok);
        let mut whole = vec![0; 200_000];
        assert_eq!(model.read_tensor(0, &mut whole).status, Status::Ok);
        assert!(whole == weights());
        MODEL.store(null_mut(), Ordering::Relaxed);
    }
}

#[test]
fn one_thread_alone_calls_the_callback_of_a_model_with_one_thread() {
    let caller = thread::current().id();
    let source = Source::new(move |source, offset, buffer| {
        assert_eq!(thread::current().id(), caller);
        source.truth(offset, buffer)
    });
    let options = OpenOptions {
        threads: 1,
        ..options()
    };
    let model = source
        .open_with(&source.reader(), &options)
        .unwrap_or_else(|said| panic!("{said:?}"));
    assert_eq!(model.verify().status, Status::Ok);
}

#[test]
fn merged_reads_are_fewer() {
    let calls = |merge_gap_bytes| {
        let source = Source::new(Source::truth);
        let options = OpenOptions {
            merge_gap_bytes,
            merge_longest_bytes: 64 << 10,
            threads: 1,
            ..options()
        };
        let model = source
            .open_with(&source.reader(), &options)
            .unwrap_or_else(|said| panic!("{said:?}"));
        let mut whole = vec![0; 200_000];
        assert_eq!(model.read_tensor(0, &mut whole).status, Status::Ok);
        source.calls.load(Ordering::Relaxed)
    };
    let (alone, merged) = (calls(0), calls(100_000));
    assert!(merged < alone / 2, "{merged} of {alone}");
}

/// Where a progress callback notes what it was told.
#[derive(Default)]
struct Noted {
    model: AtomicPtr<ModelHandle>,
    told: Mutex<Vec<(u64, u64)>>,
    /// The call that cancels. 0: none.
    cancels_at: AtomicI64,
    is_within: AtomicBool,
}

unsafe extern "C" fn note(user: *mut c_void, done_bytes: u64, total_bytes: u64) -> c_int {
    // SAFETY: `user` is a `Noted` that outlives the call.
    let noted = unsafe { &*user.cast::<Noted>() };
    assert!(
        !noted.is_within.swap(true, Ordering::Relaxed),
        "two calls at a time"
    );
    noted.told.lock().unwrap().push((done_bytes, total_bytes));
    let model = noted.model.load(Ordering::Relaxed);
    if !model.is_null() {
        let model = std::mem::ManuallyDrop::new(Handle(model));
        assert_eq!(model.verify().status, Status::Ok);
    }
    noted.is_within.store(false, Ordering::Relaxed);
    c_int::from(noted.cancels_at.fetch_sub(1, Ordering::Relaxed) == 1)
}

fn verify(model: &Handle, noted: &Noted) -> Status {
    // SAFETY: an open model, and a callback whose data outlives the call.
    status(|error| unsafe { unweight_verify(model.0, Some(note), user(noted), error) })
}

#[test]
fn progress_counts_to_its_total() {
    let (model, noted) = (model(), Noted::default());
    assert_eq!(verify(&model, &noted), Status::Ok);
    let told = noted.told.into_inner().unwrap();
    assert_eq!(told[0].0, 0);
    assert!(told.is_sorted_by_key(|told| told.0) && told.len() > 20);
    // SAFETY: an open model.
    let total = unsafe { unweight_restored_bytes(model.0) };
    assert_eq!(told.last(), Some(&(total, total)));
}

#[test]
fn progress_cancels_at_any_call_and_is_not_called_again() {
    let model = model();
    for cancels_at in [1, 2, 10, 26] {
        let noted = Noted {
            cancels_at: cancels_at.into(),
            ..Noted::default()
        };
        assert_eq!(verify(&model, &noted), Status::Cancelled);
        assert_eq!(noted.told.into_inner().unwrap().len() as i64, cancels_at);
    }
    assert_eq!(model.verify().status, Status::Ok);
}

#[test]
fn progress_may_use_the_model() {
    let (model, noted) = (model(), Noted::default());
    noted.model.store(model.0, Ordering::Relaxed);
    assert_eq!(verify(&model, &noted), Status::Ok);
}

/// Output of a restoration. It closes the model at the first call if there is one.
#[derive(Default)]
struct Output {
    bytes: Mutex<Vec<u8>>,
    closes: AtomicPtr<ModelHandle>,
    answer: AtomicI64,
}

unsafe extern "C" fn put(user: *mut c_void, bytes: *const u8, length: usize) -> c_int {
    // SAFETY: `user` is an `Output` that outlives the call.
    let output = unsafe { &*user.cast::<Output>() };
    // SAFETY: the library's bytes.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
    assert!(length > 0);
    output.bytes.lock().unwrap().extend_from_slice(bytes);
    // SAFETY: NULL, or a model that only the running operation uses.
    unsafe { unweight_close(output.closes.swap(null_mut(), Ordering::Relaxed)) };
    output.answer.load(Ordering::Relaxed) as c_int
}

fn restore(model: *mut ModelHandle, output: &Output) -> Said {
    // SAFETY: an open model, and a callback whose data outlives the call.
    said(|error| unsafe { unweight_restore(model, Some(put), user(output), error) })
}

#[test]
fn a_restoration_gives_all_bytes_or_says_what_the_callback_returned() {
    let (model, output) = (model(), Output::default());
    assert_eq!(restore(model.0, &output).status, Status::Ok);
    assert!(*output.bytes.lock().unwrap() == weights());
    let output = Output {
        answer: 77.into(),
        ..Output::default()
    };
    let said = restore(model.0, &output);
    assert_eq!(said.status, Status::WriteFailed);
    assert!(
        said.message.contains("the write callback returned 77"),
        "{}",
        said.message
    );
}

#[test]
fn a_model_that_its_own_callback_closes_is_used_to_the_end() {
    let bytes: &'static [u8] = file().leak();
    let mut model = null_mut();
    // SAFETY: the bytes live as long as the program.
    let opened = status(|error| unsafe {
        unweight_open_memory(
            bytes.as_ptr().cast(),
            bytes.len(),
            null(),
            &mut model,
            error,
        )
    });
    assert_eq!(opened, Status::Ok);
    let output = Output {
        closes: AtomicPtr::new(model),
        ..Output::default()
    };
    assert_eq!(restore(model, &output).status, Status::Ok);
    assert!(*output.bytes.lock().unwrap() == weights());
}
