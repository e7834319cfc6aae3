//! Arbitrary answers of a storage.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arbitrary::{Arbitrary, Result as Drawn, Unstructured};
use unweight::{
    ReadError, Serial, Storage, StorageError, StoredWeights,
    container::{
        Container, Encoder, OpenFile, TransferError, decode_tensor_into, restore, transcode,
    },
    read_extent,
};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, Extent, Rule, SourceKind, Tensor, layout};

use crate::Random;
use crate::edit::any_container;

/// No answer of a storage causes a panic. If all its bytes are true, the result is an I/O error or
/// the same as with a storage that never fails. A valid file is reported as truncated only if the
/// storage reports that it is shorter. No other rule is reported for a valid file.
pub fn storage_answers_never_panic(bytes: &[u8]) {
    let (script, file) = match bytes.starts_with(&layout::MAGIC) {
        true => (Script::of(&mut Random::of(bytes)), any_container(bytes)),
        false => {
            let mut u = Unstructured::new(bytes);
            let script = Script::drawn(&mut u).unwrap_or_default();
            (script, any_container(u.take_rest()))
        }
    };
    judge(&file, &script, |storage| {
        with_container(storage, |container| {
            let mut bytes = Vec::new();
            restore(container, &Serial, |piece| {
                bytes.extend_from_slice(piece);
                Ok::<_, ReadError>(())
            })?;
            Ok(bytes)
        })
    });
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
        let length = (file.len() as u64 & !1).min(1 << 16);
        encoded(storage, Extent { offset: 0, length })
    });
}

/// Runs an operation on a storage that follows the script, and compares its result with that for
/// true answers.
fn judge<T: PartialEq>(
    file: &[u8],
    script: &Script,
    operation: impl Fn(&Scripted<'_>) -> Result<T, ReadError>,
) {
    let storage = Scripted::new(file, script);
    let verdict = operation(&storage);
    let told = |what: AtomicBool| what.into_inner();
    if told(storage.other_bytes) {
        return;
    }
    let true_verdict = operation(&Scripted::new(file, &Script::default()));
    let says_shorter = told(storage.says_shorter);
    match (true_verdict, verdict) {
        (Ok(expected), Ok(found)) => assert!(expected == found, "{script:?}"),
        (_, Err(ReadError::Io(_))) => {}
        (Ok(_), Err(error)) => {
            let rule = says_shorter.then_some(Rule::FileTruncated);
            assert!(
                rule.is_some() && error.rule() == rule,
                "{script:?}: {error}"
            );
        }
        // A file with trailing bytes is valid if the storage reports a length without them.
        _ if told(storage.other_length) => {}
        (Err(expected), Ok(_)) => panic!("{script:?}: not {expected}"),
        (Err(expected), Err(error)) => assert!(
            error.rule() == expected.rule()
                || says_shorter && error.rule() == Some(Rule::FileTruncated),
            "{script:?}: {error}, not {expected}"
        ),
    }
}

fn with_container<T>(
    storage: &Scripted<'_>,
    then: impl FnOnce(&Container<'_, Scripted<'_>>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let open = OpenFile::read(storage)?;
    then(&open.container())
}

fn of_each_tensor<T>(
    storage: &Scripted<'_>,
    mut each: impl FnMut(&Container<'_, Scripted<'_>>, &Tensor<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    with_container(storage, |container| {
        let tensors = container.directory().tensors();
        tensors.map(|tensor| each(container, &tensor)).collect()
    })
}

/// A container of the weights in extent `data`.
fn encoded(storage: &Scripted<'_>, data: Extent) -> Result<Vec<u8>, ReadError> {
    let shape = [data.length / 2];
    let declared = vec![Declaration::new("w", Dtype::Bf16, &shape)];
    let writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared);
    let mut writer = writer.expect("one tensor, in memory");
    let weights = StoredWeights::new(storage, data);
    Encoder::default()
        .encode_tensor(&mut writer, &weights, Encoding::Huffman, 12, &Serial)
        .map_err(of_transfer)?;
    Ok(writer.finish().expect("all was written"))
}

fn of_transfer(error: TransferError<std::convert::Infallible>) -> ReadError {
    match error {
        TransferError::Read(error) => error,
        other => panic!("{other}"),
    }
}

/// An answer of a storage to a read.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Answer {
    /// This many bytes too few.
    Short(u16),
    Nothing,
    /// This many bytes too many.
    Long(u16),
    /// The right number of bytes, with one of them changed.
    Other(u16),
    /// The buffer with its old content.
    OldBuffer,
    Error(Kind),
    /// An error that the storage ends this many bytes before the end of the extent.
    EndsWithin(u16),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Kind {
    UnexpectedEof,
    Interrupted,
    WouldBlock,
    TimedOut,
    PermissionDenied,
    InvalidData,
    OutOfMemory,
    Other,
}

impl Kind {
    fn of_io(self) -> io::ErrorKind {
        match self {
            Kind::UnexpectedEof => io::ErrorKind::UnexpectedEof,
            Kind::Interrupted => io::ErrorKind::Interrupted,
            Kind::WouldBlock => io::ErrorKind::WouldBlock,
            Kind::TimedOut => io::ErrorKind::TimedOut,
            Kind::PermissionDenied => io::ErrorKind::PermissionDenied,
            Kind::InvalidData => io::ErrorKind::InvalidData,
            Kind::OutOfMemory => io::ErrorKind::OutOfMemory,
            Kind::Other => io::ErrorKind::Other,
        }
    }
}

/// The reported length, relative to the true one.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Length {
    True,
    LessBy(u32),
    MoreBy(u64),
    Error(Kind),
}

/// The script of a storage. After the end of each list, answers are true.
#[derive(Clone, Debug, Default)]
struct Script {
    /// The answers to reads; `None` is the true answer.
    answers: Vec<Option<Answer>>,
    lengths: Vec<Length>,
}

impl Script {
    fn drawn(u: &mut Unstructured<'_>) -> Drawn<Script> {
        let mut script = Script::default();
        for _ in 0..u.int_in_range(0..=3)? {
            let true_ones = u.int_in_range(0..=12)?;
            script.answers.extend((0..true_ones).map(|_| None));
            script.answers.push(Some(u.arbitrary()?));
        }
        for _ in 0..u.int_in_range(0..=2)? {
            script.lengths.push(u.arbitrary()?);
        }
        Ok(script)
    }

    fn of(random: &mut Random) -> Script {
        let bytes: Vec<u8> = (0..64).map(|_| random.bits() as u8).collect();
        Script::drawn(&mut Unstructured::new(&bytes)).unwrap_or_default()
    }
}

/// A storage with true bytes and scripted answers.
struct Scripted<'a> {
    bytes: &'a [u8],
    script: &'a Script,
    reads: AtomicUsize,
    length_calls: AtomicUsize,
    /// Whether it has returned the right number of bytes with wrong content.
    other_bytes: AtomicBool,
    /// Whether it has reported a wrong length.
    other_length: AtomicBool,
    /// Whether it has reported a shorter length, or an end within the extent.
    says_shorter: AtomicBool,
}

