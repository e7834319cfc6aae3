//! What stored bits are for, and the report on a file.

use std::fs;

use unweight::breakdown::TensorBreakdown;
use unweight::container::OpenFile;
use unweight::file::{self, DtypeReport, FileOptions, NoGain};
use unweight::{CompressOptions, Dtype, Encoding, Serial};
use unweight_format::Form as FieldForm;
use unweight_testkit::{
    ENCODINGS, Form, Random, Records, Tensor, any_weights, bf16, container, safetensors_file,
    tensor,
};

fn any_tensor(dtype: Dtype, count: usize) -> Tensor {
    let data = any_weights(dtype, count, &mut Random::new(dtype.code().into()));
    let elements = 8 * data.len() as u64 / dtype.bits();
    tensor(dtype.name(), dtype.name(), &[elements], data)
}

fn breakdowns(file: &[u8]) -> Vec<TensorBreakdown> {
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    let tensors = container.directory().tensors();
    tensors
        .map(|tensor| container.tensor_breakdown(&tensor, &Serial).unwrap())
        .collect()
}

#[test]
fn every_stored_bit_has_a_purpose() {
    for encoding in ENCODINGS {
        let odd = (0..5).map(|seed| Records::Odd { seed });
        for records in odd.chain([Records::Raw, Records::Canonical]) {
            let form = Form {
                encoding,
                chunk_size_log2: 12,
                records,
            };
            let tensors: Vec<Tensor> = Dtype::ALL
                .iter()
                .flat_map(|&dtype| [9_003, 60].map(|count| any_tensor(dtype, count)))
                .enumerate()
                .map(|(number, tensor)| Tensor {
                    name: number.to_string(),
                    ..tensor.stored(form)
                })
                .collect();
            let file = container(&tensors, true);
            let open = OpenFile::read(&file[..]).unwrap();
            let directory = *open.container().directory();
            let mut end = directory.payload_start();
            for (tensor, found) in directory.tensors().zip(breakdowns(&file)) {
                let stored = 8 * (tensor.payload().end() - end);
                end = tensor.payload().end();
                assert_eq!(found.total().sum(), stored, "{:?}", tensor.forms());
                let forms = found.fields.iter().map(|field| field.form);
                assert!(forms.eq(tensor.forms().iter().map(|(_, form)| form)));
                for field in &found.fields {
                    let stored = field.stored;
                    assert!(field.entropy_bits <= field.field.width().into());
                    let weights = tensor.payload().weights();
                    let plain = weights * u64::from(field.field.width());
                    match field.form {
                        FieldForm::Plain => {
                            assert_eq!((stored.plain, stored.sum()), (plain, plain))
                        }
                        FieldForm::Constant => {
                            assert_eq!((stored.constants, stored.sum()), (128, 128));
                            assert_eq!(field.entropy_bits, 0.0);
                        }
                        _ => {
                            assert_eq!(stored.plain, 0);
                            let codes = stored.codes + stored.verbatim + stored.patches;
                            assert!(stored.sum() > codes && stored.record_ends > 0);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn codes_take_little_more_than_the_entropy() {
    let weights = Random::new(1).trained_weights(300_000);
    let form = Form::canonical(Encoding::Huffman, 15);
    let [found] = &breakdowns(&container(&[bf16("w", &weights).stored(form)], false))[..] else {
        panic!("one tensor")
    };
    let [exponent, mantissa @ ..] = &found.fields[..] else {
        panic!("BF16 has fields")
    };
    let bits = exponent.stored.codes as f64 / 300_000.0;
    assert!(exponent.entropy_bits < bits && bits < exponent.entropy_bits + 0.1);
    assert!(mantissa.iter().all(|field| field.form == FieldForm::Plain));
    // The sign bits.
    let others = found.others;
    assert_eq!(
        (others.plain, others.sum() - others.padding),
        (300_000, 300_000)
    );
}

#[test]
fn a_report_has_the_totals_of_each_type() {
    let folder = tempfile::tempdir().unwrap();
    let [source, output] = ["s.safetensors", "o.unw"].map(|name| folder.path().join(name));
    let trained = Random::new(2).trained_weights(10_000);
    let tensors = [
        any_tensor(Dtype::F32, 5_000),
        bf16("v", &trained),
        bf16("w", &trained),
        tensor("one", "U8", &[1], vec![3]),
    ];
    fs::write(&source, safetensors_file(&tensors)).unwrap();
    let report = file::compress(&source, &output, &FileOptions::new()).unwrap();
    let found: Vec<_> = report
        .dtypes
        .iter()
        .map(|of_dtype: &DtypeReport| (of_dtype.dtype, of_dtype.tensors, of_dtype.data_bytes))
        .collect();
    let expected = [
        (Dtype::U8, 1, 1),
        (Dtype::Bf16, 2, 40_000),
        (Dtype::F32, 1, 20_000),
    ];
    assert_eq!(found, expected);
    assert_eq!((report.tensors, report.no_gain), (4, None));
    assert!(report.compressed_tensors >= 2);
    let bits = report.dtypes[1].bits_per_element().unwrap();
    assert!((10.5..11.2).contains(&bits), "{bits}");
    let payload: u64 = report
        .dtypes
        .iter()
        .map(|of_dtype| of_dtype.payload_bytes)
        .sum();
    assert!(payload < report.output_bytes);
    let restored = folder.path().join("r.safetensors");
    let of_restoring = file::decompress(&output, restored, &FileOptions::new()).unwrap();
    assert_eq!(of_restoring.dtypes, report.dtypes);
}

#[test]
fn a_report_says_why_nothing_was_gained() {
    let folder = tempfile::tempdir().unwrap();
    let why = |tensors: &[Tensor], options: CompressOptions| {
        let [source, output] = ["s.safetensors", "o.unw"].map(|name| folder.path().join(name));
        fs::write(&source, safetensors_file(tensors)).unwrap();
        let options = FileOptions::new().compression(options).force(true);
        file::compress(&source, &output, &options).unwrap().no_gain
    };
    let zeros = |count: usize| tensor("w", "U8", &[count as u64], vec![0; count]);
    let all = CompressOptions::new;
    assert_eq!(why(&[], all()), Some(NoGain::NoTensors));
    assert_eq!(why(&[zeros(90)], all()), Some(NoGain::TooSmall));
    assert_eq!(why(&[zeros(9_000)], all()), None);
    let none = all().select(|_| false);
    assert_eq!(why(&[zeros(9_000)], none), Some(NoGain::NoneSelected));
    let noise = tensor("w", "U8", &[9_000], Random::new(1).bytes(9_000));
    assert_eq!(why(&[noise], all()), Some(NoGain::NotCompressible));
}
