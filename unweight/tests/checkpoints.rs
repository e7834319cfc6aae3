//! Unweight and safetensors files through the same interface, and slices of their tensors.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use safetensors::tensor::TensorView;
use unweight::format::Extent;
use unweight::{
    Checkpoint, CompressOptions, Dtype, Error, Indices, MemoryBudget, OpenOptions, SliceProblem,
    Storage, Writer, compress, decompress, read_extent,
};
use unweight_testkit::{Random, Tensor, bf16, safetensors_file, tensor};

const SHAPE: [u64; 3] = [5, 300, 256];

fn bytes(count: usize) -> Vec<u8> {
    let weights = Random::new(0).trained_weights(count);
    weights
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect()
}

/// Tensors of several pieces: coded, raw, and with elements shorter than a byte.
fn tensors() -> Vec<Tensor> {
    let count = SHAPE.iter().product::<u64>() as usize;
    let noise = Random::new(1).bytes(count);
    vec![
        tensor("coded", "BF16", &SHAPE, bytes(count)),
        tensor("raw", "U8", &SHAPE, noise.clone()),
        tensor("narrow", "F4", &[300, 512], noise[..300 * 256].to_vec()),
        tensor("zeros", "I64", &SHAPE, vec![0; 8 * count]),
        tensor("scalar", "F32", &[], vec![1, 2, 3, 4]),
        tensor("empty", "F32", &[3, 0], vec![]),
    ]
}

fn both(tensors: &[Tensor]) -> [Checkpoint; 2] {
    let plain = safetensors_file(tensors);
    let file = compress(&plain, &CompressOptions::new()).unwrap();
    [file, plain].map(|file| Checkpoint::open_bytes(file, &OpenOptions::new()).unwrap())
}

fn every(start: u64, end: u64, step: u64) -> Indices {
    Indices::from(start..end).every(NonZeroU64::new(step).unwrap())
}

/// The bytes of a slice, element by element.
fn expected(data: &[u8], element: usize, shape: &[u64], slice: &[(u64, u64, u64)]) -> Vec<u8> {
    let mut offsets = vec![0];
    for (&length, &(start, end, step)) in shape.iter().zip(slice) {
        let inner = |offset: u64| {
            let indices = (start..end).step_by(step as usize);
            indices.map(move |index| offset * length + index)
        };
        offsets = offsets.into_iter().flat_map(inner).collect();
    }
    let at = |offset: u64| offset as usize * element..(offset as usize + 1) * element;
    let elements = offsets.into_iter().flat_map(|offset| &data[at(offset)]);
    elements.copied().collect()
}

#[test]
fn slices_are_the_bytes_of_their_elements() {
    let tensors = tensors();
    let checkpoints = both(&tensors);
    let model = checkpoints[0].model().unwrap();
    assert!(model.tensor("coded").unwrap().forms().is_coded());
    assert!(model.tensor("raw").unwrap().forms().is_raw());
    for slice in [
        [(0, 5, 1), (0, 300, 1), (0, 256, 1)],
        [(1, 4, 1), (0, 300, 1), (0, 256, 1)],
        [(4, 5, 1), (299, 300, 1), (0, 256, 1)],
        [(0, 5, 1), (7, 290, 1), (0, 256, 1)],
        [(0, 5, 4), (0, 300, 1), (3, 200, 1)],
        [(0, 5, 1), (0, 300, 1), (255, 256, 1)],
        [(1, 5, 2), (5, 300, 7), (0, 255, 50)],
        [(2, 2, 1), (0, 300, 1), (0, 256, 1)],
    ] {
        let indices = slice.map(|(start, end, step)| every(start, end, step));
        for (name, data, element) in [
            ("coded", tensors[0].data.as_slice(), 2),
            ("raw", &tensors[1].data, 1),
            ("zeros", &tensors[3].data, 8),
        ] {
            let expected = expected(data, element, &SHAPE, &slice);
            for checkpoint in &checkpoints {
                let mut found = vec![7; expected.len()];
                let tensor = checkpoint.tensor(name).unwrap();
                tensor.read_slice_into(&indices, &mut found).unwrap();
                assert!(found == expected, "{name} {slice:?}");
            }
        }
    }
    for checkpoint in &checkpoints {
        let narrow = checkpoint.tensor("narrow").unwrap();
        let mut found = vec![0; 300 * 4];
        narrow
            .read_slice_into(&[(0..300).into(), (8..16).into()], &mut found)
            .unwrap();
        assert_eq!(
            found,
            expected(&tensors[2].data, 1, &[300, 256], &[(0, 300, 1), (4, 8, 1)])
        );
        let error = narrow
            .read_slice_into(&[(0..300).into(), (8..15).into()], &mut found)
            .unwrap_err();
        assert!(matches!(error, Error::WrongSlice { ref tensor, problem }
            if tensor == "narrow" && problem == SliceProblem::PartOfByte));
        for name in ["scalar", "empty"] {
            let original = tensors.iter().find(|tensor| tensor.name == name).unwrap();
            let tensor = checkpoint.tensor(name).unwrap();
            assert_eq!(tensor.to_bytes().unwrap(), original.data);
        }
        let coded = checkpoint.tensor("coded").unwrap();
        let error = coded
            .read_slice_into(&[(0..5).into()], &mut [])
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the slice has 1 dimensions, the tensor has 3")
        );
        let all = SHAPE.map(|length| (0..length).into());
        let error = coded.read_slice_into(&all, &mut [0; 3]).unwrap_err();
        assert!(
            matches!(error, Error::WrongLength { found: 3, .. }),
            "{error}"
        );
    }
}

