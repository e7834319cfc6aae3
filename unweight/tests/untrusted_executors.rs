//! An executor that calls what it is given too often, too seldom, in another order or on other
//! threads, or that ignores panics, causes either an executor error or the right output.

#![expect(unsafe_code, reason = "output that is read after success")]

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::thread;

use half::bf16;
use proptest::prelude::*;
use unweight::{
    Executor, ExecutorError, Job, ReadError,
    container::{
        Encoder, OpenFile, TransferError, decode_tensor, decode_tensor_into, restore, transcode,
    },
};
use unweight_format::{Dtype, Encoding, Extent, Forms};
use unweight_testkit::{
    ENCODINGS, bytes_of, container_of, forms, restored, trained_like, transcoded, writer_of,
};

/// An action of an executor.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Calls `lead`.
    Lead,
    /// Calls `help` on the caller's thread.
    HelpHere,
    /// Calls `help` on another thread, and waits until it returns.
    HelpFirst,
    /// Calls `help` on another thread during the next steps.
    HelpAlongside,
}

/// An executor that performs these steps regardless of the request.
#[derive(Clone, Debug)]
struct Scripted {
    steps: Vec<Step>,
    /// The number of threads that it states.
    threads: usize,
    /// Whether it catches panics and reports success.
    ignores_panics: bool,
}

impl Executor for Scripted {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut()) {
        thread::scope(|scope| {
            for step in &self.steps {
                match step {
                    Step::Lead if self.ignores_panics => {
                        let _ = catch_unwind(AssertUnwindSafe(&mut *lead));
                    }
                    Step::Lead => lead(),
                    Step::HelpHere => job.help(),
                    Step::HelpFirst => scope.spawn(|| job.help()).join().unwrap(),
                    Step::HelpAlongside => drop(scope.spawn(|| job.help())),
                }
            }
        });
    }
}

/// Weights for this many chunks or blocks: two tasks.
const ITEMS: usize = 9;
const CHUNK_SIZE_LOG2: u8 = 12;

fn weights() -> Vec<bf16> {
    trained_like((ITEMS - 1) * (1 << CHUNK_SIZE_LOG2) + 100)
}

/// A container and the expected results of its operations.
struct Case {
    /// The encoding of the weights, if the file is what an encoder gives.
    encoding: Option<Encoding>,
    file: Vec<u8>,
    bytes: Vec<u8>,
    to: Encoding,
    transcoded: Vec<u8>,
}

impl Case {
    fn new(encoding: Option<Encoding>, file: Vec<u8>, bytes: Vec<u8>) -> Case {
        let to = match encoding {
            Some(Encoding::Palette) => Encoding::Huffman,
            _ => Encoding::Palette,
        };
        Case {
            encoding,
            transcoded: transcoded(&file, to),
            to,
            file,
            bytes,
        }
    }

    /// Weights of this type, in these forms.
    fn of_forms(dtype: Dtype, bits: u32, count: usize) -> Case {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let bytes = forms::weights(forms, count, 1);
        let file = forms::file_of(forms, CHUNK_SIZE_LOG2, &bytes);
        Case::new(None, file, bytes)
    }
}

static CASES: LazyLock<[Case; 5]> = LazyLock::new(|| {
    let [huffman, palette] = ENCODINGS.map(|encoding| {
        let file = container_of(&weights(), encoding, CHUNK_SIZE_LOG2);
        Case::new(Some(encoding), file, bytes_of(&weights()))
    });
    let chunks = (ITEMS - 1) * (1 << CHUNK_SIZE_LOG2) + 100;
    [
        huffman,
        palette,
        // Raw, in blocks.
        Case::of_forms(Dtype::U8, 0, (ITEMS - 1) * (1 << 16) + 100),
        Case::of_forms(Dtype::F8E4M3, 0x11, chunks),
        // Constants alone, in pieces of 256 KiB.
        Case::of_forms(Dtype::U64, 0x3333_3333, (ITEMS - 1) * (1 << 15) + 100),
    ]
});

