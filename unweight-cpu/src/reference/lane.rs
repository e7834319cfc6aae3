//! Lane streams (section 5.2). Bits are in order from bit 0 of the first byte upwards.

use unweight_format::{CanonicalCode, Error, Expected, Rule};

/// Reads one lane's codes.
pub(super) struct LaneReader<'a> {
    stream: &'a [u8],
    position_bits: usize,
}

impl<'a> LaneReader<'a> {
    pub(super) fn new(stream: &'a [u8]) -> LaneReader<'a> {
        LaneReader {
            stream,
            position_bits: 0,
        }
    }

    /// The next 8 bits, with zeros past the end of the stream.
    pub(super) fn next_8_bits(&self) -> u8 {
        let byte = |index: usize| self.stream.get(index).copied().unwrap_or(0);
        let first = self.position_bits / 8;
        let two = u16::from_le_bytes([byte(first), byte(first + 1)]);
        (two >> (self.position_bits % 8)) as u8
    }

    pub(super) fn advance(&mut self, bits: u8) {
        self.position_bits += usize::from(bits);
    }

    /// Checks that the stream, which begins at `offset` in the file, ends where its codes end.
    /// Returns the number of bits of its codes.
    pub(super) fn finish(self, offset: u64) -> Result<u64, Error> {
        let needed = self.position_bits.div_ceil(8);
        let broken = |rule, at: usize, found: usize, expected| {
            Err(Error::new(rule, offset + at as u64, found as u64, expected))
        };
        if needed > self.stream.len() {
            let expected = Expected::AtLeast(needed as u64);
            return broken(Rule::LaneOverrun, 0, self.stream.len(), expected);
        }
        if needed < self.stream.len() {
            let expected = Expected::Exactly(needed as u64);
            return broken(Rule::LaneUnderrun, 0, self.stream.len(), expected);
        }
        let used_bits = self.position_bits % 8;
        if used_bits != 0 && self.stream[needed - 1] >> used_bits != 0 {
            let last = self.stream[needed - 1];
            let expected = Expected::AtMost((1 << used_bits) - 1);
            return broken(Rule::LanePadding, needed - 1, last.into(), expected);
        }
        Ok(self.position_bits as u64)
    }
}

/// Writes one lane's codes at the end of `streams`.
pub(super) struct LaneWriter<'a> {
    streams: &'a mut Vec<u8>,
    bits: u16,
    bit_count: u8,
}

impl<'a> LaneWriter<'a> {
    pub(super) fn new(streams: &'a mut Vec<u8>) -> LaneWriter<'a> {
        LaneWriter {
            streams,
            bits: 0,
            bit_count: 0,
        }
    }

    pub(super) fn push(&mut self, code: CanonicalCode) {
        self.bits |= u16::from(code.stream_bits()) << self.bit_count;
        self.bit_count += code.length_bits;
        if self.bit_count >= 8 {
            self.streams.push(self.bits as u8);
            self.bits >>= 8;
            self.bit_count -= 8;
        }
    }

    /// Completes the last byte with zero bits.
    pub(super) fn finish(self) {
        if self.bit_count > 0 {
            self.streams.push(self.bits as u8);
        }
    }
}
