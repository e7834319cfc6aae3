//! `OpenOptions::coalesce`: fewer reads, with the same results and errors.

use std::io;
use std::sync::{Arc, Mutex};

use half::bf16;
use unweight::{
    Coalesce, CompressOptions, Dtype, Encoding, Error, MemoryBudget, Model, OpenOptions, Storage,
    Writer, read_extent,
};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Extension, Extent, Forms, SourceKind};
use unweight_testkit::{ENCODINGS, bytes_of, container_of, forms, trained_like};

/// A file whose bytes are copied out, with all reads that were made.
struct Counted {
    file: Vec<u8>,
    reads: Arc<Mutex<Vec<Extent>>>,
    /// Longer reads fail.
    longest: u64,
}

impl Storage for Counted {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.file.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        self.reads.lock().unwrap().push(extent);
        if extent.length > self.longest {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut unused = Vec::new();
        let bytes = read_extent(&self.file[..], extent, &mut unused)?;
        buffer.clear();
        buffer.extend_from_slice(bytes);
        Ok(buffer)
    }
}

type Reads = Arc<Mutex<Vec<Extent>>>;

fn open_with(file: &[u8], options: &OpenOptions, longest: u64) -> Result<(Model, Reads), Error> {
    let reads = Reads::default();
    let storage = Counted {
        file: file.to_vec(),
        reads: reads.clone(),
        longest,
    };
    Ok((options.open_storage(storage)?, reads))
}

fn open(file: &[u8], options: &OpenOptions) -> (Model, Reads) {
    open_with(file, options, u64::MAX).unwrap()
}

fn options() -> OpenOptions {
    OpenOptions::new().threads(1)
}

/// The number of reads since the last call.
fn taken(reads: &Reads) -> usize {
    std::mem::take(&mut *reads.lock().unwrap()).len()
}

fn thousand_small_tensors() -> Vec<u8> {
    let weights = trained_like(700);
    let mut writer = Writer::new();
    for number in 0..1000 {
        writer = match number % 2 {
            0 => writer.tensor(format!("w{number}"), &[700], &weights),
            _ => writer.tensor_bytes(format!("r{number}"), Dtype::U8, &[100], &[7; 100]),
        };
    }
    writer.finish(Vec::new()).unwrap()
}

/// A tensor of 100 chunks of 4096 weights, between two raw ones of 4 MiB.
fn large_tensors() -> Vec<u8> {
    let weights = trained_like(100 << 12);
    let raw = vec![3; 4 << 20];
    let options = CompressOptions::new()
        .chunk_size_log2(12)
        .select(|name| name == "w");
    Writer::with_options(options)
        .tensor_bytes("a", Dtype::U8, &[4 << 20], &raw)
        .tensor("w", &[100 << 12], &weights)
        .tensor_bytes("z", Dtype::U8, &[4 << 20], &raw)
        .finish(Vec::new())
        .unwrap()
}

