//! Every backend encodes and restores whole tensors with their checksums, for any positions of
//! patches and ends of chunks. It reports the same broken rule as the reference, even if it
//! computes checksums only during encoding or decoding.

use unweight::{
    ReadError, Serial,
    container::{OpenFile, decode_tensor, decode_tensor_into},
};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::{Dtype, Forms, Rule};
use unweight_testkit::{
    ENCODINGS, bytes_of, coded_payloads, container_by, container_of, forms, records,
    repair_checksums, trained_like,
};

/// Lengths on both sides of every boundary: a step, a chunk, and only a short step.
const COUNTS: [usize; 9] = [1, 255, 256, 257, 1499, 1500, 4096, 4097, 20_000];

fn codecs() -> impl Iterator<Item = Codec> {
    Isa::available().filter_map(Codec::of)
}

/// Decodes the weights of the only tensor into bytes with other content.
fn decoded(codec: Codec, file: &[u8], count: usize) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container().with_codec(codec);
    let tensor = container.directory().tensors().next().expect("it has one");
    // The odd address tests that no kernel relies on alignment.
    let mut bytes = vec![0xa5; 2 * count + 1];
    decode_tensor_into(&container, &tensor, &Serial, &mut bytes[1..])?;
    Ok(bytes[1..].to_vec())
}

#[test]
fn every_isa_encodes_tensors_of_every_length_to_the_same_file() {
    let reference = Codec::of(Isa::Reference).expect("it runs everywhere");
    for count in [63, 64, 65, 300].into_iter().chain(COUNTS) {
        let weights = trained_like(count);
        for encoding in ENCODINGS {
            let expected = container_by(reference, &weights, encoding, 12);
            for codec in codecs() {
                let file = container_by(codec, &weights, encoding, 12);
                assert!(file == expected, "{codec:?}, {count}, {encoding:?}");
            }
        }
    }
}

#[test]
fn every_isa_restores_tensors_of_every_length() {
    for count in COUNTS {
        let weights = trained_like(count);
        for encoding in ENCODINGS {
            let file = container_of(&weights, encoding, 12);
            for codec in codecs() {
                let found = decoded(codec, &file, weights.len());
                let found = found.unwrap_or_else(|error| panic!("{codec:?}, {count}: {error}"));
                assert!(
                    found == bytes_of(&weights),
                    "{codec:?}, {count}, {encoding:?}"
                );
            }
        }
    }
}

#[test]
fn every_isa_names_the_same_rule_for_a_damaged_payload() {
    let weights = trained_like(5000);
    let reference = Codec::of(Isa::Reference).expect("it runs everywhere");
    for encoding in ENCODINGS {
        let file = container_of(&weights, encoding, 12);
        // Only the payload is damaged, because the codec does not read the bytes before it.
        for byte in (256..file.len() - 64).step_by(7) {
            let mut damaged = file.clone();
            damaged[byte] ^= 1 << (byte % 8);
            let error = |codec| format!("{:?}", decoded(codec, &damaged, weights.len()).err());
            let expected = error(reference);
            for codec in codecs() {
                assert_eq!(
                    error(codec),
                    expected,
                    "{codec:?}, byte {byte}, {encoding:?}"
                );
            }
        }
    }
}

/// Types and forms with several coded fields, with constants, and without records.
fn several_fields() -> impl Iterator<Item = Forms> {
    [
        (Dtype::F32, 0x11_3011),
        (Dtype::F32, 0x20_0002),
        (Dtype::F8E4M3, 0x11),
        (Dtype::Bf16, 0x311),
        (Dtype::F16, 0x0013),
        (Dtype::I16, 0x0033),
        (Dtype::U64, 0x1212_1212),
    ]
    .map(|(dtype, bits)| Forms::from_bits(dtype, bits).unwrap())
    .into_iter()
}

#[test]
fn every_isa_names_the_same_rule_for_a_damaged_payload_of_any_forms() {
    let reference = Codec::of(Isa::Reference).expect("it runs everywhere");
    for forms in several_fields() {
        let weights = forms::weights(forms, 4500, 1);
        let file = forms::file_of(forms, 12, &weights);
        let (mut damages, mut rules) = (0, 0);
        for byte in (256..file.len() - 64).step_by(411) {
            let mut damaged = file.clone();
            damaged[byte] ^= 1 << (byte % 8);
            if byte % 3 > 0 {
                // The damage reaches the code behind the checksums.
                repair_checksums(&mut damaged);
            }
            let error = |codec| {
                let (bytes, done) = handed_out(codec, &damaged);
                (bytes.len(), done.err().map(|error| error.to_string()))
            };
            let errors: Vec<_> = [reference].into_iter().chain(codecs()).map(error).collect();
            assert!(
                errors.iter().all(|error| *error == errors[0]),
                "{forms:?}, byte {byte}: {errors:?}"
            );
            damages += 1;
            rules += usize::from(errors[0].1.is_some());
        }
        assert!(2 * rules > damages, "{forms:?}: {rules} of {damages}");
    }
}

/// Returns the output before the error, too.
fn handed_out(codec: Codec, file: &[u8]) -> (Vec<u8>, Result<(), ReadError>) {
    let open = OpenFile::read(file).unwrap();
    let container = open.container().with_codec(codec);
    let tensor = container.directory().tensor(0).unwrap();
    let mut bytes = Vec::new();
    let done = decode_tensor(&container, &tensor, &Serial, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    (bytes, done)
}

#[test]
fn nothing_of_a_damaged_chunk_is_handed_out() {
    const CHUNKS: usize = 4;
    let weights = trained_like(4096 * CHUNKS);
    let original = bytes_of(&weights);
    for encoding in ENCODINGS {
        let file = container_of(&weights, encoding, 12);
        let payload = coded_payloads(&file)[0];
        for chunk in 0..CHUNKS {
            // Every record decodes, so only the checksum detects the damage.
            let mut damaged = file.clone();
            damaged[payload.chunk(chunk as u64).plain.offset as usize] ^= 1;
            for codec in codecs() {
                let (bytes, done) = handed_out(codec, &damaged);
                let rule = done.unwrap_err().rule();
                assert_eq!(rule, Some(Rule::RecordCrc), "{codec:?}, {encoding:?}");
                assert!(bytes == original[..chunk << 13], "{codec:?}");
            }
        }
    }
}

#[test]
fn nothing_of_a_chunk_with_a_damaged_record_of_any_field_is_handed_out() {
    for forms in several_fields().filter(|forms| forms.is_coded()) {
        let size = forms.dtype().weight_bytes();
        let weights = forms::weights(forms, 3 * 4096, 2);
        let file = forms::file_of(forms, 12, &weights);
        let payload = coded_payloads(&file)[0];
        for record in records(&file, &payload) {
            let mut damaged = file.clone();
            damaged[record.extent.end() as usize - 1] ^= 0x80;
            for codec in codecs() {
                let (bytes, done) = handed_out(codec, &damaged);
                let rule = done.unwrap_err().rule();
                assert_eq!(rule, Some(Rule::RecordCrc), "{codec:?}, {forms:?}");
                let before = (record.chunk as usize * size) << 12;
                assert!(bytes == weights[..before], "{codec:?}, {forms:?}");
            }
        }
    }
}
