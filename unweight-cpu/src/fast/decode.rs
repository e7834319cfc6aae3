//! Decoding of records into values, and of chunks into weights, with the kernels of an ISA (section
//! 7).

use unweight_format::layout::{FIELDS, STEP_WEIGHTS};
use unweight_format::{Body, Error, Palette, Palettes, Patch, Record};

use super::bf16;
use super::checked::{Checksums, continued};
use super::kernels::{Kernels, Parts};
use super::layout::{Layout, Placing};
use super::output::Output;
use super::scratch::{LARGEST_CHUNK, Scratch, Values};
use crate::reference;

/// What a chunk's weights are decoded from.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) palettes: &'a Palettes,
    /// The record of each coded field.
    pub(super) records: &'a [Record<'a>],
    /// The chunk's bytes of the plain plane.
    pub(super) plain: &'a [u8],
}

impl Chunk<'_> {
    /// Number of weights, given their bytes.
    ///
    /// # Panics
    /// If the parts do not fit each other. Kernels rely on this.
    pub(super) fn weights(&self, bytes: usize) -> usize {
        let forms = self.palettes.forms();
        let size = forms.dtype().weight_bytes();
        assert!(bytes.is_multiple_of(size), "whole weights");
        let count = bytes / size;
        let plain_bits = count * forms.plain_bits() as usize;
        assert_eq!(
            self.plain.len(),
            plain_bits.div_ceil(8),
            "plain bytes of the weights"
        );
        assert_eq!(
            self.records.len(),
            forms.coded_count(),
            "a record of each coded field"
        );
        for (record, coded) in self.records.iter().zip(forms.coded()) {
            let shape = record.shape();
            assert_eq!(
                shape.weights() as usize,
                count,
                "records of so many weights"
            );
            assert_eq!(shape.width(), coded.field.width(), "records of the fields");
        }
        count
    }

    fn palette(&self, number: usize) -> &Palette {
        let palette = self.palettes.coded(number);
        palette.expect("a palette of each coded field")
    }
}

/// Decodes a chunk into its little-endian weights.
pub(super) fn weights(
    kernels: &Kernels,
    scratch: &mut Scratch,
    chunk: &Chunk<'_>,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let count = chunk.weights(output.len());
    if chunk.palettes.forms().is_bf16_exponent() {
        let palette = chunk.palette(0);
        return bf16_weights(
            kernels,
            scratch,
            &chunk.records[0],
            palette,
            chunk.plain,
            output,
        );
    }
    if let Some(done) = joined(kernels, scratch, chunk, output) {
        return done.map(|_| ());
    }
    scratch.with_values(chunk.records.len(), |scratch, buffers| {
        let decoded = values_of(kernels, scratch, chunk, buffers, count)?;
        let decoded = &decoded[..chunk.records.len()];
        join_weights(kernels, chunk.palettes, chunk.plain, decoded, output);
        Ok(())
    })
}

/// Decodes the first records of a chunk into these buffers, one for each. Returns `count` bytes of
/// each buffer.
fn values_of<'b>(
    kernels: &Kernels,
    scratch: &mut Scratch,
    chunk: &Chunk<'_>,
    buffers: &'b mut [Values],
    count: usize,
) -> Result<[&'b [u8]; FIELDS], Error> {
    let mut decoded = [&[][..]; FIELDS];
    for (number, (buffer, decoded)) in buffers.iter_mut().zip(&mut decoded).enumerate() {
        let record = &chunk.records[number];
        let weights = record.shape().weights() as usize;
        let palette = chunk.palette(number);
        values(
            kernels,
            scratch,
            number,
            record,
            palette,
            &mut buffer[..weights],
        )?;
        *decoded = &buffer[..count];
    }
    Ok(decoded)
}

/// Decodes a chunk with the kernel that joins the last coded field with all else. Returns what the
/// kernel returns behind the lanes' ends, or None if the kernel is not for the chunk.
fn joined(
    kernels: &Kernels,
    scratch: &mut Scratch,
    chunk: &Chunk<'_>,
    output: &mut Output<'_>,
) -> Option<Result<u32, Error>> {
    let kernel = &kernels.decode_joined;
    let (last, others) = chunk.records.split_last()?;
    let Body::Huffman { code, lanes } = last.body() else {
        return None;
    };
    let layout = Layout::with_constants(chunk.palettes);
    if !(kernel.fits)(&layout) {
        return None;
    }
    let whole_steps = chunk.weights(output.len()).next_multiple_of(STEP_WEIGHTS);
    let palette = chunk.palette(others.len());
    Some(scratch.with_values(others.len(), |scratch, buffers| {
        let decoded = values_of(kernels, scratch, chunk, buffers, whole_steps)?;
        scratch.prepare(others.len(), code, lanes, palette, layout.placing());
        let parts = Parts {
            layout: &layout,
            plain: chunk.plain,
            values: &decoded[..others.len()],
            patches: last.patches(),
        };
        let (ends, checksum) = (kernel.decode)(scratch, &parts, output);
        match scratch.lanes.end_at(&ends) {
            true => Ok(checksum),
            false => Err(broken_rule(last, palette)),
        }
    }))
}

