//! The kernels of an ISA: the loops over a chunk's weights. All other code is the same for all
//! ISAs.

use unweight_format::layout::LANES;
use unweight_format::{Palette, Patches};

use super::checked::Checksums;
use super::encode_table::EncodeTable;
use super::lanes::Rows;
use super::output::Output;
use super::scratch::Scratch;

/// The kernels of one ISA. They are pure loops over slices, and their callers ensure that the
/// lengths match.
pub(super) struct Kernels {
    /// Decodes `scratch.lanes` with `scratch.table`, and joins the exponents with these
    /// sign-mantissa bytes into weights. Returns the bit position in the lane buffer at the end of
    /// each lane's codes.
    pub(super) decode_weights: fn(&mut Scratch, &[u8], &mut Output<'_>) -> [u32; LANES],
    /// Same as `decode_weights`, but also applies patches and computes checksums. The number is the
    /// chunk checksum up to the sign-mantissa bytes. With None the output of `decode_weights` is
    /// patched and read once more.
    pub(super) decode_checked: Option<CheckedKernel>,
    /// Same as `decode_weights`, but writes exponents, as many as the output has bytes.
    pub(super) decode_exponents: fn(&mut Scratch, &mut Output<'_>) -> [u32; LANES],
    /// Joins exponents and sign-mantissa bytes into weights.
    pub(super) join: fn(&[u8], &[u8], &mut Output<'_>),
    /// Joins palette indices and sign-mantissa bytes into weights.
    pub(super) join_indices: fn(&Palette, &[u8], &[u8], &mut Output<'_>),
    /// Splits little-endian weights into sign-mantissa bytes and exponents.
    pub(super) split: fn(&[u8], &mut [u8], &mut [u8]),
    /// Same as `split`, but also returns the weights' CRC-32. With None the weights are read once
    /// more.
    pub(super) split_checked: Option<CheckedSplitKernel>,
    /// Counts the exponents of little-endian weights.
    pub(super) count_weights: fn(&[u8], &mut [u64; 256]),
    /// Counts these exponents.
    pub(super) count_exponents: fn(&[u8], &mut [u64; 256]),
    /// Packs the codes of exponents of whole steps into a row for each lane. Returns the lanes'
    /// numbers of bits, and appends the positions of exponents without a code. The pointer is the
    /// likely address of the next chunk's weights, and may be invalid.
    pub(super) pack: PackKernel,
    /// Writes the palette indices of exponents of whole steps, two to a byte. The first slice maps
    /// exponents to indices. Appends the positions of exponents whose index is `PATCHED`.
    pub(super) index: IndexKernel,
}

/// The type of [`Kernels::index`].
pub(super) type IndexKernel = fn(&[u8; 256], &[u8], &mut [u8], &mut Vec<u16>);

/// The type of [`Kernels::decode_checked`].
pub(super) type CheckedKernel =
    fn(&mut Scratch, &[u8], &Patches<'_>, u32, &mut Output<'_>) -> ([u32; LANES], Checksums);

/// The type of [`Kernels::split_checked`].
pub(super) type CheckedSplitKernel = fn(&[u8], &mut [u8], &mut [u8]) -> u32;

/// The type of [`Kernels::pack`].
pub(super) type PackKernel =
    fn(&EncodeTable, &[u8], *const u8, &mut Rows, &mut Vec<u16>) -> [u32; LANES];
