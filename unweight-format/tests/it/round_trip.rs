//! Files of the writer, read by the parser and decoded as section 7 says.

use crate::support::{Body, FOUR_CODES, NO_BITS, decode::decode, example, write_tensor};
use proptest::prelude::*;
use unweight_format::bits::{pack, unpack};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{
    Directory, Dtype, Encoding, Extensions, Extent, FileHeader, Form, Palette, Palettes,
    RecordEnds, SourceKind,
};

#[test]
fn files_with_every_form_decode_to_their_tensors() {
    for (tensors, file) in [example::small(), example::whole()] {
        let data: Vec<_> = tensors.into_iter().map(|tensor| tensor.data).collect();
        assert!(decode(&file).unwrap() == data);
    }
}

#[test]
fn every_byte_of_a_file_counts() {
    let (_, file) = example::small();
    // All bits of header, extensions and directory; one bit or two of each other byte.
    let front = 8 * FileHeader::parse(&file).unwrap().directory().end() as usize;
    for bit in (0..front).chain((front..8 * file.len()).step_by(7)) {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        // The minor version is ignored, but has a checksum.
        assert!(decode(&file).is_err(), "bit {bit}");
    }
}

#[test]
fn extension_items_are_found_again() {
    let (_, file) = example::small();
    let header = FileHeader::parse(&file).unwrap();
    let bytes = header.extensions().of(&file).unwrap();
    let extensions = Extensions::parse(&header, bytes, &[]).unwrap();
    assert_eq!(extensions.iter().collect::<Vec<_>>(), [example::NOTE]);
    assert!(!extensions.iter().next().unwrap().is_critical());
    assert_eq!(header.source().of(&file).unwrap(), example::SOURCE);
}

#[test]
fn tensors_of_a_file_have_their_forms_and_palettes() {
    let (tensors, file) = example::whole();
    let header = FileHeader::parse(&file).unwrap();
    let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
    for expected in &tensors {
        let tensor = directory.find(expected.name).unwrap();
        assert_eq!(tensor.forms(), expected.palettes.forms());
        assert!(tensor.shape().eq(expected.shape.iter().copied()));
        let stored = tensor.payload().palettes().of(&file).unwrap();
        assert_eq!(Palettes::parse(&tensor, stored), Ok(expected.palettes));
    }
    let w = directory.find("w").unwrap();
    let forms: Vec<Form> = w.forms().iter().map(|(_, form)| form).collect();
    assert_eq!(forms, [Form::Palette, Form::Huffman, Form::Plain]);
    assert_eq!(w.payload().chunk_count(), 2);
    assert_eq!(directory.find("bytes").unwrap().payload().block_count(), 2);
}

#[test]
fn record_ends_of_some_chunks_locate_their_records() {
    let (_, file) = example::whole();
    let header = FileHeader::parse(&file).unwrap();
    let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
    let w = directory.find("w").unwrap();
    let payload = w.payload();
    let all = RecordEnds::parse(payload, payload.record_ends().of(&file).unwrap()).unwrap();
    for chunks in [0..1, 1..2, 0..2] {
        let bytes = payload.record_ends_of(chunks.clone()).of(&file).unwrap();
        let some = RecordEnds::parse_chunks(payload, chunks.clone(), bytes).unwrap();
        for chunk in chunks {
            assert_eq!(some.chunk(chunk), all.chunk(chunk));
            let [first, second] = [0, 1].map(|coded| some.record(chunk, coded));
            assert_eq!(
                (first.offset, first.end()),
                (some.chunk(chunk).offset, second.offset)
            );
            assert_eq!(second, all.record(chunk, 1));
            assert_eq!(second.end(), some.chunk(chunk).end());
        }
    }
    assert_eq!(all.chunk(1).end(), payload.end());
}

#[test]
fn parts_padding_and_guard_cover_a_file_without_a_gap() {
    let (_, file) = example::whole();
    let header = FileHeader::parse(&file).unwrap();
    let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
    let mut covered = vec![header.directory(), header.source(), header.extensions()];
    covered.push(header.padding());
    for tensor in directory.tensors() {
        let payload = tensor.payload();
        let [before, behind_plain, before_palettes, before_records] = tensor.padding();
        covered.extend([
            before,
            payload.plain(),
            behind_plain,
            payload.block_checksums(),
        ]);
        covered.extend([before_palettes, payload.palettes(), payload.record_ends()]);
        covered.extend([before_records, payload.records()]);
    }
    covered.push(directory.guard());
    let mut end = 64;
    for Extent { offset, length } in covered {
        assert_eq!(offset, end);
        end += length;
    }
    assert_eq!(end, file.len() as u64);
}

/// Forms of a type, with palettes, and data that keeps constant fields constant.
fn tensor() -> impl Strategy<Value = (Palettes, Vec<u8>)> {
    let dtype = proptest::sample::select(Dtype::ALL);
    let fields = proptest::collection::vec((0u8..4, any::<u8>()), 8);
    let bytes = proptest::collection::vec(any::<u8>(), 0..6000);
    (dtype, fields, bytes).prop_map(|(dtype, fields, bytes)| {
        let width = 8 * dtype.weight_bytes() as u32;
        let mut palettes = Palettes::raw(dtype);
        if bytes.len() >= dtype.weight_bytes() {
            for ((number, field), (form, value)) in dtype.fields().iter().enumerate().zip(fields) {
                let value = field.get(field.put(0, value));
                let base = value.min(field.mask().checked_shr(field.low()).unwrap() as u8 / 2);
                let palette = match field.width() {
                    ..=4 => Palette::lowest(field.width()),
                    width => Palette::new(width, core::array::from_fn(|i| base + i as u8)).unwrap(),
                };
                let encoding = match form {
                    2 if field.width() > 4 => Encoding::Palette,
                    _ => Encoding::Huffman,
                };
                palettes = match form {
                    0 => continue,
                    3 => palettes.with_constant(number, value).unwrap(),
                    _ => palettes.with_coded(number, encoding, palette).unwrap(),
                };
            }
        }
        let constant = |weight| {
            let fields = palettes
                .forms()
                .iter()
                .filter(|(_, form)| *form == Form::Constant);
            fields.fold(weight, |weight, (field, _)| {
                field.put(weight, field.get(palettes.constant_bits()))
            })
        };
        let data = pack(unpack(&bytes, width).map(constant), width).collect();
        (palettes, data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tensors_of_any_type_and_forms_decode_to_their_bytes((palettes, data) in tensor()) {
        let dtype = palettes.forms().dtype();
        let elements = 8 * data.len() as u64 / dtype.bits();
        // Types of 6 bits fill whole bytes only where 4 elements do.
        let elements = if dtype.bits() == 6 { elements / 4 * 4 } else { elements };
        let data = &data[..(elements * dtype.bits() / 8) as usize];
        let forms = if data.is_empty() { Palettes::raw(dtype) } else { palettes };
        let shape = [elements];
        let declared = vec![Declaration::new("t", dtype, &shape)];
        let mut writer =
            ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        write_tensor(&mut writer, &forms, 12, data, |chunk, coded| {
            let encoding = forms.forms().coded_field(coded).unwrap().encoding;
            let entries = forms.coded(coded).unwrap().values().len();
            match (chunk % 3, encoding) {
                (0, Encoding::Palette) => Body::Indices,
                (0, Encoding::Huffman) if entries >= 4 => FOUR_CODES,
                (1, Encoding::Huffman) => NO_BITS,
                _ => Body::Verbatim,
            }
        });
        let file = writer.finish().unwrap();
        prop_assert_eq!(decode(&file).unwrap(), vec![data.to_vec()]);
    }
}