/// Checks that an operation gave the right output or an executor error. Returns whether it
/// succeeded.
fn judge<T: PartialEq>(
    result: Result<T, ReadError>,
    expected: &T,
    what: &str,
) -> Result<bool, TestCaseError> {
    match result {
        Ok(output) => {
            prop_assert!(output == *expected, "{what}: another output");
            Ok(true)
        }
        Err(ReadError::Executor(_)) => Ok(false),
        Err(other) => Err(TestCaseError::fail(format!("{what}: {other}"))),
    }
}

fn of_transfer(error: TransferError<std::convert::Infallible>) -> ReadError {
    match error {
        TransferError::Read(error) => error,
        other => panic!("{other}"),
    }
}

/// Runs every operation on this executor. Returns whether all succeeded, or None if some did and
/// some did not.
fn run_all(executor: &Scripted) -> Result<Option<bool>, TestCaseError> {
    let mut verdicts = Vec::new();
    for case in &*CASES {
        let Case {
            encoding,
            file,
            bytes,
            to,
            transcoded,
        } = case;
        let open = OpenFile::read(&file[..]).unwrap();
        let container = open.container();
        let tensor = container.directory().tensor(0).unwrap();

        let mut output = Vec::new();
        let done = decode_tensor(&container, &tensor, executor, |piece| {
            output.extend_from_slice(piece);
            Ok::<_, ReadError>(())
        });
        verdicts.push(judge(done.map(|()| output), bytes, "decode_tensor")?);

        let mut output = Vec::new();
        let done = restore(&container, executor, |piece| {
            output.extend_from_slice(piece);
            Ok::<_, ReadError>(())
        });
        verdicts.push(judge(done.map(|()| output), bytes, "restore")?);

        let mut output = vec![MaybeUninit::<u8>::uninit(); bytes.len()];
        let done = decode_tensor_into(&container, &tensor, executor, &mut output[..]);
        // SAFETY: all of it is initialised after success. Valgrind and the sanitizers test exactly
        // this.
        let read = |byte: &MaybeUninit<u8>| unsafe { byte.assume_init_read() };
        let output = done.map(|()| output.iter().map(read).collect());
        verdicts.push(judge(output, bytes, "decode_tensor_into")?);

        let done = transcode(&container, *to, Vec::new(), executor).map_err(of_transfer);
        verdicts.push(judge(done, transcoded, "transcode")?);

        if let Some(encoding) = *encoding {
            let data = Extent {
                offset: 0,
                length: bytes.len() as u64,
            };
            let shape = [data.length / 2];
            let mut writer = writer_of(Vec::new(), &shape);
            let done = Encoder::default().encode_tensor(
                &mut writer,
                &bytes[..],
                data,
                encoding,
                CHUNK_SIZE_LOG2,
                executor,
            );
            let output = done.map_err(of_transfer).map(|()| writer.finish().unwrap());
            verdicts.push(judge(output, file, "encode_tensor")?);
        }
    }
    let first = verdicts[0];
    Ok(verdicts
        .iter()
        .all(|&verdict| verdict == first)
        .then_some(first))
}

/// Runs every operation on executors with these steps. All must succeed, or none.
fn each_succeeds(steps: &[Step], succeeds: bool) {
    for threads in [0, 1, 2, 4, usize::MAX] {
        for ignores_panics in [false, true] {
            let executor = Scripted {
                steps: steps.to_vec(),
                threads,
                ignores_panics,
            };
            assert_eq!(run_all(&executor).unwrap(), Some(succeeds), "{executor:?}");
        }
    }
}

#[test]
fn one_that_keeps_its_promise_is_right() {
    use Step::{HelpAlongside, Lead};
    each_succeeds(&[Lead], true);
    each_succeeds(&[HelpAlongside, Lead], true);
    each_succeeds(&[HelpAlongside, HelpAlongside, HelpAlongside, Lead], true);
}

