//! Encoding, decoding and transcoding.

use arbitrary::{Result, Unstructured};
use unweight::{
    Serial,
    container::{OpenFile, transcode},
};
use unweight_format::Encoding;

use crate::container::restored;
use crate::draft::{Drafted, container_of, safetensors_header};

/// Tensors of any shape, type and distribution are restored exactly, in any form of storage, and
/// also after transcoding. Transcoding twice gives the same file as transcoding once.
pub fn roundtrip_any_tensor(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    // Bytes that are too short do not describe a container.
    let _ = roundtrip(&mut u);
}

fn roundtrip(u: &mut Unstructured<'_>) -> Result<()> {
    let tensors = Drafted::some(u)?;
    let with_source = u.arbitrary()?;
    let encoding = *u.choose(&[Encoding::Huffman, Encoding::Palette])?;
    let mut original = match with_source {
        true => safetensors_header(&tensors),
        false => Vec::new(),
    };
    original.extend(tensors.iter().flat_map(|tensor| &tensor.bytes));

    let file = container_of(&tensors, with_source);
    assert!(restored(&file[..]).expect("what was written is valid") == original);
    let other = transcoded(&file, encoding);
    assert!(restored(&other[..]).expect("what was transcoded is valid") == original);
    assert!(transcoded(&other, encoding) == other);
    Ok(())
}

fn transcoded(file: &[u8], encoding: Encoding) -> Vec<u8> {
    let open = OpenFile::read(file).expect("a valid file");
    let container = open.container();
    transcode(&container, encoding, Vec::new(), &Serial).expect("a valid file")
}
