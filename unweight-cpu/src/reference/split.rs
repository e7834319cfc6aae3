//! Weights as plain values and values of fields (section 4.2), and back (section 7, "Tensor", step
//! 2).

use unweight_format::bits::{pack, pdep, pext, unpack};
use unweight_format::{Forms, Palettes};

/// Splits little-endian weights. Appends their bytes of the plain plane to `plain`, and the values
/// of coded field *i* to `values[i]`. The first weight's plain bits begin at bit 0 of a byte.
///
/// # Panics
/// If there are not as many `values` as coded fields.
pub fn split(forms: Forms, weights: &[u8], plain: &mut Vec<u8>, values: &mut [Vec<u8>]) {
    assert_eq!(values.len(), forms.coded_count());
    let weights = || unpack(weights, 8 * forms.dtype().weight_bytes() as u32);
    let mask = forms.plain_mask();
    let plain_values = weights().map(|weight| pext(weight, mask));
    plain.extend(pack(plain_values, forms.plain_bits()));
    for (coded, values) in forms.coded().zip(values) {
        values.extend(weights().map(|weight| coded.field.get(weight)));
    }
}

/// Appends the little-endian weights with these plain bytes and these values of the coded fields,
/// and with the constants of the palettes. There are `count` weights.
///
/// # Panics
/// If there are not as many `values` as coded fields, or fewer plain bytes or values than weights.
pub fn join(
    palettes: &Palettes,
    count: usize,
    plain: &[u8],
    values: &[&[u8]],
    weights: &mut Vec<u8>,
) {
    let forms = palettes.forms();
    assert_eq!(values.len(), forms.coded_count());
    let (mask, constants) = (forms.plain_mask(), palettes.constant_bits());
    let plain_values = unpack(plain, forms.plain_bits()).take(count);
    let mut joined: Vec<u64> = plain_values
        .map(|plain| pdep(plain, mask) | constants)
        .collect();
    assert_eq!(joined.len(), count, "a plain value for each weight");
    for (coded, values) in forms.coded().zip(values) {
        for (weight, &value) in joined.iter_mut().zip(&values[..count]) {
            *weight = coded.field.put(*weight, value);
        }
    }
    weights.extend(pack(joined, 8 * forms.dtype().weight_bytes() as u32));
}
