//! Every sequence of a few launches, errors, panics and captures, on a model of the driver.
//!
//! The code is that of `in_flight.rs`, compiled again with the model's streams. A sequence fails if
//! memory is freed while a launch or a graph uses it, if it is leaked without a cause, or if a
//! stream is waited for while it captures, which would end the capture.

#![expect(unsafe_code, reason = "a function under test is unsafe")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cudarc::driver::sys::CUresult;
use driver::{CudaContext, CudaStream, DriverError, World};

use crate::GpuError;

#[expect(
    dead_code,
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the file is compiled again, and only one type of it is tested"
)]
#[path = "in_flight.rs"]
mod in_flight;

use in_flight::InFlight;

/// The model: two streams of one context.
mod driver {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};

    pub(super) use cudarc::driver::{DriverError, sys};
    use sys::CUstreamCaptureStatus as Status;

    pub(super) const STREAMS: usize = 2;

    #[derive(Clone, Copy, Debug, Default)]
    pub(super) struct StreamState {
        /// A launch that uses the memory is not done.
        pub(super) is_busy: bool,
        pub(super) is_capturing: bool,
    }

    #[derive(Debug, Default)]
    pub(super) struct World {
        pub(super) streams: Mutex<[StreamState; STREAMS]>,
        /// A graph that uses the memory may be launched at any later time.
        pub(super) graph_uses: AtomicBool,
        /// The error of an earlier call, which the next call returns without doing its work.
        pub(super) earlier_error: AtomicBool,
        /// Every call fails.
        pub(super) is_broken: AtomicBool,
        pub(super) waited_for_capture: AtomicBool,
    }

    impl World {
        pub(super) fn is_in_use(&self) -> bool {
            let streams = self.streams.lock().unwrap();
            self.graph_uses.load(Relaxed) || streams.iter().any(|stream| stream.is_busy)
        }

        fn call(&self) -> Result<(), DriverError> {
            match self.earlier_error.swap(false, Relaxed) || self.is_broken.load(Relaxed) {
                true => Err(DriverError(sys::CUresult::CUDA_ERROR_UNKNOWN)),
                false => Ok(()),
            }
        }
    }

    #[derive(Debug)]
    pub(super) struct CudaContext(pub(super) Arc<World>);

    impl CudaContext {
        pub(super) fn new_stream(self: &Arc<Self>) -> Result<Arc<CudaStream>, DriverError> {
            unreachable!("for handovers, which are not tested here")
        }
    }

    #[derive(Debug)]
    pub(super) struct CudaStream {
        pub(super) context: Arc<CudaContext>,
        pub(super) number: usize,
    }

    impl CudaStream {
        pub(super) fn context(&self) -> &Arc<CudaContext> {
            &self.context
        }

        /// A handle other than those of CUDA's special streams.
        pub(super) fn cu_stream(&self) -> sys::CUstream {
            (16 + self.number) as sys::CUstream
        }

        pub(super) fn synchronize(&self) -> Result<(), DriverError> {
            let world = &self.context.0;
            world.call()?;
            let stream = &mut world.streams.lock().unwrap()[self.number];
            if stream.is_capturing {
                world.waited_for_capture.store(true, Relaxed);
            }
            stream.is_busy = false;
            Ok(())
        }

        pub(super) fn capture_status(&self) -> Result<Status, DriverError> {
            let world = &self.context.0;
            world.call()?;
            Ok(
                match world.streams.lock().unwrap()[self.number].is_capturing {
                    true => Status::CU_STREAM_CAPTURE_STATUS_ACTIVE,
                    false => Status::CU_STREAM_CAPTURE_STATUS_NONE,
                },
            )
        }
    }
}

/// What another thread, or the device, does during a call of `launch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    CaptureBeforeLaunch,
    CaptureAfterLaunch,
    EarlierError,
    CaptureBeforeLaunchAndEarlierError,
}

/// How a call of `launch` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Success,
    Failure,
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Launch(usize, Meanwhile, End),
    LaunchedOn(usize),
    BeginCapture(usize),
    EndCapture(usize),
    EarlierError,
    Break,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    Drop,
    IntoOwned,
    Forget,
}

fn steps() -> Vec<Step> {
    let mut steps = vec![Step::EarlierError, Step::Break];
    for stream in 0..driver::STREAMS {
        for meanwhile in [
            Meanwhile::Nothing,
            Meanwhile::CaptureBeforeLaunch,
            Meanwhile::CaptureAfterLaunch,
            Meanwhile::EarlierError,
            Meanwhile::CaptureBeforeLaunchAndEarlierError,
        ] {
            for end in [End::Success, End::Failure, End::Panic] {
                steps.push(Step::Launch(stream, meanwhile, end));
            }
        }
        steps.extend([
            Step::LaunchedOn(stream),
            Step::BeginCapture(stream),
            Step::EndCapture(stream),
        ]);
    }
    steps
}

/// Memory that notes how often it is freed, and whether a launch still used it then.
struct Memory {
    world: Arc<World>,
    freed: Arc<AtomicUsize>,
    freed_in_use: Arc<AtomicUsize>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.freed.fetch_add(1, Relaxed);
        if self.world.is_in_use() {
            self.freed_in_use.fetch_add(1, Relaxed);
        }
    }
}

/// A sequence that is under way.
struct Run {
    world: Arc<World>,
    streams: [Arc<CudaStream>; driver::STREAMS],
    in_flight: InFlight<Memory>,
    /// Something happened after which a leak is allowed.
    may_leak: bool,
}

