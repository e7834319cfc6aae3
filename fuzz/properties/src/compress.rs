//! Whole safetensors files.

use arbitrary::{Result, Unstructured};
use unweight::{CompressOptions, Encoding, Error, compress, decompress};

use crate::Random;
use crate::draft::{Drafted, safetensors_header};

/// Bytes are refused as a safetensors file, or what `unweight compress` makes of them is what `unweight decompress` restores them from, byte for byte,
/// and compressing them again gives the same file. Without the program's files.
pub fn cli_compress_decompress(bytes: &[u8]) {
    let mut random = Random::of(bytes);
    let described;
    let source = match bytes.get(8) {
        Some(b'{') => bytes,
        _ => {
            described = described_file(&mut Unstructured::new(bytes)).unwrap_or_default();
            &described
        }
    };
    let left_raw = random.below(8) as usize;
    let encoding = [Encoding::Huffman, Encoding::Palette][random.below(2) as usize];
    let options = CompressOptions::new()
        .encoding(encoding)
        .chunk_size_log2(12 + random.below(5) as u8)
        .select(move |name| name.len() % 8 != left_raw)
        .threads(1);
    let file = match compress(source, &options) {
        Ok(file) => file,
        // It is no safetensors file, or past a limit of section 9.
        Err(Error::Source(_) | Error::SourceLength { .. } | Error::Unwritable { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    assert!(decompress(&file).expect("what was written is valid") == source);
    assert!(compress(source, &options).expect("the same file again") == file);
}

/// A valid safetensors file, sometimes with a few bytes changed, mostly in its header.
fn described_file(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let tensors = Drafted::some(u)?;
    let mut file = safetensors_header(&tensors);
    let header_bytes = file.len();
    file.extend(tensors.iter().flat_map(|tensor| &tensor.bytes));
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
