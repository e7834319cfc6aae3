//! A storage that fails or gives a wrong answer causes an I/O error that names the tensor and the
//! extent. The error does not say that the file is invalid.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use half::bf16;
use unweight::{
    ReadError, Serial, Storage, StorageError, StorageFault,
    container::{
        Container, Encoder, OpenFile, TransferError, copy_raw_tensor, decode_tensor_into, restore,
        transcode,
    },
    read_extent,
};
use unweight_format::write::WriteError;
use unweight_format::{Dtype, Encoding, Extent, Forms, Rule};
use unweight_testkit::{
    Answer, ENCODINGS, Script, TestStorage, bytes_of, container_of, decoded, forms, restored,
    trained_like, writer_of,
};

const ERRORS: [io::ErrorKind; 6] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::Interrupted,
    io::ErrorKind::Other,
    io::ErrorKind::TimedOut,
    io::ErrorKind::InvalidData,
    io::ErrorKind::WouldBlock,
];

fn answers() -> impl Iterator<Item = Answer> {
    let lengths = [
        Answer::Nothing,
        Answer::Short(1),
        Answer::Short(3),
        Answer::Short(4),
        Answer::Long(1),
        Answer::Long(4),
        Answer::Long(1 << 20),
        Answer::OldBuffer,
        Answer::EndsWithin(1),
    ];
    lengths.into_iter().chain(ERRORS.map(Answer::Error))
}

