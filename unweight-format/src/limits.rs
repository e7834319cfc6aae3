//! Limits of the format (section 9). Limits that are a field's width (65,536 patches, 2^32 record
//! ends) are in `layout`.

use core::ops::RangeInclusive;

/// Tensors of a file.
pub const TENSORS: u32 = 1 << 20;
/// Bytes of a directory.
pub const DIRECTORY_BYTES: u64 = 1 << 28;
/// Bytes of a source section.
pub const SOURCE_BYTES: u64 = 1 << 28;
/// Bytes of the extensions.
pub const EXTENSION_BYTES: u32 = 1 << 28;
/// Dimensions of a tensor.
pub const RANK: u32 = 64;
/// Bytes of a tensor's name.
pub const NAME_BYTES: u32 = 65_535;
/// Elements of a tensor.
pub const ELEMENTS: u64 = 1 << 56;
/// Original bytes of a tensor with a coded field.
pub const CODED_BYTES: u64 = 1 << 36;
/// Binary logarithm of a chunk's number of weights.
pub const CHUNK_SIZE_LOG2: RangeInclusive<u8> = 12..=16;

/// The product of a tensor's dimensions (section 4.1), or `None` above [`ELEMENTS`]. A zero
/// anywhere makes it zero, however great the others are.
pub(crate) fn element_count(mut dims: impl Iterator<Item = u64> + Clone) -> Option<u64> {
    if dims.clone().any(|dim| dim == 0) {
        return Some(0);
    }
    dims.try_fold(1u64, |product, dim| product.checked_mul(dim))
        .filter(|&count| count <= ELEMENTS)
}
