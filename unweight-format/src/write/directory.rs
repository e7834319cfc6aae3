//! The directory's bytes (section 3.2).

use alloc::vec::Vec;

use crate::form::Forms;
use crate::layout;
use crate::write::Declaration;

/// Facts about a tensor that are known after its payload has been written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) forms: Forms,
    pub(super) chunk_size_log2: u8,
    pub(super) payload_end: u64,
    pub(super) tensor_checksum: u32,
    pub(super) palette_checksum: u32,
}

/// Length in bytes of the directory of these tensors. It does not depend on how they are coded.
/// `None` above 64 bits.
pub(super) fn directory_bytes(declarations: &[Declaration<'_>]) -> Option<u64> {
    let mut bytes = layout::ENTRY_BYTES.checked_mul(declarations.len() as u64)?;
    for declaration in declarations {
        let dims = layout::DIMENSION_BYTES * declaration.shape.rank() as u64;
        bytes = bytes
            .checked_add(dims)?
            .checked_add(declaration.name.len() as u64)?;
    }
    layout::align(bytes, layout::DIRECTORY_ALIGNMENT)
}

/// The numbers of the tensors, sorted by name.
pub(super) fn by_name(declarations: &[Declaration<'_>]) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..declarations.len() as u32).collect();
    numbers.sort_by_key(|&number| declarations[number as usize].name);
    numbers
}

/// The directory of this length, given one outcome for each tensor.
pub(super) fn write_directory(
    declarations: &[Declaration<'_>],
    by_name: &[u32],
    outcomes: &[Outcome],
    length: u64,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length as usize);
    let (mut dims_end, mut name_end) = (0u32, 0u32);
    for ((declaration, number), outcome) in declarations.iter().zip(by_name).zip(outcomes) {
        dims_end += declaration.shape.rank() as u32;
        name_end += declaration.name.len() as u32;
        bytes.push(declaration.dtype.code());
        bytes.push(outcome.chunk_size_log2);
        bytes.extend([0; 2]);
        bytes.extend(outcome.forms.bits().to_le_bytes());
        bytes.extend(outcome.payload_end.to_le_bytes());
        bytes.extend(outcome.tensor_checksum.to_le_bytes());
        bytes.extend(outcome.palette_checksum.to_le_bytes());
        bytes.extend(dims_end.to_le_bytes());
        bytes.extend(name_end.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend([0; 4]);
    }
    for declaration in declarations {
        let dimensions = declaration.shape.dimensions();
        bytes.extend(dimensions.flat_map(u64::to_le_bytes));
    }
    for declaration in declarations {
        bytes.extend(declaration.name.as_bytes());
    }
    let padded = bytes
        .len()
        .next_multiple_of(layout::DIRECTORY_ALIGNMENT as usize);
    bytes.resize(padded, 0);
    bytes
}
