//! Records: section 5.

use super::{
    bits::{bits, little_endian, number, slice},
    code,
    crc::crc32,
    layout::{File, Parts, Tensor},
};

/// A record and what its header says.
#[derive(Debug)]
pub struct Record<'a> {
    /// Its offset in the file.
    pub at: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its checksum, as it stands there.
    pub crc: u32,
    /// Its checksum, computed.
    pub computed_crc: u32,
    /// Its kind.
    pub kind: Kind,
    /// The code lengths, 15 for an entry without a code.
    pub code_lengths: [u8; 16],
    /// The weights of its chunk.
    pub weights: u64,
    /// The bits of its field.
    pub width: u32,
    patch_count: u64,
}

/// Kind of a record (5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of section 5.1")]
pub enum Kind {
    Verbatim,
    Huffman,
    Palette,
    /// A kind that version 1.0 does not have.
    Unknown(u8),
}

impl<'a> File<'a> {
    /// The record of a chunk and of coded field number `i`, counted from 0.
    pub fn record(
        &self,
        tensor: &Tensor,
        parts: &Parts,
        chunk: u64,
        i: usize,
    ) -> Result<Record<'a>, String> {
        let r = chunk * parts.coded.len() as u64 + i as u64;
        let end = |r: u64| number(self.bytes, parts.record_ends + 4 * r, 4);
        let begin = if r == 0 { Some(0) } else { end(r - 1) };
        let (begin, end) = begin
            .zip(end(r))
            .ok_or("the file ends within the record ends")?;
        let units = end.checked_sub(begin).ok_or(format!(
            "record end {r} is {end}, less than the one before it, {begin} (3.5)"
        ))?;
        let at = parts.records.saturating_add(16 * begin);
        let bytes = slice(self.bytes, at, 16 * units)
            .filter(|bytes| bytes.len() >= 16)
            .ok_or(format!("record {r} is empty or not within the file"))?;
        let (high, low) = tensor.dtype.expect("parts are known").fields[parts.coded[i]];
        let weights = (parts.weights - (chunk << tensor.chunk_size)).min(1 << tensor.chunk_size);
        let plain = if i == 0 {
            self.plain_of_chunk(tensor, parts, chunk, weights)
        } else {
            &[]
        };
        Ok(Record {
            at,
            bytes,
            crc: little_endian(&bytes[..4]) as u32,
            computed_crc: crc32(&[&bytes[4..], plain]),
            kind: match bytes[4] {
                0 => Kind::Verbatim,
                1 => Kind::Huffman,
                2 => Kind::Palette,
                other => Kind::Unknown(other),
            },
            code_lengths: code::lengths(&bytes[8..16]),
            weights,
            width: high - low + 1,
            patch_count: little_endian(&bytes[6..8]),
        })
    }

    /// The chunk's bytes of the plain plane, which the checksum of its first record covers.
    fn plain_of_chunk(&self, tensor: &Tensor, parts: &Parts, chunk: u64, weights: u64) -> &'a [u8] {
        let width = u64::from(parts.plain_bits);
        let before = (u128::from(chunk) << tensor.chunk_size) * u128::from(width) / 8;
        let begin = u64::try_from(u128::from(parts.plane.start) + before).unwrap_or(u64::MAX);
        slice(self.bytes, begin, (weights * width).div_ceil(8)).unwrap_or(&[])
    }
}

impl Record<'_> {
    fn steps(&self) -> u64 {
        self.weights.div_ceil(256)
    }

    /// Where each lane ends, counted from offset 80; none if the record has no lanes.
    pub fn lane_ends(&self) -> Vec<u64> {
        if self.kind != Kind::Huffman || self.bytes.len() < 80 {
            return Vec::new();
        }
        self.bytes[16..80].chunks(2).map(little_endian).collect()
    }

    /// The bytes of a lane, empty if it does not lie within the record.
    pub fn lane(&self, lane: usize) -> &[u8] {
        let ends = self.lane_ends();
        let begin = if lane == 0 { 0 } else { ends[lane - 1] };
        let length = ends[lane].saturating_sub(begin);
        slice(self.bytes, 80 + begin, length).unwrap_or(&[])
    }

    /// Positions and values of the patches, as far as they lie within the record.
    pub fn patches(&self) -> Vec<(u64, u8)> {
        let begin = match self.kind {
            Kind::Huffman => 80 + self.lane_ends().last().copied().unwrap_or(0),
            Kind::Palette => 16 + 128 * self.steps(),
            Kind::Verbatim | Kind::Unknown(_) => return Vec::new(),
        };
        let patch = |i| slice(self.bytes, begin + 3 * i, 3);
        let patches = (0..self.patch_count).map_while(patch);
        patches
            .map(|patch| (little_endian(&patch[..2]), patch[2]))
            .collect()
    }

    /// The number of patches that the header states.
    pub fn patch_count(&self) -> u64 {
        self.patch_count
    }

    /// The values of the chunk's weights (section 7).
    pub fn values(&self, palette: &[u8]) -> Result<Vec<u8>, String> {
        let mut values = match self.kind {
            Kind::Verbatim => {
                let body = &self.bytes[16..];
                let width = u64::from(self.width);
                let values = (0..self.weights).map(|i| bits(body, i * width, self.width) as u8);
                return Ok(values.collect());
            }
            Kind::Huffman => self.huffman_values(palette)?,
            Kind::Palette => {
                let body = slice(self.bytes, 16, 128 * self.steps())
                    .ok_or("the record is too short for its indices (5.3)")?;
                let indices = body.iter().flat_map(|byte| [byte & 15, byte >> 4]);
                let values = indices.map(|index| palette.get(usize::from(index)).copied());
                values
                    .collect::<Option<Vec<u8>>>()
                    .ok_or("an index has no palette entry")?
            }
            Kind::Unknown(kind) => return Err(format!("record kind {kind} is unknown")),
        };
        values.truncate(self.weights as usize);
        for (position, value) in self.patches() {
            let place = values.get_mut(position as usize);
            *place.ok_or(format!(
                "a patch at position {position} lies outside the chunk"
            ))? = value;
        }
        Ok(values)
    }

    fn huffman_values(&self, palette: &[u8]) -> Result<Vec<u8>, String> {
        if self.bytes.len() < 80 {
            return Err("the record is too short for its lane ends (5.2)".into());
        }
        let table = code::table(&self.code_lengths)?;
        let steps = self.steps() as usize;
        let mut values = vec![0; 256 * steps];
        for lane in 0..32 {
            let (stream, mut used) = (self.lane(lane), 0);
            for step in 0..steps {
                // Eight codes of at most 8 bits.
                let mut window = bits(stream, used, 64);
                for i in 0..8 {
                    let (j, length) = table[(window & 255) as usize];
                    used += u64::from(length);
                    window >>= length;
                    let value = palette.get(j).ok_or("a code has no palette entry")?;
                    values[256 * step + 8 * lane + i] = *value;
                }
            }
            if used > 8 * stream.len() as u64 {
                return Err(format!(
                    "the codes of lane {lane} need {used} bits, but it has {}",
                    8 * stream.len()
                ));
            }
        }
        Ok(values)
    }
}