/// Storage that counts the bytes that are read.
struct Counting(Vec<u8>, Arc<AtomicU64>);

impl Storage for Counting {
    fn byte_length(&self) -> io::Result<u64> {
        self.0.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        self.1.fetch_add(extent.length, Ordering::Relaxed);
        Ok(read_extent(&self.0, extent, buffer)?)
    }
}

#[test]
fn a_slice_reads_the_chunks_that_it_needs_and_each_once() {
    let plain = safetensors_file(&tensors());
    let file = compress(&plain, &CompressOptions::new()).unwrap();
    for file in [file, plain] {
        let read = Arc::new(AtomicU64::new(0));
        let storage = Counting(file, read.clone());
        let checkpoint = Checkpoint::open_storage(storage, &OpenOptions::new()).unwrap();
        let tensor = checkpoint.tensor("coded").unwrap();
        let of_slice = |slice: &[Indices; 3], bytes: usize| {
            read.store(0, Ordering::Relaxed);
            tensor.read_slice_into(slice, &mut vec![0; bytes]).unwrap();
            read.load(Ordering::Relaxed)
        };
        // 20 elements of one chunk; a column, which is in every chunk.
        let few = of_slice(&[(2..3).into(), (7..8).into(), (20..40).into()], 40);
        assert!(few < 70_000, "{few}");
        let column = of_slice(&[(0..5).into(), (0..300).into(), (9..10).into()], 3000);
        assert!(column <= tensor.data_bytes(), "{column}");
        // The rows of one index of the first dimension.
        let rows = of_slice(&[(3..4).into(), (0..300).into(), (0..256).into()], 153_600);
        assert!(rows < tensor.data_bytes() / 2, "{rows}");
    }
}

