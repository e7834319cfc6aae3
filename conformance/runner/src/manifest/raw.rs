//! Raw manifest: the fields of all kinds side by side, so that `serde_json` names the line of a
//! wrong type.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The schema, by which editors find it. It is ignored here.
    #[serde(rename = "$schema", default)]
    pub(super) _schema: Option<String>,
    pub(super) format_version: String,
    pub(super) license: String,
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) claim: String,
    pub(super) kind: Kind,
    pub(super) profile: Profile,
    pub(super) sections: Vec<String>,
    #[serde(default)]
    pub(super) flags: Vec<String>,
    pub(super) file: String,

    pub(super) restored: Option<Restored>,
    pub(super) restored_hex: Option<String>,
    pub(super) tensors: Option<Vec<Tensor>>,
    pub(super) rule: Option<String>,
    pub(super) category: Option<Category>,
    pub(super) step: Option<u64>,
    pub(super) source: Option<String>,
    pub(super) parameters: Option<BTreeMap<String, serde_json::Value>>,
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
#[serde(deny_unknown_fields)]
pub(super) struct Restored {
    pub(super) length: u64,
    pub(super) sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) sha256: String,
}
