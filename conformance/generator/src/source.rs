//! Safetensors headers as text (section 3.3).

use crate::draft::Tensor;

/// The header of a safetensors file of these tensors, in the form of the library `safetensors`:
/// compact, and padded with spaces to 8 bytes.
pub fn describe(tensors: &[Tensor]) -> Vec<u8> {
    let mut end = 0;
    let members: Vec<String> = tensors
        .iter()
        .map(|tensor| {
            let begin = end;
            end += tensor.data.len();
            member(tensor, begin, end)
        })
        .collect();
    let mut json = format!("{{{}}}", members.join(",")).into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    json
}

/// The JSON member of one tensor.
pub fn member(tensor: &Tensor, begin: usize, end: usize) -> String {
    let name = String::from_utf8(tensor.name.clone()).expect("names in a source are UTF-8");
    let name = serde_json::to_string(&name).expect("a string is JSON");
    let dtype = tensor.dtype.name();
    let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
    format!(
        r#"{name}:{{"dtype":"{dtype}","shape":[{}],"data_offsets":[{begin},{end}]}}"#,
        shape.join(",")
    )
}

/// The JSON members of these tensors from the last to the first, with commas amid white space.
pub fn members_backwards(tensors: &[Tensor]) -> String {
    let mut end = 0;
    let members = tensors.iter().map(|tensor| {
        let begin = end;
        end += tensor.data.len();
        member(tensor, begin, end)
    });
    let mut members: Vec<String> = members.collect();
    members.reverse();
    members.join(" ,\n")
}

/// A safetensors file of these tensors.
pub fn file(tensors: &[Tensor]) -> Vec<u8> {
    let json = describe(tensors);
    let data = tensors.iter().flat_map(|tensor| &tensor.data);
    let length = (json.len() as u64).to_le_bytes();
    length.iter().chain(&json).chain(data).copied().collect()
}
