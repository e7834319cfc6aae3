//! The same bytes for every kind of sink and every number of threads.

use std::convert::Infallible;
use std::io;

use unweight::container::{TransferError, transcode};
use unweight::{CompressOptions, Encoding, OpenOptions, Threads, compress_to};
use unweight_format::write::{SeekSink, Sink, WriteError};
use unweight_testkit::{Random, Tensor, bytes_of, safetensors_file, tensor};

const THREADS: [usize; 6] = [1, 2, 3, 8, 17, 64];

/// A sink that neither is memory nor takes several threads.
#[derive(Default)]
struct OneByOne(Vec<u8>);

impl Sink for OneByOne {
    type Error = Infallible;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.write_at(offset, bytes)
    }

    fn truncate(&mut self, length: u64) -> Result<(), Infallible> {
        Sink::truncate(&mut self.0, length)
    }
}

/// Passes each of the sinks to `write`, which writes into it and returns it, and checks that all
/// get the bytes of `expected`.
macro_rules! require_same_bytes {
    ($expected:expr, $write:expr, $case:expr) => {
        let memory: Vec<u8> = $write(Vec::new());
        assert!(memory == *$expected, "memory, {}", $case);
        // What was there before must not matter.
        let used: Vec<u8> = $write(vec![0xa5; 2 * $expected.len()]);
        assert!(used == *$expected, "used memory, {}", $case);
        let OneByOne(one_by_one) = $write(OneByOne::default());
        assert!(one_by_one == *$expected, "one by one, {}", $case);
        let file = tempfile::NamedTempFile::new().unwrap();
        let _ = $write(SeekSink::new(file.reopen().unwrap()));
        let written = std::fs::read(file.path()).unwrap();
        assert!(written == *$expected, "file, {}", $case);
    };
}

/// A coded tensor of many chunks, one that is raw, one with two coded fields, one with constants,
/// and a short one.
fn source() -> Vec<u8> {
    let mut random = Random::new(25);
    let trained = random.trained_weights(700_001);
    let few: Vec<u8> = bytes_of(&random.trained_weights(300_000))
        .as_chunks()
        .0
        .iter()
        .flat_map(|&[low, high]| [low & 0xf0, high])
        .collect();
    let constant: Vec<u8> = (0..200_000u32)
        .flat_map(|i| [i as u8 & 0x7f, 0x3f])
        .collect();
    let of = |name: &str, data: Vec<u8>| -> Tensor {
        tensor(name, "BF16", &[data.len() as u64 / 2], data)
    };
    safetensors_file(&[
        of("a", bytes_of(&trained)),
        of("b", random.bytes(400_000)),
        of("c", few),
        of("d", constant),
        of("e", bytes_of(&random.trained_weights(1_000))),
    ])
}

#[test]
fn compresses_into_every_sink_to_the_same_bytes() {
    let source = source();
    for chunk_size_log2 in [12, 15] {
        let options = CompressOptions::new().chunk_size_log2(chunk_size_log2);
        let of_one = options.clone().threads(1);
        let expected = compress_to(&source[..], OneByOne::default(), &of_one)
            .unwrap()
            .0;
        for threads in THREADS {
            let options = options.clone().threads(threads);
            require_same_bytes!(
                &expected,
                |sink| compress_to(&source[..], sink, &options).unwrap(),
                format!("{threads} threads")
            );
        }
    }
}

#[test]
fn transcodes_into_every_sink_to_the_same_bytes() {
    let options = CompressOptions::new().chunk_size_log2(12);
    let file = unweight::compress(&source(), &options).unwrap();
    let model = OpenOptions::new().open_bytes(file).unwrap();
    let container = model.container();
    let encoding = Encoding::Palette;
    let one = &Threads::new(1);
    let expected = transcode(&container, encoding, OneByOne::default(), one)
        .unwrap()
        .0;
    for threads in THREADS {
        let executor = Threads::new(threads);
        require_same_bytes!(
            &expected,
            |sink| transcode(&container, encoding, sink, &executor).unwrap(),
            format!("{threads} threads")
        );
    }
}

/// A sink that several threads use and that has no room for what is behind `bytes`.
struct Full {
    bytes: u64,
}

impl Full {
    fn accept(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match offset + bytes.len() as u64 <= self.bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Sink for Full {
    type Error = io::Error;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.accept(offset, bytes)
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn shared(&self) -> Option<&dyn unweight_format::write::SharedSink<Error = io::Error>> {
        Some(self)
    }
}

impl unweight_format::write::SharedSink for Full {
    type Error = io::Error;

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.accept(offset, bytes)
    }
}

#[test]
fn an_error_of_a_shared_sink_reaches_the_caller() {
    let options = CompressOptions::new().chunk_size_log2(12);
    let file = unweight::compress(&source(), &options).unwrap();
    let model = OpenOptions::new().open_bytes(file.clone()).unwrap();
    let container = model.container();
    for threads in THREADS {
        let executor = Threads::new(threads);
        for bytes in [10_000, 300_000, file.len() as u64 / 2] {
            let failed = transcode(&container, Encoding::Palette, Full { bytes }, &executor);
            match failed.err().expect("the sink is full") {
                TransferError::Write(WriteError::Sink(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                }
                other => panic!("{other}"),
            }
        }
    }
}