/// An operation on a storage. Its result is returned as bytes.
type Operation = fn(&TestStorage<'_>) -> Result<Vec<u8>, ReadError>;

fn with_container<T>(
    storage: &TestStorage<'_>,
    then: impl FnOnce(&Container<'_, TestStorage<'_>>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let open = OpenFile::read(storage)?;
    then(&open.container())
}

fn of_transfer(error: TransferError<std::convert::Infallible>) -> ReadError {
    match error {
        TransferError::Read(error) => error,
        other => panic!("{other}"),
    }
}

const OPERATIONS: [(&str, Operation); 6] = [
    ("restore", |storage| restored(storage)),
    ("decode_tensor_into", |storage| {
        with_container(storage, |container| {
            let tensor = container.directory().tensor(0).unwrap();
            let mut bytes = vec![0; tensor.data_bytes() as usize];
            decode_tensor_into(container, &tensor, &Serial, &mut bytes[..])?;
            Ok(bytes)
        })
    }),
    ("read_bytes", |storage| {
        with_container(storage, |container| {
            let tensor = container.directory().tensor(0).unwrap();
            let mut bytes = vec![0; tensor.data_bytes() as usize - 6];
            container.read_bytes(&tensor, 3..3 + bytes.len() as u64, &mut bytes)?;
            Ok(bytes)
        })
    }),
    ("decode_range", |storage| {
        with_container(storage, |container| {
            let tensor = container.directory().tensor(0).unwrap();
            let count = match tensor.dtype() {
                Dtype::Bf16 => tensor.element_count(),
                // Ranges of weights are for BF16.
                _ => return Ok(Vec::new()),
            };
            let mut weights = vec![bf16::ZERO; count as usize - 6];
            container.decode_range(&tensor, 3..count - 3, &mut weights)?;
            Ok(bytes_of(&weights))
        })
    }),
    ("decode_chunk", |storage| {
        with_container(storage, |container| {
            let tensor = container.directory().tensor(0).unwrap();
            let mut bytes = vec![0; tensor.data_bytes() as usize];
            let chunk = tensor.dtype().weight_bytes() << tensor.payload().chunk_size_log2();
            if !tensor.forms().is_coded() {
                decode_tensor_into(container, &tensor, &Serial, &mut bytes[..])?;
                return Ok(bytes);
            }
            let of_tensor = |error: ReadError| error.of_tensor(tensor.name());
            let mut buffer = Vec::new();
            let index = container.index(&tensor, &mut buffer).map_err(of_tensor)?;
            for (number, chunk) in (0..).zip(bytes.chunks_mut(chunk)) {
                container
                    .decode_chunk(&index, number, chunk)
                    .map_err(of_tensor)?;
            }
            Ok(bytes)
        })
    }),
    ("transcode", |storage| {
        with_container(storage, |container| {
            transcode(container, Encoding::Palette, Vec::new(), &Serial).map_err(of_transfer)
        })
    }),
];

/// BF16 in both encodings and raw, several coded fields with a constant, and constants alone with
/// block checksums.
fn files() -> Vec<Vec<u8>> {
    let weights = trained_like(9000);
    let mut files = ENCODINGS
        .map(|encoding| container_of(&weights, encoding, 12))
        .to_vec();
    for (dtype, bits, count) in [
        (Dtype::Bf16, 0, 9000),
        (Dtype::F32, 0x11_3011, 9000),
        (Dtype::F8E4M3, 0x3, 140_000),
    ] {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let weights = match forms.is_raw() {
            true => bytes_of(&weights),
            false => forms::weights(forms, count, 1),
        };
        files.push(forms::file_of(forms, 12, &weights));
    }
    files
}

/// Runs the operation with each answer at each read, and checks each result.
fn with_each_answer(
    file: &[u8],
    operation: Operation,
    mut judge: impl FnMut(Answer, usize, Result<Vec<u8>, ReadError>, &[u8]),
) {
    let true_answers = TestStorage::new(file);
    let expected = operation(&true_answers).unwrap();
    for at_read in 0..true_answers.reads() {
        for answer in answers() {
            let storage = TestStorage::scripted(file, Script::at_read(at_read, answer));
            judge(answer, at_read, operation(&storage), &expected);
        }
    }
}

#[test]
fn a_wrong_answer_is_an_io_error_and_never_a_rule() {
    for file in files() {
        for (name, operation) in OPERATIONS {
            with_each_answer(&file, operation, |answer, at_read, result, expected| {
                let what = || format!("{name}, read {at_read}: {answer:?}");
                match result {
                    // Old bytes of the right length are other bytes, which may be valid too.
                    Ok(_) if answer == Answer::OldBuffer => {}
                    Ok(bytes) => {
                        // The read was of an empty extent.
                        let may_be_right = matches!(answer, Answer::Nothing | Answer::Short(_));
                        assert!(may_be_right && bytes == expected, "{}", what());
                    }
                    Err(ReadError::Io(error)) => {
                        let inner = error.get_ref().unwrap();
                        let inner = inner.downcast_ref::<StorageError>().unwrap();
                        match (answer, inner.fault()) {
                            (Answer::Error(kind), StorageFault::Failed(found)) => {
                                assert_eq!((kind, kind), (found.kind(), error.kind()));
                            }
                            (Answer::Error(_), _) => panic!("{}: {error}", what()),
                            (_, StorageFault::WrongLength(found)) => {
                                assert_ne!(*found, inner.extent().length, "{}", what());
                            }
                            _ => panic!("{}: {error}", what()),
                        }
                    }
                    Err(error) => {
                        // The storage itself reported that it ends early.
                        let rule = (answer == Answer::EndsWithin(1)).then_some(Rule::FileTruncated);
                        if answer != Answer::OldBuffer {
                            assert_eq!(error.rule(), rule, "{}: {error}", what());
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn an_io_error_names_the_tensor_and_the_extent() {
    let file = &files()[0];
    let open = OpenFile::read(&file[..]).unwrap();
    let payload = open.container().directory().payload_start();
    let mut of_tensor = 0;
    for (name, operation) in OPERATIONS {
        with_each_answer(file, operation, |answer, at_read, result, _| {
            let Err(ReadError::Io(error)) = result else {
                return;
            };
            let text = error.to_string();
            let inner = error.get_ref().unwrap();
            let inner = inner.downcast_ref::<StorageError>().unwrap();
            let Extent { offset, length } = inner.extent();
            let expected = format!("reading {length} bytes at byte {offset}: ");
            assert!(text.contains(&expected), "{text}");
            // These extents are all except the header, directory, source section and the padding
            // around the only tensor.
            if inner.extent().offset >= payload && inner.extent().end() < file.len() as u64 {
                assert_eq!(
                    inner.tensor(),
                    Some("w"),
                    "{name}, {at_read}, {answer:?}: {text}"
                );
                assert!(text.starts_with("tensor \"w\": "), "{text}");
                of_tensor += 1;
            }
        });
    }
    assert!(of_tensor > 100, "{of_tensor}");
}

#[test]
fn a_source_that_answers_wrongly_is_an_io_error_that_names_the_tensor() {
    // A tensor that is read at once, and one that is read in chunks.
    for count in [9000, 40_000] {
        let weights = trained_like(count);
        let bytes = bytes_of(&weights);
        let data = Extent {
            offset: 0,
            length: bytes.len() as u64,
        };
        let shape = [count as u64];
        for encoding in [Some(Encoding::Huffman), Some(Encoding::Palette), None] {
            let encode = |storage: &TestStorage<'_>| {
                let mut writer = writer_of(Vec::new(), &shape);
                let done = match encoding {
                    None => copy_raw_tensor(&mut writer, storage, data),
                    Some(encoding) => Encoder::default().encode_tensor(
                        &mut writer,
                        storage,
                        data,
                        encoding,
                        12,
                        &Serial,
                    ),
                };
                done.map(|()| writer.finish().unwrap())
            };
            let mut failed = 0;
            for at_read in 0..30 {
                for answer in answers() {
                    let script = Script::at_read(at_read, answer);
                    let storage = TestStorage::scripted(&bytes, script);
                    match encode(&storage) {
                        Ok(file) => {
                            let is_reached = storage.reads() > at_read;
                            // Old bytes of the right length are the same as a source that changes.
                            if !is_reached {
                                assert!(decoded(&file) == weights);
                            } else {
                                assert_eq!(answer, Answer::OldBuffer);
                            }
                        }
                        Err(TransferError::Read(ReadError::Io(error))) => {
                            let text = error.to_string();
                            assert!(text.starts_with("tensor \"w\": reading "), "{text}");
                            failed += 1;
                        }
                        Err(error) => panic!("read {at_read}: {answer:?}: {error}"),
                    }
                }
            }
            assert!(failed > 10, "{failed}");
        }
    }
}

#[test]
fn weights_of_another_number_than_declared_are_a_misuse() {
    let bytes = bytes_of(&trained_like(20_000));
    let shape = [9000];
    for count in [0, 1, 4096, 8999, 9001, 12_289, 20_000] {
        for encoding in ENCODINGS {
            let mut writer = writer_of(Vec::new(), &shape);
            let data = Extent {
                offset: 0,
                length: 2 * count,
            };
            let error = Encoder::default().encode_tensor(
                &mut writer,
                &bytes[..],
                data,
                encoding,
                12,
                &Serial,
            );
            assert!(
                matches!(error, Err(TransferError::Write(WriteError::Misuse(_)))),
                "{count} {encoding}: {error:?}"
            );
            assert!(writer.finish().is_err());
        }
    }
}

/// A storage whose length changes from call to call, but whose bytes do not.
struct Length<'a> {
    bytes: &'a [u8],
    lengths: Vec<u64>,
    calls: AtomicU64,
    ends: Option<u64>,
}

impl Storage for Length<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) as usize;
        Ok(self.lengths[call.min(self.lengths.len() - 1)])
    }

    fn read<'a>(&'a self, extent: Extent, _: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if self.ends.is_some_and(|end| extent.end() > end) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        extent
            .of(self.bytes)
            .ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn a_file_is_truncated_only_if_the_storage_says_so() {
    let file = &files()[0];
    let length = file.len() as u64;
    let verdict = |lengths: &[u64], ends: Option<u64>| {
        let storage = Length {
            bytes: file,
            lengths: lengths.to_vec(),
            calls: AtomicU64::new(0),
            ends,
        };
        let open = OpenFile::read(&storage)?;
        let container = open.container();
        restore(&container, &Serial, |_| Ok::<_, ReadError>(()))
    };
    let rule = |lengths: &[u64], ends| verdict(lengths, ends).unwrap_err().rule();
    assert!(verdict(&[length], None).is_ok());
    // The length does not matter once the file is open, as long as its bytes can be read.
    assert!(verdict(&[length, 0, length + 7], None).is_ok());
    // The storage reports an end before its length, for example because a connection was lost.
    assert_eq!(rule(&[length], Some(length - 1)), None);
    assert_eq!(rule(&[length, length + 7], Some(length - 1)), None);
    // The file has been truncated.
    let cut = Some(Rule::FileTruncated);
    assert_eq!(rule(&[length, length - 1], Some(length - 1)), cut);
    // The file is shorter than its header states from the beginning.
    assert_eq!(rule(&[length - 1], None), cut);
    assert_eq!(rule(&[0], None), cut);
    // The storage reports a greater length, but there is no byte after the end.
    assert_eq!(rule(&[length + 1], None), None);
    assert_eq!(rule(&[u64::MAX], None), None);
    let trailing = [file, &[0; 3][..]].concat();
    let error = restored(&trailing[..]).unwrap_err();
    assert_eq!(error.rule(), Some(Rule::FileTrailing));
}

/// The file is truncated and restored between two calls. Reads find it short, `byte_length` never
/// does.
#[test]
fn a_file_that_shrinks_and_grows_between_two_calls_is_truncated() {
    let whole = &files()[1];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.unw");
    std::fs::write(&path, whole).unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();

    /// A storage that is truncated for the read of this number, counted from 0, and whole again
    /// before the next call.
    struct Flickering<'f> {
        file: &'f std::fs::File,
        whole: &'f [u8],
        path: &'f std::path::Path,
        reads: AtomicU64,
        at_read: u64,
    }
    impl Storage for Flickering<'_> {
        fn byte_length(&self) -> io::Result<u64> {
            self.file.byte_length()
        }

        fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
            let is_cut = self.reads.fetch_add(1, Ordering::Relaxed) == self.at_read;
            if !is_cut || extent.length == 0 {
                return Ok(read_extent(self.file, extent, buffer)?);
            }
            self.file.set_len(extent.end() - 1)?;
            let answer = read_extent(self.file, extent, buffer);
            std::fs::write(self.path, self.whole)?;
            Ok(answer?)
        }
    }

    let mut truncated = 0;
    for at_read in 0..20 {
        let storage = Flickering {
            file: &file,
            whole,
            path: &path,
            reads: AtomicU64::new(0),
            at_read,
        };
        let verdict = OpenFile::read(&storage).and_then(|open| {
            let container = open.container();
            restore(&container, &Serial, |_| Ok::<_, ReadError>(()))
        });
        if let Err(error) = verdict {
            assert_eq!(
                error.rule(),
                Some(Rule::FileTruncated),
                "{at_read}: {error}"
            );
            truncated += 1;
        }
    }
    // Some reads are of empty extents, and the last numbers exceed the number of reads.
    assert!(truncated >= 8, "{truncated}");
}
