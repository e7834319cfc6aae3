//! Shared memory and threads of the transcoding kernels, as stated at the heads of their files.

use crate::decode::plan::MOST_STAGE_BYTES;
use crate::encode::plan::encode_threads;

/// Warps of a block of `transcode.cu`, as stated at its head.
pub(super) const LENGTH_WARPS: u32 = 8;
/// Shared memory for a record's codes (`kernels/transcode/transcode.cu`).
const CODES_BYTES: u32 = 4 * 256;

/// Shared memory for the choice of the palette by the last block of a tensor
/// (`kernels/encode/palette.cuh`).
pub(super) const PALETTE_SHARED_BYTES: u32 = 256 * 8 + 16 * 4;
/// Shared memory of `huffman_to_palette` with the longest stage.
pub(super) const MOST_TRANSCODE_SHARED_BYTES: u32 = transcode_shared_bytes(MOST_STAGE_BYTES);

/// Shared memory of a block of `huffman_to_palette`.
pub(super) const fn transcode_shared_bytes(stage_bytes: u32) -> u32 {
    let transcoding = CODES_BYTES + stage_bytes;
    if transcoding > PALETTE_SHARED_BYTES {
        transcoding
    } else {
        PALETTE_SHARED_BYTES
    }
}

/// Same as [`encode_threads`], but for `encode_chunks_of_records`, whose warps have twice as many
/// weights.
pub(super) const fn encode_threads_of_records(chunk_size_log2: u32) -> u32 {
    encode_threads(chunk_size_log2) / 2
}
