//! Writer of `manifest.json` in the format of `conformance/manifest.schema.json`, with one line for
//! each field and each tensor.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use unweight_conformance_runner::Recipe;

use crate::case::{Case, Cases, Expect};
use crate::draft::Tensor;
use crate::made::{self, Made};
use crate::{inner, steps};

/// Length limit of restored sources in the manifest itself.
const LONGEST_HEX_BYTES: usize = 64;

/// The manifest of these cases.
pub fn write(cases: &Cases) -> String {
    let files: HashMap<&str, &[u8]> = cases
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.bytes.as_slice()))
        .collect();
    let bytes = |case: &Case| files.get(case.file.as_str()).copied().unwrap_or_default();
    let inner = inner::values(cases);
    let cases: Vec<String> = cases
        .cases
        .iter()
        .map(|one| case(one, bytes(one), inner.get(one.id.as_str())))
        .collect();
    format!(
        concat!(
            "{{\n",
            "  \"$schema\": \"../manifest.schema.json\",\n",
            "  \"format_version\": \"1.0-rc.1\",\n",
            "  \"license\": \"CC0-1.0 AND Apache-2.0\",\n",
            "  \"cases\": [\n{}\n  ],\n",
            "  \"made\": [\n{}\n  ]\n}}\n"
        ),
        cases.join(",\n"),
        made::cases()
            .iter()
            .map(made_case)
            .collect::<Vec<_>>()
            .join(",\n")
    )
}

/// A case whose file the runner makes.
fn made_case(case: &Made) -> String {
    let mut lines = Vec::new();
    let mut field = |name: &str, value: Value| lines.push(format!("      \"{name}\": {value}"));
    field("id", json!(case.id));
    field("claim", json!(case.claim));
    let kind = match case.expect {
        made::Expect::Accept => "accept",
        made::Expect::Reject(_) => "reject",
        made::Expect::Encode => "encode",
        made::Expect::Transcode => "transcode",
        made::Expect::EncodeRefuse => "encode-refuse",
    };
    field("kind", json!(kind));
    field("profile", json!("core"));
    if let Some(step) = case.step {
        field("step", json!(step));
    }
    field("sections", json!(case.sections));
    if case.large {
        field("large", json!(true));
    }
    match case.expect {
        made::Expect::Reject(rule) => {
            field("rule", json!(rule.id()));
            field("category", json!(rule.category().name()));
        }
        made::Expect::Encode | made::Expect::EncodeRefuse => {
            lines.push("      \"parameters\": {\"encoding\":\"huffman\",\"chunk\":12}".to_owned());
        }
        made::Expect::Transcode => {
            lines.push("      \"parameters\": {\"encoding\":\"palette\"}".to_owned());
        }
        made::Expect::Accept => {
            let (length, digest) = case.recipe.restored_digest();
            lines.push(format!(
                "      \"restored\": {{\"length\":{length},\"sha256\":\"{digest}\"}}"
            ));
        }
    }
    lines.push(format!("      \"recipe\": {}", recipe(&case.recipe)));
    format!("    {{\n{}\n    }}", lines.join(",\n"))
}

fn recipe(recipe: &Recipe) -> String {
    let mut text = format!(
        "{{\"tensors\":{},\"name_length\":{}",
        recipe.tensors, recipe.name_length
    );
    if let Some(spaces) = recipe.source_spaces {
        write!(text, ",\"source_spaces\":{spaces}").expect("writing to a string succeeds");
    }
    if let Some(length) = recipe.extension {
        write!(text, ",\"extension\":{length}").expect("writing to a string succeeds");
    }
    text + "}"
}

fn case(case: &Case, bytes: &[u8], inner: Option<&String>) -> String {
    let mut lines = Vec::new();
    let mut field = |name: &str, value: Value| lines.push(format!("      \"{name}\": {value}"));
    field("id", json!(case.id));
    field("claim", json!(case.claim));
    let kind = match case.expect {
        Expect::Accept { .. } => "accept",
        Expect::Reject(_) => "reject",
        Expect::Prefixes(_) => "prefixes",
        Expect::Encode { .. } => "encode",
        Expect::EncodeRefuse => "encode-refuse",
        Expect::Transcode { .. } => "transcode",
        Expect::TranscodeRefuse { .. } => "transcode-refuse",
    };
    field("kind", json!(kind));
    field("profile", json!(if case.full { "full" } else { "core" }));
    if case.full && steps::is_rejected_in_core(&case.expect, bytes) {
        field("core", json!("form-unknown"));
    }
    if let Some(step) = steps::of_case(&case.expect, bytes) {
        field("step", json!(step));
    }
    field("sections", json!(case.sections));
    field("file", json!(case.file));
    match &case.expect {
        Expect::Accept {
            restored,
            tensors,
            source,
        } => {
            // Objects are written by hand, because the order of the members of a `Value` depends on
            // a feature of serde_json.
            let digest = sha256(restored);
            if let Some(source) = source {
                field("source", json!(source));
            } else if restored.len() <= LONGEST_HEX_BYTES {
                field("restored_hex", json!(hex(restored)));
            }
            lines.push(format!(
                "      \"restored\": {{\"length\":{},\"sha256\":\"{digest}\"}}",
                restored.len()
            ));
            lines.push(format!(
                "      \"tensors\": {}",
                all_tensors(restored, tensors)
            ));
        }
        Expect::Reject(rule) | Expect::Prefixes(rule) => {
            field("rule", json!(rule.id()));
            field("category", json!(rule.category().name()));
        }
        Expect::Encode {
            source,
            encoding,
            chunk,
        } => {
            field("source", json!(source));
            lines.push(format!(
                "      \"parameters\": {{\"encoding\":\"{encoding}\",\"chunk\":{chunk}}}"
            ));
        }
        Expect::EncodeRefuse => {
            lines.push("      \"parameters\": {\"encoding\":\"huffman\",\"chunk\":12}".to_owned());
        }
        Expect::Transcode { source, encoding } => {
            field("source", json!(source));
            lines.push(format!(
                "      \"parameters\": {{\"encoding\":\"{encoding}\"}}"
            ));
        }
        Expect::TranscodeRefuse { rule, encoding } => {
            field("rule", json!(rule.id()));
            field("category", json!(rule.category().name()));
            lines.push(format!(
                "      \"parameters\": {{\"encoding\":\"{encoding}\"}}"
            ));
        }
    }
    if let Some(inner) = inner {
        lines.push(format!("      \"inner\": {inner}"));
    }
    format!("    {{\n{}\n    }}", lines.join(",\n"))
}

fn all_tensors(restored: &[u8], tensors: &[Tensor]) -> String {
    let data: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    let mut offset = restored.len() - data;
    let lines: Vec<String> = tensors
        .iter()
        .map(|tensor| {
            let length = tensor.data.len();
            let line = format!(
                "        {{\"name\":{},\"dtype\":\"{}\",\"shape\":{},\"offset\":{offset},\"length\":{length},\"sha256\":\"{}\"}}",
                json!(String::from_utf8_lossy(&tensor.name)),
                tensor.dtype.name(),
                json!(tensor.shape),
                sha256(&tensor.data)
            );
            offset += length;
            line
        })
        .collect();
    match lines.is_empty() {
        true => "[]".to_owned(),
        false => format!("[\n{}\n      ]", lines.join(",\n")),
    }
}

/// SHA-256 as lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}
