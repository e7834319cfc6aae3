//! Containers of a tensor "w" of any type, in chosen forms.

use std::collections::BTreeSet;

use unweight_format::layout::NARROW_BITS;
use unweight_format::{Dtype, Encoding, Form, Forms};

use crate::{Random, Records};

/// Forms of this type: all fields in one form, each field alone in each form, and mixtures.
pub fn forms_of(dtype: Dtype) -> Vec<Forms> {
    let fields = dtype.fields();
    let allowed = |number: usize, form: Form| match form {
        Form::Palette if fields[number].width() <= NARROW_BITS => Form::Huffman,
        other => other,
    };
    let of = |form: &dyn Fn(usize) -> Form| {
        (0..fields.len()).fold(Forms::raw(dtype), |forms, number| {
            forms.with(number, allowed(number, form(number))).unwrap()
        })
    };
    let each = [Form::Plain, Form::Huffman, Form::Palette, Form::Constant];
    let mut all = Vec::new();
    for form in each {
        all.push(of(&|_| form));
        for alone in 0..fields.len() {
            all.push(of(&|number| match number == alone {
                true => form,
                false => Form::Plain,
            }));
        }
    }
    for first in 0..4 {
        all.push(of(&|number| each[(first + number) % 4]));
        all.push(of(&|number| each[(first + 3 * number) % 4]));
    }
    all.sort_by_key(|forms| forms.bits());
    all.dedup();
    all
}

/// Of the forms of all types, one for each case that kernels tell apart: bytes of a weight, number
/// of coded fields, whether their codes, palettes, narrow fields and constants are there, and
/// number of runs of plain bits.
pub fn differing_forms() -> Vec<Forms> {
    let mut cases = BTreeSet::new();
    let all = Dtype::ALL.iter().flat_map(|&dtype| forms_of(dtype));
    all.filter(|forms| cases.insert(case_of(*forms))).collect()
}

fn case_of(forms: Forms) -> (usize, usize, u32, [bool; 4]) {
    let dtype = forms.dtype();
    let has = |wanted| forms.iter().any(|(_, form)| form == wanted);
    let coded = forms.coded();
    let is_narrow = coded.map(|coded| coded.field.width() <= NARROW_BITS);
    let plain = forms
        .iter()
        .fold(dtype.weight_mask(), |mask, (field, form)| match form {
            Form::Plain => mask,
            _ => mask & !field.mask(),
        });
    let runs = (plain & !(plain << 1)).count_ones();
    let kinds = [
        has(Form::Huffman),
        has(Form::Palette),
        has(Form::Constant),
        is_narrow.into_iter().any(|narrow| narrow),
    ];
    (dtype.weight_bytes(), forms.coded_count(), runs, kinds)
}

/// Little-endian weights that such forms suit: constant fields are constant, values of other fields
/// halve, and few are any.
pub fn weights(forms: Forms, count: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let size = forms.dtype().weight_bytes();
    let constant = random.bits();
    let mut bytes = Vec::with_capacity(count * size);
    for _ in 0..count {
        let mut weight = random.bits();
        for (field, form) in forms.iter() {
            let value = match form {
                Form::Constant => field.get(constant),
                _ if random.bits().is_multiple_of(300) => field.get(weight),
                _ => (1u64 << field.width() >> 1)
                    .wrapping_sub(random.bits().trailing_zeros().into()) as u8,
            };
            weight = field.put(weight, value);
        }
        bytes.extend_from_slice(&weight.to_le_bytes()[..size]);
    }
    bytes
}

/// A container of the tensor "w" of these weights in these forms, in chunks of
/// 2^`chunk_size_log2` weights if a field is coded.
pub fn file_of(forms: Forms, chunk_size_log2: u8, weights: &[u8]) -> Vec<u8> {
    let shape = [weights.len() as u64 * 8 / forms.dtype().bits()];
    let form = crate::Form {
        encoding: Encoding::Huffman,
        chunk_size_log2,
        records: Records::Forms {
            bits: forms.bits(),
            seed: weights.len() as u64,
        },
    };
    let tensor = crate::tensor("w", forms.dtype().name(), &shape, weights.to_vec());
    crate::container(&[tensor.stored(form)], false)
}
