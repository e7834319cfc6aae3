//! The kernels of an instruction set: the loops over a chunk's weights. Everything else is the same for all.

use unweight_format::layout::LANES;
use unweight_format::{Palette, Patches};

use super::checked::Checksums;
use super::encode_table::EncodeTable;
use super::output::Output;
use super::portable::Rows;
use super::scratch::Scratch;

/// The kernels of one instruction set: pure loops over slices whose lengths their callers have made to agree.
pub(super) struct Kernels {
    /// Decodes `scratch.lanes` by `scratch.table` into the weights of these sign-mantissa bytes. Gives the bit of the lane
    /// buffer where the codes of each lane end.
    pub(super) decode_weights: fn(&mut Scratch, &[u8], &mut Output<'_>) -> [u32; LANES],
    /// The same, with patches put in place and checksums computed; the number is the chunk checksum up to the sign-mantissa
    /// bytes.
    /// None: what `decode_weights` gives is patched and read once more.
    pub(super) decode_checked: Option<CheckedKernel>,
    /// As `decode_weights`, into as many exponents as the output has bytes.
    pub(super) decode_exponents: fn(&mut Scratch, &mut Output<'_>) -> [u32; LANES],
    /// Exponents and sign-mantissa bytes to weights.
    pub(super) join: fn(&[u8], &[u8], &mut Output<'_>),
    /// Palette indices and sign-mantissa bytes to weights.
    pub(super) join_indices: fn(&Palette, &[u8], &[u8], &mut Output<'_>),
    /// Little-endian weights to sign-mantissa bytes and exponents.
    pub(super) split: fn(&[u8], &mut [u8], &mut [u8]),
    /// The same, and gives the weights' CRC-32. None: they are read once more.
    pub(super) split_checked: Option<CheckedSplitKernel>,
    /// Adds how often each exponent occurs in little-endian weights.
    pub(super) count_weights: fn(&[u8], &mut [u64; 256]),
    /// Adds how often each of these exponents occurs.
    pub(super) count_exponents: fn(&[u8], &mut [u64; 256]),
    /// Codes exponents of whole steps into a row for each lane. Gives the lanes' numbers of bits, and appends the positions of
    /// exponents without a code. At the pointer the next chunk's weights are likely to stand: what is there does not matter.
    pub(super) pack: PackKernel,
    /// Palette indices, by exponent in the first slice, of exponents of whole steps, two to a byte. Appends the positions of
    /// exponents whose index is `PATCHED`.
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
