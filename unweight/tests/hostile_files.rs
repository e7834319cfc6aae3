//! Any bytes may be given as a file.

use unweight_format::layout::{self, file_header};
use unweight_format::{Category, Dtype, Forms, Rule};
use unweight_testkit::{
    ENCODINGS, Random, coded_payloads, container_of, forms, records, repair_checksums,
    repair_front, restored, trained_like,
};

/// A file of this many weights in these forms.
fn file_of(dtype: Dtype, bits: u32, count: usize) -> Vec<u8> {
    let forms = Forms::from_bits(dtype, bits).unwrap();
    forms::file_of(forms, 12, &forms::weights(forms, count, 1))
}

/// Containers of each encoding, of several coded fields, of constants alone and of a raw tensor,
/// that are short enough for exhaustive tests. Some plain planes have padding bits.
fn small_files() -> Vec<Vec<u8>> {
    let weights = trained_like(300);
    let mut files: Vec<Vec<u8>> = ENCODINGS
        .iter()
        .map(|&encoding| container_of(&weights, encoding, 12))
        .collect();
    files.push(file_of(Dtype::F32, 0x10_3011, 37));
    files.push(file_of(Dtype::F8E5M2, 0x31, 77));
    files.push(file_of(Dtype::F8E4M3, 0x33, 77));
    files.push(file_of(Dtype::Bf16, 0, 5));
    files
}

#[test]
fn every_flipped_bit_is_noticed() {
    for file in small_files() {
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                restored(&flipped[..]).is_err(),
                "bit {bit} of {}",
                file.len()
            );
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
    let mut random = Random::new(1);
    let mut random = |bound: usize| random.below(bound as u64) as usize;
    let mut files = ENCODINGS
        .map(|encoding| container_of(&weights, encoding, 12))
        .to_vec();
    files.push(file_of(Dtype::F8E4M3, 0x11, 10_000));
    for file in files {
        let records = records(&file, &coded_payloads(&file)[0]);
        for _ in 0..600 {
            let mut mutant = file.clone();
            let record = records[random(records.len())].extent;
            let (start, length) = (record.offset as usize, record.length as usize);
            // Most changes are in the header and the lane ends, because they have the most rules.
            let within = if random(3) == 0 {
                length
            } else {
                96.min(length)
            };
            for _ in 0..=random(3) {
                mutant[start + 4 + random(within - 4)] = random(256) as u8;
            }
            repair_checksums(&mut mutant);
            rejected += u32::from(restored(&mutant[..]).is_err());
        }
    }
    assert!(rejected > 1500, "{rejected}");
}

#[test]
fn a_kilobyte_that_promises_exabytes_is_refused_before_anything_is_allocated() {
    let mut file = file_of(Dtype::Bf16, 0, 5);
    // The directory has one entry and its only dimension.
    let dimension = layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES;
    for (field, value, rule) in [
        (dimension, 1u64 << 56, Rule::PayloadEnd),
        (dimension, 1 << 57, Rule::LimitElements),
        (file_header::FILE_LENGTH, 1 << 60, Rule::FileTruncated),
    ] {
        file[field as usize..][..8].copy_from_slice(&value.to_le_bytes());
        repair_front(&mut file);
        assert_eq!(restored(&file[..]).unwrap_err().rule(), Some(rule));
    }
}
