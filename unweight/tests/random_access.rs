//! A range of weights equals the same range of the whole tensor, and reads only the chunks or blocks
//! that contain it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use half::bf16;
use proptest::prelude::*;
use unweight::container::OpenFile;
use unweight::{Storage, read_extent};
use unweight_cpu::ChunkRecords;
use unweight_cpu::reference::{TensorPlan, ValueCounts, encode_chunk};
use unweight_format::layout::longest_record_bytes;
use unweight_format::write::Sink;
use unweight_format::{Dtype, Encoding, Extent, Form, Forms, Rule};
use unweight_testkit::{
    ENCODINGS, bytes_of, coded_payloads, container_of, forms, trained_like, writer_of,
};

/// Bytes in memory that record which of them were read.
struct Noted<'a> {
    bytes: &'a [u8],
    reads: Mutex<Vec<Extent>>,
}

impl Storage for Noted<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        self.bytes.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        self.reads.lock().unwrap().push(extent);
        Ok(read_extent(self.bytes, extent, buffer)?)
    }
}

/// The extents that were read of a tensor for this range of its bytes, which is checked.
fn reads_of(file: &[u8], expected: &[u8], range: Range<u64>) -> Vec<Extent> {
    let noted = Noted {
        bytes: file,
        reads: Mutex::default(),
    };
    let open = OpenFile::read(&noted).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    noted.reads.lock().unwrap().clear();
    let mut bytes = vec![0xa5; (range.end - range.start) as usize];
    container
        .read_bytes(&tensor, range.clone(), &mut bytes)
        .unwrap();
    assert!(bytes == expected[range.start as usize..range.end as usize]);
    noted.reads.into_inner().unwrap()
}

#[test]
fn a_range_reads_its_chunk_and_nothing_else_of_the_payload() {
    let weights = trained_like(40_000);
    for encoding in ENCODINGS {
        let file = container_of(&weights, encoding, 12);
        let payload = coded_payloads(&file)[0];
        let reads = reads_of(&file, &bytes_of(&weights), 18_000..18_200);
        let read: u64 = reads.iter().map(|extent| extent.length).sum();
        // The palette, two record ends, the plain bytes and the record.
        let longest = longest_record_bytes(4096, 8);
        assert!(read <= 16 + 8 + 4096 + longest, "{read}");
        assert!(reads.contains(&payload.chunk(2).plain));
    }
}

#[test]
fn a_range_of_several_coded_fields_reads_the_records_of_its_chunk_at_once() {
    // Three coded fields, a constant, plain bits: the palettes, the record ends from the one
    // before, the records, the plain bytes.
    let forms = Forms::from_bits(Dtype::F32, 0x11_3001).unwrap();
    let weights = forms::weights(forms, 40_000, 1);
    let file = forms::file_of(forms, 12, &weights);
    let payload = coded_payloads(&file)[0];
    let reads = reads_of(&file, &weights, 4 * 9000 + 1..4 * 9100 + 3);
    assert_eq!(reads.len(), 4);
    assert_eq!(reads[0], payload.palettes());
    assert_eq!(reads[1], payload.record_ends_of(2..3));
    assert_eq!(reads[1].length, 4 * 4);
    assert_eq!(reads[3], payload.chunk(2).plain);
    // The record ends of the first chunk are next to the palettes.
    assert_eq!(reads_of(&file, &weights, 0..1).len(), 3);
}

#[test]
fn a_range_of_a_tensor_without_records_reads_its_blocks_and_their_checksums() {
    for bits in [0, 0x3, 0x33] {
        let forms = Forms::from_bits(Dtype::F8E4M3, bits).unwrap();
        let weights = forms::weights(forms, 1_000_000, 2);
        let file = forms::file_of(forms, 0, &weights);
        let model = OpenFile::read(&file[..]).unwrap();
        let payload = *model.container().directory().tensor(0).unwrap().payload();
        for (at, length) in [(0, 1), (200_001, 13), (400_000, 70_000), (999_999, 1)] {
            let reads = reads_of(&file, &weights, at..at + length);
            let of = |part: Extent| {
                let within =
                    |extent: &&Extent| extent.offset >= part.offset && extent.end() <= part.end();
                reads
                    .iter()
                    .filter(within)
                    .map(|extent| extent.length)
                    .sum::<u64>()
            };
            let plain = payload.plain_of_weights(at..at + length);
            let from = (plain.offset - payload.plain().offset) / 65_536;
            let to = (plain.end() - payload.plain().offset).div_ceil(65_536);
            let blocks: u64 = (from..to).map(|number| payload.block(number).length).sum();
            // A piece that is decoded at once may begin and end within a block.
            let twice = (to - from - 1) * 65_536;
            let read = of(payload.plain());
            assert!(
                (blocks..=blocks + twice).contains(&read),
                "{forms:?} {at} {read}"
            );
            assert!(of(payload.block_checksums()) >= 4 * (to - from));
            assert_eq!(of(payload.palettes()), payload.palettes().length);
        }
    }
}

