//! The strings that a safetensors header has beside its tensors.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Header, HeaderError};

impl Header {
    /// The strings of `__metadata__` of a header, the length field and the JSON, in the order of the
    /// JSON. None if the header has no `__metadata__`, or `null` for it.
    ///
    /// They are not part of a [`Header`], because nothing but a caller of this function needs them.
    ///
    /// # Errors
    /// A [`HeaderError`] with the position and the cause.
    pub fn metadata(header: &[u8]) -> Result<Option<Vec<(String, String)>>, HeaderError> {
        // What is wrong with a header is said in the same words everywhere.
        Header::parse(header)?;
        let json = header
            .split_first_chunk::<8>()
            .map_or(header, |(_, json)| json);
        let members: Members = serde_json::from_slice(json).map_err(|bad| HeaderError {
            at: 8,
            what: bad.to_string(),
        })?;
        Ok(members.metadata.map(|strings| strings.0))
    }
}

/// The member `__metadata__` of a header that was parsed.
#[derive(Deserialize)]
struct Members {
    #[serde(rename = "__metadata__")]
    metadata: Option<Strings>,
}

/// The members of an object of strings, in order.
struct Strings(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringsVisitor;

        impl<'de> Visitor<'de> for StringsVisitor {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut strings = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    strings.push(entry);
                }
                Ok(Strings(strings))
            }
        }

        deserializer.deserialize_map(StringsVisitor)
    }
}
