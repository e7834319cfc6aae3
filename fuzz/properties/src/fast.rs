//! The fast backends.

#![expect(unsafe_code, reason = "output that is not initialized yet")]

use std::cell::RefCell;
use std::mem::MaybeUninit;

use unweight_cpu::fast::{Checksums, Codec, Isa, Output, Scratch};
use unweight_cpu::reference::{self, Sample, TensorPlan, ValueCounts, transcoded_forms};
use unweight_cpu::{ChunkRecords, TensorCounts};
use unweight_format::layout::FIELDS;
use unweight_format::{Directory, Encoding, Error, FileHeader, Palette, Palettes, Record, Tensor};
use unweight_testkit::{ENCODINGS, FoundRecord, Random, records};

use crate::edit::any_container;

/// For any records and plain bytes, every backend of this machine gives the same weights, values
/// and checksums as the reference, or the same error, for any old content of the output. It does
/// not change memory around the output. All backends count and encode the decoded weights alike.
pub fn fast_equals_reference(bytes: &[u8]) {
    let file = any_container(bytes);
    let Ok(header) = FileHeader::parse(&file) else {
        return;
    };
    if header.require_file_length(file.len() as u64).is_err() {
        return;
    }
    let directory = header
        .directory()
        .of(&file)
        .map(|bytes| Directory::parse(&header, bytes));
    let Some(Ok(directory)) = directory else {
        return;
    };
    let mut random = Random::of(bytes);
    let encoded = random.below(u64::from(header.tensor_count()).max(1));
    BACKENDS.with_borrow_mut(|backends| {
        for tensor in directory.tensors() {
            let palettes = tensor.payload().palettes().of(&file);
            if let Some(Ok(palettes)) = palettes.map(|bytes| Palettes::parse(&tensor, bytes)) {
                let is_encoded = u64::from(tensor.number()) == encoded;
                let choice = is_encoded.then(|| Choice::of(&mut random));
                check_tensor(&file, &tensor, &palettes, backends, choice);
            }
        }
    });
}

thread_local! {
    /// The backends of this machine, with scratch that still has the content of earlier calls.
    static BACKENDS: RefCell<Vec<Backend>> = RefCell::new(
        Isa::available()
            .filter(|&isa| isa != Isa::Reference)
            .filter_map(Codec::of)
            .map(|codec| Backend { codec, scratch: Scratch::default() })
            .collect(),
    );
}

struct Backend {
    codec: Codec,
    scratch: Scratch,
}

/// The way to encode that an input checks. It checks one of them, because encoding takes most of the
/// time.
#[derive(Clone, Copy)]
struct Choice {
    encoding: Encoding,
    /// The plan and the sample are of all weights, or of some that hardly resemble them.
    counts_all: bool,
}

impl Choice {
    fn of(random: &mut Random) -> Choice {
        Choice {
            encoding: ENCODINGS[random.below(2) as usize],
            counts_all: random.below(2) == 0,
        }
    }
}

fn check_tensor(
    file: &[u8],
    tensor: &Tensor<'_>,
    palettes: &Palettes,
    backends: &mut [Backend],
    choice: Option<Choice>,
) {
    let payload = tensor.payload();
    if !payload.forms().is_coded() {
        // The plain bits of a piece begin at bit 0 of a byte.
        let weights = payload.weights().min(3000);
        if let Some(plain) = payload.plain_of_weights(0..weights).of(file) {
            check_chunk(weights as usize, palettes, &[], plain, backends, choice);
        }
        return;
    }
    let found = records(file, payload);
    for of_chunk in found.chunk_by(|one, other| one.chunk == other.chunk) {
        let parsed: Vec<Record<'_>> = of_chunk
            .iter()
            .filter_map(|found| parse(file, found))
            .collect();
        for (record, found) in parsed.iter().zip(of_chunk) {
            let palette = palettes.coded(found.coded.number);
            check_values(record, palette.expect("of a coded field"), backends);
        }
        let chunk = payload.chunk(of_chunk[0].chunk);
        let is_whole = parsed.len() == payload.forms().coded_count();
        if let (true, Some(plain)) = (is_whole, chunk.plain.of(file)) {
            let weights = chunk.weights as usize;
            // One chunk of the tensor is encoded.
            let choice = choice.filter(|_| of_chunk[0].chunk == found[0].chunk);
            check_chunk(weights, palettes, &parsed, plain, backends, choice);
        }
    }
}

fn parse<'f>(file: &'f [u8], found: &FoundRecord) -> Option<Record<'f>> {
    let (bytes, joined) = (found.extent.of(file)?, found.joined(file)?);
    Record::parse(&found.shape, found.extent.offset, bytes, joined).ok()
}

fn check_values(record: &Record<'_>, palette: &Palette, backends: &mut [Backend]) {
    let count = record.shape().weights() as usize;
    let mut values = Vec::new();
    let verdict = reference::decode_values(record, palette, &mut values);
    let expected: Result<Vec<u8>, Error> = verdict.map(|_| values);
    for Backend { codec, scratch } in backends {
        let found = guarded(
            0xa5,
            |byte| *byte == 0xa5,
            count,
            |values| codec.decode_values(scratch, record, palette, values),
        );
        require_same(codec, &found, &expected);
    }
}

