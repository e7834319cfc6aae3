//! The crate as an application uses it: files in memory and on disk, whole and partial tensors,
//! errors, cancellation.

use std::error::Error as _;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use half::bf16;
use unweight::format::{Extent, Rule};
use unweight::{
    CompressOptions, Dtype, Encoding, Error, Form, Isa, MemoryBudget, Model, OpenOptions, Storage,
    Writer, compress, decompress, read_extent,
};
use unweight_testkit::{Answer, Random, Script, TestStorage, bf16, safetensors_file, tensor};

fn weights(count: usize) -> Vec<bf16> {
    let mut weights = Random::new(0).trained_weights(count);
    // Exponent 0 is outside the palette of trained weights.
    if let Some(first) = weights.first_mut() {
        *first = bf16::ZERO;
    }
    weights
}

/// A safetensors file with a BF16 tensor "w" of this many weights and an I64 tensor "step".
fn safetensors(count: usize) -> Vec<u8> {
    let step = tensor("step", "I64", &[], 77u64.to_le_bytes().to_vec());
    safetensors_file(&[bf16("w", &weights(count)), step])
}

fn opened(file: &[u8]) -> Model {
    OpenOptions::new().open_bytes(file).unwrap()
}

#[test]
fn a_model_can_be_returned_sent_and_shared() {
    fn is_owned_and_shareable<T: Send + Sync + 'static>(_: &T) {}
    fn open(file: Vec<u8>) -> Result<Model, Error> {
        OpenOptions::new().open_bytes(file)
    }
    let file = compress(&safetensors(70_000), &CompressOptions::new()).unwrap();
    let model = open(file).unwrap();
    is_owned_and_shareable(&model);
    let model = Arc::new(model);
    let threads: Vec<_> = (0..4)
        .map(|part| {
            let model = model.clone();
            std::thread::spawn(move || {
                let first = part * 15_000;
                let range = model.tensor("w").unwrap().range(first..first + 10_000);
                assert_eq!(range.unwrap()[..3], weights(70_000)[first as usize..][..3]);
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn restores_every_byte_with_any_options() {
    let source = safetensors(100_001);
    let options = [
        CompressOptions::new(),
        CompressOptions::new().encoding(Encoding::Palette),
        CompressOptions::new().chunk_size_log2(16),
        CompressOptions::new().chunk_size_log2(12).threads(3),
        CompressOptions::new().select(|name| name != "w"),
    ];
    for options in options {
        let file = compress(&source, &options).unwrap();
        assert!(decompress(&file).unwrap() == source, "{options:?}");
        let mut restored = Vec::new();
        opened(&file).restore(&mut restored).unwrap();
        assert!(restored == source, "{options:?}");
    }
}

#[test]
fn reads_tensors_whole_and_in_part() {
    let file = compress(&safetensors(100_000), &CompressOptions::new()).unwrap();
    for isa in Isa::available() {
        let options = OpenOptions::new().backend(unweight::Backend::Cpu(isa));
        let model = options.open_bytes(&file[..]).unwrap();
        let names: Vec<_> = model.tensors().map(|tensor| tensor.name()).collect();
        assert_eq!(names, ["w", "step"]);
        let tensor = model.tensor("w").unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.forms().form(0)),
            (Dtype::Bf16, Form::Huffman)
        );
        let expected = weights(100_000);
        assert!(tensor.to_vec().unwrap() == expected, "{isa}");
        let mut some = [bf16::ZERO; 5];
        tensor.read_range_into(32_766..32_771, &mut some).unwrap();
        assert_eq!(some, expected[32_766..32_771]);
        let mut bytes = [0; 3];
        tensor.read_byte_range_into(1..4, &mut bytes).unwrap();
        assert_eq!(bytes, tensor.to_bytes().unwrap()[1..4]);
        let step = model.tensor("step").unwrap();
        assert_eq!(step.to_bytes().unwrap(), 77u64.to_le_bytes());
        assert_eq!(step.shape().count(), 0);
    }
}

#[test]
fn finds_tensors_by_number() {
    let model = opened(&compress(&safetensors(1000), &CompressOptions::new()).unwrap());
    assert_eq!(model.tensor_count(), 2);
    for (number, expected) in (0..).zip(model.tensors()) {
        let tensor = model.tensor_at(number).unwrap();
        assert_eq!(tensor.name(), expected.name());
        assert_eq!(tensor.entry().number(), number);
    }
    assert!(model.tensor_at(2).is_none());
    assert!(model.tensor_at(u32::MAX).is_none());
}

#[test]
fn knows_the_length_of_the_restored_source() {
    let source = safetensors(1000);
    let model = opened(&compress(&source, &CompressOptions::new()).unwrap());
    assert_eq!(model.restored_bytes(), source.len() as u64);
}

#[test]
#[expect(unsafe_code, reason = "reads memory that the library has initialised")]
fn fills_memory_that_is_not_initialised() {
    let model = opened(&compress(&safetensors(100_000), &CompressOptions::new()).unwrap());
    let w = model.tensor("w").unwrap();
    for range in [0..200_000, 1..4, 65_535..65_537, 131_072..200_000] {
        let mut expected = vec![0; (range.end - range.start) as usize];
        w.read_byte_range_into(range.clone(), &mut expected)
            .unwrap();
        let mut bytes = vec![MaybeUninit::uninit(); expected.len()];
        w.read_byte_range_into_uninit(range, &mut bytes).unwrap();
        // SAFETY: all bytes are initialised on success.
        let bytes: Vec<u8> = bytes
            .iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        assert!(bytes == expected);
    }
    let long = w.read_byte_range_into_uninit(0..4, &mut [MaybeUninit::uninit(); 5]);
    assert!(matches!(long, Err(Error::WrongLength { .. })));
}

#[test]
fn refuses_what_does_not_fit() {
    let file = compress(&safetensors(1000), &CompressOptions::new()).unwrap();
    let model = opened(&file);
    assert!(matches!(model.tensor("v"), Err(Error::NoTensor(name)) if name == "v"));
    let (w, step) = (model.tensor("w").unwrap(), model.tensor("step").unwrap());
    let wrong_length = |result: Result<(), Error>| {
        assert!(
            matches!(result, Err(Error::WrongLength { .. })),
            "{result:?}"
        );
    };
    wrong_length(w.read_into(&mut [bf16::ZERO; 999]));
    wrong_length(w.read_bytes_into(&mut [0; 1001]));
    wrong_length(w.read_range_into(0..2, &mut [bf16::ZERO; 3]));
    wrong_length(w.range(999..1001).map(drop));
    #[expect(clippy::reversed_empty_ranges, reason = "callers make mistakes")]
    wrong_length(w.range(5..4).map(drop));
    wrong_length(w.read_byte_range_into(0..u64::MAX, &mut []));
    let wrong = step.to_vec();
    assert!(matches!(
        wrong,
        Err(Error::WrongDtype {
            found: Dtype::I64,
            ..
        })
    ));
}

#[test]
fn names_the_rule_and_the_tensor_of_a_damaged_file() {
    let mut file = compress(&safetensors(10_000), &CompressOptions::new()).unwrap();
    let weights_at = opened(&file).tensor("w").unwrap().entry().payload().start();
    file[weights_at as usize + 7] ^= 1;
    let model = opened(&file);
    let error = model.verify().unwrap_err();
    assert_eq!(
        (error.rule(), error.tensor()),
        (Some(Rule::RecordCrc), Some("w"))
    );
    assert_eq!(decompress(&file).unwrap_err().rule(), Some(Rule::RecordCrc));
    assert!(
        error.to_string().starts_with("tensor \"w\": record-crc"),
        "{error}"
    );
}

#[test]
fn transcodes_there_and_back() {
    let source = safetensors(50_000);
    let huffman = compress(&source, &CompressOptions::new()).unwrap();
    let options = CompressOptions::new().encoding(Encoding::Palette);
    let palette = opened(&huffman).transcode(Encoding::Palette, Vec::new());
    assert!(palette.unwrap() == compress(&source, &options).unwrap());
}

#[test]
fn refuses_what_is_no_safetensors_file() {
    let options = CompressOptions::new();
    let source = safetensors(10);
    let short = compress(&source[..source.len() - 1], &options).unwrap_err();
    assert!(
        matches!(short, Error::SourceLength { found, header_bytes, data_bytes: Some(data) } if header_bytes + data == found + 1)
    );
    assert!(matches!(
        compress(&source[..5], &options),
        Err(Error::SourceLength {
            found: 5,
            header_bytes: 8,
            data_bytes: None,
        })
    ));
    let mut broken = source.clone();
    broken[8] = b'[';
    assert!(matches!(compress(&broken, &options), Err(Error::Source(_))));
}

#[test]
fn keeps_the_budget() {
    let source = safetensors(100_000);
    let tight = CompressOptions::new().memory(MemoryBudget::of_bytes(1000));
    assert!(matches!(
        compress(&source, &tight),
        Err(Error::OverBudget(_))
    ));
    let file = compress(&source, &CompressOptions::new()).unwrap();
    let options = OpenOptions::new().memory(MemoryBudget::of_bytes(1000));
    let model = options.open_bytes(file).unwrap();
    assert!(matches!(model.verify(), Err(Error::OverBudget(_))));
}

#[test]
fn stops_when_the_callback_says_so() {
    let source = safetensors(500_000);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let options = CompressOptions::new().threads(2).progress(move |progress| {
        assert!(progress.done_bytes <= progress.total_bytes);
        match counted.fetch_add(1, Ordering::Relaxed) {
            0..3 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    assert!(matches!(compress(&source, &options), Err(Error::Cancelled)));
    assert!(calls.load(Ordering::Relaxed) < 20);
}

#[test]
fn a_callback_s_own_error_comes_back() {
    #[derive(Debug)]
    struct Own;
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("enough")
        }
    }
    impl std::error::Error for Own {}
    let file = compress(&safetensors(1000), &CompressOptions::new()).unwrap();
    let error = opened(&file)
        .restore_with(|_| Err(Error::callback(Own)))
        .unwrap_err();
    assert!(matches!(error, Error::Callback(own) if own.is::<Own>()));
}

/// A storage that fails after its header.
struct Failing(Vec<u8>);

impl Storage for Failing {
    fn byte_length(&self) -> io::Result<u64> {
        self.0.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        match extent.offset {
            0..1000 => Ok(read_extent(&self.0, extent, buffer)?),
            _ => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the network is slow",
            )),
        }
    }
}

#[test]
fn an_error_of_the_storage_is_none_of_the_file_and_no_text_stands_twice() {
    let file = compress(&safetensors(100_000), &CompressOptions::new()).unwrap();
    let model = OpenOptions::new().open_storage(Failing(file)).unwrap();
    let error = model.verify().unwrap_err();
    assert_eq!(error.rule(), None);
    let Error::Read(inner) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(inner.kind(), io::ErrorKind::TimedOut);
    assert!(error.extent().is_some_and(|extent| extent.offset >= 1000));
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        texts.push(source.to_string());
        next = source.source();
    }
    let said = texts
        .iter()
        .filter(|text| text.contains("the network is slow"));
    assert_eq!(said.count(), 1, "{texts:?}");
}

#[test]
fn an_error_of_the_output_is_told_as_one() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let file = compress(&safetensors(1000), &CompressOptions::new()).unwrap();
    let error = opened(&file).restore(&mut Full).unwrap_err();
    assert!(matches!(error, Error::Write(error) if error.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn a_writer_s_container_has_its_tensors() {
    let w = weights(70_000);
    let file = Writer::new()
        .tensor("w", &[70, 1000], &w)
        .tensor_bytes("step", Dtype::U64, &[], &42u64.to_le_bytes())
        .tensor("empty", &[0, 5], &[])
        .finish(Vec::new())
        .unwrap();
    let model = opened(&file);
    model.verify().unwrap();
    assert!(model.tensor("w").unwrap().to_vec().unwrap() == w);
    assert_eq!(model.tensor("empty").unwrap().element_count(), 0);
    assert!(file.len() < 110_000, "{}", file.len());
}

#[test]
fn a_writer_refuses_what_does_not_fit() {
    let w = weights(10);
    let wrong = Writer::new().tensor("w", &[11], &w).finish(Vec::new());
    assert!(matches!(
        wrong,
        Err(Error::WrongLength {
            expected: 22,
            found: 20,
            ..
        })
    ));
    let twice = Writer::new().tensor("w", &[10], &w).tensor("w", &[10], &w);
    let twice = twice.finish(Vec::new()).unwrap_err();
    assert_eq!(twice.rule(), Some(Rule::NameDuplicate));
}

#[test]
fn opens_files_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.unw");
    std::fs::write(
        &path,
        compress(&safetensors(40_000), &CompressOptions::new()).unwrap(),
    )
    .unwrap();
    let model = Model::open(&path).unwrap();
    assert_eq!(
        model.tensor("w").unwrap().to_vec().unwrap(),
        weights(40_000)
    );
    let missing = Model::open(folder.path().join("other.unw")).unwrap_err();
    assert!(matches!(missing, Error::Read(error) if error.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_storage_is_read_again_as_the_policy_says() {
    let source = safetensors(100_000);
    let file = compress(&source, &CompressOptions::new()).unwrap();
    // The first attempts at each read fail or return too few bytes.
    let attempts = [
        Some(Answer::Error(io::ErrorKind::TimedOut)),
        Some(Answer::Short(1 << 10)),
        None,
    ];
    let script = Script {
        answers: attempts.repeat(100),
        ..Script::default()
    };
    let flaky = || TestStorage::scripted(file.clone(), script.clone());
    let options = OpenOptions::new().threads(1);
    let patient = options.clone().retry(|_, failed| failed < 3);
    let mut restored = Vec::new();
    let model = patient.open_storage(flaky()).unwrap();
    model.restore(&mut restored).unwrap();
    assert!(restored == source);
    let hasty = options.retry(|error, _| error.kind() == io::ErrorKind::TimedOut);
    let error = hasty.open_storage(flaky()).unwrap_err();
    assert!(matches!(error, Error::Read(_)), "{error}");
}
