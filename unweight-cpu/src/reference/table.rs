//! The table *Q* that decodes the next 8 bits of a stream (section 6).

use unweight_format::Code;

/// A palette index and the length of its code in bits, for each value of the next 8 bits.
pub(super) struct DecodeTable([(u8, u8); 256]);

impl DecodeTable {
    pub(super) fn new(code: &Code) -> DecodeTable {
        let mut table = [(0, 0); 256];
        for entry in code.canonical() {
            // A complete code fills every slot exactly once.
            for slot in (usize::from(entry.stream_bits())..256).step_by(1 << entry.length_bits) {
                table[slot] = (entry.entry, entry.length_bits);
            }
        }
        DecodeTable(table)
    }

    /// The palette index and the length in bits of the first code in these 8 bits of a stream.
    pub(super) fn look_up(&self, next_8_bits: u8) -> (u8, u8) {
        self.0[usize::from(next_8_bits)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_specs_example() {
        let lengths = [1, 2, 3, 3];
        let code = Code::from_lengths(core::array::from_fn(|entry| lengths.get(entry).copied()), 4)
            .unwrap();
        let table = DecodeTable::new(&code);
        // The codes 110, 0 and 10, with the first bit of the stream in bit 0.
        let byte = 0b0001_0011;
        assert_eq!(table.look_up(byte), (2, 3));
        assert_eq!(table.look_up(byte >> 3), (0, 1));
        assert_eq!(table.look_up(byte >> 4), (1, 2));
    }

    #[test]
    fn the_empty_code_takes_no_bits() {
        let code = Code::from_lengths(core::array::from_fn(|entry| (entry == 7).then_some(0)), 8);
        let table = DecodeTable::new(&code.unwrap());
        for byte in 0..=255 {
            assert_eq!(table.look_up(byte), (7, 0));
        }
    }
}
