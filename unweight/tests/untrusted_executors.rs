//! An executor that skips, repeats or reorders items, or ignores errors, causes either an executor
//! error or the right output.

#![expect(unsafe_code, reason = "output that is read after success")]

use std::mem::MaybeUninit;

use half::bf16;
use proptest::prelude::*;
use unweight::{
    Executor, ExecutorError, ReadError,
    container::{
        OpenFile, TransferError, decode_tensor, decode_tensor_into, encode_tensor, restore,
        transcode,
    },
};
use unweight_format::Encoding;
use unweight_testkit::{
    ENCODINGS, bytes_of, container_of, restored, trained_like, transcoded, writer_of,
};

/// An action of an executor on an item.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Works on the item and passes on the result.
    Run(u64),
    /// Works on the item and drops the result.
    Drop(u64),
    /// Works on the item and keeps the result.
    Keep(u64),
    /// Passes on the oldest kept result.
    HandOver,
}

/// An executor that performs these steps regardless of the request.
#[derive(Clone, Debug)]
struct Scripted {
    steps: Vec<Step>,
    /// Whether it continues after an error and reports success.
    ignores_errors: bool,
}

impl Executor for Scripted {
    fn in_order<T: Send, E: Send>(
        &self,
        _: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        mut then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut kept = Vec::new();
        for &step in &self.steps {
            let done = match step {
                Step::Run(item) => work(item).and_then(&mut then),
                Step::Drop(item) => work(item).map(drop),
                Step::Keep(item) => work(item).map(|result| kept.push(result)),
                Step::HandOver if kept.is_empty() => Ok(()),
                Step::HandOver => then(kept.remove(0)),
            };
            if !self.ignores_errors {
                done?;
            }
        }
        Ok(())
    }

    fn at_most(&self, _: u64) -> impl Executor {
        self.clone()
    }
}

/// Weights for this many chunks or blocks.
const ITEMS: u64 = 4;
const CHUNK_SIZE_LOG2: u8 = 12;

fn weights(encoding: Encoding) -> Vec<bf16> {
    trained_like(match encoding {
        Encoding::Raw => 3 * (1 << 15) + 100,
        _ => 3 * (1 << CHUNK_SIZE_LOG2) + 100,
    })
}

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
        TransferError::Write(error) => panic!("{error}"),
    }
}

/// Runs every operation on this executor. Returns whether all succeeded, or None if some did and
/// some did not.
fn run_all(executor: &Scripted) -> Result<Option<bool>, TestCaseError> {
    let mut verdicts = Vec::new();
    for encoding in [ENCODINGS[0], ENCODINGS[1], Encoding::Raw] {
        let weights = weights(encoding);
        let file = container_of(&weights, encoding, CHUNK_SIZE_LOG2);
        let bytes = bytes_of(&weights);
        let open = OpenFile::read(&file[..]).unwrap();
        let container = open.container();
        let tensor = container.directory().tensor(0).unwrap();

        let mut output = Vec::new();
        let done = decode_tensor(&container, &tensor, executor, |piece| {
            output.extend_from_slice(piece);
            Ok::<_, ReadError>(())
        });
        verdicts.push(judge(done.map(|()| output), &bytes, "decode_tensor")?);

        let mut output = Vec::new();
        let done = restore(&container, executor, |piece| {
            output.extend_from_slice(piece);
            Ok::<_, ReadError>(())
        });
        verdicts.push(judge(done.map(|()| output), &bytes, "restore")?);

        let mut output = vec![MaybeUninit::<u8>::uninit(); bytes.len()];
        let done = decode_tensor_into(&container, &tensor, executor, &mut output[..]);
        // SAFETY: all of it is initialised after success. Valgrind and the sanitizers test exactly
        // this.
        let read = |byte: &MaybeUninit<u8>| unsafe { byte.assume_init_read() };
        let output = done.map(|()| output.iter().map(read).collect());
        verdicts.push(judge(output, &bytes, "decode_tensor_into")?);

        let to = match encoding {
            Encoding::Palette => Encoding::Huffman,
            _ => Encoding::Palette,
        };
        let expected = transcoded(&file, to);
        let done = transcode(&container, to, Vec::new(), executor).map_err(of_transfer);
        verdicts.push(judge(done, &expected, "transcode")?);

        if encoding != Encoding::Raw {
            let shape = [weights.len() as u64];
            let mut writer = writer_of(Vec::new(), &shape);
            let chunk = CHUNK_SIZE_LOG2;
            let done = encode_tensor(&mut writer, &weights[..], encoding, chunk, executor);
            let output = done.map_err(of_transfer).map(|()| writer.finish().unwrap());
            verdicts.push(judge(output, &file, "encode_tensor")?);
        }
    }
    let first = verdicts[0];
    Ok(verdicts
        .iter()
        .all(|&verdict| verdict == first)
        .then_some(first))
}

