//! Sections 4.1 and 4.2: every type, every width of a field, and every form.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::code::{Lengths, NONE};
use crate::draft::{Draft, HUFFMAN, PALETTE, Tensor, whole_palette};
use crate::fields::{self, Field, fields};
use crate::record::Record;
use crate::weights::{self, Weights};

pub(super) fn add(cases: &mut Cases) {
    for &dtype in Dtype::ALL {
        if !fields(dtype).is_empty() {
            every_field(cases, dtype);
        }
    }
    mixed_forms(cases);
    several_fields(cases);
    constants(cases);
    narrow_verbatim(cases);
    narrow_patches(cases);
}

/// The numbers of a type's fields.
fn numbers(dtype: Dtype) -> std::ops::Range<usize> {
    0..fields(dtype).len()
}

/// `dtype`'s name as a part of an id.
fn word(dtype: Dtype) -> String {
    dtype.name().to_lowercase().replace('_', "-")
}

/// Weights of which every field is 0 mostly, and otherwise has all its values.
fn skewed(dtype: Dtype, count: usize) -> Vec<u8> {
    let value = |i: usize, field: usize, width: u32| match i % 29 {
        0 => ((i / 29 * (2 * field + 1)) % (1 << width)) as u8,
        _ => 0,
    };
    let values: Vec<_> = fields(dtype)
        .into_iter()
        .enumerate()
        .map(|(number, field)| move |i| value(i, number, field.width()))
        .collect();
    let chosen: Vec<(usize, &dyn Fn(usize) -> u8)> = values
        .iter()
        .enumerate()
        .map(|(number, value)| (number, value as _))
        .collect();
    fields::random_data(dtype, dtype.name(), count, &chosen)
}

/// A palette of a field: all values up to 4 bits; else 0 and every second of the greatest ones.
fn palette(field: Field) -> [u8; 16] {
    let width = field.width();
    match width {
        0..=4 => whole_palette(width),
        _ => std::array::from_fn(|i| match i {
            0 => 0,
            _ => ((1 << width) - 31 + 2 * i as u32) as u8,
        }),
    }
}

/// A code of all entries, in which the first one has 1 bit.
fn code(field: Field) -> Lengths {
    Lengths::most_skewed(1 << field.width().min(4))
}

fn every_field(cases: &mut Cases, dtype: Dtype) {
    let word = word(dtype);
    let tensor = |count| Tensor::flat("w", dtype, skewed(dtype, count)).chunks(12);
    let coded = numbers(dtype).fold(tensor(2049), |tensor, number| {
        let field = fields(dtype)[number];
        tensor.huffman_field(number, palette(field), code(field))
    });
    assert!(coded.stored.iter().all(|field| field.records[0].kind == 1));
    cases.accept(
        &format!("every-field-of-{word}-in-huffman"),
        &["4.1", "4.2", "5.2", "7"],
        "every field of every type can have the form huffman; the bits of no field are plain",
        &Draft::of([coded]),
    );
    let wide = |number: &usize| fields(dtype)[*number].width() > 4;
    if numbers(dtype).any(|number| wide(&number)) {
        let coded = numbers(dtype)
            .filter(wide)
            .fold(tensor(1024), |tensor, number| {
                tensor.palette_field(number, palette(fields(dtype)[number]))
            });
        assert!(coded.stored.iter().all(|field| field.records[0].kind == 2));
        cases.accept(
            &format!("wide-fields-of-{word}-in-palette"),
            &["4.1", "4.2", "5.3", "7"],
            "every field of more than 4 bits can have the form palette",
            &Draft::of([coded]),
        );
    }
    let random = fields::random_data(dtype, &format!("verbatim {word}"), 301, &[]);
    let verbatim = Tensor::flat("w", dtype, random).chunks(12);
    cases.accept(
        &format!("every-field-of-{word}-verbatim"),
        &["2", "4.1", "5.4", "7"],
        "a verbatim record has the values as a bit string, of any width",
        &Draft::of([numbers(dtype).fold(verbatim, |tensor, number| {
            tensor.verbatim_field(number, palette(fields(dtype)[number]))
        })]),
    );
    // The value of each field is the number of the field plus 1, in the bits that it has.
    let value =
        |number: usize| move |_| ((number + 1) & ((1 << fields(dtype)[number].width()) - 1)) as u8;
    let values: Vec<_> = numbers(dtype).map(value).collect();
    let chosen: Vec<(usize, &dyn Fn(usize) -> u8)> = values
        .iter()
        .enumerate()
        .map(|(number, value)| (number, value as _))
        .collect();
    let data = fields::random_data(dtype, &format!("constant {word}"), 301, &chosen);
    let constant = Tensor::flat("w", dtype, data);
    cases.accept(
        &format!("every-field-of-{word}-constant"),
        &["3.5", "4.1", "4.2"],
        "every field of every type can be constant; a tensor without coded fields has no chunks",
        &Draft::of([numbers(dtype).fold(constant, Tensor::constant_field)]),
    );
}

