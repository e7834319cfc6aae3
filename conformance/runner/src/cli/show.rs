//! `unweight-conformance show`.

use std::fmt::Write;

use clap::Args;
use unweight_conformance_runner::{Case, Corpus, CorpusPath, Expect, Parameters, Profile, Tensor};

use super::{CorpusArguments, Found, list, print, sections};

/// Show all that the manifest says of a case, its files, and how to reproduce it by hand
#[derive(Args)]
pub(super) struct Arguments {
    /// Id of the case
    #[arg(value_name = "CASE")]
    case: String,

    #[command(flatten)]
    corpus: CorpusArguments,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Tensors that are listed.
const SHOWN_TENSORS: usize = 20;

impl Arguments {
    pub(super) fn run(self) -> Found {
        let corpus = self.corpus.open()?;
        let Some(case) = corpus.cases().iter().find(|case| case.id == self.case) else {
            return Err(unknown(&corpus, &self.case).into());
        };
        if self.json {
            print(&format!("{:#}\n", list::object(case)))?;
        } else {
            print(&text(&corpus, case)?)?;
        }
        Ok(true)
    }
}

/// Says which ids are near.
fn unknown(corpus: &Corpus, id: &str) -> String {
    let near = corpus.cases().iter().filter(|case| case.id.contains(id));
    let ids: Vec<&str> = near.map(|case| case.id.as_str()).take(8).collect();
    match ids.is_empty() {
        true => format!("there is no case `{id}`; the command list shows all cases"),
        false => format!("there is no case `{id}`; similar: {}", ids.join(", ")),
    }
}

fn text(corpus: &Corpus, case: &Case) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "{}", case.id)?;
    writeln!(out, "  claim     {}", case.claim)?;
    writeln!(out, "  kind      {}", case.kind())?;
    writeln!(out, "  profile   {}", in_profiles(case))?;
    if let Some(step) = case.step {
        writeln!(out, "  step      {step}")?;
    }
    writeln!(out, "  sections  {}", sections(case).join(", "))?;
    if !case.flags.is_empty() {
        writeln!(out, "  flags     {}", case.flags.join(", "))?;
    }
    if let Some((rule, category)) = case.rule() {
        writeln!(out, "  rule      {rule} ({category})")?;
    }
    writeln!(out, "  file      {}", location(corpus, &case.file))?;
    match &case.expect {
        Expect::Encode { source, parameters } | Expect::Transcode { source, parameters } => {
            writeln!(out, "  source    {}", location(corpus, source))?;
            writeln!(out, "  with      {}", pairs(parameters))?;
        }
        Expect::EncodeRefuse { parameters } | Expect::TranscodeRefuse { parameters, .. } => {
            writeln!(out, "  with      {}", pairs(parameters))?;
        }
        Expect::Accept(accept) => {
            if let Some(source) = &accept.source {
                writeln!(out, "  source    {}", location(corpus, source))?;
            }
            let (length, sha256) = (accept.length_bytes, &accept.sha256);
            writeln!(out, "  restored  {length} bytes, SHA-256 {sha256}")?;
            for tensor in accept.tensors.iter().take(SHOWN_TENSORS) {
                writeln!(out, "  tensor    {}", row(tensor))?;
            }
            if let Some(more @ 1..) = accept.tensors.len().checked_sub(SHOWN_TENSORS) {
                writeln!(out, "            and {more} more")?;
            }
        }
        Expect::Reject { .. } => {}
        Expect::Prefixes { stride, .. } => {
            writeln!(
                out,
                "  prefixes  of 0, {stride}, {}, ... bytes, and the longest",
                2 * stride
            )?;
        }
    }
    writeln!(out, "\nBy hand:\n\n{}", by_hand(corpus, case))?;
    writeln!(
        out,
        "With the runner, which keeps input, output, stdout and stderr:\n\n  unweight-conformance run --exact {} --keep kept {}",
        case.id,
        commands(case)
    )?;
    Ok(text)
}

