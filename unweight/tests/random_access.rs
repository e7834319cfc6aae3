//! A range of weights equals the same range of the whole tensor, and reads only the chunks that
//! contain it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use half::bf16;
use proptest::prelude::*;
use unweight::container::OpenFile;
use unweight::{Storage, read_extent};
use unweight_cpu::reference::{ExponentCounts, TensorPlan, encode_weights};
use unweight_format::write::Sink;
use unweight_format::{Encoding, Extent, Rule};
use unweight_testkit::{ENCODINGS, bytes_of, coded_planes, container_of, trained_like, writer_of};

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

#[test]
fn a_range_reads_its_chunk_and_nothing_else_of_the_payload() {
    let weights = trained_like(40_000);
    for encoding in ENCODINGS {
        let file = container_of(&weights, encoding, 12);
        let noted = Noted {
            bytes: &file,
            reads: Mutex::default(),
        };
        let open = OpenFile::read(&noted).unwrap();
        let container = open.container();
        let tensor = container.directory().tensor(0).unwrap();
        let planes = coded_planes(&file)[0];
        noted.reads.lock().unwrap().clear();

        let mut out = [bf16::ZERO; 100];
        container
            .decode_range(&tensor, 9000..9100, &mut out)
            .unwrap();
        assert_eq!(out[..], weights[9000..9100]);
        let read: u64 = noted
            .reads
            .lock()
            .unwrap()
            .iter()
            .map(|extent| extent.length)
            .sum();
        let longest = unweight_format::layout::longest_record_bytes(4096);
        assert!(read <= 8 + 4096 + longest, "{read}");
        assert!(
            noted
                .reads
                .lock()
                .unwrap()
                .contains(&planes.chunk(2).sign_mantissa)
        );
    }
}

#[test]
fn damage_elsewhere_does_not_matter_to_a_range_and_damage_within_does() {
    let weights = trained_like(40_000);
    let mut file = container_of(&weights, Encoding::Huffman, 12);
    let damaged = coded_planes(&file)[0].chunk(3).sign_mantissa;
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
        encoding in proptest::sample::select(&[Encoding::Raw, Encoding::Huffman, Encoding::Palette][..]),
    ) {
        let weights = trained_like(20_000);
        let end = (start + length).min(20_000);
        let file = container_of(&weights, encoding, 12);
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

    let mut counts = ExponentCounts::default();
    counts.add_weights(&zeros);
    let plan = TensorPlan::new(&counts, Encoding::Huffman);
    let encoded = |weights: &[bf16]| {
        let (mut sign_mantissa, mut record) = (Vec::new(), Vec::new());
        encode_weights(&plan, weights, &mut sign_mantissa, &mut record);
        (sign_mantissa, record)
    };
    let mut coded = writer.coded(plan.parameters(16)).unwrap();
    let (sign_mantissa, record) = encoded(&zeros);
    for _ in 0..CHUNKS {
        coded.chunk(&sign_mantissa, &record).unwrap();
    }
    let (sign_mantissa, record) = encoded(&last);
    coded.chunk(&sign_mantissa, &record).unwrap();
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