fn mixed_forms(cases: &mut Cases) {
    // The forms of fields 0, 1, 2, ... are plain, huffman, constant, palette (huffman for a narrow
    // field), and again from the start; `first` is the rank of field 0 in this cycle.
    for (dtype, first) in [
        (Dtype::F16, 1),
        (Dtype::Bf16, 1),
        (Dtype::F32, 0),
        (Dtype::F32, 1),
        (Dtype::F32, 2),
        (Dtype::F32, 3),
        (Dtype::F64, 0),
        (Dtype::F64, 3),
        (Dtype::C64, 1),
        (Dtype::C64, 2),
        (Dtype::I32, 2),
        (Dtype::U64, 1),
    ] {
        let all = fields(dtype);
        let form = |number: usize| match (number + first) % 4 {
            3 if all[number].width() <= 4 => 1,
            form => form,
        };
        let constants: Vec<_> = numbers(dtype).filter(|&number| form(number) == 2).collect();
        let zero = |_: usize| 0u8;
        let plain: Vec<(usize, &dyn Fn(usize) -> u8)> = constants
            .iter()
            .map(|&number| (number, &zero as _))
            .collect();
        let skewed = fields::weights(dtype, &skewed(dtype, 2049));
        let noise = fields::random_data(dtype, "noise", 2049, &plain);
        let noise = fields::weights(dtype, &noise);
        let weights: Vec<u64> = skewed
            .into_iter()
            .zip(noise)
            .map(|(skewed, noise)| {
                let kept = numbers(dtype).filter(|&number| matches!(form(number), 1 | 3));
                kept.fold(noise, |weight, number| {
                    all[number].set(weight, all[number].of(skewed))
                })
            })
            .collect();
        let tensor = Tensor::flat("w", dtype, fields::data(dtype, &weights)).chunks(12);
        let tensor = numbers(dtype).fold(tensor, |tensor, number| match form(number) {
            1 => tensor.huffman_field(number, palette(all[number]), code(all[number])),
            2 => tensor.constant_field(number),
            3 => tensor.palette_field(number, palette(all[number])),
            _ => tensor,
        });
        cases.accept(
            &format!("mixed-forms-of-{}-from-{first}", word(dtype)),
            &["3.5", "4.2", "5.1"],
            "each field of a tensor has a form of its own; palettes and records stand in the order of fields",
            &Draft::of([tensor]),
        );
    }
}

