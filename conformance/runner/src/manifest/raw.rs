//! Raw manifest: the fields of all kinds side by side. A case stays text until [`Head`] shows that
//! this runner knows its kind.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct Manifest {
    pub(super) format_version: String,
    pub(super) license: String,
    pub(super) cases: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) made: Vec<Box<RawValue>>,
}

/// The members of a case that tell whether this runner can run it.
#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) profile: String,
    pub(super) category: Option<String>,
}

/// Names of the members of [`Case`].
pub(super) const CASE_MEMBERS: &[&str] = &[
    "id",
    "claim",
    "kind",
    "profile",
    "sections",
    "flags",
    "file",
    "restored",
    "restored_hex",
    "tensors",
    "rule",
    "category",
    "step",
    "core",
    "stride",
    "source",
    "parameters",
    "inner",
];

/// Names of the members of a case that is made: those of [`Case`] and these.
pub(super) const MADE_MEMBERS: &[&str] = &["recipe", "large"];

/// Names of the members of [`Manifest`], and the schema, by which editors find it.
pub(super) const MANIFEST_MEMBERS: &[&str] =
    &["$schema", "format_version", "license", "cases", "made"];

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) claim: String,
    pub(super) kind: Kind,
    pub(super) profile: Profile,
    pub(super) sections: Vec<String>,
    #[serde(default)]
    pub(super) flags: Vec<String>,
    #[serde(default)]
    pub(super) file: String,
    pub(super) recipe: Option<Recipe>,
    #[serde(default)]
    pub(super) large: bool,

    pub(super) restored: Option<Restored>,
    pub(super) restored_hex: Option<String>,
    pub(super) tensors: Option<Vec<Tensor>>,
    pub(super) rule: Option<String>,
    pub(super) category: Option<Category>,
    pub(super) step: Option<u8>,
    pub(super) core: Option<String>,
    pub(super) stride: Option<u64>,
    pub(super) source: Option<String>,
    pub(super) parameters: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
pub(super) struct Recipe {
    pub(super) tensors: u32,
    pub(super) name_length: usize,
    pub(super) source_spaces: Option<usize>,
    pub(super) extension: Option<u32>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Accept,
    Reject,
    Prefixes,
    Encode,
    EncodeRefuse,
    Transcode,
    TranscodeRefuse,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Profile {
    Core,
    Full,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Category {
    Malformed,
    Truncated,
    Unsupported,
    Limit,
}

#[derive(Deserialize)]
pub(super) struct Restored {
    pub(super) length: u64,
    pub(super) sha256: String,
}

#[derive(Deserialize)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) sha256: String,
}
