//! Callbacks, storages and outputs of the caller that panic, or that use the same model again while
//! it is at work.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use unweight::format::Extent;
use unweight::{CompressOptions, Model, OpenOptions, Storage, compress, read_extent};
use unweight_testkit::{Random, bf16, safetensors_file};

/// More than any test here takes.
const LONGEST: Duration = Duration::from_secs(60);

/// Number of threads: the caller's alone, and with helpers.
const THREADS: [usize; 2] = [1, 3];

fn source() -> Vec<u8> {
    let mut random = Random::new(4);
    safetensors_file(&[
        bf16("a", &random.trained_weights(150_000)),
        bf16("b", &random.random_weights(40_000)),
    ])
}

fn file() -> Vec<u8> {
    compress(&source()[..], &CompressOptions::new()).unwrap()
}

fn opened(threads: usize) -> Model {
    OpenOptions::new()
        .threads(threads)
        .open_bytes(file())
        .unwrap()
}

/// Runs `work`, and fails if it does not end. Its panics are those of the test.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // The test may have given up.
        let _ = done.send(outcome);
    });
    match end.recv_timeout(LONGEST).expect("it hangs") {
        Ok(()) => {}
        Err(panic) => resume_unwind(panic),
    }
}

/// Requires that `work` passes the panic of its callback on.
fn panics_with_its_callback<T>(work: impl FnOnce() -> T) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(_) => panic!("the panic of the callback got lost"),
        Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"the callback's")),
    }
}

struct Panicking {
    bytes: Vec<u8>,
    reads_left: AtomicU32,
    has_panicked: Arc<AtomicBool>,
}

impl Storage for Panicking {
    fn byte_length(&self) -> io::Result<u64> {
        self.bytes.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let left = self.reads_left.fetch_sub(1, Ordering::Relaxed);
        if left == 0 {
            self.has_panicked.store(true, Ordering::Relaxed);
            std::panic::panic_any("the callback's");
        }
        Ok(read_extent(&self.bytes, extent, buffer)?)
    }
}

/// Output that calls back.
struct Calling<F>(F);

impl<F: FnMut()> Write for Calling<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_panic_of_an_output_comes_out_and_the_model_still_works() {
    in_time(|| {
        for threads in THREADS {
            let model = opened(threads);
            for panics_at in [0, 1, 3] {
                let mut calls = 0;
                panics_with_its_callback(|| {
                    model.restore(&mut Calling(|| {
                        calls += 1;
                        if calls > panics_at {
                            std::panic::panic_any("the callback's");
                        }
                    }))
                });
                model.verify().unwrap();
            }
        }
    });
}

#[test]
fn the_panic_of_a_storage_comes_out_and_the_model_still_works() {
    in_time(|| {
        for threads in THREADS {
            let mut panics = 0;
            // The first reads are those of `open`.
            for reads in 4..12 {
                let has_panicked = Arc::new(AtomicBool::new(false));
                let storage = Panicking {
                    bytes: file(),
                    reads_left: AtomicU32::new(reads),
                    has_panicked: has_panicked.clone(),
                };
                let options = OpenOptions::new().threads(threads);
                let work = || {
                    let model = options.open_storage(storage)?;
                    let outcome = catch_unwind(AssertUnwindSafe(|| model.verify()));
                    // No other read panics.
                    model.verify().unwrap();
                    outcome.unwrap_or_else(|panic| resume_unwind(panic))
                };
                let outcome = catch_unwind(AssertUnwindSafe(work));
                match has_panicked.load(Ordering::Relaxed) {
                    true => {
                        panics_with_its_callback(|| outcome.unwrap_or_else(|p| resume_unwind(p)));
                        panics += 1;
                    }
                    // There were fewer reads.
                    false => outcome.unwrap().unwrap(),
                }
            }
            assert!(panics > 0, "no read panicked");
        }
    });
}

#[test]
fn the_panic_of_a_progress_callback_comes_out() {
    in_time(|| {
        for threads in THREADS {
            let options = CompressOptions::new()
                .threads(threads)
                .progress(|_| std::panic::panic_any("the callback's"));
            panics_with_its_callback(|| compress(&source()[..], &options));
        }
    });
}

#[test]
fn an_output_may_read_the_model_that_is_being_restored() {
    in_time(|| {
        for threads in THREADS {
            let model = opened(threads);
            let expected = model.tensor("b").unwrap().to_bytes().unwrap();
            let mut reads = 0;
            model
                .restore(&mut Calling(|| {
                    assert!(model.tensor("b").unwrap().to_bytes().unwrap() == expected);
                    reads += 1;
                }))
                .unwrap();
            assert!(reads > 1);
        }
    });
}

#[test]
fn a_progress_callback_may_compress() {
    in_time(|| {
        for threads in THREADS {
            let inner = source();
            let options = CompressOptions::new().threads(threads);
            let nested = options.clone();
            let expected = compress(&inner[..], &options).unwrap();
            let options = options.progress({
                let (inner, expected) = (inner.clone(), expected.clone());
                move |_| {
                    assert!(compress(&inner[..], &nested).unwrap() == expected);
                    ControlFlow::Continue(())
                }
            });
            assert!(compress(&inner[..], &options).unwrap() == expected);
        }
    });
}
