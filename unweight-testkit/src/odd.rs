//! Valid tensors that no canonical encoder writes.

use std::collections::BTreeSet;

use unweight_cpu::reference::{FieldPlan, TensorPlan, ValueCounts, encode_values, split};
use unweight_format::layout::{
    self, LANE_STEP_WEIGHTS, LANES, NARROW_BITS, PALETTE_ENTRIES, STEP_WEIGHTS,
};
use unweight_format::write::{ContainerWriter, RecordBody, write_record};
use unweight_format::{
    CanonicalCode, Code, CodedField, Encoding, Form, Forms, Palette, Palettes, Patch, bits, crc32,
};

use crate::{Random, Tensor};

/// Forms that the tensor can have: constant ones where all weights agree.
pub(crate) fn any_forms(tensor: &Tensor, random: &mut Random) -> Forms {
    let mut forms = Forms::raw(tensor.dtype);
    let others_are_plain = random.below(3) == 0;
    for (number, field) in tensor.dtype.fields().iter().enumerate() {
        let mut weights = weights_of(tensor).map(|weight| field.get(weight));
        let first = weights.next();
        let is_constant = weights.all(|value| Some(value) == first);
        let encoding = match field.width() > NARROW_BITS {
            true => tensor.form.encoding,
            false => Encoding::Huffman,
        };
        let form = match random.below(4) {
            0 if is_constant => Form::Constant,
            1..=3 if number == 0 || !others_are_plain => encoding.form(),
            _ => Form::Plain,
        };
        forms = forms.with(number, form).expect("the field can have it");
    }
    forms
}

fn weights_of(tensor: &Tensor) -> impl Iterator<Item = u64> {
    bits::unpack(&tensor.data, 8 * tensor.dtype.weight_bytes() as u32)
}

/// Writes the next tensor with these forms and odd records.
pub(crate) fn write_odd(
    writer: &mut ContainerWriter<'_, Vec<u8>>,
    tensor: &Tensor,
    forms: Forms,
    random: &mut Random,
) {
    let first = weights_of(tensor).next().expect("weights");
    let counts: Vec<ValueCounts> = forms
        .coded()
        .map(|coded| {
            let mut counts = ValueCounts::default();
            counts.add_weights(coded.field, tensor.dtype.weight_bytes(), &tensor.data);
            counts
        })
        .collect();
    let plan = TensorPlan::new(forms, first, &counts);
    let fields: Vec<OddField<'_>> = plan
        .fields()
        .map(|plan| OddField::of(plan, random))
        .collect();
    let mut palettes = *plan.palettes();
    for field in &fields {
        let CodedField {
            field_number,
            encoding,
            ..
        } = field.coded;
        palettes = palettes
            .with_coded(field_number, encoding, field.palette)
            .expect("the palette has the width of its field");
    }
    store(writer, tensor, &palettes, |number, values, plain| {
        fields[number].record(values, plain, random)
    });
}

/// Writes the next tensor with verbatim records of its first field.
pub(crate) fn write_verbatim(writer: &mut ContainerWriter<'_, Vec<u8>>, tensor: &Tensor) {
    let field = tensor.dtype.fields().first().expect("a type with a field");
    let encoding = match field.width() > NARROW_BITS {
        true => tensor.form.encoding,
        false => Encoding::Huffman,
    };
    let palettes = Palettes::raw(tensor.dtype)
        .with_coded(0, encoding, Palette::lowest(field.width()))
        .expect("the palette has the width of its field");
    store(writer, tensor, &palettes, |_, values, plain| {
        let mut record = Vec::new();
        let bits = verbatim(values, field.width());
        write_record(&RecordBody::Verbatim(&bits), &[], plain, &mut record);
        record
    });
}