#[test]
fn one_that_keeps_its_promise_is_right() {
    let in_turn = (0..ITEMS).map(Step::Run).collect();
    let backwards = (0..ITEMS).rev().map(Step::Keep);
    // The oldest kept result is passed on first, so the order is wrong.
    let reversed = backwards
        .chain((0..ITEMS).map(|_| Step::HandOver))
        .collect();
    let ahead = (0..ITEMS)
        .map(Step::Keep)
        .chain((0..ITEMS).map(|_| Step::HandOver))
        .collect();
    for (steps, succeeds) in [(in_turn, true), (ahead, true), (reversed, false)] {
        for ignores_errors in [false, true] {
            let executor = Scripted {
                steps: Vec::clone(&steps),
                ignores_errors,
            };
            assert_eq!(run_all(&executor).unwrap(), Some(succeeds), "{executor:?}");
        }
    }
}

#[test]
fn one_that_does_nothing_skips_repeats_or_goes_too_far_is_an_error() {
    use Step::{Drop, Run};
    for steps in [
        vec![],
        vec![Run(0), Run(1), Run(2)],
        vec![Run(0), Run(1), Run(3)],
        vec![Run(1), Run(2), Run(3)],
        vec![Run(0), Run(0), Run(2), Run(3)],
        vec![Run(0), Run(1), Run(1), Run(2), Run(3)],
        vec![Run(0), Run(2), Run(1), Run(3)],
        vec![Run(0), Run(1), Run(2), Run(3), Run(0)],
        vec![Drop(0), Drop(1), Drop(2), Drop(3)],
        vec![Run(0), Run(1), Run(2), Run(3), Run(ITEMS)],
        vec![Run(u64::MAX), Run(0), Run(1), Run(2)],
    ] {
        for ignores_errors in [false, true] {
            let executor = Scripted {
                steps: steps.clone(),
                ignores_errors,
            };
            let verdict = run_all(&executor).unwrap();
            assert_eq!(verdict, Some(false), "{executor:?}");
        }
    }
}

#[test]
fn the_second_run_of_an_item_cannot_spoil_what_the_first_one_wrote() {
    use Step::{Drop, Run};
    let steps = vec![Run(0), Run(1), Run(2), Run(3), Drop(1)];
    let executor = Scripted {
        steps,
        ignores_errors: false,
    };
    let file = container_of(&weights(ENCODINGS[0]), ENCODINGS[0], CHUNK_SIZE_LOG2);
    let open = OpenFile::read(&file[..]).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    let mut output = vec![0u8; tensor.data_bytes() as usize];
    let error = decode_tensor_into(&container, &tensor, &executor, &mut output[..]).unwrap_err();
    assert!(
        matches!(error, ReadError::Executor(ExecutorError::Twice { item: 1 })),
        "{error}"
    );
    assert_eq!(error.rule(), None);
    assert_eq!(error.to_string(), "the executor worked on item 1 twice");
    assert!(restored(&file[..]).is_ok());
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..=ITEMS).prop_map(Step::Run),
        2 => (0..=ITEMS).prop_map(Step::Drop),
        4 => (0..ITEMS).prop_map(Step::Keep),
        4 => Just(Step::HandOver),
    ]
}

/// The right steps with a few insertions, deletions or exchanges, or arbitrary steps.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = proptest::collection::vec(step(), 0..12);
    let edits = proptest::collection::vec((0usize..8, step(), 0..3), 0..4);
    let edited = edits.prop_map(|edits| {
        let mut steps: Vec<Step> = (0..ITEMS).map(Step::Run).collect();
        for (at, step, kind) in edits {
            let at = at % (steps.len() + 1);
            match kind {
                0 => steps.insert(at, step),
                1 if at < steps.len() => drop(steps.remove(at)),
                2 if at + 1 < steps.len() => steps.swap(at, at + 1),
                _ => {}
            }
        }
        steps
    });
    prop_oneof![1 => any, 3 => edited]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn success_means_the_right_output(steps in steps(), ignores_errors in any::<bool>()) {
        run_all(&Scripted { steps, ignores_errors })?;
    }
}
