//! Raw manifest to manifest: each kind has the fields that it needs and no others, and every value
//! is valid.

use std::collections::{BTreeMap, HashSet};

use super::{
    Accept, Case, Category, CorpusPath, Expect, Ignored, Manifest, ManifestError, Parameters,
    Profile, Tensor, newer, raw,
};
use crate::{
    Recipe,
    digest::{is_sha256_hex, parse_hex, sha256_hex},
};

pub(super) fn manifest(
    raw: raw::Manifest,
    members: BTreeMap<String, usize>,
) -> Result<Manifest, ManifestError> {
    let whole = |problem: String| ManifestError {
        location: String::new(),
        problem,
    };
    if raw.format_version.split('.').next() != Some("1") {
        return Err(whole(format!(
            "format_version is {:?}, but this runner knows the cases of format 1; use the runner of that version",
            raw.format_version
        )));
    }
    if raw.license.is_empty() {
        return Err(whole(
            "license is empty; name one, such as \"CC0-1.0\"".into(),
        ));
    }
    if raw.cases.is_empty() {
        return Err(whole("cases is empty".into()));
    }
    let mut ids = HashSet::new();
    let mut cases = Vec::with_capacity(raw.cases.len());
    let mut ignored = Ignored {
        members,
        ..Ignored::default()
    };
    let numbered = raw.cases.into_iter().zip(1..);
    let numbered = numbered.map(|(text, number)| (text, format!("case {number}"), false));
    let made = raw.made.into_iter().zip(1..);
    let made = made.map(|(text, number)| (text, format!("made case {number}"), true));
    for (text, number, is_made) in numbered.chain(made) {
        let head: raw::Head = parse(text.get(), &number)?;
        let location = format!("{number} (`{}`)", head.id);
        if let Some(what) = newer::unknown_value(&head) {
            *ignored.cases.entry(what).or_default() += 1;
            continue;
        }
        let raw_case: raw::Case = parse(text.get(), &location)?;
        let case = case(raw_case, is_made).map_err(|problem| ManifestError {
            location: location.clone(),
            problem,
        })?;
        if !ids.insert(case.id.clone()) {
            return Err(ManifestError {
                location,
                problem: "an earlier case has this id; ids are unique".into(),
            });
        }
        cases.push(case);
    }
    Ok(Manifest {
        format_version: raw.format_version,
        license: raw.license,
        cases,
        ignored,
    })
}

/// Parses the text of one case. A problem names the case instead of the line.
fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str, location: &str) -> Result<T, ManifestError> {
    serde_json::from_str(text).map_err(|error| ManifestError {
        location: location.to_owned(),
        ..ManifestError::json(error)
    })
}

fn case(mut raw: raw::Case, is_made: bool) -> Result<Case, String> {
    require(is_kebab_case(&raw.id), || {
        "id is not in kebab case (a-z, 0-9, single hyphens)".into()
    })?;
    require(!raw.claim.trim().is_empty(), || {
        "claim is empty; say what the case claims".into()
    })?;
    require(!raw.sections.is_empty(), || {
        "sections is empty; name the section that the case exercises".into()
    })?;
    let mut sections = Vec::with_capacity(raw.sections.len());
    for text in &raw.sections {
        let section = text
            .parse()
            .map_err(|problem| format!("sections: {problem}"))?;
        require(!sections.contains(&section), || {
            format!("sections has {text} twice")
        })?;
        sections.push(section);
    }
    for flag in &raw.flags {
        require(is_kebab_case(flag), || {
            format!("flags: {flag:?} is not in kebab case")
        })?;
    }
    let recipe = match is_made {
        true => Some(made(&mut raw)?),
        false => None,
    };
    require(
        recipe.is_some() || raw.recipe.is_none() && !raw.large,
        || "recipe and large belong to the cases of `made`; take them out".into(),
    )?;
    let (step, core_rule) = (raw.step.take(), raw.core.take());
    let expect = expect(&mut raw)?;
    refuse_fields_of_other_kinds(&raw)?;
    let case = Case {
        file: corpus_path("file", &raw.file)?,
        id: raw.id,
        claim: raw.claim,
        profile: match raw.profile {
            raw::Profile::Core => Profile::Core,
            raw::Profile::Full => Profile::Full,
        },
        sections,
        flags: raw.flags,
        step,
        core_rule,
        recipe,
        large: raw.large,
        expect,
    };
    require(case.step != Some(0), || {
        "step is 0; it is at least 1".into()
    })?;
    require(case.step.is_none() || case.is_decode(), || {
        "step belongs to cases of a decoder; take it out".into()
    })?;
    if let Some(rule) = &case.core_rule {
        require(is_kebab_case(rule), || {
            format!("core: rule {rule:?} is not in kebab case")
        })?;
        require(case.profile == Profile::Full && case.is_decode(), || {
            "core belongs to cases of profile full and of a decoder; take it out".into()
        })?;
    }
    Ok(case)
}

