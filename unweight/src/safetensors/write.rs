//! Writes safetensors headers.

use serde_json::{Value, json};
use unweight_format::write::Declaration;
use unweight_format::{Dtype, Rule, layout};

use crate::Error;

/// The place of a type in the order in which the library `safetensors` sorts tensors, the last type
/// first.
pub(crate) fn order(dtype: Dtype) -> usize {
    const ORDER: [Dtype; 22] = [
        Dtype::Bool,
        Dtype::F4,
        Dtype::F6E2M3,
        Dtype::F6E3M2,
        Dtype::U8,
        Dtype::I8,
        Dtype::F8E5M2,
        Dtype::F8E4M3,
        Dtype::F8E8M0,
        Dtype::F8E4M3Fnuz,
        Dtype::F8E5M2Fnuz,
        Dtype::I16,
        Dtype::U16,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::I32,
        Dtype::U32,
        Dtype::F32,
        Dtype::C64,
        Dtype::F64,
        Dtype::I64,
        Dtype::U64,
    ];
    let place = ORDER.iter().position(|&ordered| ordered == dtype);
    place.unwrap_or(ORDER.len())
}

/// The header of a safetensors file with these tensors, in this order, and these strings as
/// `__metadata__`: the length field and the JSON, padded with spaces to a multiple of 8 bytes. The
/// library `safetensors` writes the same bytes.
///
/// # Errors
/// [`Error::Unwritable`] if a tensor has too many elements, does not fill whole bytes, or has the
/// name `__metadata__`. Duplicate names are not found.
pub(crate) fn header(
    tensors: &[Declaration<'_>],
    metadata: Option<&[(String, String)]>,
) -> Result<Vec<u8>, Error> {
    let mut json = String::from("{");
    let mut add = |name: &str, value: String| {
        let separator = if json.len() > 1 { "," } else { "" };
        json += &format!("{separator}{}:{value}", Value::from(name));
    };
    if let Some(metadata) = metadata {
        let string = |(name, value): &(String, String)| {
            format!(
                "{}:{}",
                Value::from(name.as_str()),
                Value::from(value.as_str())
            )
        };
        let strings: Vec<String> = metadata.iter().map(string).collect();
        add(super::METADATA, format!("{{{}}}", strings.join(",")));
    }
    let mut end = 0u64;
    for (number, tensor) in (0..).zip(tensors) {
        let unwritable = |rule| Error::Unwritable {
            rule,
            tensor: Some(number),
            name: Some(tensor.name.to_owned()),
        };
        if tensor.name == super::METADATA {
            return Err(unwritable(Rule::SourceHeader));
        }
        let elements = tensor.element_count();
        let elements = elements.ok_or_else(|| unwritable(Rule::LimitElements))?;
        let bits = elements * tensor.dtype.bits();
        if !bits.is_multiple_of(8) {
            return Err(unwritable(Rule::TensorBits));
        }
        let begin = end;
        end = begin.saturating_add(bits / 8);
        // `Value` would sort the members by name.
        let dimensions: Vec<u64> = tensor.shape.dimensions().collect();
        let (dtype, shape) = (json!(tensor.dtype.name()), json!(dimensions));
        let value =
            format!(r#"{{"dtype":{dtype},"shape":{shape},"data_offsets":[{begin},{end}]}}"#);
        add(tensor.name, value);
    }
    json.push('}');
    while !json
        .len()
        .is_multiple_of(layout::SAFETENSORS_LENGTH_BYTES as usize)
    {
        json.push(' ');
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    Ok(header)
}