#[test]
fn metadata_keeps_its_order_and_may_be_absent() {
    let with = |json: &str| unweight_testkit::with_header(json, &[1]);
    let tensor = r#""w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    let strings = r#""__metadata__":{"z":"1","a":"\u00e9\n"}"#;
    for (json, expected) in [
        (format!("{{{tensor}}}"), None),
        (format!(r#"{{"__metadata__":null,{tensor}}}"#), None),
        (format!(r#"{{{tensor},"__metadata__":{{}}}}"#), Some(vec![])),
        (
            format!("{{{strings},{tensor}}}"),
            Some(vec![
                ("z".to_owned(), "1".to_owned()),
                ("a".to_owned(), "é\n".to_owned()),
            ]),
        ),
    ] {
        let plain = with(&json);
        let file = compress(&plain, &CompressOptions::new()).unwrap();
        for file in [plain, file] {
            let checkpoint = Checkpoint::open_bytes(file, &OpenOptions::new()).unwrap();
            assert_eq!(checkpoint.metadata().unwrap(), expected, "{json}");
        }
    }
    let bare = Writer::new().finish(Vec::new()).unwrap();
    let checkpoint = Checkpoint::open_bytes(bare, &OpenOptions::new()).unwrap();
    assert_eq!(checkpoint.metadata().unwrap(), None);
}

#[test]
fn a_written_file_restores_what_safetensors_writes() {
    let tensors = tensors();
    let names = Dtype::ALL.iter().map(|dtype| format!("of \"{dtype}\""));
    let names: Vec<String> = names.collect();
    let data = vec![3u8; 48];
    let mut writer = Writer::new();
    let mut views = HashMap::new();
    let of = |dtype: Dtype| -> safetensors::Dtype {
        serde_json::from_str(&format!("\"{dtype}\"")).unwrap()
    };
    for tensor in &tensors {
        writer = writer.tensor_bytes(
            tensor.name.clone(),
            tensor.dtype,
            &tensor.shape,
            &tensor.data,
        );
        let shape = tensor.shape.iter().map(|&length| length as usize).collect();
        let view = TensorView::new(of(tensor.dtype), shape, &tensor.data).unwrap();
        views.insert(tensor.name.clone(), view);
    }
    for (name, &dtype) in names.iter().zip(Dtype::ALL) {
        let elements = 48 * 8 / dtype.bits();
        writer = writer.tensor_bytes(name.as_str(), dtype, &[elements], &data);
        let view = TensorView::new(of(dtype), vec![elements as usize], &data).unwrap();
        views.insert(name.clone(), view);
    }
    let metadata = [("format".to_owned(), "\"pt\"".to_owned())];
    let file = writer
        .finish_safetensors(Some(&metadata), Vec::new())
        .unwrap();
    let theirs = safetensors::serialize(views, Some(HashMap::from(metadata))).unwrap();
    assert!(decompress(&file).unwrap() == theirs);
    assert!(file.len() < theirs.len() * 9 / 10);
}

#[test]
fn a_writer_refuses_what_no_safetensors_file_holds() {
    let finish = |writer: Writer<'_>| writer.finish_safetensors(None, Vec::new()).unwrap_err();
    let twice = Writer::new()
        .tensor_bytes("w", Dtype::U8, &[1], &[1])
        .tensor_bytes("w", Dtype::U8, &[1], &[2]);
    assert!(matches!(finish(twice), Error::Source(_)));
    let reserved = Writer::new().tensor_bytes("__metadata__", Dtype::U8, &[1], &[1]);
    let error = finish(reserved);
    assert_eq!(error.rule().map(|rule| rule.id()), Some("source-header"));
    let short = Writer::new().tensor_bytes("w", Dtype::U8, &[2], &[1]);
    assert!(matches!(
        finish(short),
        Error::WrongLength {
            found: 1,
            expected: 2,
            ..
        }
    ));
}

#[test]
fn an_unwritable_tensor_is_named_at_its_path() {
    let long = "a".repeat(70_000);
    for name in ["__metadata__", &long] {
        let writer = Writer::new().tensor_bytes("b", Dtype::U8, &[1], &[1]);
        let writer = writer.tensor_bytes(name, Dtype::F32, &[1], &[1; 4]);
        let error = writer.finish_safetensors(None, Vec::new()).unwrap_err();
        assert_eq!(error.tensor(), Some(name));
        let error = error.at("w.unw");
        assert_eq!(error.tensor(), Some(name));
        assert_eq!(error.path(), Some("w.unw".as_ref()));
        assert!(error.to_string().starts_with("w.unw: tensor \""), "{error}");
    }
}

#[test]
fn a_budget_bounds_the_reads_of_a_safetensors_file() {
    let plain = safetensors_file(&tensors());
    let open = |bytes: u64| {
        let options = OpenOptions::new().memory(MemoryBudget::of_bytes(bytes));
        Checkpoint::open_bytes(plain.clone(), &options).unwrap()
    };
    let small = open(256 << 10);
    let read = |of: &Checkpoint| of.tensor("raw").unwrap().to_bytes();
    assert!(matches!(read(&small), Err(Error::OverBudget(_))));
    assert!(small.tensor("scalar").unwrap().to_bytes().is_ok());
    assert_eq!(read(&open(1 << 20)).unwrap().len(), 5 * 300 * 256);
}

#[test]
fn a_file_of_neither_kind_is_a_bad_unweight_file() {
    for bytes in [&b""[..], b"{", b"text that is long enough", &[0; 100]] {
        let error = Checkpoint::open_bytes(bytes, &OpenOptions::new()).unwrap_err();
        assert!(error.rule().is_some(), "{error}");
    }
    let short = b"\x10\0\0\0\0\0\0\0{\"a\"";
    let error = Checkpoint::open_bytes(short, &OpenOptions::new()).unwrap_err();
    assert!(matches!(error, Error::SourceLength { .. }), "{error}");
}

#[test]
fn a_safetensors_file_that_is_cut_while_it_is_open_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let weights = Random::new(0).trained_weights(1 << 20);
    let file = safetensors_file(&[bf16("w", &weights)]);
    fs::write(&path, &file).unwrap();
    let checkpoint = Checkpoint::open(&path, &OpenOptions::new()).unwrap();
    let cut = fs::File::options().write(true).open(&path).unwrap();
    cut.set_len(1000).unwrap();
    let error = checkpoint.tensor("w").unwrap().to_bytes().unwrap_err();
    assert!(
        matches!(error, Error::SourceLength { found: 1000, .. }),
        "{error}"
    );
}