fn restored(model: &Model) -> Vec<u8> {
    let mut bytes = Vec::new();
    model.restore(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_file_of_small_tensors_takes_few_reads() {
    let file = thousand_small_tensors();
    let (plain, plain_reads) = open(&file, &options());
    let (model, reads) = open(&file, &options().coalesce(Coalesce::new()));
    assert_eq!((taken(&plain_reads), taken(&reads)), (2, 1));
    assert!(restored(&model) == restored(&plain));
    let (before, after) = (taken(&plain_reads), taken(&reads));
    assert!(before > 3000 && after <= 2, "{before}, {after}");
    // The source section is empty, and the whole payload is one read.
    assert_eq!(after, 1);
}

#[test]
fn directory_and_extensions_are_one_read() {
    let names: Vec<String> = (0..100).map(|number| format!("tensor {number}")).collect();
    let declared = names
        .iter()
        .map(|name| Declaration::new(name, Dtype::U8, &[0]));
    let kind = SourceKind::None;
    let item = Extension {
        kind: 0x7000_0000,
        contents: &[1; 3000],
    };
    let mut writer =
        ContainerWriter::with_extensions(Vec::new(), kind, &[], &[item], declared.collect())
            .unwrap();
    for _ in &names {
        writer.raw().unwrap().finish().unwrap();
    }
    let file = writer.finish().unwrap();
    let coalesce = Coalesce::new().gap_bytes(100);
    for (options, count) in [(options(), 3), (options().coalesce(coalesce), 2)] {
        let (model, reads) = open(&file, &options);
        assert_eq!(model.tensors().count(), 100);
        assert_eq!(taken(&reads), count);
    }
}

#[test]
fn a_large_tensor_takes_few_reads() {
    let file = large_tensors();
    let coalesce = Coalesce::new().gap_bytes(1 << 10).longest_bytes(256 << 10);
    let (plain, plain_reads) = open(&file, &options());
    let (model, reads) = open(&file, &options().coalesce(coalesce));
    for reads in [&plain_reads, &reads] {
        taken(reads);
    }
    for (name, before, after) in [("a", 128, 32), ("w", 201, 5)] {
        let bytes = plain.tensor(name).unwrap().to_bytes().unwrap();
        assert!(model.tensor(name).unwrap().to_bytes().unwrap() == bytes);
        assert_eq!(
            (taken(&plain_reads), taken(&reads)),
            (before, after),
            "{name}"
        );
    }
    assert!(restored(&model) == restored(&plain));
    let lengths = reads.lock().unwrap();
    assert!(lengths.iter().all(|extent| extent.length <= 256 << 10));
    drop(lengths);
    let (before, after) = (taken(&plain_reads), taken(&reads));
    assert!(before > 450 && after < 80, "{before}, {after}");
}

#[test]
fn a_range_takes_few_reads() {
    let file = large_tensors();
    let (plain, plain_reads) = open(&file, &options());
    let (model, reads) = open(&file, &options().coalesce(Coalesce::new()));
    let far = Coalesce::new().gap_bytes(1 << 10);
    let (apart, apart_reads) = open(&file, &options().coalesce(far));
    for reads in [&plain_reads, &reads, &apart_reads] {
        taken(reads);
    }
    for (range, before, merged, not_merged) in [
        // One chunk: the palette with the record ends, the record, the plain bytes.
        (5000..5004, 3, 1, 3),
        // The record ends are not next to the palette, but within the gap.
        (9000..9004, 4, 1, 3),
        (4000..4200, 5, 1, 3),
        (0..100 << 12, 201, 1, 3),
        (7..7, 0, 0, 0),
    ] {
        let weights = plain.tensor("w").unwrap().range(range.clone()).unwrap();
        let coalesced = model.tensor("w").unwrap().range(range.clone()).unwrap();
        assert_eq!(coalesced, weights);
        let coalesced = apart.tensor("w").unwrap().range(range.clone()).unwrap();
        assert_eq!(coalesced, weights);
        let found = (taken(&plain_reads), taken(&reads), taken(&apart_reads));
        assert_eq!(found, (before, merged, not_merged), "{range:?}");
    }
    let mut bytes = vec![0; 1 << 20];
    for (model, reads, count) in [(&plain, &plain_reads, 34), (&apart, &apart_reads, 2)] {
        let tensor = model.tensor("z").unwrap();
        tensor
            .read_byte_range_into(77..77 + (1 << 20), &mut bytes)
            .unwrap();
        assert!(bytes.iter().all(|&byte| byte == 3));
        assert_eq!(taken(reads), count);
    }
}

#[test]
fn threads_read_different_groups() {
    let file = large_tensors();
    let coalesce = Coalesce::new().gap_bytes(0).longest_bytes(512 << 10);
    let (plain, plain_reads) = open(&file, &options());
    let (model, reads) = open(&file, &OpenOptions::new().threads(4).coalesce(coalesce));
    assert!(restored(&model) == restored(&plain));
    let to = Encoding::Palette;
    let same = model.transcode(to, Vec::new()).unwrap() == plain.transcode(to, Vec::new()).unwrap();
    assert!(same);
    let (before, after) = (taken(&plain_reads), taken(&reads));
    assert!(4 * after < before, "{before}, {after}");
}

#[test]
fn a_small_budget_makes_reads_shorter_and_refuses_nothing() {
    let file = large_tensors();
    let coalesce = Coalesce::new();
    let mut lengths = Vec::new();
    let mut budget = 1 << 16;
    loop {
        let memory = MemoryBudget::of_bytes(budget);
        let verify = |options: OpenOptions| {
            let (model, reads) = open_with(&file, &options, u64::MAX)?;
            model.verify()?;
            let reads = reads.lock().unwrap();
            Ok::<_, Error>(reads.iter().map(|extent| extent.length).max().unwrap())
        };
        let plain = verify(options().memory(memory));
        match (plain, verify(options().memory(memory).coalesce(coalesce))) {
            (Ok(_), Ok(longest)) => lengths.push(longest),
            (Err(plain), Err(coalesced)) => assert_eq!(plain.to_string(), coalesced.to_string()),
            (plain, coalesced) => panic!("{budget}: {plain:?}, {coalesced:?}"),
        }
        if budget > 64 << 20 {
            break;
        }
        budget += budget / 8;
    }
    assert!(lengths.first() < lengths.last());
    assert!(lengths.last() > Some(&(4 << 20)));
}

#[test]
fn a_storage_that_refuses_long_reads_is_read_in_parts() {
    let file = large_tensors();
    let options = options().coalesce(Coalesce::new());
    let (plain, _) = open(&file, &options);
    let (model, reads) = open_with(&file, &options, 1 << 16).unwrap();
    assert!(restored(&model) == restored(&plain));
    // A merged read that fails is not repeated for each of its parts.
    let is_refused = |extent: &&Extent| extent.length > 1 << 16;
    let refused = reads.lock().unwrap().iter().filter(is_refused).count();
    assert!(refused < 20, "{refused}");
    let range = 0..10_000;
    let weights = model.tensor("w").unwrap().range(range.clone()).unwrap();
    assert_eq!(weights, plain.tensor("w").unwrap().range(range).unwrap());
    assert!(taken(&reads) > 0);
}

#[test]
fn errors_are_the_same() {
    let weights: Vec<bf16> = trained_like(3 * 4096 + 5);
    let policies = [
        Coalesce::new(),
        Coalesce::new().gap_bytes(0).longest_bytes(12_000),
        Coalesce::new().gap_bytes(200),
    ];
    let mut errors = 0;
    let raw = Forms::raw(Dtype::Bf16);
    let mut files = vec![forms::file_of(raw, 12, &bytes_of(&weights))];
    files.extend(ENCODINGS.map(|encoding| container_of(&weights, encoding, 12)));
    // Several coded fields and a constant; constants alone, in several blocks.
    for (bits, count) in [(0x311, 3 * 4096 + 5), (0x333, 300_000)] {
        let forms = Forms::from_bits(Dtype::Bf16, bits).unwrap();
        files.push(forms::file_of(forms, 12, &forms::weights(forms, count, 1)));
    }
    for file in files {
        let outcome = |file: &[u8], options: &OpenOptions| {
            let open = options.open_storage(file.to_vec());
            let model = open.map_err(|error| error.to_string())?;
            let verified = model.verify().map_err(|error| error.to_string());
            let text = |error: Error| error.to_string();
            let tensor = model.tensor("w").map_err(text)?;
            let range = tensor.range(100..9000).map_err(text);
            let bits = |weights: Vec<bf16>| bytes_of(&weights);
            let (range, all) = (range.map(bits), tensor.to_vec().map_err(text).map(bits));
            Ok::<_, String>((verified, range, all))
        };
        for at in (0..file.len()).step_by(211.max(file.len() / 200)) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x55;
            let expected = outcome(&damaged, &options());
            if !matches!(expected, Ok((Ok(()), _, _))) {
                errors += 1;
            }
            for policy in policies {
                let found = outcome(&damaged, &options().coalesce(policy));
                assert!(found == expected, "byte {at}, {policy:?}");
            }
        }
    }
    assert!(errors > 30);
}