/// Writes the next tensor with records from `record`, which gets the number of the coded field, the
/// values of a chunk, and the bytes that the record's checksum covers too.
fn store(
    writer: &mut ContainerWriter<'_, Vec<u8>>,
    tensor: &Tensor,
    palettes: &Palettes,
    mut record: impl FnMut(usize, &[u8], &[u8]) -> Vec<u8>,
) {
    let forms = palettes.forms();
    let checksum = crc32(&tensor.data);
    if !forms.is_coded() {
        let mut plain = Vec::new();
        split(forms, &tensor.data, &mut plain, &mut []);
        let mut writer = writer
            .plain(palettes)
            .expect("a tensor with weights is left");
        writer.write(&plain).expect("the plane has its length");
        return writer.finish(checksum).expect("the plane was written");
    }
    let chunk_size_log2 = tensor.form.chunk_size_log2;
    let mut coded = writer
        .coded(palettes, chunk_size_log2)
        .expect("a tensor with weights is left");
    for weights in tensor
        .data
        .chunks(tensor.dtype.weight_bytes() << chunk_size_log2)
    {
        let (mut plain, mut values) = (Vec::new(), vec![Vec::new(); forms.coded_count()]);
        split(forms, weights, &mut plain, &mut values);
        let records: Vec<Vec<u8>> = values
            .iter()
            .enumerate()
            .map(|(number, values)| {
                let joined = if number == 0 { &plain[..] } else { &[] };
                record(number, values, joined)
            })
            .collect();
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        coded
            .chunk(&plain, &records)
            .expect("the records fit their chunk");
    }
    coded.finish(checksum).expect("all chunks were written");
}

/// A coded field of a tensor with odd records.
struct OddField<'p> {
    coded: CodedField,
    palette: Palette,
    plan: &'p FieldPlan,
}