fn several_fields(cases: &mut Cases) {
    let bf16 = |count: usize| {
        let weights = Weights::skewed(&format!("{count} in fields"), &weights::PALETTE, count);
        let bits = weights.bytes();
        let bits = bits
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        // The mantissa is 0 mostly, so that the narrow fields have huffman records too.
        let rare = |(i, bits): (usize, u16)| if i % 5 > 0 { bits & 0xff80 } else { bits };
        Weights::of_bits(bits.enumerate().map(rare))
    };
    let huffman =
        |count: usize| Tensor::huffman("w", 12, weights::PALETTE, &bf16(count), Lengths::skewed());
    let narrow = |number| {
        let field = fields(Dtype::Bf16)[number];
        (palette(field), code(field))
    };
    for count in [1, 7, 8, 9, 255, 257, 4096, 4097, 4103, 8449] {
        let words = if count == 1 { "weight" } else { "weights" };
        let (palette, code) = narrow(1);
        cases.accept(
            &format!("two-coded-fields-of-{count}-{words}"),
            &["2", "3.5", "5.1"],
            "5 plain bits of each weight; the records of a chunk stand together",
            &Draft::of([huffman(count).huffman_field(1, palette, code)]),
        );
    }
    let (second, third) = (narrow(1), narrow(2));
    let all = |count| {
        let tensor = huffman(count).huffman_field(1, second.0, second.1);
        tensor.huffman_field(2, third.0, third.1)
    };
    for count in [1, 8, 13, 4097, 8201] {
        let words = if count == 1 { "weight" } else { "weights" };
        cases.accept(
            &format!("three-coded-fields-of-{count}-{words}"),
            &["2", "3.5", "5.1"],
            "one plain bit of each weight; the records of a chunk stand together",
            &Draft::of([all(count)]),
        );
    }
    for (id, number) in [("second", 1), ("third", 2)] {
        let (palette, code) = narrow(number);
        let tensor = Tensor::raw_weights("w", &bf16(4096 + 301)).chunks(12);
        cases.accept(
            &format!("{id}-field-coded-alone"),
            &["4.2", "5.1"],
            "the record of a chunk's first coded field covers the plain bytes, whichever field it is",
            &Draft::of([tensor.huffman_field(number, palette, code)]),
        );
    }
    // Every second record of either field is verbatim.
    let (palette, code) = narrow(1);
    let verbatim = |wanted: usize, width: u32, coded: Record, values: &[u8], number: usize| {
        if number % 2 == wanted {
            Record::verbatim_of(values, width)
        } else {
            coded
        }
    };
    let tensor = Tensor::raw_weights("w", &bf16(2 * 4096)).chunks(12);
    let tensor = tensor
        .field(0, HUFFMAN, weights::PALETTE, |number, values| {
            let coded = Record::huffman(Lengths::skewed(), &weights::PALETTE, values);
            verbatim(1, 8, coded, values, number)
        })
        .field(1, HUFFMAN, palette, |number, values| {
            verbatim(
                0,
                3,
                Record::huffman(code, &palette, values),
                values,
                number,
            )
        });
    cases.accept(
        "verbatim-records-of-either-field",
        &["5.1", "5.4"],
        "each record of a chunk may be verbatim or not, on its own",
        &Draft::of([tensor]),
    );
    // A huffman field beside a palette field, in each order.
    for (id, forms) in [
        ("before", [HUFFMAN, PALETTE]),
        ("behind", [PALETTE, HUFFMAN]),
    ] {
        let data = skewed(Dtype::C64, 1024);
        let tensor = Tensor::flat("w", Dtype::C64, data).chunks(13);
        let tensor = [0, 4]
            .into_iter()
            .zip(forms)
            .fold(tensor, |tensor, (number, form)| {
                let field = fields(Dtype::C64)[number];
                let palette = self::palette(field);
                match form {
                    HUFFMAN => tensor.huffman_field(number, palette, self::code(field)),
                    _ => tensor.palette_field(number, palette),
                }
            });
        cases.accept(
            &format!("huffman-field-{id}-a-palette-field"),
            &["4.2", "5.1"],
            "a tensor may have fields in the forms huffman and palette",
            &Draft::of([tensor]),
        );
    }
}