fn check_chunk(
    count: usize,
    palettes: &Palettes,
    records: &[Record<'_>],
    plain: &[u8],
    backends: &mut [Backend],
    choice: Option<Choice>,
) {
    let mut weights = Vec::new();
    let verdict = reference::decode_chunk(palettes, count, records, plain, &mut weights);
    let expected: Result<Vec<u8>, Error> = verdict.map(|()| weights);
    let bytes = count * palettes.forms().dtype().weight_bytes();
    for Backend { codec, scratch } in &mut *backends {
        // SAFETY: all elements are initialised before they are returned.
        let value = |byte: MaybeUninit<u8>| unsafe { byte.assume_init() };
        let found = guarded(
            MaybeUninit::new(0x5a),
            |&byte| value(byte) == 0x5a,
            bytes,
            |weights| codec.decode_chunk_bytes(scratch, palettes, records, plain, weights),
        );
        let found = found.map(|bytes| bytes.into_iter().map(value).collect());
        require_same(codec, &found, &expected);

        let so_far = 0x1234_5678;
        let mut checksums = None;
        let found = guarded(
            0xa5,
            |byte| *byte == 0xa5,
            bytes,
            |weights| {
                let mut output = Output::from(weights);
                let found =
                    codec.decode_checked(scratch, palettes, records, plain, so_far, &mut output)?;
                checksums = Some(found);
                Ok(())
            },
        );
        require_same(codec, &found, &expected);
        if let Ok(weights) = &expected {
            let expected = Checksums::of(so_far, plain, weights);
            assert_eq!(checksums, Some(expected), "{}", codec.isa());
        }
    }
    if let (Ok(weights), Some(choice)) = (expected, choice)
        && count > 0
    {
        check_encode(backends, palettes, &weights, choice);
    }
}

fn require_same(codec: &Codec, found: &Result<Vec<u8>, Error>, expected: &Result<Vec<u8>, Error>) {
    assert!(
        found == expected,
        "{}: {:?}, expected {:?}",
        codec.isa(),
        found.as_ref().err(),
        expected.as_ref().err()
    );
}

fn check_encode(backends: &mut [Backend], palettes: &Palettes, weights: &[u8], choice: Choice) {
    let forms = palettes.forms();
    let (dtype, size) = (forms.dtype(), forms.dtype().weight_bytes());
    let counted = match choice.counts_all {
        true => weights,
        false => &weights[..(weights.len() / size).div_ceil(7) * size],
    };
    let counts: Vec<ValueCounts> = forms
        .coded()
        .map(|coded| {
            let mut counts = ValueCounts::default();
            counts.add_weights(coded.field, size, counted);
            for Backend { codec, .. } in &*backends {
                let mut found = ValueCounts::default();
                codec.count_field(dtype, coded.field, counted, &mut found);
                assert!(found == counts, "{}: counts of {dtype}", codec.isa());
            }
            counts
        })
        .collect();
    let forms = transcoded_forms(forms, choice.encoding);
    let plan = TensorPlan::new(forms, palettes.constant_bits(), &counts);
    let (mut plain, mut records) = (Vec::new(), ChunkRecords::default());
    reference::encode_chunk(&plan, weights, &mut plain, &mut records);
    for Backend { codec, scratch } in &mut *backends {
        let isa = codec.isa();
        let mut found = ChunkRecords::default();
        let encoded = guarded(
            0x5a,
            |byte| *byte == 0x5a,
            plain.len(),
            |plain| {
                if forms.is_coded() {
                    let known = &[None; FIELDS];
                    let crc = codec.encode_chunk(scratch, &plan, known, weights, plain, &mut found);
                    assert_eq!(crc, unweight_format::crc32(weights), "{isa}");
                } else {
                    codec.split(forms, weights, plain, &mut []);
                }
                Ok(())
            },
        );
        assert!(
            encoded.as_ref() == Ok(&plain),
            "{isa}: plain bytes of {forms:?}"
        );
        assert!(
            found.iter().eq(records.iter()),
            "{isa}: records of {forms:?}"
        );
    }
    check_counts(backends, palettes, counted, weights, choice.encoding);
}

/// Compares the forms and palettes that the weights get if `sampled` is their sample.
fn check_counts(
    backends: &[Backend],
    palettes: &Palettes,
    sampled: &[u8],
    weights: &[u8],
    encoding: Encoding,
) {
    let dtype = palettes.forms().dtype();
    let count = (weights.len() / dtype.weight_bytes()) as u64;
    let mut sample = Sample::new(dtype);
    sample.add_weights(sampled);
    let forms = sample.choose_forms(encoding, count, 12);
    let mut counts = TensorCounts::new(forms, 1);
    counts.push(reference::count_chunk(&forms, weights));
    let expected = counts.plan();
    for Backend { codec, .. } in backends {
        let isa = codec.isa();
        let mut sample = Sample::new(dtype);
        codec.count_sample(&mut sample, sampled);
        let found = sample.choose_forms(encoding, count, 12);
        assert_eq!(found.forms(), forms.forms(), "{isa}");
        assert_eq!(found.undecided_bits(), forms.undecided_bits(), "{isa}");
        let mut counts = TensorCounts::new(forms, 1);
        counts.push(codec.count_chunk(&forms, weights));
        let plan = counts.plan();
        assert!(plan.palettes() == expected.palettes(), "{isa}: {forms:?}");
        assert!(plan.fields().eq(expected.fields()), "{isa}: {forms:?}");
    }
}

/// Runs `decode` on `count` elements with the value `old`, between guards that it must leave
/// unchanged.
fn guarded<T: Copy>(
    old: T,
    is_old: impl Fn(&T) -> bool,
    count: usize,
    decode: impl FnOnce(&mut [T]) -> Result<(), Error>,
) -> Result<Vec<T>, Error> {
    const GUARD: usize = 70;
    let mut around = vec![old; GUARD + count + GUARD];
    let verdict = decode(&mut around[GUARD..GUARD + count]);
    let (before, after) = (&around[..GUARD], &around[GUARD + count..]);
    assert!(
        before.iter().chain(after).all(is_old),
        "written outside of the output"
    );
    verdict.map(|()| around[GUARD..GUARD + count].to_vec())
}