/// Joins plain bytes and the values of each coded field into weights.
///
/// # Panics
/// If the lengths do not match.
pub(super) fn join_weights(
    kernels: &Kernels,
    palettes: &Palettes,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
) {
    let layout = Layout::with_constants(palettes);
    let of_fields = values.iter().map(|values| values.len());
    layout.require_lengths(output.len(), plain.len(), of_fields);
    match values {
        _ if palettes.forms().is_raw() => output.put_slice(0, plain),
        [exponents] if palettes.forms().is_bf16_exponent() => {
            (kernels.bf16.join)(exponents, plain, output)
        }
        _ => (kernels.join)(&layout, plain, values, output),
    }
}

/// Same as [`weights`], but for chunks with kernels that also compute checksums. Returns None for
/// others.
pub(super) fn weights_checked(
    kernels: &Kernels,
    scratch: &mut Scratch,
    chunk: &Chunk<'_>,
    record_so_far: u32,
    output: &mut Output<'_>,
) -> Option<Result<Checksums, Error>> {
    if !chunk.palettes.forms().is_bf16_exponent() {
        if !kernels.decode_joined.is_checked {
            return None;
        }
        let done = joined(kernels, scratch, chunk, output)?;
        return Some(done.map(|weights| Checksums {
            record: continued(record_so_far, chunk.plain),
            weights,
        }));
    }
    let kernel = kernels.bf16.decode_checked?;
    let record = &chunk.records[0];
    let Body::Huffman { code, lanes } = record.body() else {
        return None;
    };
    chunk.weights(output.len());
    scratch.prepare(0, code, lanes, chunk.palette(0), Placing::default());
    let (ends, checksums) = kernel(
        scratch,
        chunk.plain,
        record.patches(),
        record_so_far,
        output,
    );
    Some(match scratch.lanes.end_at(&ends) {
        true => Ok(checksums),
        false => Err(broken_rule(record, chunk.palette(0))),
    })
}

/// Decodes a chunk of BF16 weights of which the exponent alone is coded.
fn bf16_weights(
    kernels: &Kernels,
    scratch: &mut Scratch,
    record: &Record<'_>,
    palette: &Palette,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> Result<(), Error> {
    match record.body() {
        Body::Verbatim(exponents) => (kernels.bf16.join)(exponents, sign_mantissa, output),
        Body::Palette(indices) => {
            (kernels.bf16.join_indices)(palette, indices, sign_mantissa, output)
        }
        Body::Huffman { code, lanes } => {
            scratch.prepare(0, code, lanes, palette, Placing::default());
            let ends = (kernels.bf16.decode)(scratch, sign_mantissa, output);
            if !scratch.lanes.end_at(&ends) {
                return Err(broken_rule(record, palette));
            }
        }
    }
    for Patch { position, value } in record.patches().iter() {
        let position = usize::from(position);
        let bytes = bf16::weight(sign_mantissa[position], value).to_le_bytes();
        output.put(2 * position, bytes);
    }
    Ok(())
}

/// Decodes a record of coded field `number` into the values of its chunk.
pub(super) fn values(
    kernels: &Kernels,
    scratch: &mut Scratch,
    number: usize,
    record: &Record<'_>,
    palette: &Palette,
    values: &mut [u8],
) -> Result<(), Error> {
    let shape = record.shape();
    // Kernels write all values, and read no more than a record of them has.
    assert_eq!(values.len(), shape.weights() as usize);
    assert!(values.len() <= LARGEST_CHUNK);
    match record.body() {
        Body::Verbatim(bytes) if shape.width() == 8 => values.copy_from_slice(bytes),
        Body::Verbatim(bytes) => {
            let layout = Layout::of_values(shape.width());
            (kernels.join)(&layout, bytes, &[], &mut Output::from(&mut *values));
        }
        Body::Palette(indices) => {
            let of = |index: u8| palette.padded()[usize::from(index)];
            let (pairs, last) = values.as_chunks_mut::<2>();
            for (pair, byte) in pairs.iter_mut().zip(*indices) {
                *pair = [of(byte & 15), of(byte >> 4)];
            }
            if let ([last], Some(byte)) = (last, indices.get(pairs.len())) {
                *last = of(byte & 15);
            }
        }
        Body::Huffman { code, lanes } => {
            scratch.prepare(number, code, lanes, palette, Placing::default());
            let mut output = Output::from(&mut values[..]);
            let ends = (kernels.decode_values)(scratch, &mut output);
            if !scratch.lanes.end_at(&ends) {
                return Err(broken_rule(record, palette));
            }
        }
    }
    for Patch { position, value } in record.patches().iter() {
        values[usize::from(position)] = value;
    }
    Ok(())
}

/// Finds the lane of a record that breaks a rule, and the rule. The reference decoder produces this
/// error. It reads zeros past the end of a lane, where a kernel reads the following bytes. A number
/// in a kernel's error could therefore differ, though not whether there is one.
#[cold]
fn broken_rule(record: &Record<'_>, palette: &Palette) -> Error {
    reference::decode_values(record, palette, &mut Vec::new())
        .expect_err("a kernel found a lane that ends at the wrong place")
}