fn in_profiles(case: &Case) -> String {
    match (case.profile, &case.core_rule) {
        (Profile::Core, _) => "core and full".into(),
        (Profile::Full, Some(rule)) => {
            format!("full; a core decoder rejects the file as {rule}")
        }
        (Profile::Full, None) if case.is_decode() => {
            "full; a core decoder may accept or reject the file".into()
        }
        (Profile::Full, None) => "full".into(),
    }
}

/// The path of a file, with the folder where there is one.
fn location(corpus: &Corpus, file: &CorpusPath) -> String {
    match corpus.root() {
        _ if file.as_path().starts_with("made") => {
            format!(
                "{file} (after `unweight-conformance make {} made`)",
                stem(file)
            )
        }
        Some(root) => root.join(file.as_path()).display().to_string(),
        None => format!("corpus/{file} (after `unweight-conformance unpack corpus`)"),
    }
}

/// The name of a file without its ending: for one that is made, the id of the case.
fn stem(file: &CorpusPath) -> String {
    let stem = file.as_path().file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn argument(corpus: &Corpus, file: &CorpusPath) -> String {
    let path = match corpus.root() {
        _ if file.as_path().starts_with("made") => file.to_string(),
        Some(root) => root.join(file.as_path()).display().to_string(),
        None => format!("corpus/{file}"),
    };
    format!("'{}'", path.replace('\'', r"'\''"))
}

fn row(tensor: &Tensor) -> String {
    format!(
        "{:?} {} {:?}, bytes {}..{} of the restored source",
        tensor.name,
        tensor.dtype,
        tensor.shape,
        tensor.offset,
        tensor.offset + tensor.length_bytes
    )
}

fn pairs(parameters: &Parameters) -> String {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// Commands of a shell, and what they must print.
fn by_hand(corpus: &Corpus, case: &Case) -> String {
    let file = argument(corpus, &case.file);
    let rejected = |input: &str, command: &str, named: &str| {
        format!(
            "  {command} {input} out; echo $?   # 1, {named}\n  ls out                            # there is none\n"
        )
    };
    let rule = case.rule().map_or("", |(rule, _)| rule);
    let named = format!("and stderr names a rule: {rule}, or another that the file breaks");
    match &case.expect {
        Expect::Accept(accept) => format!(
            "  my-decoder {file} out; echo $?   # 0\n  sha256sum out   # {}\n",
            accept.sha256
        ),
        Expect::Reject { .. } => rejected(&file, "my-decoder", &named),
        Expect::Prefixes { .. } => {
            let cut = format!("  head -c 17 {file} > prefix   # for each length\n");
            cut + &rejected("prefix", "my-decoder", &named)
        }
        Expect::Encode { source, parameters } => {
            let source = argument(corpus, source);
            format!(
                "  my-encoder {source} out   # {}; exit code 0\n  cmp out {file}\n",
                pairs(parameters)
            )
        }
        Expect::Transcode { source, parameters } => {
            let source = argument(corpus, source);
            format!(
                "  my-transcoder {source} out   # {}; exit code 0\n  cmp out {file}\n",
                pairs(parameters)
            )
        }
        Expect::EncodeRefuse { .. } => rejected(&file, "my-encoder", "refused"),
        Expect::TranscodeRefuse { .. } => rejected(&file, "my-transcoder", &named),
    }
}

/// The commands that a run of the case needs.
fn commands(case: &Case) -> &'static str {
    match &case.expect {
        Expect::Accept(_) | Expect::Reject { .. } | Expect::Prefixes { .. } => {
            "--decoder 'my-decoder {input} {output}'"
        }
        Expect::Encode { .. } | Expect::EncodeRefuse { .. } => {
            "--decoder 'my-decoder {input} {output}' --encoder 'my-encoder {input} {output} {encoding} {chunk}'"
        }
        Expect::Transcode { .. } | Expect::TranscodeRefuse { .. } => {
            "--decoder 'my-decoder {input} {output}' --transcoder 'my-transcoder {input} {output} {encoding}'"
        }
    }
}