#[test]
fn one_that_never_leads_is_an_error() {
    use Step::{HelpAlongside, HelpFirst, HelpHere};
    each_succeeds(&[], false);
    each_succeeds(&[HelpHere], false);
    each_succeeds(&[HelpFirst], false);
    each_succeeds(&[HelpAlongside, HelpHere, HelpFirst, HelpFirst], false);
}

#[test]
fn one_that_leads_twice_is_right() {
    each_succeeds(&[Step::Lead, Step::Lead], true);
}

#[test]
fn one_that_helps_before_it_leads_is_right() {
    each_succeeds(&[Step::HelpHere, Step::Lead], true);
    each_succeeds(&[Step::HelpFirst, Step::Lead], true);
}

#[test]
fn one_that_repeats_and_reorders_is_right() {
    use Step::{HelpAlongside, HelpFirst, HelpHere, Lead};
    each_succeeds(&[Lead, HelpHere, HelpFirst, HelpAlongside, Lead], true);
}

#[test]
fn one_with_a_crowd_of_helpers_is_right() {
    use Step::{HelpAlongside, HelpFirst, HelpHere, Lead};
    let mut crowd = vec![HelpAlongside; 16];
    crowd.extend([HelpFirst, HelpHere, Lead, HelpHere, HelpFirst]);
    each_succeeds(&crowd, true);
}

#[test]
fn one_that_helps_before_it_leads_does_not_hang() {
    let weights = trained_like(100 << CHUNK_SIZE_LOG2);
    let file = container_of(&weights, ENCODINGS[0], CHUNK_SIZE_LOG2);
    let executor = Scripted {
        steps: vec![Step::HelpFirst, Step::Lead],
        threads: 2,
        ignores_panics: false,
    };
    let open = OpenFile::read(&file[..]).unwrap();
    let mut output = Vec::new();
    let done = restore(&open.container(), &executor, |piece| {
        output.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    });
    assert!(done.is_ok() && output == bytes_of(&weights));
}

#[test]
fn one_that_catches_a_panic_is_an_error() {
    let file = container_of(&weights(), ENCODINGS[0], CHUNK_SIZE_LOG2);
    let open = OpenFile::read(&file[..]).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    let once = vec![Step::HelpAlongside, Step::Lead];
    let twice = vec![Step::HelpAlongside, Step::Lead, Step::Lead];
    for (steps, threads) in [(once, 2), (twice.clone(), 2), (twice, 1)] {
        let executor = Scripted {
            steps,
            threads,
            ignores_panics: true,
        };
        let mut pieces = 0;
        let done = decode_tensor(&container, &tensor, &executor, |_| {
            pieces += 1;
            assert_ne!(pieces, 3, "the third piece");
            Ok::<_, ReadError>(())
        });
        let error = done.unwrap_err();
        let expected = ExecutorError::Incomplete { done: 2, items: 9 };
        assert!(
            matches!(error, ReadError::Executor(found) if found == expected),
            "{error}"
        );
        assert_eq!(error.rule(), None);
        assert_eq!(
            error.to_string(),
            "the executor returned after 2 of 9 items; it must call lead once"
        );
    }
    assert!(restored(&file[..]).is_ok());
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Lead),
        Just(Step::HelpHere),
        Just(Step::HelpFirst),
        Just(Step::HelpAlongside),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn success_means_the_right_output(
        steps in proptest::collection::vec(step(), 0..8),
        threads in prop_oneof![0usize..6, Just(usize::MAX)],
        ignores_panics in any::<bool>(),
    ) {
        let succeeds = steps.iter().any(|step| matches!(step, Step::Lead));
        let verdict = run_all(&Scripted { steps, threads, ignores_panics })?;
        prop_assert_eq!(verdict, Some(succeeds));
    }
}
