//! Files that an independent encoder wrote from the specification: what the reference makes of
//! their weights is what they have. They are output of
//! `conformance/decoders/python/unweight_encode.py`, for tensors of every type with chunks of 2^12
//! weights.

use unweight_cpu::reference::{
    Sample, TensorPlan, count_chunk, decode_chunk, encode_chunk, join, sample_ranges, split,
};
use unweight_cpu::{ChunkRecords, TensorCounts};
use unweight_format::{
    Directory, Encoding, Extent, FileHeader, Forms, Palettes, Payload, Record, RecordEnds, Tensor,
    crc32,
};

const CHUNK_SIZE_LOG2: u8 = 12;

#[test]
fn decodes_and_encodes_small_tensors_of_every_type() {
    check(include_bytes!("data/small-huffman.unw"), Encoding::Huffman);
    check(include_bytes!("data/small-palette.unw"), Encoding::Palette);
}

#[test]
fn decodes_and_encodes_tensors_of_many_chunks() {
    check(include_bytes!("data/chunks-huffman.unw"), Encoding::Huffman);
    check(include_bytes!("data/chunks-palette.unw"), Encoding::Palette);
}

fn of(extent: Extent, file: &[u8]) -> &[u8] {
    extent.of(file).expect("it is in the file")
}

fn check(file: &[u8], encoding: Encoding) {
    let header = FileHeader::parse(file).unwrap();
    let directory = Directory::parse(&header, of(header.directory(), file)).unwrap();
    let mut coded = 0;
    for tensor in directory.tensors() {
        let (palettes, weights) = decode(&tensor, file);
        assert_eq!(
            tensor.require_checksum(crc32(&weights)),
            Ok(()),
            "{}",
            tensor.name()
        );
        encode(&tensor, &palettes, &weights, file, encoding);
        coded += usize::from(tensor.forms().is_coded());
    }
    assert!(coded >= 3);
}

/// The palettes and the weights of a tensor.
fn decode(tensor: &Tensor<'_>, file: &[u8]) -> (Palettes, Vec<u8>) {
    let payload = tensor.payload();
    let palettes = Palettes::parse(tensor, of(payload.palettes(), file)).unwrap();
    let mut weights = Vec::new();
    if !payload.forms().is_coded() {
        let plain = of(payload.plain(), file);
        join(
            &palettes,
            payload.weights() as usize,
            plain,
            &[],
            &mut weights,
        );
    }
    let ends = of(payload.record_ends(), file);
    let ends = payload
        .forms()
        .is_coded()
        .then(|| RecordEnds::parse(payload, ends).unwrap());
    for number in 0..payload.chunk_count() {
        let chunk = payload.chunk(number);
        let plain = of(chunk.plain, file);
        let records: Vec<Record<'_>> = payload
            .forms()
            .coded()
            .map(|coded| {
                let extent = ends.unwrap().record(number, coded.number);
                let shape = payload.record_shape(&chunk, &coded);
                Record::parse(&shape, extent.offset, of(extent, file), plain).unwrap()
            })
            .collect();
        decode_chunk(
            &palettes,
            chunk.weights as usize,
            &records,
            plain,
            &mut weights,
        )
        .unwrap();
    }
    (palettes, weights)
}

fn encode(
    tensor: &Tensor<'_>,
    palettes: &Palettes,
    weights: &[u8],
    file: &[u8],
    encoding: Encoding,
) {
    let (payload, name) = (tensor.payload(), tensor.name());
    let plan = plan(tensor, weights, encoding);
    if tensor.forms().is_raw() && !plan.forms().is_raw() {
        // Section 11.8: the payload would be as long as the raw one.
        assert!(!saves_space(&plan, weights), "{name}");
        return;
    }
    assert_eq!(plan.forms(), tensor.forms(), "{name}");
    assert_eq!(plan.palettes(), palettes, "{name}");
    if !plan.forms().is_coded() {
        let mut plain = Vec::new();
        split(plan.forms(), weights, &mut plain, &mut []);
        assert!(plain == of(payload.plain(), file), "{name}");
        return;
    }
    let ends = RecordEnds::parse(payload, of(payload.record_ends(), file)).unwrap();
    for (number, weights) in (0..).zip(weights.chunks(chunk_bytes(plan.forms()))) {
        let (mut plain, mut records) = (Vec::new(), ChunkRecords::default());
        encode_chunk(&plan, weights, &mut plain, &mut records);
        assert!(plain == of(payload.chunk(number).plain, file), "{name}");
        assert_eq!(records.len(), plan.forms().coded_count());
        for (field, record) in records.iter().enumerate() {
            let extent = ends.record(number, field);
            assert!(
                record == of(extent, file),
                "{name}: record {field} of chunk {number}"
            );
        }
    }
}

fn chunk_bytes(forms: Forms) -> usize {
    forms.dtype().weight_bytes() << CHUNK_SIZE_LOG2
}

/// The plan, as a whole encoder makes it.
fn plan(tensor: &Tensor<'_>, weights: &[u8], encoding: Encoding) -> TensorPlan {
    let size = tensor.dtype().weight_bytes();
    let count = (weights.len() / size) as u64;
    let mut sample = Sample::new(tensor.dtype());
    for range in sample_ranges(count) {
        sample.add_weights(&weights[range.start as usize * size..range.end as usize * size]);
    }
    let forms = sample.choose_forms(encoding, count, CHUNK_SIZE_LOG2);
    if forms.are_raw() {
        return TensorPlan::new(Forms::raw(tensor.dtype()), 0, &[]);
    }
    let chunks = weights.chunks(chunk_bytes(forms.forms()));
    let mut counts = TensorCounts::new(forms, chunks.len() as u64);
    for chunk in chunks {
        counts.push(count_chunk(&forms, chunk));
    }
    counts.plan()
}

/// Whether the payload under this plan is shorter than the raw one.
fn saves_space(plan: &TensorPlan, weights: &[u8]) -> bool {
    let forms = plan.forms();
    let log2 = match forms.is_coded() {
        true => CHUNK_SIZE_LOG2,
        false => 0,
    };
    let count = (weights.len() / forms.dtype().weight_bytes()) as u64;
    let payload = Payload::place(0, forms, count, log2).unwrap();
    if !forms.is_coded() {
        return payload.saves_space();
    }
    let mut records_bytes = 0;
    for weights in weights.chunks(chunk_bytes(forms)) {
        let (mut plain, mut records) = (Vec::new(), ChunkRecords::default());
        encode_chunk(plan, weights, &mut plain, &mut records);
        records_bytes += records.bytes().len() as u64;
    }
    payload
        .with_records_bytes(records_bytes)
        .unwrap()
        .saves_space()
}
