//! Builders against the library, and the storage against its script.

use std::io;

use half::bf16;
use unweight::{CompressOptions, Encoding, Storage, compress};
use unweight_format::{Dtype, Rule};
use unweight_testkit::{
    Answer, DISTRIBUTIONS, ENCODINGS, Form, Length, Random, Records, Script, Tensor, TestStorage,
    any_weights, bf16, bf16_tensors, bytes_of, coded_payloads, container, container_of, decoded,
    records, repair_checksums, restored, safetensors_file, state_tensor_checksum, tensor,
    trained_like, transcoded, weights_in,
};

/// Tensors of several types and lengths, in this form.
fn tensors(form: Form) -> Vec<Tensor> {
    let mut random = Random::new(1);
    let of_any_type = |dtype: Dtype| {
        let data = any_weights(dtype, 4_500, &mut Random::new(dtype.code().into()));
        let elements = 8 * data.len() as u64 / dtype.bits();
        tensor(&format!("{dtype}"), dtype.name(), &[elements], data).stored(form)
    };
    let mut tensors = vec![
        bf16("w", &random.trained_weights(10_000)).stored(form),
        tensor("b \"\u{1f600}\"", "F32", &[2, 5], random.bytes(40)),
        tensor("none", "BF16", &[0, 5], vec![]),
        bf16("v", &trained_like(5_000)).stored(form),
    ];
    let with_fields = Dtype::ALL.iter().filter(|dtype| !dtype.fields().is_empty());
    tensors.extend(with_fields.map(|&dtype| of_any_type(dtype)));
    tensors
}

#[test]
fn a_canonical_container_is_what_compress_writes() {
    for encoding in ENCODINGS {
        for chunk in [12, 15] {
            let tensors = tensors(Form::canonical(encoding, chunk));
            let options = CompressOptions::new()
                .encoding(encoding)
                .chunk_size_log2(chunk);
            let expected = compress(&safetensors_file(&tensors), &options).unwrap();
            assert!(
                container(&tensors, true) == expected,
                "{encoding}, 2^{chunk}"
            );
        }
    }
}

#[test]
fn a_tensor_s_default_form_is_that_of_compress() {
    let tensors = [bf16("w", &Random::new(2).trained_weights(100_000))];
    let expected = compress(&safetensors_file(&tensors), &CompressOptions::new()).unwrap();
    assert!(container(&tensors, true) == expected);
}

#[test]
fn containers_of_every_form_restore_their_tensors() {
    for encoding in ENCODINGS {
        let odd = (0..20).map(|seed| Records::Odd { seed });
        for records in odd.chain([Records::Canonical, Records::Verbatim]) {
            let form = Form {
                encoding,
                chunk_size_log2: 12,
                records,
            };
            let tensors = tensors(form);
            let data: Vec<&[u8]> = tensors.iter().map(|tensor| &tensor.data[..]).collect();
            assert!(restored(&container(&tensors, false)).unwrap() == data.concat());
            let file = container(&tensors, true);
            assert!(restored(&file).unwrap() == safetensors_file(&tensors));
            // The tensors are coded, even where raw data would be shorter.
            if let Records::Verbatim = records {
                assert_eq!(coded_payloads(&file).len(), tensors.len() - 2, "{form:?}");
            }
        }
    }
}

#[test]
fn a_container_has_the_forms_that_are_asked_for() {
    let mut seen = 0;
    for bits in 0..0x1000 {
        let form = Form {
            records: Records::Forms { bits, seed: 1 },
            ..Form::canonical(Encoding::Huffman, 12)
        };
        if unweight_format::Forms::from_bits(Dtype::Bf16, bits).is_ok() {
            let file = container(&[bf16("w", &[half::bf16::ONE; 5_000]).stored(form)], false);
            let open = unweight::container::OpenFile::read(&file[..]).unwrap();
            let tensor = open.container().directory().tensor(0).unwrap();
            assert_eq!(tensor.forms().bits(), bits);
            assert!(decoded(&file) == [half::bf16::ONE; 5_000]);
            seen += 1;
        }
    }
    assert_eq!(seen, 4 * 3 * 3);
}

#[test]
fn odd_records_are_not_canonical() {
    let canonical = container(&tensors(Form::canonical(Encoding::Huffman, 12)), false);
    let form = |seed| Form {
        records: Records::Odd { seed },
        ..Form::canonical(Encoding::Huffman, 12)
    };
    let mut files: Vec<_> = (0..20)
        .map(|seed| container(&tensors(form(seed)), false))
        .collect();
    files.push(canonical);
    files.sort();
    files.dedup();
    assert_eq!(files.len(), 21);
}

#[test]
fn one_tensor_is_decoded_and_transcoded_to_what_it_was() {
    for distribution in DISTRIBUTIONS {
        let weights = distribution.weights(9_000, 3);
        let [huffman, palette] = ENCODINGS.map(|encoding| container_of(&weights, encoding, 12));
        assert!(bytes_of(&decoded(&huffman)) == bytes_of(&weights));
        assert!(
            transcoded(&huffman, Encoding::Palette) == palette,
            "{}",
            distribution.name
        );
    }
}