impl<'p> OddField<'p> {
    fn of(plan: &'p FieldPlan, random: &mut Random) -> OddField<'p> {
        let width = plan.coded().field.width();
        let palette = match random.below(4) {
            0 if width > NARROW_BITS => any_palette(width, random),
            _ => *plan.palette(),
        };
        OddField {
            coded: *plan.coded(),
            palette,
            plan,
        }
    }

    fn record(&self, values: &[u8], joined: &[u8], random: &mut Random) -> Vec<u8> {
        let mut record = Vec::new();
        let bits = verbatim(values, self.palette.width());
        let verbatim = RecordBody::Verbatim(&bits);
        if random.below(8) == 0 {
            write_record(&verbatim, &[], joined, &mut record);
            return record;
        }
        if random.below(8) == 0 && self.palette == *self.plan.palette() {
            encode_values(self.plan, values, joined, &mut record);
            return record;
        }
        let (lane_ends, streams, indices, coded);
        let code = any_code(self.palette.values().len(), random);
        let body = match self.coded.encoding {
            Encoding::Palette => {
                (indices, coded) = pack(&self.palette, values, random);
                RecordBody::Palette(&indices)
            }
            Encoding::Huffman => {
                (lane_ends, streams, coded) = lanes(&code, &self.palette, values, random);
                RecordBody::Huffman {
                    code: &code,
                    lane_ends: &lane_ends,
                    streams: &streams,
                }
            }
        };
        // A weight that is not coded correctly needs a patch. Some other weights get one too.
        let patches: Vec<Patch> = (0..=u16::MAX)
            .zip(values.iter().zip(&coded))
            .filter(|&(_, (value, coded))| value != coded || random.below(100) == 0)
            .map(|(position, (&value, _))| Patch { position, value })
            .collect();
        if patches.len() > usize::from(u16::MAX)
            || body.record_bytes(patches.len()) > verbatim.record_bytes(0)
        {
            write_record(&verbatim, &[], joined, &mut record);
        } else {
            write_record(&body, &patches, joined, &mut record);
        }
        record
    }
}

/// The bit string of values of so many bits.
fn verbatim(values: &[u8], width: u32) -> Vec<u8> {
    bits::pack(values.iter().map(|&value| value.into()), width).collect()
}

/// A palette of any 16 values of a field of `width` bits, more than 4.
fn any_palette(width: u32, random: &mut Random) -> Palette {
    let all = 1 << width;
    let mut chosen = BTreeSet::new();
    let (base, spread) = (random.below(all), 16 + random.below(all - 15));
    while chosen.len() < PALETTE_ENTRIES {
        chosen.insert(((base + random.below(spread)) % all) as u8);
    }
    let mut values = [0; PALETTE_ENTRIES];
    values
        .iter_mut()
        .zip(chosen)
        .for_each(|(place, value)| *place = value);
    Palette::new(width, values).expect("a set ascends")
}

/// Any complete code of a palette with so many entries.
fn any_code(entries: usize, random: &mut Random) -> Code {
    let mut lengths = vec![0u8];
    for _ in 0..random.below(40) {
        let split = random.below(lengths.len() as u64) as usize;
        if lengths[split] < layout::LONGEST_CODE_BITS && lengths.len() < entries {
            lengths[split] += 1;
            lengths.push(lengths[split]);
        }
    }
    let mut by_entry = [None; PALETTE_ENTRIES];
    for length in lengths {
        let mut entry = random.below(entries as u64) as usize;
        while by_entry[entry].is_some() {
            entry = (entry + 1) % entries;
        }
        by_entry[entry] = Some(length);
    }
    Code::from_lengths(by_entry, entries).expect("a split leaves a complete code complete")
}

/// Lane ends, streams, and the values that they code. A value without a code and the surplus get
/// arbitrary codes.
fn lanes(
    code: &Code,
    palette: &Palette,
    values: &[u8],
    random: &mut Random,
) -> ([u16; LANES], Vec<u8>, Vec<u8>) {
    let codes: Vec<CanonicalCode> = code.canonical().collect();
    let steps = values.len().div_ceil(STEP_WEIGHTS);
    let mut coded = vec![0; steps * STEP_WEIGHTS];
    let (mut ends, mut streams) = ([0; LANES], Vec::new());
    for (lane, end) in ends.iter_mut().enumerate() {
        let (mut bits, mut bit_count) = (0u32, 0);
        for step in 0..steps {
            for place in 0..LANE_STEP_WEIGHTS {
                let at = step * STEP_WEIGHTS + lane * LANE_STEP_WEIGHTS + place;
                let entry = values.get(at).and_then(|&value| palette.index_of(value));
                let found = codes
                    .iter()
                    .find(|code| Some(usize::from(code.entry)) == entry);
                let any = || codes[random.below(codes.len() as u64) as usize];
                let code = found.copied().unwrap_or_else(any);
                coded[at] = palette.values()[usize::from(code.entry)];
                bits |= u32::from(code.stream_bits()) << bit_count;
                bit_count += code.length_bits;
                while bit_count >= 8 {
                    streams.push(bits as u8);
                    bits >>= 8;
                    bit_count -= 8;
                }
            }
        }
        if bit_count > 0 {
            streams.push(bits as u8);
        }
        // A lane end past 65,535 makes the record longer than a verbatim one, so this record is not
        // written.
        *end = streams.len().try_into().unwrap_or(u16::MAX);
    }
    (ends, streams, coded)
}

/// Palette indices, and the values that they code. A value outside the palette and the surplus get
/// arbitrary indices.
fn pack(palette: &Palette, values: &[u8], random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let steps = values.len().div_ceil(STEP_WEIGHTS);
    let indices: Vec<u8> = (0..steps * STEP_WEIGHTS)
        .map(|at| {
            let entry = values.get(at).and_then(|&value| palette.index_of(value));
            entry.map_or_else(|| random.below(16) as u8, |entry| entry as u8)
        })
        .collect();
    let coded = indices
        .iter()
        .map(|&index| palette.values()[usize::from(index)])
        .collect();
    let packed = indices
        .as_chunks()
        .0
        .iter()
        .map(|&[low, high]| low | high << 4)
        .collect();
    (packed, coded)
}
