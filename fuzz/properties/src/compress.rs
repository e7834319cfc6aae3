//! Whole safetensors files.

use arbitrary::{Result, Unstructured};
use unweight_cpu::safetensors::Header;
use unweight_cpu::{Serial, Storage, StoredWeights, copy_raw_tensor, encode_tensor};
use unweight_format::write::ContainerWriter;
use unweight_format::{Dtype, Encoding, SourceKind};

use crate::Random;
use crate::container::restored;
use crate::draft::{Drafted, safetensors_header};

/// Bytes are refused as a safetensors file, or what `unweight compress` makes of them is what `unweight decompress` restores them from, byte for byte,
/// and compressing them again gives the same file. Without the program's files and threads.
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
    let options = Options {
        encoding: [Encoding::Huffman, Encoding::Palette][random.below(2) as usize],
        chunk_size_log2: 12 + random.below(5) as u8,
        left_raw: random.below(8) as u8,
    };
    let Some(file) = compressed(source, options) else {
        return;
    };
    assert!(restored(&file[..]).expect("what was written is valid") == source);
    assert!(compressed(source, options).expect("the same file again") == file);
}

#[derive(Clone, Copy)]
struct Options {
    encoding: Encoding,
    chunk_size_log2: u8,
    /// The tensor of this number is not to be coded.
    left_raw: u8,
}

/// The container of a safetensors file, or `None` if that is refused.
fn compressed(file: &[u8], options: Options) -> Option<Vec<u8>> {
    let header_bytes = Header::bytes_from_length(*file.first_chunk()?).ok()?;
    let source = file.get(..usize::try_from(header_bytes).ok()?)?;
    let header = Header::parse(source).ok()?;
    if header_bytes.checked_add(header.data_bytes()) != file.byte_length().ok() {
        return None;
    }
    let declarations = header
        .tensors
        .iter()
        .map(|tensor| tensor.declaration())
        .collect();
    let writer = ContainerWriter::new(Vec::new(), SourceKind::Safetensors, source, declarations);
    // A limit of section 9.
    let mut writer = writer.ok()?;
    for (number, tensor) in (0..).zip(&header.tensors) {
        let data = header.data(tensor);
        let transferred = if tensor.dtype == Dtype::Bf16 && number != options.left_raw {
            let weights = StoredWeights::new(file, data);
            encode_tensor(
                &mut writer,
                &weights,
                options.encoding,
                options.chunk_size_log2,
                &Serial,
            )
        } else {
            copy_raw_tensor(&mut writer, file, data)
        };
        transferred.expect("memory does not fail");
    }
    Some(writer.finish().expect("all tensors were written"))
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
