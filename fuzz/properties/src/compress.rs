//! Compression of whole safetensors files.

use std::borrow::Cow;

use arbitrary::{Result, Unstructured};
use unweight::safetensors::{Header, SourceTensor};
use unweight::{CompressOptions, CompressPlan, Encoding, Error, compress};
use unweight_format::layout;
use unweight_testkit::{Random, restored, safetensors_file, safetensors_json};

use crate::draft::some_tensors;

/// Compression either rejects the bytes as a safetensors file, or gives a file that decompresses to
/// the same bytes and is no longer than section 9 says. Compressing again gives the same file.
/// These are the operations of `unweight compress` and `unweight decompress`, without the program's
/// file handling.
pub fn cli_compress_decompress(bytes: &[u8]) {
    let (source, mut random) = described_source(bytes);
    let source = &source[..];
    let left_raw = random.below(8) as usize;
    let encoding = [Encoding::Huffman, Encoding::Palette][random.below(2) as usize];
    let options = CompressOptions::new()
        .encoding(encoding)
        .chunk_size_log2(12 + random.below(5) as u8)
        .select(move |name| name.len() % 8 != left_raw)
        .threads(1);
    let file = match compress(source, &options) {
        Ok(file) => file,
        // The bytes are not a safetensors file, or exceed a limit of section 9.
        Err(Error::Source(_) | Error::SourceLength { .. } | Error::Unwritable { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    assert!(restored(&file[..]).expect("what was written is valid") == source);
    let plan = CompressPlan::read(source, &options).expect("it was compressed");
    let length = file.len() as u64;
    assert!(length <= longest_file(source, plan.header()), "{length}");
    assert!(plan.container_bytes().contains(&length), "{length}");
    // One of four files, because this takes much of the time.
    if random.below(4) == 0 {
        assert!(compress(source, &options).expect("the same file again") == file);
    }
}

/// The safetensors file that these bytes are or describe, and numbers that depend on them.
pub(crate) fn described_source(bytes: &[u8]) -> (Cow<'_, [u8]>, Random) {
    let source = match bytes.get(8) {
        Some(b'{') => Cow::Borrowed(bytes),
        _ => Cow::Owned(described_file(&mut Unstructured::new(bytes)).unwrap_or_default()),
    };
    (source, Random::of(bytes))
}

/// The most bytes of a file that a canonical encoder makes of this safetensors file (section 9).
fn longest_file(source: &[u8], header: &Header) -> u64 {
    let of_tensor = |tensor: &SourceTensor| {
        let aligned = match tensor.end - tensor.begin < layout::LARGE_TENSOR_BYTES {
            true => 15,
            false => 262,
        };
        40 + 8 * tensor.shape.len() as u64 + tensor.name.len() as u64 + aligned
    };
    let length = source.len() as u64;
    length + length / 16_384 + 400 + header.tensors.iter().map(of_tensor).sum::<u64>()
}

/// A valid safetensors file, sometimes with a few changed bytes, mostly in its header.
fn described_file(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let tensors = some_tensors(u)?;
    let mut file = safetensors_file(&tensors);
    let header_bytes = 8 + safetensors_json(&tensors).len();
    for _ in 0..*u.choose(&[0, 0, 1, 2])? {
        let end = match u.ratio(7, 8)? {
            true => header_bytes,
            false => file.len(),
        };
        let at = u.int_in_range(0..=end - 1)?;
        file[at] = u.arbitrary()?;
    }
    Ok(file)
}
