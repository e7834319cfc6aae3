//! Arbitrary answers of a storage.

use std::io;

use arbitrary::{Result as Drawn, Unstructured};
use unweight::{
    ReadError, Serial,
    container::{Container, Encoder, OpenFile, TransferError, decode_tensor_into, transcode},
};
use unweight_format::{Encoding, Extent, Rule, Tensor, layout};
use unweight_testkit::{Answer, Length, Random, Script, TestStorage, restored, writer_of};

use crate::edit::any_container;

/// No answer of a storage causes a panic. If all its bytes are true, the result is an I/O error or
/// the same as with a storage that never fails. A valid file is reported as truncated only if the
/// storage reports that it is shorter. No other rule is reported for a valid file.
pub fn storage_answers_never_panic(bytes: &[u8]) {
    let (script, file) = match bytes.starts_with(&layout::MAGIC) {
        true => (random_script(&mut Random::of(bytes)), any_container(bytes)),
        false => {
            let mut u = Unstructured::new(bytes);
            let script = script(&mut u).unwrap_or_default();
            (script, any_container(u.take_rest()))
        }
    };
    judge(&file, &script, |storage| restored(storage));
    judge(&file, &script, |storage| {
        of_each_tensor(storage, |container, tensor| {
            let mut bytes = vec![0; tensor.data_bytes() as usize];
            decode_tensor_into(container, tensor, &Serial, &mut bytes[..])?;
            Ok(bytes)
        })
    });
    judge(&file, &script, |storage| {
        let mut random = Random::of(bytes);
        of_each_tensor(storage, |container, tensor| {
            let range = random.range_in(tensor.data_bytes());
            let mut bytes = vec![0; (range.end - range.start) as usize];
            container.read_bytes(tensor, range, &mut bytes)?;
            Ok(bytes)
        })
    });
    judge(&file, &script, |storage| {
        with_container(storage, |container| {
            let to = Encoding::Palette;
            transcode(container, to, Vec::new(), &Serial).map_err(of_transfer)
        })
    });
    judge(&file, &script, |storage| {
        let length = (file.len() as u64 & !1).min(1 << 17);
        encoded(storage, Extent { offset: 0, length })
    });
}

/// Runs an operation on a storage that follows the script, and compares its result with that for
/// true answers.
fn judge<T: PartialEq>(
    file: &[u8],
    script: &Script,
    operation: impl Fn(&TestStorage<'_>) -> Result<T, ReadError>,
) {
    let storage = TestStorage::scripted(file, script.clone());
    let verdict = operation(&storage);
    if storage.gave_other_bytes() {
        return;
    }
    let true_verdict = operation(&TestStorage::new(file));
    let said_shorter = storage.said_shorter();
    match (true_verdict, verdict) {
        (Ok(expected), Ok(found)) => assert!(expected == found, "{script:?}"),
        (_, Err(ReadError::Io(_))) => {}
        (Ok(_), Err(error)) => {
            let rule = said_shorter.then_some(Rule::FileTruncated);
            assert!(
                rule.is_some() && error.rule() == rule,
                "{script:?}: {error}"
            );
        }
        // A file with trailing bytes is valid if the storage reports a length without them.
        _ if storage.gave_other_length() => {}
        (Err(expected), Ok(_)) => panic!("{script:?}: not {expected}"),
        (Err(expected), Err(error)) => assert!(
            error.rule() == expected.rule()
                || said_shorter && error.rule() == Some(Rule::FileTruncated),
            "{script:?}: {error}, not {expected}"
        ),
    }
}

fn with_container<T>(
    storage: &TestStorage<'_>,
    then: impl FnOnce(&Container<'_, TestStorage<'_>>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let open = OpenFile::read(storage)?;
    then(&open.container())
}

fn of_each_tensor<T>(
    storage: &TestStorage<'_>,
    mut each: impl FnMut(&Container<'_, TestStorage<'_>>, &Tensor<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    with_container(storage, |container| {
        let tensors = container.directory().tensors();
        tensors.map(|tensor| each(container, &tensor)).collect()
    })
}

/// A container of the weights in extent `data`.
fn encoded(storage: &TestStorage<'_>, data: Extent) -> Result<Vec<u8>, ReadError> {
    let shape = [data.length / 2];
    let mut writer = writer_of(Vec::new(), &shape);
    Encoder::default()
        .encode_tensor(&mut writer, storage, data, Encoding::Huffman, 12, &Serial)
        .map_err(of_transfer)?;
    Ok(writer.finish().expect("all was written"))
}

fn of_transfer(error: TransferError<std::convert::Infallible>) -> ReadError {
    match error {
        TransferError::Read(error) => error,
        other => panic!("{other}"),
    }
}

/// A script of a few wrong answers, from unstructured bytes.
fn script(u: &mut Unstructured<'_>) -> Drawn<Script> {
    let mut script = Script::default();
    for _ in 0..u.int_in_range(0..=3)? {
        let true_ones = u.int_in_range(0..=12)?;
        script.answers.extend((0..true_ones).map(|_| None));
        script.answers.push(Some(answer(u)?));
    }
    for _ in 0..u.int_in_range(0..=2)? {
        script.lengths.push(length(u)?);
    }
    Ok(script)
}

fn random_script(random: &mut Random) -> Script {
    script(&mut Unstructured::new(&random.bytes(64))).unwrap_or_default()
}

/// Numbers of bytes have 16 bits, because a storage that gives more is only slower.
fn answer(u: &mut Unstructured<'_>) -> Drawn<Answer> {
    let number = u64::from(u.arbitrary::<u16>()?);
    Ok(match u.int_in_range(0..=6)? {
        0 => Answer::Short(number),
        1 => Answer::Nothing,
        2 => Answer::Long(number),
        3 => Answer::Other(number),
        4 => Answer::OldBuffer,
        5 => Answer::Error(*u.choose(&ERRORS)?),
        _ => Answer::EndsWithin(number),
    })
}

fn length(u: &mut Unstructured<'_>) -> Drawn<Length> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Length::True,
        1 => Length::LessBy(u.arbitrary::<u32>()?.into()),
        2 => Length::MoreBy(u.arbitrary()?),
        _ => Length::Error(*u.choose(&ERRORS)?),
    })
}

const ERRORS: [io::ErrorKind; 8] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::Interrupted,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::TimedOut,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::InvalidData,
    io::ErrorKind::OutOfMemory,
    io::ErrorKind::Other,
];
