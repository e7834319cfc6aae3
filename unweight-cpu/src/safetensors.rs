//! The safetensors header (section 3.3), read strictly: what the format's own specification allows, no
//! name twice, in the order of the data.
//!
//! The `safetensors` crate reads headers into hash maps, where a second tensor of the same name replaces the first,
//! and empty tensors lose their order; a file that must come back byte for byte can afford neither.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use unweight_format::write::Declaration;
use unweight_format::{Directory, Dtype, Error, Expected, Extent, Rule, layout, limits};

/// A safetensors header: the tensors of a file, in the order of their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the length field and the JSON together: where the data begins.
    pub header_bytes: u64,
    /// The tensors; each begins where the one before it ends, the first at 0.
    pub tensors: Vec<SourceTensor>,
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTensor {
    /// The name.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Where its data begins, counted from the end of the header.
    pub begin: u64,
    /// Where its data ends.
    pub end: u64,
}

impl SourceTensor {
    /// The tensor as a container declares it.
    pub fn declaration(&self) -> Declaration<'_> {
        Declaration {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
        }
    }
}

impl Header {
    /// Bytes of the length field and the JSON of a file that begins with these 8 bytes.
    ///
    /// # Errors
    /// A length that no container can hold.
    pub fn bytes_from_length(length: [u8; 8]) -> Result<u64, HeaderError> {
        let json_bytes = u64::from_le_bytes(length);
        match json_bytes.checked_add(layout::SAFETENSORS_LENGTH_BYTES) {
            Some(bytes) if bytes <= limits::SOURCE_BYTES => Ok(bytes),
            _ => Err(HeaderError {
                at: 0,
                what: format!(
                    "the header has {json_bytes} bytes, expected at most {}",
                    limits::SOURCE_BYTES - layout::SAFETENSORS_LENGTH_BYTES
                ),
            }),
        }
    }

    /// Reads a header: the length field and the JSON, nothing behind them.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(header: &[u8]) -> Result<Header, HeaderError> {
        let error = |at: usize, what: String| HeaderError {
            at: at as u64,
            what,
        };
        let Some((length, json)) = header.split_first_chunk() else {
            return Err(error(
                0,
                format!("{} bytes, expected at least 8", header.len()),
            ));
        };
        if u64::from_le_bytes(*length) != json.len() as u64 {
            let stated = u64::from_le_bytes(*length);
            return Err(error(
                0,
                format!("the header has {} bytes, expected {stated}", json.len()),
            ));
        }
        if json.first() != Some(&b'{') {
            return Err(error(8, "the header does not begin with '{'".to_owned()));
        }
        let json = std::str::from_utf8(json)
            .map_err(|bad| error(8 + bad.valid_up_to(), "the header is not UTF-8".to_owned()))?;
        let members: Members = serde_json::from_str(json).map_err(|bad| {
            error(
                8 + offset_of(json, bad.line(), bad.column()),
                bad.to_string(),
            )
        })?;

        let mut tensors = members.0;
        // Stable: empty tensors at one offset stay in the order in which they appear.
        tensors.sort_by_key(|tensor| (tensor.begin, tensor.end));
        let mut end = 0;
        for tensor in &tensors {
            let of = |what: String| error(8, format!("tensor {:?} {what}", tensor.name));
            if tensor.begin != end {
                let kind = if tensor.begin < end {
                    "overlaps the one before it"
                } else {
                    "leaves a hole"
                };
                return Err(of(format!(
                    "{kind}: it begins at {}, expected {end}",
                    tensor.begin
                )));
            }
            let stated = tensor.end - tensor.begin;
            match data_bytes(tensor) {
                Some(bytes) if bytes == stated => {}
                Some(bytes) => return Err(of(format!("has {stated} bytes, expected {bytes}"))),
                None => return Err(of("has no whole number of bytes below 2^59".to_owned())),
            }
            end = tensor.end;
        }
        // So that every tensor has a place in the file.
        if end.checked_add(header.len() as u64).is_none() {
            return Err(error(8, "the data ends past 2^64 bytes".to_owned()));
        }
        Ok(Header {
            header_bytes: header.len() as u64,
            tensors,
        })
    }

    /// Bytes of the data behind the header.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.last().map_or(0, |tensor| tensor.end)
    }

    /// Where a tensor's data stands in the file.
    pub fn data(&self, tensor: &SourceTensor) -> Extent {
        Extent {
            offset: self.header_bytes + tensor.begin,
            length: tensor.end - tensor.begin,
        }
    }
}

