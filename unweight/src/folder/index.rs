//! `*.safetensors.index.json`: which shards a model has.
//!
//! An index comes from an untrusted source. Names in it are compared with the names of the folder's
//! files and are never opened. The bytes read from it and the bytes kept of it have upper bounds.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::tree::Tree;
use crate::Error;
use crate::diagnostics::{MissingShards, cut};
use crate::error::reading;
use crate::file::{SAFETENSORS_EXTENSION, UNW_EXTENSION, open};

/// End of an index file's name.
const NAME_END: &str = ".safetensors.index.json";
/// Longest index that is read, in bytes. Indexes of models with 10^12 weights have about 3 * 10^7
/// bytes.
const LONGEST_BYTES: u64 = 64 << 20;
/// Upper bound on the memory for shard names, in bytes. Each name counts with [`NAME_OVERHEAD`].
const NAMES_BYTES: usize = 8 << 20;
/// Least number of bytes that a name takes besides its own bytes.
const NAME_OVERHEAD: usize = 64;

/// Claims of a folder's indexes that do not hold.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) missing: Vec<MissingShards>,
    /// Indexes that cannot be used, and the reason for each.
    pub(crate) unusable: Vec<(PathBuf, String)>,
}

/// Compares the indexes of a folder with the files in it. The file `x.unw` counts as the shard
/// `x.safetensors`.
pub(crate) fn check(root: &Path, tree: &Tree) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    let is_index = |path: &&PathBuf| {
        let name = path.file_name().map(OsStr::as_encoded_bytes);
        name.is_some_and(|name| name.ends_with(NAME_END.as_bytes()))
    };
    let mut indexes = tree.copied.iter().filter(is_index).peekable();
    if indexes.peek().is_none() {
        return Ok(findings);
    }
    let files: HashSet<&Path> = tree
        .converted
        .iter()
        .chain(&tree.copied)
        .map(PathBuf::as_path)
        .collect();
    let is_there = |shard: &Path| {
        files.contains(shard)
            || shard
                .extension()
                .is_some_and(|extension| extension == SAFETENSORS_EXTENSION)
                && files.contains(&*shard.with_extension(UNW_EXTENSION))
    };
    for index in indexes {
        let path = root.join(index);
        let shards = match read(&path, &open(&path)?)? {
            Ok(shards) => shards,
            Err(what) => {
                findings.unusable.push((index.clone(), what));
                continue;
            }
        };
        let folder = index.parent().unwrap_or(Path::new(""));
        let mut missing = Vec::new();
        let mut outside = Vec::new();
        for name in shards {
            match inside(&name) {
                Some(shard) if is_there(&folder.join(&shard)) => {}
                Some(shard) => missing.push(shard),
                None => outside.push(name),
            }
        }
        if let Some(name) = outside.first() {
            let more = match outside.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let what = format!(
                "names {:?}{more}, expected names of files beside it",
                cut(name)
            );
            findings.unusable.push((index.clone(), what));
        }
        if !missing.is_empty() {
            findings.missing.push(MissingShards {
                index: index.clone(),
                shards: missing,
            });
        }
    }
    Ok(findings)
}

/// Path that a shard's name stands for. None if the path leaves the folder of its index.
fn inside(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (path != Path::new("") && !name.contains('\0')).then_some(path)
}

/// Reads the names of shards in an index. The inner error says what is wrong with the index.
fn read(path: &Path, file: &File) -> Result<Result<BTreeSet<String>, String>, Error> {
    let failed = reading(path);
    let length = file.metadata().map_err(&failed)?.len();
    if length > LONGEST_BYTES {
        return Ok(Err(format!(
            "has {length} bytes, expected at most {LONGEST_BYTES}; it is not read"
        )));
    }
    // The file may have grown since its length was read.
    let bounded = ShortStrings::of(file.take(LONGEST_BYTES));
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(bounded));
    let read = json
        .deserialize_any(Index)
        .and_then(|shards| json.end().map(|()| shards));
    match read {
        Ok(shards) => Ok(Ok(shards)),
        Err(error) if error.is_io() && error.io_error_kind() != Some(TOO_LONG) => {
            Err(failed(error.into()))
        }
        Err(error) => Ok(Err(format!(
            "is no index of shards: {}",
            cut(&error.to_string())
        ))),
    }
}