/// Takes the recipe of a case that is made, and gives its files the paths that the corpus has for them.
fn made(raw: &mut raw::Case) -> Result<Recipe, String> {
    let recipe = raw.recipe.take().ok_or("a case of `made` needs recipe")?;
    require(raw.file.is_empty() && raw.source.is_none(), || {
        "file and source do not belong to a case of `made`; take them out".into()
    })?;
    require(
        recipe.name_length > 0 && recipe.name_length <= 65_535,
        || "recipe.name_length is not 1 to 65535".into(),
    )?;
    let files = ["unw", "safetensors"].map(|suffix| format!("made/{}.{suffix}", raw.id));
    let [file, source] = files;
    match raw.kind {
        raw::Kind::EncodeRefuse => raw.file = source,
        // A transcoder's output is its input.
        raw::Kind::Transcode => (raw.file, raw.source) = (file.clone(), Some(file)),
        raw::Kind::Encode => (raw.file, raw.source) = (file, Some(source)),
        raw::Kind::Accept => {
            raw.file = file;
            raw.tensors = Some(Vec::new());
        }
        _ => raw.file = file,
    }
    Ok(Recipe {
        tensors: recipe.tensors,
        name_length: recipe.name_length,
        source_spaces: recipe.source_spaces,
        extension: recipe.extension,
    })
}

/// Takes the fields of the case's kind from `raw`. Fields that remain do not belong to the kind.
fn expect(raw: &mut raw::Case) -> Result<Expect, String> {
    match raw.kind {
        raw::Kind::Accept => accept(raw).map(Expect::Accept),
        raw::Kind::Reject => {
            let (rule, category) = needed_rule(raw)?;
            Ok(Expect::Reject { rule, category })
        }
        raw::Kind::Prefixes => {
            let stride = raw.stride.take().unwrap_or(1);
            require(stride > 0, || "stride is 0; it is at least 1".into())?;
            let broken = match (raw.rule.take(), raw.category.take()) {
                (Some(rule), Some(category)) => Some(broken_rule(rule, category)?),
                (None, None) => None,
                _ => return Err("rule and category stand together or not at all".into()),
            };
            Ok(Expect::Prefixes { stride, broken })
        }
        raw::Kind::Encode => {
            let parameters = needed_parameters(raw, &["encoding", "chunk"])?;
            let source = needed_source(raw)?;
            Ok(Expect::Encode { source, parameters })
        }
        raw::Kind::EncodeRefuse => Ok(Expect::EncodeRefuse {
            parameters: needed_parameters(raw, &["encoding", "chunk"])?,
        }),
        raw::Kind::Transcode => {
            let parameters = needed_parameters(raw, &["encoding"])?;
            let source = needed_source(raw)?;
            Ok(Expect::Transcode { source, parameters })
        }
        raw::Kind::TranscodeRefuse => {
            let parameters = needed_parameters(raw, &["encoding"])?;
            let (rule, category) = needed_rule(raw)?;
            Ok(Expect::TranscodeRefuse {
                rule,
                category,
                parameters,
            })
        }
    }
}

