//! Records, field by field, with any value that another encoder (or an attacker) may write (section
//! 5).

use unweight_format::{crc32, layout};

use crate::code::{Bits, Lengths};
use crate::fields::pack;

/// The fields of a record to write.
#[derive(Clone)]
pub struct Record {
    /// The kind: 0 is verbatim, 1 is huffman, 2 is palette.
    pub kind: u8,
    /// A field that is zero in a valid record.
    pub reserved: u8,
    /// The patch count of the header; by default the number of `patches`.
    pub patch_count: u16,
    /// The eight bytes of code lengths.
    pub code_lengths: [u8; 8],
    /// The lane ends of a huffman record.
    pub lane_ends: Vec<u16>,
    /// The lane streams, indices or values.
    pub body: Vec<u8>,
    /// The patches with their positions and values.
    pub patches: Vec<(u16, u8)>,
    /// The bytes after the patches; `None` means zeros up to a multiple of 16.
    pub padding: Option<Vec<u8>>,
}

impl Record {
    /// A verbatim record of these exponents.
    pub fn verbatim(exponents: &[u8]) -> Record {
        Record::verbatim_of(exponents, 8)
    }

    /// A verbatim record of these values of `width` bits.
    pub fn verbatim_of(values: &[u8], width: u32) -> Record {
        Record {
            kind: layout::KIND_VERBATIM,
            reserved: 0,
            patch_count: 0,
            code_lengths: [0; 8],
            lane_ends: Vec::new(),
            body: pack(values.iter().map(|&value| value.into()), width),
            patches: Vec::new(),
            padding: None,
        }
    }

    /// A huffman record of these values. A value without a code gets the placeholder and a
    /// patch. The surplus is the placeholder.
    pub fn huffman(lengths: Lengths, palette: &[u8; 16], values: &[u8]) -> Record {
        let coded = |value: u8| {
            let entry = palette.iter().position(|&of_palette| of_palette == value);
            entry.filter(|&entry| lengths.0[entry] != crate::code::NONE)
        };
        let (symbols, patches) = symbols(values, lengths.placeholder(), coded);
        Record::huffman_of(lengths, &symbols, patches)
    }

    /// A huffman record of these palette entries, 256 for each step, with these patches.
    pub fn huffman_of(lengths: Lengths, symbols: &[u8], patches: Vec<(u16, u8)>) -> Record {
        let lanes: Vec<Vec<u8>> = lane_bits(lengths, symbols)
            .iter()
            .map(Bits::to_bytes)
            .collect();
        Record::huffman_of_lanes(lengths, &lanes, patches)
    }

    /// A huffman record with these lane streams and patches.
    pub fn huffman_of_lanes(
        lengths: Lengths,
        lanes: &[Vec<u8>],
        patches: Vec<(u16, u8)>,
    ) -> Record {
        let mut end = 0usize;
        let lane_ends = lanes.iter().map(|lane| {
            end += lane.len();
            u16::try_from(end).expect("lane ends fit 16 bits")
        });
        Record {
            kind: layout::KIND_HUFFMAN,
            reserved: 0,
            patch_count: count(&patches),
            code_lengths: lengths.to_bytes(),
            lane_ends: lane_ends.collect(),
            body: lanes.concat(),
            patches,
            padding: None,
        }
    }

    /// A palette record of these values. A value outside the palette gets index 0 and a
    /// patch. The surplus has index 0.
    pub fn palette(palette: &[u8; 16], values: &[u8]) -> Record {
        let index = |value: u8| palette.iter().position(|&of_palette| of_palette == value);
        let (symbols, patches) = symbols(values, 0, index);
        Record::palette_of(&symbols, patches)
    }

    /// A palette record of these palette entries, 256 for each step, with these patches.
    pub fn palette_of(symbols: &[u8], patches: Vec<(u16, u8)>) -> Record {
        Record {
            kind: layout::KIND_PALETTE,
            reserved: 0,
            patch_count: count(&patches),
            code_lengths: [0; 8],
            lane_ends: Vec::new(),
            body: symbols
                .chunks(2)
                .map(|pair| pair[0] | pair[1] << 4)
                .collect(),
            patches,
            padding: None,
        }
    }

    /// The same record with these patches.
    pub fn with_patches(self, patches: Vec<(u16, u8)>) -> Record {
        Record {
            patch_count: count(&patches),
            patches,
            ..self
        }
    }

    /// The record's bytes. The checksum covers these bytes of the plain plane too.
    pub fn to_bytes(&self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend([self.kind, self.reserved]);
        bytes.extend(self.patch_count.to_le_bytes());
        bytes.extend(self.code_lengths);
        bytes.extend(self.lane_ends.iter().flat_map(|end| end.to_le_bytes()));
        bytes.extend(&self.body);
        for (position, value) in &self.patches {
            bytes.extend(position.to_le_bytes());
            bytes.push(*value);
        }
        match &self.padding {
            Some(padding) => bytes.extend(padding),
            None => bytes.resize(bytes.len().next_multiple_of(16), 0),
        }
        stamp(&mut bytes, plain);
        bytes
    }
}

/// Bytes of the verbatim record of `count` values of `width` bits, which no record exceeds (section
/// 5.1).
pub fn longest(count: usize, width: u32) -> usize {
    (16 + (count * width as usize).div_ceil(8)).next_multiple_of(16)
}

/// Writes the record checksum, which covers these bytes of the plain plane too (section 8).
pub fn stamp(record: &mut [u8], plain: &[u8]) {
    let covered = [&record[4..], plain].concat();
    record[..4].copy_from_slice(&crc32(&covered).to_le_bytes());
}

/// The bits of each lane (section 5.2) for these palette entries, 256 for each step.
pub fn lane_bits(lengths: Lengths, symbols: &[u8]) -> Vec<Bits> {
    assert!(symbols.len().is_multiple_of(256), "whole steps");
    let codes = lengths.canonical();
    let mut lanes = Vec::new();
    for lane in 0..32 {
        let mut bits = Bits::default();
        for step in symbols.chunks(256) {
            for &symbol in &step[8 * lane..8 * lane + 8] {
                bits.push(codes[usize::from(symbol)].expect("the symbol has a code"));
            }
        }
        lanes.push(bits);
    }
    lanes
}

/// The palette entry of each weight, completed to whole steps, and patches for the weights without
/// an entry.
pub fn symbols(
    values: &[u8],
    placeholder: usize,
    entry: impl Fn(u8) -> Option<usize>,
) -> (Vec<u8>, Vec<(u16, u8)>) {
    let mut patches = Vec::new();
    let mut symbols = Vec::new();
    for (position, &value) in values.iter().enumerate() {
        let symbol = entry(value).unwrap_or_else(|| {
            patches.push((position as u16, value));
            placeholder
        });
        symbols.push(symbol as u8);
    }
    symbols.resize(symbols.len().next_multiple_of(256), placeholder as u8);
    (symbols, patches)
}

fn count(patches: &[(u16, u8)]) -> u16 {
    patches.len().try_into().expect("at most 65,535 patches")
}
