//! Contents of a newer manifest: members and values that this runner does not know.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Case, ManifestError, raw};

const PROFILES: &[&str] = &["core", "full"];
const CATEGORIES: &[&str] = &["malformed", "truncated", "unsupported", "limit"];

/// The first value of a case that this runner does not know, such as ``kind `tensor-slice` ``.
pub(super) fn unknown_value(head: &raw::Head) -> Option<String> {
    let values = [
        ("kind", Some(&head.kind), &Case::KINDS[..]),
        ("profile", Some(&head.profile), PROFILES),
        ("category", head.category.as_ref(), CATEGORIES),
    ];
    values.into_iter().find_map(|(member, value, known)| {
        let value = value.filter(|value| !known.contains(&value.as_str()))?;
        Some(format!("{member} `{value}`"))
    })
}

/// Counts the members of the manifest and of its cases that this runner does not know, by name.
pub(super) fn unknown_members(json: &str) -> Result<BTreeMap<String, usize>, ManifestError> {
    let manifest: Map<String, Value> = serde_json::from_str(json).map_err(ManifestError::json)?;
    let mut unknown = BTreeMap::new();
    let mut count = |members: &Map<String, Value>, known: &[&str]| {
        for name in members
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
        {
            *unknown.entry(name.clone()).or_default() += 1;
        }
    };
    count(&manifest, raw::MANIFEST_MEMBERS);
    let made = [raw::CASE_MEMBERS, raw::MADE_MEMBERS].concat();
    for (list, known) in [("cases", raw::CASE_MEMBERS), ("made", &made)] {
        let cases = manifest.get(list).and_then(Value::as_array);
        for case in cases.into_iter().flatten().filter_map(Value::as_object) {
            count(case, known);
        }
    }
    Ok(unknown)
}
