//! Encoding, decoding and transcoding.

use arbitrary::{Result, Unstructured};
use unweight_format::Encoding;
use unweight_testkit::{Random, container, restored, safetensors_file, transcoded};

use crate::draft::some_tensors;

/// Tensors of any shape, type and distribution are restored exactly, in any form of storage, and
/// also after transcoding. Transcoding twice gives the same file as transcoding once.
pub fn roundtrip_any_tensor(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    // One of four files is transcoded twice, which takes much of the time.
    let again = Random::of(bytes).below(4) == 0;
    // Bytes that are too short do not describe a container.
    let _ = roundtrip(&mut u, again);
}

fn roundtrip(u: &mut Unstructured<'_>, again: bool) -> Result<()> {
    let tensors = some_tensors(u)?;
    let with_source = u.arbitrary()?;
    let encoding = *u.choose(&[Encoding::Huffman, Encoding::Palette])?;
    let original = match with_source {
        true => safetensors_file(&tensors),
        false => tensors
            .iter()
            .flat_map(|tensor| tensor.data.clone())
            .collect(),
    };

    let file = container(&tensors, with_source);
    assert!(restored(&file[..]).expect("what was written is valid") == original);
    let other = transcoded(&file, encoding);
    assert!(restored(&other[..]).expect("what was transcoded is valid") == original);
    if again {
        assert!(transcoded(&other, encoding) == other);
    }
    Ok(())
}
