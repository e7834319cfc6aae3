//! Encoding, decoding and transcoding.

use arbitrary::{Result, Unstructured};
use unweight_format::Encoding;
use unweight_testkit::{Random, Tensor, container, restored, safetensors_file, transcoded};

use crate::draft::some_tensors;

/// Tensors of any shape, type and distribution are restored exactly, in any form of storage, and
/// also after transcoding. Transcoding twice gives the same file as transcoding once.
pub fn roundtrip_any_tensor(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let check = match Random::of(bytes).below(4) {
        0 => Check::TranscodesTwice,
        1 => Check::Transcodes,
        _ => Check::Restores,
    };
    // Bytes that are too short do not describe a container.
    let _ = roundtrip(&mut u, check);
}

/// The part of the property that an input checks.
enum Check {
    Restores,
    Transcodes,
    TranscodesTwice,
}

fn roundtrip(u: &mut Unstructured<'_>, check: Check) -> Result<()> {
    let tensors = some_tensors(u)?;
    let with_source = u.arbitrary()?;
    let encoding = *u.choose(&[Encoding::Huffman, Encoding::Palette])?;
    let file = container(&tensors, with_source);
    match check {
        Check::Restores => require_original(&file, &tensors, with_source),
        Check::Transcodes => {
            require_original(&transcoded(&file, encoding), &tensors, with_source);
        }
        Check::TranscodesTwice => {
            let other = transcoded(&file, encoding);
            assert!(transcoded(&other, encoding) == other);
        }
    }
    Ok(())
}

/// Panics if the container does not restore these tensors.
fn require_original(file: &[u8], tensors: &[Tensor], with_source: bool) {
    let original = match with_source {
        true => safetensors_file(tensors),
        false => tensors
            .iter()
            .flat_map(|tensor| tensor.data.clone())
            .collect(),
    };
    assert!(restored(file).expect("what was written is valid") == original);
}
