//! Containers of a tensor "w" of any type, in chosen forms.

#![allow(dead_code, reason = "each test uses a part")]

use unweight_cpu::ChunkRecords;
use unweight_cpu::fast::{Codec, Scratch};
use unweight_cpu::reference::{TensorPlan, ValueCounts};
use unweight_format::layout::{FIELDS, NARROW_BITS};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Form, Forms, SourceKind, crc32};
use unweight_testkit::Random;

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
/// 2^`chunk_size_log2` weights if a field is coded. The palettes are those of section 11.
pub fn file_of(forms: Forms, chunk_size_log2: u8, weights: &[u8]) -> Vec<u8> {
    let dtype = forms.dtype();
    let size = dtype.weight_bytes();
    let shape = [weights.len() as u64 * 8 / dtype.bits()];
    let declared = vec![Declaration::new("w", dtype, &shape)];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let codec = Codec::current();
    let mut first = [0; 8];
    if let Some(weight) = weights.get(..size) {
        first[..size].copy_from_slice(weight);
    }
    let count = |coded: unweight_format::CodedField| {
        let mut counts = ValueCounts::default();
        codec.count_field(dtype, coded.field, weights, &mut counts);
        counts
    };
    let counts: Vec<ValueCounts> = forms.coded().map(count).collect();
    let plan = TensorPlan::new(forms, u64::from_le_bytes(first), &counts);
    let plain_bytes =
        |weights: &[u8]| (weights.len() / size * forms.plain_bits() as usize).div_ceil(8);
    if forms.is_coded() {
        let mut coded = writer.coded(plan.palettes(), chunk_size_log2).unwrap();
        let (mut scratch, mut records) = (Scratch::default(), ChunkRecords::default());
        for chunk in weights.chunks(size << chunk_size_log2) {
            let mut plain = vec![0; plain_bytes(chunk)];
            records.clear();
            let counts = [None; FIELDS];
            codec.encode_chunk(
                &mut scratch,
                &plan,
                &counts,
                chunk,
                &mut plain,
                &mut records,
            );
            let records: Vec<&[u8]> = records.iter().collect();
            coded.chunk(&plain, &records).unwrap();
        }
        coded.finish(crc32(weights)).unwrap();
    } else {
        let mut plain = vec![0; plain_bytes(weights)];
        codec.split(forms, weights, &mut plain, &mut []);
        let mut writer = writer.plain(plan.palettes()).unwrap();
        writer.write(&plain).unwrap();
        writer.finish(crc32(weights)).unwrap();
    }
    writer.finish().unwrap()
}
