//! Safetensors headers.

use std::collections::BTreeMap;

use safetensors::tensor::Metadata;
use unweight_cpu::safetensors::Header;

/// Any bytes as a safetensors header, with its length field in front or without, are a header or an error with a place in them.
/// What the strict reader accepts, the `safetensors` crate accepts too, and both read the same names, types, shapes and offsets.
pub fn safetensors_in(bytes: &[u8]) {
    check(bytes);
    let mut header = (bytes.len() as u64).to_le_bytes().to_vec();
    header.extend(bytes);
    check(&header);
}

fn check(bytes: &[u8]) {
    if let Some(&length) = bytes.first_chunk() {
        let _ = Header::bytes_from_length(length);
    }
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(error) => {
            assert!(error.at <= bytes.len() as u64, "{error}");
            return;
        }
    };
    let mut end = header.header_bytes;
    for tensor in &header.tensors {
        let data = header.data(tensor);
        assert_eq!(data.offset, end);
        end = data.end();
    }
    assert_eq!(end - header.header_bytes, header.data_bytes());

    let json = &bytes[8..];
    let theirs: Metadata = match serde_json::from_slice(json) {
        Ok(theirs) => theirs,
        // It multiplies dimensions up to a zero, where the zero makes the product zero for us.
        Err(error) if error.to_string().contains("overflow") => {
            assert!(
                header
                    .tensors
                    .iter()
                    .any(|tensor| tensor.shape.contains(&0)),
                "{error}"
            );
            return;
        }
        Err(error) => panic!("the safetensors crate refuses what we accept: {error}"),
    };
    let theirs: BTreeMap<String, _> = theirs
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let shape: Vec<u64> = info.shape.iter().map(|&dim| dim as u64).collect();
            let (begin, end) = info.data_offsets;
            (
                name,
                (info.dtype.to_string(), shape, begin as u64, end as u64),
            )
        })
        .collect();
    let ours: BTreeMap<String, _> = header
        .tensors
        .into_iter()
        .map(|tensor| {
            (
                tensor.name,
                (
                    tensor.dtype.name().to_owned(),
                    tensor.shape,
                    tensor.begin,
                    tensor.end,
                ),
            )
        })
        .collect();
    assert_eq!(ours, theirs);
}
