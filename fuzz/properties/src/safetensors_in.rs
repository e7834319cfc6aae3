//! Parsing of safetensors headers.

use std::collections::BTreeMap;

use safetensors::tensor::Metadata;
use unweight::safetensors::Header;

/// Any bytes, with or without a length field in front, parse to a header or to an error with a
/// position within them. The `safetensors` crate accepts every header that the strict reader
/// accepts, and both read the same names, types, shapes and offsets. The crate rejects every header
/// that the strict reader rejects, unless the reason is in the list here.
pub fn safetensors_in(bytes: &[u8]) {
    check(bytes);
    let mut header = (bytes.len() as u64).to_le_bytes().to_vec();
    header.extend(bytes);
    check(&header);
}

/// Messages of the strict reader for headers that the crate accepts. SECURITY.md lists them too.
const STRICTER: [&str; 8] = [
    // The crate skips white space before the object. The description of safetensors allows none.
    "does not begin with '{'",
    // The crate takes the last of several members with the same name, both of tensors and in
    // `__metadata__`.
    "duplicate name",
    // A shadowed tensor of a duplicate name is wrong. The crate checks only the last one of that
    // name.
    "before it begins",
    // The crate skips unknown members of a tensor's object.
    "unknown field",
    // The crate's derived reader accepts `["U8",[2],[0,2]]` as a tensor's object, and `{"U8":null}`
    // as a type.
    "invalid type: sequence, expected an object of dtype",
    "invalid type: map, expected a string",
    // Section 9 limits a tensor to 2^56 elements.
    "not a whole number of bytes below 2^59",
    // No file can have this data, because its last byte would have no offset.
    "the data ends past 2^64 bytes",
];

fn check(bytes: &[u8]) {
    if let Some(&length) = bytes.first_chunk() {
        let _ = Header::bytes_from_length(length);
    }
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(error) => {
            assert!(error.at <= bytes.len() as u64, "{error}");
            assert!(
                !crate_reads(bytes) || STRICTER.iter().any(|reason| error.what.contains(reason)),
                "the safetensors crate reads what we refuse: {error}"
            );
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
        // The crate multiplies the dimensions before a zero, and that product overflows. In the
        // strict reader the zero makes the product zero.
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

/// Whether the `safetensors` crate reads a header: these bytes and the data that they describe.
fn crate_reads(bytes: &[u8]) -> bool {
    let Some((length, json)) = bytes.split_first_chunk() else {
        return false;
    };
    u64::from_le_bytes(*length) == json.len() as u64
        && str::from_utf8(json).is_ok_and(|json| serde_json::from_str::<Metadata>(json).is_ok())
}
