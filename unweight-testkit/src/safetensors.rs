//! Safetensors files, byte by byte.

use crate::Tensor;

/// A safetensors file of these tensors in this order.
pub fn safetensors_file(tensors: &[Tensor]) -> Vec<u8> {
    let data: Vec<u8> = tensors
        .iter()
        .flat_map(|tensor| &tensor.data)
        .copied()
        .collect();
    with_header(&safetensors_json(tensors), &data)
}

/// The JSON that describes these tensors, in order.
pub fn safetensors_json(tensors: &[Tensor]) -> String {
    let mut end = 0;
    let members: Vec<String> = tensors
        .iter()
        .map(|tensor| {
            let begin = end;
            end += tensor.data.len();
            // The JSON of a string has all escapes.
            let name = serde_json::Value::from(tensor.name.as_str());
            format!(
                r#"{name}:{{"dtype":"{}","shape":{:?},"data_offsets":[{begin},{end}]}}"#,
                tensor.dtype, tensor.shape
            )
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A safetensors file with this header and this data, whether they fit together or not.
pub fn with_header(json: &str, data: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), data].concat()
}
