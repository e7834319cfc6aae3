//! A chunk's bytes of the plain plane, in a layout that lets kernels read past their end.

use unweight_format::layout::STEP_WEIGHTS;

/// The most plain bytes that a kernel takes at a time: those of a step of weights of at most four
/// bytes, or of a quarter of a step of any weights, with a word behind.
pub(super) const STEP_BYTES: usize = 4 * STEP_WEIGHTS;

/// A chunk's bytes of the plain plane, with zeros behind them.
pub(super) struct PlainBytes<'a> {
    bytes: &'a [u8],
    /// The last bytes, from number `end_from` on.
    end: [u8; 2 * STEP_BYTES],
    end_from: usize,
}

impl<'a> PlainBytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let end_from = bytes.len().saturating_sub(STEP_BYTES);
        let mut end = [0; 2 * STEP_BYTES];
        end[..bytes.len() - end_from].copy_from_slice(&bytes[end_from..]);
        PlainBytes {
            bytes,
            end,
            end_from,
        }
    }

    /// All bytes, without zeros.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes from number `first` on, as many as the greatest step has. Zeros follow the last byte.
    #[inline]
    pub(super) fn from(&self, first: usize) -> &[u8; STEP_BYTES] {
        if let Some(bytes) = self.bytes.get(first..).and_then(<[u8]>::first_chunk) {
            return bytes;
        }
        let end = self.end[first - self.end_from..].first_chunk();
        end.expect("the first is not behind the last")
    }
}