#[test]
fn a_range_of_a_short_plane_without_records_reads_its_bytes_alone() {
    let forms = Forms::from_bits(Dtype::I16, 0x3).unwrap();
    let weights = forms::weights(forms, 20_000, 3);
    let file = forms::file_of(forms, 0, &weights);
    // Twelve plain bits; eight weights begin at a byte.
    let reads = reads_of(&file, &weights, 2 * 1003..2 * 1005);
    let lengths: Vec<u64> = reads.iter().map(|extent| extent.length).collect();
    assert_eq!(lengths, [16, 8]);
    let raw = Forms::raw(Dtype::I16);
    let weights = forms::weights(raw, 20_000, 3);
    let file = forms::file_of(raw, 0, &weights);
    let reads = reads_of(&file, &weights, 2 * 1003 + 1..2 * 1005);
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0].length, 4);
}

#[test]
fn damage_elsewhere_does_not_matter_to_a_range_and_damage_within_does() {
    let weights = trained_like(40_000);
    let mut file = container_of(&weights, Encoding::Huffman, 12);
    let damaged = coded_payloads(&file)[0].chunk(3).plain;
    file[damaged.offset as usize] ^= 1;

    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    let mut out = [bf16::ZERO; 10];
    container.decode_range(&tensor, 0..10, &mut out).unwrap();
    let error = container
        .decode_range(&tensor, 3 * 4096 + 1..3 * 4096 + 11, &mut out)
        .unwrap_err();
    assert_eq!(error.rule(), Some(Rule::RecordCrc));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_equals_the_whole(
        start in 0u64..20_000,
        length in 0u64..10_000,
        form in proptest::sample::select(&[Form::Plain, Form::Huffman, Form::Palette][..]),
    ) {
        let weights = trained_like(20_000);
        let end = (start + length).min(20_000);
        let forms = Forms::raw(Dtype::Bf16).with(0, form).unwrap();
        let file = forms::file_of(forms, 12, &bytes_of(&weights));
        let open = OpenFile::read(file.as_slice()).unwrap();
        let container = open.container();
        let tensor = container.directory().tensor(0).unwrap();
        // The previous content of the buffer must not affect the result.
        let mut out = vec![bf16::NAN; (end - start) as usize];
        container.decode_range(&tensor, start..end, &mut out).unwrap();
        prop_assert!(out == weights[start as usize..end as usize]);
        let mut bytes = vec![0xa5; out.len() * 2];
        container.read_bytes(&tensor, 2 * start..2 * end, &mut bytes).unwrap();
        prop_assert!(bytes == bytes_of(&out));
    }
}

/// A file that stores only the pieces that are not all zero.
#[derive(Default)]
struct Sparse {
    pieces: BTreeMap<u64, Vec<u8>>,
    length: u64,
}

impl Sink for Sparse {
    type Error = io::Error;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.length = self.length.max(offset + bytes.len() as u64);
        if bytes.iter().any(|&byte| byte != 0) {
            self.pieces.insert(offset, bytes.to_vec());
        }
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.length = length;
        Ok(())
    }
}

impl Storage for Sparse {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        buffer.clear();
        buffer.resize(extent.length as usize, 0);
        let end = extent.end();
        // The pieces are the one that begins before the extent and those within it.
        let first = self
            .pieces
            .range(..=extent.offset)
            .next_back()
            .map_or(0, |(&at, _)| at);
        for (&at, piece) in self.pieces.range(first..end) {
            for (offset, &byte) in (at..)
                .zip(piece)
                .filter(|&(at, _)| at >= extent.offset && at < end)
            {
                buffer[(offset - extent.offset) as usize] = byte;
            }
        }
        Ok(buffer)
    }
}

#[test]
fn a_tensor_of_more_than_2_to_the_31_weights_is_found_to_its_last() {
    const CHUNKS: u64 = (1 << 31 >> 16) + 2;
    let zeros = vec![bf16::ZERO; 1 << 16];
    let last: Vec<bf16> = (0..77u16).map(bf16::from_bits).collect();
    let shape = [CHUNKS << 16 | 77];
    let mut writer = writer_of(Sparse::default(), &shape);

    let mut counts = ValueCounts::default();
    counts.add_values(&[0]);
    let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman).unwrap();
    let plan = TensorPlan::new(forms, 0, &[counts]);
    let encoded = |weights: &[bf16]| {
        let (mut plain, mut records) = (Vec::new(), ChunkRecords::default());
        encode_chunk(&plan, &bytes_of(weights), &mut plain, &mut records);
        (plain, records)
    };
    let mut coded = writer.coded(plan.palettes(), 16).unwrap();
    let (plain, records) = encoded(&zeros);
    for _ in 0..CHUNKS {
        coded.chunk(&plain, &[records.bytes()]).unwrap();
    }
    let (plain, records) = encoded(&last);
    coded.chunk(&plain, &[records.bytes()]).unwrap();
    coded.finish(0).unwrap();
    let file = writer.finish().unwrap();

    let open = OpenFile::read(&file).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    assert_eq!(tensor.element_count(), shape[0]);
    let mut out = [bf16::NAN; 80];
    container
        .decode_range(&tensor, shape[0] - 80..shape[0], &mut out)
        .unwrap();
    assert_eq!(out[..3], zeros[..3]);
    assert_eq!(out[3..], last);
    container
        .decode_range(&tensor, 1 << 31..(1 << 31) + 80, &mut out)
        .unwrap();
    assert_eq!(out[..], zeros[..80]);
}
