//! Any bytes may be given as a file.

mod containers;

use containers::{ENCODINGS, container_of, restored, trained_like};
use unweight::container::OpenFile;
use unweight_format::{Category, Encoding, Payload, RecordEnds, Rule, crc32, layout};

/// A container of each encoding that is short enough for exhaustive tests.
fn small_files() -> Vec<Vec<u8>> {
    let weights = trained_like(300);
    let mut files: Vec<Vec<u8>> = ENCODINGS
        .iter()
        .map(|&encoding| container_of(&weights, encoding, 12))
        .collect();
    files.push(container_of(&weights[..5], Encoding::Raw, 12));
    files
}

#[test]
fn every_flipped_bit_is_noticed() {
    for file in small_files() {
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(restored(&flipped).is_err(), "bit {bit} of {}", file.len());
        }
    }
}

#[test]
fn every_strict_prefix_is_truncated() {
    for file in small_files() {
        for length in 0..file.len() {
            let rule = restored(&file[..length]).unwrap_err().rule().unwrap();
            assert_eq!(
                rule.category(),
                Category::Truncated,
                "{length} of {}",
                file.len()
            );
        }
    }
}

#[test]
fn mutated_records_with_right_checksums_never_panic_and_mostly_break_rules() {
    let weights = trained_like(10_000);
    let mut rejected = 0;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    for encoding in ENCODINGS {
        let file = container_of(&weights, encoding, 12);
        for _ in 0..600 {
            let mut mutant = file.clone();
            let (record, sign_mantissa) = record_and_sign_mantissa(&file, random(3) as u64);
            // Most changes are in the header and the lane ends, because they have the most rules.
            let within = if random(3) == 0 {
                record.len()
            } else {
                96.min(record.len())
            };
            for _ in 0..=random(3) {
                mutant[record.start + 4 + random(within - 4)] = random(256) as u8;
            }
            let mut checked = mutant[record.start + 4..record.end].to_vec();
            checked.extend(&mutant[sign_mantissa]);
            mutant[record.start..record.start + 4].copy_from_slice(&crc32(&checked).to_le_bytes());
            rejected += u32::from(restored(&mutant).is_err());
        }
    }
    assert!(rejected > 1000, "{rejected}");
}

fn record_and_sign_mantissa(
    file: &[u8],
    chunk: u64,
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    let Payload::Coded(planes) = tensor.payload() else {
        panic!("coded")
    };
    let ends = container.record_ends(planes).unwrap();
    let record = RecordEnds::parse(planes, &ends).unwrap().record(chunk);
    let sign_mantissa = planes.chunk(chunk).sign_mantissa;
    let range = |extent: unweight_format::Extent| extent.offset as usize..extent.end() as usize;
    (range(record), range(sign_mantissa))
}

#[test]
fn a_kilobyte_that_promises_exabytes_is_refused_before_anything_is_allocated() {
    let mut file = container_of(&trained_like(5), Encoding::Raw, 12);
    let restamp = |file: &mut [u8]| {
        let directory = crc32(&file[64..64 + 64]);
        file[40..44].copy_from_slice(&directory.to_le_bytes());
        let header = crc32(&file[..60]);
        file[60..64].copy_from_slice(&header.to_le_bytes());
    };
    // The directory has one entry of 48 bytes and its only dimension.
    let dimension = 64 + layout::ENTRY_BYTES as usize;
    file[dimension..dimension + 8].copy_from_slice(&(1u64 << 56).to_le_bytes());
    restamp(&mut file);
    assert_eq!(restored(&file).unwrap_err().rule(), Some(Rule::PayloadEnd));
    file[dimension..dimension + 8].copy_from_slice(&(1u64 << 57).to_le_bytes());
    restamp(&mut file);
    assert_eq!(
        restored(&file).unwrap_err().rule(),
        Some(Rule::LimitElements)
    );
    file[16..24].copy_from_slice(&(1u64 << 60).to_le_bytes());
    restamp(&mut file);
    assert_eq!(
        restored(&file).unwrap_err().rule(),
        Some(Rule::FileTruncated)
    );
}
