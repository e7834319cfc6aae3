//! Streaming parser for the JSON of a safetensors header.
//!
//! Memory use is proportional to the header's length: nesting is limited, and a message quotes at
//! most one line of the header. This module itself rejects strings where another type is expected,
//! because serde would quote them whole, with up to six bytes for each byte.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use unweight_format::Dtype;

use super::SourceTensor;

/// The members of the header's JSON object: its tensors, in the order in which they appear.
pub(super) struct Members(pub(super) Vec<SourceTensor>);

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
                    if name == super::METADATA {
                        map.next_value::<Metadata>()?;
                    } else {
                        tensors.push(map.next_value::<Description>()?.of(&name)?);
                    }
                    if !names.insert(name.clone()) {
                        let name = Quoted(&name);
                        return Err(de::Error::custom(format_args!("duplicate name {name}")));
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
    shape: Integers,
    data_offsets: Integers,
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DescriptionVisitor;

        // serde's derived visitor would also accept an array of the three values.
        impl<'de> Visitor<'de> for DescriptionVisitor {
            type Value = Description;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Description, A::Error> {
                let members = de::value::MapAccessDeserializer::new(map);
                DescriptionMembers::deserialize(members).map(Description)
            }

            fn visit_str<E: de::Error>(self, string: &str) -> Result<Description, E> {
                Err(no_string(string, &self))
            }
        }

        deserializer.deserialize_any(DescriptionVisitor)
    }
}

impl Description {
    fn of<E: de::Error>(self, name: &str) -> Result<SourceTensor, E> {
        let members = self.0;
        let Some(dtype) = Dtype::from_name(&members.dtype) else {
            return Err(E::custom(format_args!(
                "tensor {} has the unknown dtype {}",
                Quoted(name),
                Quoted(&members.dtype)
            )));
        };
        let [begin, end] = members.data_offsets.0[..] else {
            return Err(E::invalid_length(
                members.data_offsets.0.len(),
                &"an array of two integers",
            ));
        };
        if begin > end {
            return Err(E::custom(format_args!(
                "tensor {} ends at {end}, before it begins at {begin}",
                Quoted(name)
            )));
        }
        Ok(SourceTensor {
            name: name.to_owned(),
            dtype,
            shape: members.shape.0,
            begin,
            end,
        })
    }
}

/// An array of integers below 2^64.
struct Integers(Vec<u64>);

impl<'de> Deserialize<'de> for Integers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegersVisitor;

        impl<'de> Visitor<'de> for IntegersVisitor {
            type Value = Integers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of integers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Integers, A::Error> {
                let mut integers = Vec::new();
                while let Some(Integer(integer)) = array.next_element()? {
                    integers.push(integer);
                }
                Ok(Integers(integers))
            }

            fn visit_str<E: de::Error>(self, string: &str) -> Result<Integers, E> {
                Err(no_string(string, &self))
            }
        }

        deserializer.deserialize_any(IntegersVisitor)
    }
}

struct Integer(u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer from 0 to 2^64 - 1")
            }

            fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Integer, E> {
                Ok(Integer(integer))
            }

            fn visit_str<E: de::Error>(self, string: &str) -> Result<Integer, E> {
                Err(no_string(string, &self))
            }
        }

        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// The value of `__metadata__`: strings by distinct names, or `null`. It is only checked; the
/// source section keeps the original bytes.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;

        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings or null")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut names = HashSet::new();
                while let Some((name, _)) = map.next_entry::<String, String>()? {
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format_args!(
                            "duplicate name {} in __metadata__",
                            Quoted(&name)
                        )));
                    }
                }
                Ok(Metadata)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Metadata, E> {
                Ok(Metadata)
            }

            fn visit_str<E: de::Error>(self, string: &str) -> Result<Metadata, E> {
                Err(no_string(string, &self))
            }
        }

        deserializer.deserialize_any(MetadataVisitor)
    }
}

/// Rejects a string where another type is expected.
fn no_string<E: de::Error>(string: &str, expected: &dyn de::Expected) -> E {
    let string = Quoted(string);
    E::custom(format_args!(
        "invalid type: string {string}, expected {expected}"
    ))
}

/// A name as messages quote it: escaped, and truncated if it is long. An escape takes up to ten
/// bytes, and a name may be as long as the header.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARACTERS: usize = 200;
        match self.0.char_indices().nth(SHOWN_CHARACTERS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}
