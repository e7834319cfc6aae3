//! The fast backends.

#![expect(unsafe_code, reason = "output that is not initialized yet")]

use std::mem::MaybeUninit;

use half::bf16;
use unweight_cpu::fast::{Codec, Isa, Scratch};
use unweight_cpu::reference::{self, ExponentCounts, TensorPlan};
use unweight_format::{CodedPlanes, Encoding, Error, FileHeader, Record, weight};
use unweight_testkit::{coded_planes, records};

use crate::edit::any_container;

/// For any record, every backend of this machine gives the same weights, bytes and exponents as the
/// reference, or the same error, for any old content of the output. It does not change memory
/// around the output. All backends count and encode the decoded weights alike.
pub fn fast_equals_reference(bytes: &[u8]) {
    let file = any_container(bytes);
    let Ok(header) = FileHeader::parse(&file) else {
        return;
    };
    if header.require_file_length(file.len() as u64).is_err() {
        return;
    }
    let codecs: Vec<Codec> = Isa::available().filter_map(Codec::of).collect();
    for planes in coded_planes(&file) {
        check_records(&file, &planes, &codecs);
    }
}

fn check_records(file: &[u8], planes: &CodedPlanes, codecs: &[Codec]) {
    for (number, extent) in records(file, planes) {
        let shape = planes.chunk(number);
        let (Some(bytes), Some(sign_mantissa)) = (extent.of(file), shape.sign_mantissa.of(file))
        else {
            return;
        };
        let record = Record::parse(
            &shape,
            planes.encoding(),
            extent.offset,
            bytes,
            sign_mantissa,
        );
        if let Ok(record) = record {
            for codec in codecs {
                check_decode(codec, &record, planes, sign_mantissa);
            }
            let mut exponents = Vec::new();
            let decoded = reference::decode_exponents(
                &record,
                planes.palette(),
                sign_mantissa.len(),
                &mut exponents,
            );
            if decoded.is_ok() {
                check_encode(codecs, &exponents, sign_mantissa);
            }
        }
    }
}

fn check_decode(codec: &Codec, record: &Record<'_>, planes: &CodedPlanes, sign_mantissa: &[u8]) {
    let palette = planes.palette();
    let count = sign_mantissa.len();
    let path = codec.isa();

    let mut exponents = Vec::new();
    let verdict = reference::decode_exponents(record, palette, count, &mut exponents);
    let expected: Result<Vec<u8>, Error> = verdict.map(|_| exponents);
    let exponents = guarded(
        0xa5,
        |byte| *byte == 0xa5,
        count,
        |exponents| codec.decode_exponents(&mut Scratch::default(), record, palette, exponents),
    );
    assert!(
        exponents == expected,
        "{path}: {:?}, expected {:?}",
        exponents.err(),
        expected.err()
    );

    let mut weights = vec![bf16::ZERO; count];
    let expected = reference::decode_record(record, palette, sign_mantissa, &mut weights);
    let expected: Result<Vec<u16>, Error> =
        expected.map(|()| weights.iter().map(|weight| weight.to_bits()).collect());
    let old = bf16::from_bits(0x5aa5);
    let is_old = |weight: &bf16| weight.to_bits() == old.to_bits();
    let weights = guarded(old, is_old, count, |weights| {
        codec.decode_record(
            &mut Scratch::default(),
            record,
            palette,
            sign_mantissa,
            weights,
        )
    });
    let weights = weights.map(|weights| weights.iter().map(|weight| weight.to_bits()).collect());
    assert!(
        weights == expected,
        "{path}: {:?}, expected {:?}",
        weights.err(),
        expected.err()
    );

    // SAFETY: all elements are initialised before they are returned.
    let value = |byte: MaybeUninit<u8>| unsafe { byte.assume_init() };
    let bytes = guarded(
        MaybeUninit::new(0x5a),
        |&byte| value(byte) == 0x5a,
        2 * count,
        |bytes| {
            codec.decode_record_bytes(
                &mut Scratch::default(),
                record,
                palette,
                sign_mantissa,
                bytes,
            )
        },
    );
    let bytes: Result<Vec<u8>, Error> = bytes.map(|bytes| bytes.into_iter().map(value).collect());
    let expected: Result<Vec<u8>, Error> =
        expected.map(|weights| weights.into_iter().flat_map(u16::to_le_bytes).collect());
    assert!(
        bytes == expected,
        "{path}: {:?}, expected {:?}",
        bytes.err(),
        expected.err()
    );
}

fn check_encode(codecs: &[Codec], exponents: &[u8], sign_mantissa: &[u8]) {
    // The plans are from the counts of the whole tensor, and from counts that hardly resemble this
    // chunk.
    for counted in [exponents, &exponents[..exponents.len().div_ceil(7)]] {
        let mut counts = ExponentCounts::default();
        counts.add_exponents(counted);
        for encoding in [Encoding::Huffman, Encoding::Palette] {
            let plan = TensorPlan::new(&counts, encoding);
            let mut expected = vec![0xa5; 3];
            reference::encode_exponents(&plan, exponents, sign_mantissa, &mut expected);
            for codec in codecs {
                let path = codec.isa();
                let mut found = ExponentCounts::default();
                codec.count_exponents(counted, &mut found);
                assert!(
                    found == counts,
                    "{path}: counts of {} exponents",
                    counted.len()
                );

                let mut record = vec![0xa5; 3];
                codec.encode_exponents(
                    &mut Scratch::default(),
                    &plan,
                    exponents,
                    sign_mantissa,
                    &mut record,
                );
                assert!(
                    record == expected,
                    "{path}: {encoding} record of {} exponents",
                    exponents.len()
                );

                let mut weights = vec![0x5a; 2 * exponents.len()];
                codec.join(exponents, sign_mantissa, &mut weights);
                let parts = sign_mantissa.iter().zip(exponents);
                assert!(
                    parts
                        .flat_map(|(&low, &high)| weight(low, high).to_le_bytes())
                        .eq(weights.iter().copied()),
                    "{path}: weights of {} exponents",
                    exponents.len()
                );
                let mut found = ExponentCounts::default();
                codec.count_weights(&weights[..2 * counted.len()], &mut found);
                assert!(
                    found == counts,
                    "{path}: counts of {} weights",
                    counted.len()
                );

                let (mut split, mut record) = (vec![0x5a; 5], vec![0xa5; 3]);
                codec.encode_weights(
                    &mut Scratch::default(),
                    &plan,
                    &weights,
                    &mut split,
                    &mut record,
                );
                assert!(
                    record == expected,
                    "{path}: {encoding} record of {} weights",
                    exponents.len()
                );
                assert!(
                    split[..5] == [0x5a; 5] && split[5..] == *sign_mantissa,
                    "{path}"
                );
            }
        }
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
