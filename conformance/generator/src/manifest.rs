//! Writer of `manifest.json` in the format of `conformance/manifest.schema.json`, with one line for
//! each field and each tensor.

use std::collections::HashMap;
use std::fmt::{Display, Write};

use serde_json::json;
use sha2::{Digest, Sha256};
use unweight_conformance_runner::Recipe;
use unweight_format::Rule;

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
    let mut members = Members::default();
    members.add("id", json!(case.id));
    members.add("claim", json!(case.claim));
    let kind = match case.expect {
        made::Expect::Accept => "accept",
        made::Expect::Reject(_) => "reject",
        made::Expect::Encode => "encode",
        made::Expect::Transcode => "transcode",
        made::Expect::EncodeRefuse => "encode-refuse",
    };
    members.add("kind", json!(kind));
    members.add("profile", json!("core"));
    if let Some(step) = case.step {
        members.add("step", json!(step));
    }
    members.add("sections", json!(case.sections));
    if case.large {
        members.add("large", json!(true));
    }
    match case.expect {
        made::Expect::Reject(rule) => members.add_rule(rule),
        made::Expect::Encode | made::Expect::EncodeRefuse => members.add_parameters("huffman", 12),
        made::Expect::Transcode => members.add_encoding("palette"),
        made::Expect::Accept => {
            let (length, digest) = case.recipe.restored_digest();
            members.add_restored(length, &digest);
        }
    }
    members.add("recipe", recipe(&case.recipe));
    members.object()
}

/// The members of a case, as lines. Objects are written by hand, because the order of the members
/// of a `Value` depends on a feature of serde_json.
#[derive(Default)]
struct Members(Vec<String>);

impl Members {
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push(format!("      \"{name}\": {value}"));
    }

    fn add_rule(&mut self, rule: Rule) {
        self.add("rule", json!(rule.id()));
        self.add("category", json!(rule.category().name()));
    }

    /// The parameters of an encoder.
    fn add_parameters(&mut self, encoding: impl Display, chunk: u8) {
        let value = format!("{{\"encoding\":\"{encoding}\",\"chunk\":{chunk}}}");
        self.add("parameters", value);
    }

    /// The parameters of a transcoder.
    fn add_encoding(&mut self, encoding: impl Display) {
        self.add("parameters", format!("{{\"encoding\":\"{encoding}\"}}"));
    }

    fn add_restored(&mut self, length: u64, digest: &str) {
        let value = format!("{{\"length\":{length},\"sha256\":\"{digest}\"}}");
        self.add("restored", value);
    }

    fn object(self) -> String {
        format!("    {{\n{}\n    }}", self.0.join(",\n"))
    }
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
    let mut members = Members::default();
    members.add("id", json!(case.id));
    members.add("claim", json!(case.claim));
    let kind = match case.expect {
        Expect::Accept { .. } => "accept",
        Expect::Reject(_) => "reject",
        Expect::Prefixes(_) => "prefixes",
        Expect::Encode { .. } => "encode",
        Expect::EncodeRefuse => "encode-refuse",
        Expect::Transcode { .. } => "transcode",
        Expect::TranscodeRefuse { .. } => "transcode-refuse",
    };
    members.add("kind", json!(kind));
    members.add("profile", json!(if case.full { "full" } else { "core" }));
    if case.full && steps::is_rejected_in_core(&case.expect, bytes) {
        members.add("core", json!("form-unknown"));
    }
    if let Some(step) = steps::of_case(&case.expect, bytes) {
        members.add("step", json!(step));
    }
    members.add("sections", json!(case.sections));
    members.add("file", json!(case.file));
    match &case.expect {
        Expect::Accept {
            restored,
            tensors,
            source,
        } => {
            let digest = sha256(restored);
            if let Some(source) = source {
                members.add("source", json!(source));
            } else if restored.len() <= LONGEST_HEX_BYTES {
                members.add("restored_hex", json!(hex(restored)));
            }
            members.add_restored(restored.len() as u64, &digest);
            members.add("tensors", all_tensors(restored, tensors));
        }
        Expect::Reject(rule) | Expect::Prefixes(rule) => members.add_rule(*rule),
        Expect::Encode {
            source,
            encoding,
            chunk,
        } => {
            members.add("source", json!(source));
            members.add_parameters(encoding, *chunk);
        }
        Expect::EncodeRefuse => members.add_parameters("huffman", 12),
        Expect::Transcode { source, encoding } => {
            members.add("source", json!(source));
            members.add_encoding(encoding);
        }
        Expect::TranscodeRefuse { rule, encoding } => {
            members.add_rule(*rule);
            members.add_encoding(encoding);
        }
    }
    if let Some(inner) = inner {
        members.add("inner", inner);
    }
    members.object()
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