/// What is wrong with a safetensors header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderError {
    /// Offset from the start of the file.
    pub at: u64,
    /// What was found, and what was expected.
    pub what: String,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "safetensors header at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for HeaderError {}

/// Checks that a source section is a safetensors header that describes exactly the tensors of the directory.
///
/// # Errors
/// `source-header`, at `offset` (where the source section stands) plus the place of the trouble.
pub fn require_same_story(
    source: &[u8],
    offset: u64,
    directory: &Directory<'_>,
) -> Result<(), Error> {
    let broken = |at: u64, found: u64, expected| {
        Err(Error::new(Rule::SourceHeader, offset + at, found, expected))
    };
    let header = match Header::parse(source) {
        Ok(header) => header,
        Err(bad) => {
            let found = source.get(bad.at as usize).copied().unwrap_or(0);
            return broken(
                bad.at,
                found.into(),
                Expected::Words("a valid safetensors header"),
            );
        }
    };
    if header.tensors.len() as u64 != u64::from(directory.tensor_count()) {
        let expected = Expected::Exactly(directory.tensor_count().into());
        return broken(0, header.tensors.len() as u64, expected);
    }
    for (tensor, source) in directory.tensors().zip(&header.tensors) {
        let same = tensor.name() == source.name
            && tensor.dtype() == source.dtype
            && tensor.shape().eq(source.shape.iter().copied())
            && tensor.data_bytes() == source.end - source.begin;
        if !same {
            let expected =
                Expected::Words("the name, dtype and shape of this tensor number in the directory");
            return broken(0, tensor.number().into(), expected);
        }
    }
    Ok(())
}

/// Bytes that a tensor's shape and type come to, if they are whole and within the limit on elements.
fn data_bytes(tensor: &SourceTensor) -> Option<u64> {
    let bits = tensor.declaration().element_count()? * tensor.dtype.bits();
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// Offset of a one-based line and column, as `serde_json` reports them.
fn offset_of(json: &str, line: usize, column: usize) -> usize {
    let lines_before: usize = json
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (lines_before + column.saturating_sub(1)).min(json.len())
}

/// The members of the header's JSON object: its tensors, in the order in which they appear.
struct Members(Vec<SourceTensor>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = HashSet::new();
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<Metadata>()?;
                    } else {
                        tensors.push(map.next_value::<Description>()?.of(&name)?);
                    }
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format_args!("duplicate name {name:?}")));
                    }
                }
                Ok(Members(tensors))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The object that describes one tensor.
struct Description(DescriptionMembers);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionMembers {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DescriptionVisitor;

        // serde's own visitor would take an array of the three values for the object.
        impl<'de> Visitor<'de> for DescriptionVisitor {
            type Value = Description;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Description, A::Error> {
                let members = de::value::MapAccessDeserializer::new(map);
                DescriptionMembers::deserialize(members).map(Description)
            }
        }

        deserializer.deserialize_map(DescriptionVisitor)
    }
}

impl Description {
    fn of<E: de::Error>(self, name: &str) -> Result<SourceTensor, E> {
        let DescriptionMembers {
            dtype,
            shape,
            data_offsets: (begin, end),
        } = self.0;
        let Some(dtype) = Dtype::from_name(&dtype) else {
            return Err(E::custom(format_args!(
                "tensor {name:?} has the unknown dtype {dtype:?}"
            )));
        };
        if begin > end {
            return Err(E::custom(format_args!(
                "tensor {name:?} ends at {end}, before it begins at {begin}"
            )));
        }
        Ok(SourceTensor {
            name: name.to_owned(),
            dtype,
            shape,
            begin,
            end,
        })
    }
}

/// The `__metadata__` object: strings by distinct names. They are checked, and kept only in the source section.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;

        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut names = HashSet::new();
                while let Some((name, _)) = map.next_entry::<String, String>()? {
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format_args!(
                            "duplicate name {name:?} in __metadata__"
                        )));
                    }
                }
                Ok(Metadata)
            }
        }

        deserializer.deserialize_map(MetadataVisitor)
    }
}
