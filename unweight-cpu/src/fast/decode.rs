//! Decoding of a record into weights or exponents with the kernels of an ISA (section 7).

use half::bf16;
use unweight_format::{Body, Error, Palette, Patch, Record, weight};

use super::checked::Checksums;
use super::kernels::Kernels;
use super::output::Output;
use super::scratch::{LARGEST_CHUNK, Scratch};
use crate::reference;

/// Decodes a record into the little-endian bytes of its chunk's weights.
pub(super) fn weights(
    kernels: &Kernels,
    scratch: &mut Scratch,
    record: &Record<'_>,
    palette: &Palette,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> Result<(), Error> {
    // These assertions ensure that kernels write the whole output.
    assert_eq!(output.len(), 2 * sign_mantissa.len());
    match record.body() {
        Body::Verbatim(exponents) => assert_eq!(exponents.len(), sign_mantissa.len()),
        Body::Palette(indices) => assert!(2 * indices.len() >= sign_mantissa.len()),
        Body::Huffman { .. } => assert!(sign_mantissa.len() <= LARGEST_CHUNK),
    }
    match record.body() {
        Body::Verbatim(exponents) => (kernels.join)(exponents, sign_mantissa, output),
        Body::Palette(indices) => (kernels.join_indices)(palette, indices, sign_mantissa, output),
        Body::Huffman { code, lanes } => {
            scratch.table.prepare(code, palette);
            scratch.lanes.fill(lanes);
            let ends = (kernels.decode_weights)(scratch, sign_mantissa, output);
            if !scratch.lanes.end_at(&ends) {
                return Err(broken_rule(record, palette, sign_mantissa.len()));
            }
        }
    }
    for Patch { position, exponent } in record.patches().iter() {
        let position = usize::from(position);
        let bytes = weight(sign_mantissa[position], exponent).to_le_bytes();
        output.put(2 * position, bytes);
    }
    Ok(())
}

/// Same as [`weights`], but for a huffman record and a kernel that also computes checksums. Returns
/// None for other records and kernels.
pub(super) fn weights_checked(
    kernels: &Kernels,
    scratch: &mut Scratch,
    record: &Record<'_>,
    palette: &Palette,
    sign_mantissa: &[u8],
    chunk_so_far: u32,
    output: &mut Output<'_>,
) -> Option<Result<Checksums, Error>> {
    let (Some(kernel), Body::Huffman { code, lanes }) = (kernels.decode_checked, record.body())
    else {
        return None;
    };
    assert_eq!(output.len(), 2 * sign_mantissa.len());
    assert!(sign_mantissa.len() <= LARGEST_CHUNK);
    scratch.table.prepare(code, palette);
    scratch.lanes.fill(lanes);
    let patches = record.patches();
    let (ends, checksums) = kernel(scratch, sign_mantissa, patches, chunk_so_far, output);
    Some(match scratch.lanes.end_at(&ends) {
        true => Ok(checksums),
        false => Err(broken_rule(record, palette, sign_mantissa.len())),
    })
}

/// Decodes a record into the exponents of its chunk.
pub(super) fn exponents(
    kernels: &Kernels,
    scratch: &mut Scratch,
    record: &Record<'_>,
    palette: &Palette,
    exponents: &mut [u8],
) -> Result<(), Error> {
    match record.body() {
        Body::Verbatim(bytes) => exponents.copy_from_slice(bytes),
        Body::Palette(indices) => {
            let of = |index: u8| palette.exponents()[usize::from(index)];
            let (pairs, last) = exponents.as_chunks_mut::<2>();
            for (pair, byte) in pairs.iter_mut().zip(*indices) {
                *pair = [of(byte & 15), of(byte >> 4)];
            }
            if let ([last], Some(byte)) = (last, indices.get(pairs.len())) {
                *last = of(byte & 15);
            }
        }
        Body::Huffman { code, lanes } => {
            scratch.table.prepare(code, palette);
            scratch.lanes.fill(lanes);
            let mut output = Output::from(&mut exponents[..]);
            let ends = (kernels.decode_exponents)(scratch, &mut output);
            if !scratch.lanes.end_at(&ends) {
                return Err(broken_rule(record, palette, output.len()));
            }
        }
    }
    for Patch { position, exponent } in record.patches().iter() {
        exponents[usize::from(position)] = exponent;
    }
    Ok(())
}

/// Finds the lane of a record that breaks a rule, and the rule. The reference decoder produces this
/// error. It reads zeros past the end of a lane, where a kernel reads the following bytes. A number
/// in a kernel's error could therefore differ, though not whether there is one.
#[cold]
fn broken_rule(record: &Record<'_>, palette: &Palette, weights: usize) -> Error {
    reference::decode_exponents(record, palette, weights, &mut Vec::new())
        .expect_err("a kernel found a lane that ends at the wrong place")
}

/// Converts little-endian weights to the machine's byte order.
pub(super) fn from_little_endian(weights: &mut [bf16]) {
    if cfg!(target_endian = "big") {
        for weight in weights {
            *weight = bf16::from_bits(weight.to_bits().swap_bytes());
        }
    }
}
