//! Files that the runner makes itself, because they are too large for a corpus: very many tensors, and
//! sections above the limits of the format.

use crate::digest::sha256_hex;
use crate::inspect::crc32;

/// What a file is made of (`recipe` in `conformance/manifest.schema.json`): tensors of one weight, and
/// sections of any length.
///
/// Tensor *i* has the type U8, the shape `[1]` and the byte *i* mod 251. Its name is *i* in decimal,
/// with zeros in front. The file is what a canonical encoder makes of them (section 11), but for the
/// extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Number of tensors.
    pub tensors: u32,
    /// Bytes of each name.
    pub name_length: usize,
    /// Spaces behind the JSON of the source section; `None` for a file without a source section.
    pub source_spaces: Option<usize>,
    /// Bytes of the contents of one extension item of kind 77, all zero; `None` for no extensions.
    pub extension: Option<u32>,
}

const EXTENSION_KIND: u32 = 77;

impl Recipe {
    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let directory_length = self.directory_length();
        let source = self.source_section();
        let mut bytes = vec![0; 64 + directory_length];
        bytes.extend(&source);
        let extensions = self.put_extensions(&mut bytes);
        align(&mut bytes, 256);
        let ends: Vec<u64> = (0..self.tensors)
            .map(|number| {
                align(&mut bytes, 16);
                bytes.push(data(number));
                bytes.len() as u64
            })
            .collect();
        bytes.resize(bytes.len() + 64, 0);
        self.put_directory(&mut bytes[64..64 + directory_length], &ends);
        let directory_crc = crc32(&[&bytes[64..64 + directory_length]]);
        let mut header = b"\x89UNW\r\n\x1a\n\x01\0\0\0".to_vec();
        header.extend(self.tensors.to_le_bytes());
        for length in [bytes.len(), directory_length, source.len()] {
            header.extend((length as u64).to_le_bytes());
        }
        header.extend(directory_crc.to_le_bytes());
        header.extend(crc32(&[&source]).to_le_bytes());
        header.extend(extensions.0.to_le_bytes());
        header.extend(extensions.1.to_le_bytes());
        header.extend([u8::from(self.source_spaces.is_some()), 0, 0, 0]);
        header.extend(crc32(&[&header]).to_le_bytes());
        bytes[..64].copy_from_slice(&header);
        bytes
    }

    /// The restored source: the source section and the data of the tensors.
    pub fn restored(&self) -> Vec<u8> {
        let mut restored = self.source_section();
        restored.extend((0..self.tensors).map(data));
        restored
    }

    /// Length and SHA-256 of the restored source.
    pub fn restored_digest(&self) -> (u64, String) {
        let restored = self.restored();
        (restored.len() as u64, sha256_hex(&restored))
    }

    fn directory_length(&self) -> usize {
        ((40 + 8 + self.name_length) * self.tensors as usize).next_multiple_of(8)
    }

    fn name(&self, number: u32) -> String {
        format!("{number:0width$}", width = self.name_length)
    }

    fn source_section(&self) -> Vec<u8> {
        let Some(spaces) = self.source_spaces else {
            return Vec::new();
        };
        let members = (0..self.tensors).map(|number| {
            format!(
                r#""{}":{{"dtype":"U8","shape":[1],"data_offsets":[{number},{}]}}"#,
                self.name(number),
                u64::from(number) + 1
            )
        });
        let mut json = b"{".to_vec();
        for (number, member) in members.enumerate() {
            if number > 0 {
                json.push(b',');
            }
            json.extend(member.as_bytes());
        }
        json.push(b'}');
        json.resize(json.len() + spaces, b' ');
        [&(json.len() as u64).to_le_bytes()[..], &json].concat()
    }

    /// Appends the extensions; length and checksum.
    fn put_extensions(&self, bytes: &mut Vec<u8>) -> (u32, u32) {
        let begin = bytes.len();
        if let Some(length) = self.extension {
            bytes.extend(EXTENSION_KIND.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.resize(begin + 8 + (length as usize).next_multiple_of(8), 0);
        }
        ((bytes.len() - begin) as u32, crc32(&[&bytes[begin..]]))
    }

    fn put_directory(&self, directory: &mut [u8], ends: &[u64]) {
        let count = self.tensors as usize;
        let (entries, behind) = directory.split_at_mut(40 * count);
        let (dimensions, names) = behind.split_at_mut(8 * count);
        let entries = entries.chunks_exact_mut(40);
        let behind = dimensions
            .chunks_exact_mut(8)
            .zip(names.chunks_exact_mut(self.name_length));
        for (((entry, (dimension, name)), number), end) in entries.zip(behind).zip(0u32..).zip(ends)
        {
            let name_end = (number + 1).wrapping_mul(self.name_length as u32);
            entry[0] = 2; // U8
            entry[8..16].copy_from_slice(&end.to_le_bytes());
            entry[16..20].copy_from_slice(&crc32(&[&[data(number)]]).to_le_bytes());
            entry[24..28].copy_from_slice(&(number + 1).to_le_bytes());
            entry[28..32].copy_from_slice(&name_end.to_le_bytes());
            // The names ascend.
            entry[32..36].copy_from_slice(&number.to_le_bytes());
            dimension[0] = 1;
            name.copy_from_slice(self.name(number).as_bytes());
        }
    }
}

fn data(number: u32) -> u8 {
    (number % 251) as u8
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect;

    #[test]
    fn a_file_restores_to_its_source() {
        for source_spaces in [None, Some(0), Some(3)] {
            for extension in [None, Some(5)] {
                let recipe = Recipe {
                    tensors: 300,
                    name_length: 7,
                    source_spaces,
                    extension,
                };
                let file = recipe.file();
                assert_eq!(inspect::restore(&file).unwrap(), recipe.restored());
                let text = inspect::explain(&file, &inspect::Choice::default()).unwrap();
                assert!(!text.contains("WRONG"), "{text}");
            }
        }
    }
}