fn accept(raw: &mut raw::Case) -> Result<Accept, String> {
    let restored = raw.restored.take().ok_or("an accept case needs restored")?;
    let tensors = raw
        .tensors
        .take()
        .ok_or("an accept case needs tensors (an empty array if the file has none)")?;
    require(is_sha256_hex(&restored.sha256), || {
        "restored.sha256 is not 64 lower-case hexadecimal digits".into()
    })?;

    let mut end = tensors
        .first()
        .map_or(restored.length, |first| first.offset);
    for tensor in &tensors {
        let name = &tensor.name;
        require(is_sha256_hex(&tensor.sha256), || {
            format!("tensor {name:?}: sha256 is not 64 lower-case hexadecimal digits")
        })?;
        require(tensor.offset == end, || {
            format!(
                "tensor {name:?} begins at {}, but the one before it ends at {end}",
                tensor.offset
            )
        })?;
        end = end
            .checked_add(tensor.length)
            .ok_or_else(|| format!("tensor {name:?}: offset + length overflows"))?;
    }
    require(end == restored.length, || {
        format!(
            "the last tensor ends at {end}, but the restored source has {} bytes",
            restored.length
        )
    })?;

    let bytes = raw.restored_hex.take().map(|text| {
        let bytes =
            parse_hex(&text).ok_or("restored_hex is not pairs of lower-case hexadecimal digits")?;
        require(
            bytes.len() as u64 == restored.length && sha256_hex(&bytes) == restored.sha256,
            || "restored_hex does not have the length and the sha256 of restored".into(),
        )?;
        Ok::<_, String>(bytes)
    });
    let source = raw.source.take().map(|path| corpus_path("source", &path));
    Ok(Accept {
        length_bytes: restored.length,
        sha256: restored.sha256,
        tensors: tensors.into_iter().map(tensor).collect(),
        restored: bytes.transpose()?,
        source: source.transpose()?,
    })
}

fn tensor(raw: raw::Tensor) -> Tensor {
    Tensor {
        name: raw.name,
        dtype: raw.dtype,
        shape: raw.shape,
        offset: raw.offset,
        length_bytes: raw.length,
        sha256: raw.sha256,
    }
}

fn needed_rule(raw: &mut raw::Case) -> Result<(String, Category), String> {
    let rule = raw.rule.take().ok_or("a case of this kind needs rule")?;
    let category = raw
        .category
        .take()
        .ok_or("a case of this kind needs category")?;
    broken_rule(rule, category)
}

fn needed_source(raw: &mut raw::Case) -> Result<CorpusPath, String> {
    let source = raw
        .source
        .take()
        .ok_or("a case of this kind needs source")?;
    corpus_path("source", &source)
}

fn needed_parameters(raw: &mut raw::Case, needed: &[&str]) -> Result<Parameters, String> {
    let parameters = raw
        .parameters
        .take()
        .ok_or("a case of this kind needs parameters")?;
    subject_parameters(parameters, needed)
}

fn broken_rule(rule: String, category: raw::Category) -> Result<(String, Category), String> {
    require(is_kebab_case(&rule), || {
        format!("rule {rule:?} is not in kebab case")
    })?;
    let category = match category {
        raw::Category::Malformed => Category::Malformed,
        raw::Category::Truncated => Category::Truncated,
        raw::Category::Unsupported => Category::Unsupported,
        raw::Category::Limit => Category::Limit,
    };
    Ok((rule, category))
}

fn subject_parameters(
    raw: BTreeMap<String, serde_json::Value>,
    needed: &[&str],
) -> Result<Parameters, String> {
    let mut parameters = BTreeMap::new();
    for (name, value) in raw {
        let letters = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        require(letters && name != "input" && name != "output", || {
            format!("parameters: {name:?} is not a name (a-z and _, neither input nor output)")
        })?;
        let text = match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
            _ => {
                return Err(format!(
                    "parameters.{name} is not a string, a number or a boolean"
                ));
            }
        };
        parameters.insert(name, text);
    }
    for &name in needed {
        require(parameters.contains_key(name), || {
            format!("parameters has no {name}")
        })?;
    }
    Ok(Parameters(parameters))
}

fn refuse_fields_of_other_kinds(raw: &raw::Case) -> Result<(), String> {
    let left = [
        ("restored", raw.restored.is_some()),
        ("restored_hex", raw.restored_hex.is_some()),
        ("tensors", raw.tensors.is_some()),
        ("rule", raw.rule.is_some()),
        ("category", raw.category.is_some()),
        ("stride", raw.stride.is_some()),
        ("source", raw.source.is_some()),
        ("parameters", raw.parameters.is_some()),
    ];
    match left.into_iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(format!(
            "{field} does not belong to a case of this kind; take it out"
        )),
        None => Ok(()),
    }
}

fn corpus_path(field: &str, text: &str) -> Result<CorpusPath, String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let inside = text.split('/').all(plain) && !text.contains(['\\', ':', '\0']);
    require(inside, || {
        format!(
            "{field} {text:?} is not a path inside the corpus; write it relative, with / and without . and .."
        )
    })?;
    Ok(CorpusPath(text.to_owned()))
}

fn is_kebab_case(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split('-').all(part)
}

fn require(condition: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(problem()) }
}