#[test]
fn numbered_tensors_have_their_own_forms() {
    let weights = [trained_like(5_000), trained_like(9_000)];
    let tensors = bf16_tensors(&weights, |number| {
        Form::canonical(ENCODINGS[number], 12 + number as u8)
    });
    let payloads = coded_payloads(&container(&tensors, false));
    let found: Vec<_> = payloads
        .iter()
        .map(|payload| {
            let first = payload.forms().coded_field(0).unwrap();
            (first.encoding, payload.chunk_size_log2())
        })
        .collect();
    assert_eq!(found, [(ENCODINGS[0], 12), (ENCODINGS[1], 13)]);
}

#[test]
fn bytes_and_weights_convert_into_each_other() {
    let patterns: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let bytes = bytes_of(&patterns);
    assert_eq!(bytes[..6], [0, 0, 1, 0, 2, 0]);
    assert!(bytes_of(&weights_in(&bytes)) == bytes);
}

#[test]
fn repair_makes_every_checksum_right_but_those_of_tensors() {
    let weights = trained_like(10_000);
    let file = container_of(&weights, Encoding::Huffman, 12);
    let mut repaired = file.clone();
    repair_checksums(&mut repaired);
    assert!(repaired == file);

    let payload = coded_payloads(&file)[0];
    assert_eq!(records(&file, &payload).len(), 3);
    repaired[payload.chunk(1).plain.offset as usize] ^= 1;
    let rule = |file: &[u8]| restored(file).unwrap_err().rule();
    assert_eq!(rule(&repaired), Some(Rule::RecordCrc));
    repair_checksums(&mut repaired);
    assert_eq!(rule(&repaired), Some(Rule::TensorCrc));

    let mut changed = weights;
    changed[4096] = bf16::from_bits(changed[4096].to_bits() ^ 1);
    state_tensor_checksum(
        &mut repaired,
        0,
        unweight_format::crc32(&bytes_of(&changed)),
    );
    assert!(decoded(&repaired) == changed);
}

#[test]
fn repair_leaves_other_bytes_alone() {
    for bytes in [&b""[..], b"short", &[7; 63]] {
        let mut repaired = bytes.to_vec();
        repair_checksums(&mut repaired);
        assert_eq!(repaired, bytes);
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "wrong answers are what is tested"
)]
fn a_storage_follows_its_script_and_counts() {
    let bytes: Vec<u8> = (0..100).collect();
    let extent = unweight_format::Extent {
        offset: 10,
        length: 5,
    };
    let read = |answer: Option<Answer>| {
        let script = answer.map_or_else(Script::default, |answer| Script::at_read(0, answer));
        let storage = TestStorage::scripted(&bytes, script);
        let mut buffer = vec![9, 9];
        let read = storage.read(extent, &mut buffer).map(<[u8]>::to_vec);
        assert_eq!((storage.reads(), storage.take_read_bytes()), (1, 5));
        assert_eq!(storage.take_read_bytes(), 0);
        // The second answer is true.
        assert_eq!(storage.read(extent, &mut buffer).unwrap(), &bytes[10..15]);
        (read, storage.gave_other_bytes(), storage.said_shorter())
    };
    let gives = |answer, expected: &[u8], is_other| {
        let (read, gave_other, _) = read(answer);
        assert_eq!(read.unwrap(), expected, "{answer:?}");
        assert_eq!(gave_other, is_other, "{answer:?}");
    };
    gives(None, &bytes[10..15], false);
    gives(Some(Answer::Short(2)), &bytes[10..13], false);
    gives(Some(Answer::Nothing), &[], false);
    gives(Some(Answer::Long(1)), &[10, 11, 12, 13, 14, 0xa5], false);
    gives(Some(Answer::Other(6)), &[10, 11 ^ 0x5a, 12, 13, 14], true);
    gives(Some(Answer::OldBuffer), &[9, 9], false);
    let (failed, ..) = read(Some(Answer::Error(io::ErrorKind::TimedOut)));
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let (ends, _, said_shorter) = read(Some(Answer::EndsWithin(1)));
    assert!(ends.is_err() && said_shorter);
}

#[test]
fn a_storage_reports_the_lengths_of_its_script() {
    let script = Script {
        lengths: vec![
            Length::True,
            Length::LessBy(1),
            Length::LessBy(9),
            Length::MoreBy(u64::MAX),
            Length::Error(io::ErrorKind::Other),
        ],
        ..Script::default()
    };
    let storage = TestStorage::scripted(&b"four"[..], script);
    let lengths = || storage.byte_length().ok();
    let found: [Option<u64>; 6] = std::array::from_fn(|_| lengths());
    assert_eq!(
        found,
        [Some(4), Some(3), Some(0), Some(u64::MAX), None, Some(4)]
    );
    assert!(storage.gave_other_length() && storage.said_shorter());
}
