//! The kernels of an ISA: the loops over a chunk's weights. All other code is the same for all
//! ISAs.

use unweight_format::layout::LANES;
use unweight_format::{Palette, Patches};

use super::checked::Checksums;
use super::encode_table::EncodeTable;
use super::lanes::Rows;
use super::layout::{Layout, Place};
use super::output::Output;
use super::scratch::Scratch;

/// The kernels of one ISA. They are pure loops over slices, and their callers ensure that the
/// lengths match.
pub(super) struct Kernels {
    /// Kernels for BF16 weights of which the exponent alone is coded.
    pub(super) bf16: Bf16Kernels,
    /// Decodes `scratch.lanes` with `scratch.table()` into values, as many as the output has bytes.
    /// Returns the bit position in the lane buffer at the end of each lane's codes.
    pub(super) decode_values: fn(&mut Scratch, &mut Output<'_>) -> [u32; LANES],
    /// Decodes the last coded field and joins it with all else.
    pub(super) decode_joined: JoinedKernel,
    /// Joins plain bytes and the values of each coded field into weights.
    pub(super) join: fn(&Layout, &[u8], &[&[u8]], &mut Output<'_>),
    /// Splits little-endian weights into plain bytes and the values of each coded field.
    pub(super) split: SplitKernel,
    /// The values of a field of little-endian weights of so many bytes.
    pub(super) field_values: fn(usize, Place, &[u8], &mut [u8]),
    /// Counts these values.
    pub(super) count_values: fn(&[u8], &mut [u64; 256]),
    /// Packs the codes of values of whole steps into a row for each lane. Returns the lanes'
    /// numbers of bits, and appends the positions of values without a code. Memory is idle in this
    /// loop, so it is the place to prefetch the next chunk.
    pub(super) pack: PackKernel,
    /// Writes the palette indices of values of whole steps, two to a byte. The first slice maps
    /// values to indices. Appends the positions of values whose index is `PATCHED`.
    pub(super) index: IndexKernel,
}

/// The kernels of one ISA for BF16 weights of which the exponent alone is coded. Their plain bytes
/// are sign-mantissa bytes.
pub(super) struct Bf16Kernels {
    /// Decodes `scratch.lanes` with `scratch.table()`, and joins the exponents with these
    /// sign-mantissa bytes into weights. Returns the bit position in the lane buffer at the end of
    /// each lane's codes.
    pub(super) decode: fn(&mut Scratch, &[u8], &mut Output<'_>) -> [u32; LANES],
    /// Same as `decode`, but also applies patches and computes checksums. The number is the
    /// record's checksum up to the sign-mantissa bytes. With None the output of `decode` is patched
    /// and read once more.
    pub(super) decode_checked: Option<CheckedKernel>,
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
    pub(super) count: fn(&[u8], &mut [u64; 256]),
}

/// The type of [`Kernels::index`].
pub(super) type IndexKernel = fn(&[u8; 256], &[u8], &mut [u8], &mut Vec<u16>);

/// The type of [`Kernels::decode_joined`].
pub(super) struct JoinedKernel {
    /// Whether the kernel decodes weights of this layout. If not, the values of the last coded
    /// field are decoded first, and joined then.
    pub(super) fits: fn(&Layout) -> bool,
    /// Whether the kernel computes the weights' checksum.
    pub(super) is_checked: bool,
    /// Decodes `scratch.lanes` with `scratch.table()`, which has the values at their place if
    /// weights have one byte (see [`Layout::placing`]), joins the values with these parts into
    /// weights, and applies patches. Returns the bit position in the lane buffer at the end of each
    /// lane's codes, and the weights' CRC-32, or 0 if the kernel does not compute it.
    pub(super) decode: fn(&mut Scratch, &Parts<'_>, &mut Output<'_>) -> ([u32; LANES], u32),
}

/// All of a chunk's weights but the values of the last coded field.
pub(super) struct Parts<'a> {
    pub(super) layout: &'a Layout,
    pub(super) plain: &'a [u8],
    /// The values of all coded fields but the last, for whole steps. Those of the surplus of a short
    /// last step may be any.
    pub(super) values: &'a [&'a [u8]],
    /// Patches of the last coded field.
    pub(super) patches: &'a Patches<'a>,
}

/// The type of [`Kernels::split`].
pub(super) type SplitKernel = fn(&Layout, &[u8], &mut [u8], &mut [&mut [u8]]);

/// The type of [`Bf16Kernels::decode_checked`].
pub(super) type CheckedKernel =
    fn(&mut Scratch, &[u8], &Patches<'_>, u32, &mut Output<'_>) -> ([u32; LANES], Checksums);

/// The type of [`Bf16Kernels::split_checked`].
pub(super) type CheckedSplitKernel = fn(&[u8], &mut [u8], &mut [u8]) -> u32;

/// The type of [`Kernels::pack`].
pub(super) type PackKernel =
    fn(&EncodeTable, &[u8], Ahead, &mut Rows, &mut Vec<u16>) -> [u32; LANES];

/// The likely addresses of the next chunk. They may be invalid, and are only prefetched.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) weights: *const u8,
    /// Its bytes of the plain plane, which will be written.
    pub(super) plain: *const u8,
}