impl Run {
    fn step(&mut self, step: Step) {
        use Meanwhile::*;
        let world = self.world.clone();
        let set_capture = |stream: usize, is_capturing| {
            world.streams.lock().unwrap()[stream].is_capturing = is_capturing;
        };
        match step {
            Step::Launch(stream, meanwhile, end) => {
                self.may_leak |= meanwhile != Nothing || end == End::Panic;
                let launch = |_: &mut Memory| {
                    let is_one_of = |all: &[Meanwhile]| all.contains(&meanwhile);
                    if is_one_of(&[CaptureBeforeLaunch, CaptureBeforeLaunchAndEarlierError]) {
                        set_capture(stream, true);
                    }
                    use_memory(&world, stream);
                    if is_one_of(&[CaptureAfterLaunch]) {
                        set_capture(stream, true);
                    }
                    if is_one_of(&[EarlierError, CaptureBeforeLaunchAndEarlierError]) {
                        world.earlier_error.store(true, Relaxed);
                    }
                    match end {
                        End::Success => Ok(()),
                        End::Failure => Err(GpuError::NotEncoded),
                        End::Panic => resume_unwind(Box::new(())),
                    }
                };
                let in_flight = AssertUnwindSafe(|| {
                    let _ = self.in_flight.launch(&self.streams[stream], launch);
                });
                let _ = catch_unwind(in_flight);
            }
            Step::LaunchedOn(stream) => {
                // A launch of a graph outlives this value, which the caller must prevent.
                if !world.streams.lock().unwrap()[stream].is_capturing {
                    // SAFETY: the stream is of this context, and not capturing.
                    let noted = unsafe { self.in_flight.launched_on(&self.streams[stream]) };
                    if noted.is_ok() {
                        use_memory(&world, stream);
                    }
                }
            }
            Step::BeginCapture(stream) => {
                self.may_leak = true;
                set_capture(stream, true);
            }
            Step::EndCapture(stream) => set_capture(stream, false),
            Step::EarlierError => {
                self.may_leak = true;
                world.earlier_error.store(true, Relaxed);
            }
            Step::Break => {
                self.may_leak = true;
                world.is_broken.store(true, Relaxed);
            }
        }
    }
}

/// Launches on a stream. Launches on different streams would not run one after the other.
fn use_memory(world: &World, stream: usize) {
    let mut streams = world.streams.lock().unwrap();
    let others = streams
        .iter()
        .enumerate()
        .filter(|&(other, _)| other != stream);
    assert!(
        others.into_iter().all(|(_, other)| !other.is_busy),
        "two streams at a time"
    );
    match streams[stream].is_capturing {
        true => world.graph_uses.store(true, Relaxed),
        false => streams[stream].is_busy = true,
    }
}

fn check(sequence: &[Step], last: Last) {
    let world = Arc::new(World::default());
    let context = Arc::new(CudaContext(world.clone()));
    let freed = Arc::new(AtomicUsize::new(0));
    let freed_in_use = Arc::new(AtomicUsize::new(0));
    let memory = Memory {
        world: world.clone(),
        freed: freed.clone(),
        freed_in_use: freed_in_use.clone(),
    };
    let stream = |number| {
        let context = context.clone();
        Arc::new(CudaStream { context, number })
    };
    let mut run = Run {
        world: world.clone(),
        streams: [stream(0), stream(1)],
        in_flight: InFlight::new(&context, memory),
        may_leak: false,
    };
    for &step in sequence {
        run.step(step);
    }
    match last {
        Last::Drop => drop(run.in_flight),
        Last::IntoOwned => drop(run.in_flight.into_owned()),
        Last::Forget => std::mem::forget(run.in_flight),
    }
    let of = || format!("{sequence:?}, {last:?}");
    assert_eq!(freed_in_use.load(Relaxed), 0, "freed in use: {}", of());
    assert!(
        !world.waited_for_capture.load(Relaxed),
        "waited for a capture: {}",
        of()
    );
    match (freed.load(Relaxed), last) {
        (0, Last::Forget) | (1, Last::Drop | Last::IntoOwned) => {}
        (0, _) if run.may_leak => {}
        (count, _) => panic!("freed {count} times: {}", of()),
    }
}

#[test]
fn no_sequence_frees_memory_in_use_or_leaks_it_without_a_cause() {
    let steps = steps();
    let mut sequences = vec![Vec::new()];
    let mut count = 0;
    for length in 0..=3 {
        for sequence in &sequences {
            for last in [Last::Drop, Last::IntoOwned, Last::Forget] {
                check(sequence, last);
                count += 1;
            }
        }
        if length < 3 {
            let longer = |sequence: &Vec<Step>| {
                let sequence = sequence.clone();
                steps
                    .iter()
                    .map(move |&step| [&sequence[..], &[step]].concat())
            };
            sequences = sequences.iter().flat_map(longer).collect();
        }
    }
    assert_eq!(count, 3 * (1 + 38 + 38 * 38 + 38 * 38 * 38));
}

/// The errors of the model are the driver's.
#[test]
fn an_error_of_the_driver_is_passed_on_and_leaks() {
    let world = Arc::new(World::default());
    let context = Arc::new(CudaContext(world.clone()));
    let stream = Arc::new(CudaStream {
        context: context.clone(),
        number: 0,
    });
    let mut in_flight = InFlight::new(&context, ());
    in_flight
        .launch(&stream, |()| Ok(()))
        .unwrap_or_else(|_| panic!("it launches"));
    world.is_broken.store(true, Relaxed);
    let Err(GpuError::Driver(DriverError(code))) = in_flight.into_owned() else {
        panic!("expected the driver's error");
    };
    assert!(code == CUresult::CUDA_ERROR_UNKNOWN);
}