fn constants(cases: &mut Cases) {
    // There are few different bytes, because the repository contains these files.
    let weights = |count: u64| -> Vec<u64> {
        (0..count)
            .map(|i| ((i % 233) << 7) & 0xff80 | 0x2f)
            .collect()
    };
    let tensor = |name: &str, count: u64| {
        let data = fields::data(Dtype::Bf16, &weights(count));
        Tensor::flat(name, Dtype::Bf16, data)
    };
    for count in [1, 7, 32_767, 32_768, 58_254, 58_255] {
        let words = if count == 1 { "weight" } else { "weights" };
        cases.accept(
            &format!("constants-of-{count}-{words}"),
            &["3.5", "4.2"],
            "9 plain bits of each weight; more than 65,536 bytes of them have block checksums, and 65,536 original bytes another alignment",
            &Draft::of([
                tensor("w", count).constant_field(1).constant_field(2),
                Tensor::bytes("behind", b"raw".to_vec()),
            ]),
        );
    }
    let weights = Weights::new("constant exponent", vec![120; 4096 + 300]);
    let coded = Tensor::raw_weights("w", &weights).chunks(12).even_field(2);
    cases.accept(
        "constant-exponent-beside-a-coded-mantissa",
        &["3.5", "4.2", "7"],
        "a constant has a palette and no records",
        &Draft::of([coded.constant_field(0)]),
    );
    cases.accept(
        "constants-of-0-and-of-all-ones",
        &["3.5", "4.2"],
        "a constant is any value of its field",
        &Draft::of([
            Tensor::flat("zeros", Dtype::F32, vec![0; 400])
                .constant_field(0)
                .constant_field(5),
            Tensor::flat("ones", Dtype::F32, vec![0xff; 400])
                .constant_field(0)
                .constant_field(1)
                .constant_field(4)
                .constant_field(5),
        ]),
    );
}

/// A type and a field of each width that is less than 8.
const NARROW: [(u32, Dtype, usize); 5] = [
    (2, Dtype::F8E5M2, 1),
    (3, Dtype::Bf16, 1),
    (4, Dtype::F8E4M3, 0),
    (5, Dtype::F16, 0),
    (7, Dtype::F8E8M0, 0),
];

fn narrow_verbatim(cases: &mut Cases) {
    for (width, dtype, number) in NARROW {
        assert_eq!(fields(dtype)[number].width(), width);
        let tensors = [1, 2, 3, 5, 7, 8, 9, 16, 31, 300].map(|count| {
            let name = format!("{count} of {width} bits");
            let data = fields::random_data(dtype, &name, count, &[]);
            let tensor = Tensor::flat(&name, dtype, data).chunks(12);
            tensor.verbatim_field(number, palette(fields(dtype)[number]))
        });
        cases.accept(
            &format!("verbatim-records-of-{width}-bits"),
            &["2", "5.4"],
            "values are packed from bit 0 up, each with its least significant bit first",
            &Draft::of(tensors),
        );
    }
}

fn narrow_patches(cases: &mut Cases) {
    for (width, dtype, number) in NARROW {
        let greatest = ((1u32 << width) - 1) as u8;
        // The first palette entry has a code of no bits; all other values are patches.
        let palette = match width {
            2..=4 => whole_palette(width),
            _ => std::array::from_fn(|i| i as u8),
        };
        let value = |i: usize| match i {
            0 | 700 | 1999 => greatest,
            255..=258 => 1,
            _ => 0,
        };
        let data = fields::random_data(dtype, "narrow patches", 2000, &[(number, &value)]);
        let tensor = || Tensor::flat("w", dtype, data.clone()).chunks(12);
        let huffman = tensor().huffman_field(number, palette, Lengths::single(0));
        assert_eq!(huffman.stored[0].records[0].patches.len(), 7);
        cases.accept(
            &format!("huffman-patches-of-{width}-bits"),
            &["5.5"],
            "a patch has any value of its field, up to the greatest",
            &Draft::of([huffman]),
        );
        if width > 4 {
            cases.accept(
                &format!("palette-patches-of-{width}-bits"),
                &["5.5"],
                "a patch has any value of its field, up to the greatest",
                &Draft::of([tensor().palette_field(number, palette)]),
            );
        }
        // Only the last entry that the palette has, and the one before it, have a code.
        let entries = 1usize << width.min(4);
        let mut lengths = Lengths([NONE; 16]);
        lengths.0[entries - 2..entries].copy_from_slice(&[1, 1]);
        let last = |i: usize| palette[entries - 1 - i % 3 % 2];
        let data = fields::random_data(dtype, "last entries", 2000, &[(number, &last)]);
        let tensor = Tensor::flat("w", dtype, data).chunks(12);
        cases.accept(
            &format!("code-of-the-last-two-entries-of-{width}-bits"),
            &["6"],
            "the entries that a palette does not have are those from 2^w on",
            &Draft::of([tensor.huffman_field(number, palette, lengths)]),
        );
    }
}