impl<'a> Scripted<'a> {
    fn new(bytes: &'a [u8], script: &'a Script) -> Scripted<'a> {
        Scripted {
            bytes,
            script,
            reads: AtomicUsize::new(0),
            length_calls: AtomicUsize::new(0),
            other_bytes: AtomicBool::new(false),
            other_length: AtomicBool::new(false),
            says_shorter: AtomicBool::new(false),
        }
    }
}

fn note(what: &AtomicBool, is_so: bool) {
    what.fetch_or(is_so, Ordering::Relaxed);
}

impl Storage for Scripted<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        let call = self.length_calls.fetch_add(1, Ordering::Relaxed);
        let true_length = self.bytes.len() as u64;
        let length = match self.script.lengths.get(call) {
            None | Some(Length::True) => true_length,
            Some(&Length::LessBy(by)) => true_length.saturating_sub(by.into()),
            Some(&Length::MoreBy(by)) => true_length.saturating_add(by),
            Some(Length::Error(kind)) => return Err(kind.of_io().into()),
        };
        note(&self.other_length, length != true_length);
        note(&self.says_shorter, length < true_length);
        Ok(length)
    }

    fn read<'b>(&'b self, extent: Extent, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let answer = self.script.answers.get(read).copied().flatten();
        let is_within = extent.of(self.bytes).is_some();
        let Some(answer) = answer.filter(|_| is_within) else {
            return Ok(read_extent(self.bytes, extent, buffer)?);
        };
        if !matches!(answer, Answer::OldBuffer) {
            buffer.clear();
            buffer.extend_from_slice(extent.of(self.bytes).expect("it is within"));
        }
        match answer {
            Answer::Short(by) => buffer.truncate(buffer.len().saturating_sub(by.into())),
            Answer::Nothing => buffer.clear(),
            Answer::Long(by) => buffer.resize(buffer.len() + usize::from(by), 0xa5),
            Answer::Other(at) if !buffer.is_empty() => {
                let at = usize::from(at) % buffer.len();
                buffer[at] ^= 0x5a;
            }
            Answer::Other(_) | Answer::OldBuffer => {}
            Answer::Error(kind) => return Err(kind.of_io().into()),
            Answer::EndsWithin(by) => {
                note(&self.says_shorter, true);
                let end = extent.end().saturating_sub(by.into());
                return Err(StorageError::ends_at(extent, end).into());
            }
        }
        let is_as_long = buffer.len() as u64 == extent.length;
        note(
            &self.other_bytes,
            is_as_long && extent.of(self.bytes) != Some(&buffer[..]),
        );
        Ok(buffer)
    }
}