/// Error for a string where something else is expected. serde would quote the string whole.
fn no_string<E: de::Error>(string: &str, expected: &dyn de::Expected) -> E {
    E::custom(format_args!(
        "found the string {:?}, expected {expected}",
        cut(string)
    ))
}

/// Error kind that [`ShortStrings`] reports for a string that is too long.
const TOO_LONG: io::ErrorKind = io::ErrorKind::InvalidData;

/// Reader of JSON that limits the length of each string. The parser behind it keeps each string
/// whole in memory while it reads the string.
struct ShortStrings<R> {
    json: R,
    /// Length in bytes of the string that is being read. None between strings.
    string_bytes: Option<u64>,
    is_escaped: bool,
}

impl<R> ShortStrings<R> {
    const LONGEST_STRING_BYTES: u64 = 1 << 20;

    fn of(json: R) -> Self {
        ShortStrings {
            json,
            string_bytes: None,
            is_escaped: false,
        }
    }
}

impl<R: Read> Read for ShortStrings<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.json.read(buffer)?;
        for &byte in &buffer[..count] {
            self.string_bytes = match (self.string_bytes, byte) {
                (None, b'"') => Some(0),
                (None, _) => None,
                (Some(_), b'"') if !self.is_escaped => None,
                (Some(Self::LONGEST_STRING_BYTES), _) => {
                    let what =
                        format!("a string of more than {} bytes", Self::LONGEST_STRING_BYTES);
                    return Err(io::Error::new(TOO_LONG, what));
                }
                (Some(bytes), _) => {
                    self.is_escaped = byte == b'\\' && !self.is_escaped;
                    Some(bytes + 1)
                }
            };
        }
        Ok(count)
    }
}

/// Visitor of an index, which is a JSON object. Its value is the set of names in `weight_map`.
struct Index;

impl<'de> Visitor<'de> for Index {
    type Value = BTreeSet<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut shards = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "weight_map" {
                map.next_value_seed(WeightMap(shards.get_or_insert_default()))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        shards.ok_or_else(|| de::Error::missing_field("weight_map"))
    }

    fn visit_str<E: de::Error>(self, string: &str) -> Result<Self::Value, E> {
        Err(no_string(string, &self))
    }
}

/// Seed for the JSON object that maps names of tensors to names of shards.
struct WeightMap<'a>(&'a mut BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for WeightMap<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WeightMap<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a weight_map: an object of names of files")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut taken = 0;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Shard {
                names: self.0,
                taken: &mut taken,
            })?;
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, string: &str) -> Result<(), E> {
        Err(no_string(string, &self))
    }
}

/// Seed for the name of one shard.
struct Shard<'a> {
    names: &'a mut BTreeSet<String>,
    taken: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Shard<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Shard<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a file")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        if self.names.contains(name) {
            return Ok(());
        }
        *self.taken += name.len() + NAME_OVERHEAD;
        if *self.taken > NAMES_BYTES {
            return Err(E::custom(format_args!(
                "more than {} names of shards",
                self.names.len()
            )));
        }
        self.names.insert(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        for (name, path) in [
            ("a.safetensors", "a.safetensors"),
            ("./a", "a"),
            ("sub//a", "sub/a"),
        ] {
            assert_eq!(inside(name), Some(PathBuf::from(path)));
        }
        for name in ["", ".", "..", "../a", "sub/../../a", "/etc/passwd", "a\0b"] {
            assert_eq!(inside(name), None, "{name:?}");
        }
    }
}
