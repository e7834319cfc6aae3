//! `unweight-conformance list`.

use clap::Args;
use serde_json::{Value, json};
use unweight_conformance_runner::{Case, Expect};

use super::{CorpusArguments, Found, print, sections, select::Selection};

/// List the cases of the corpus
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    corpus: CorpusArguments,

    #[command(flatten)]
    selection: Selection,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Found {
        let corpus = self.corpus.open()?;
        let options = self.selection.options();
        let cases: Vec<&Case> = corpus
            .cases()
            .iter()
            .filter(|case| options.selects(case))
            .collect();
        if cases.is_empty() {
            return Err("no case matches the options; list without options shows all".into());
        }
        let text = if self.json {
            format!("{:#}\n", Value::from_iter(cases.into_iter().map(object)))
        } else {
            table(&cases)
        };
        print(&text)?;
        Ok(true)
    }
}

/// A case as the JSON of `list` and `show` has it.
pub(super) fn object(case: &Case) -> Value {
    let (source, parameters) = match &case.expect {
        Expect::Encode { source, parameters } | Expect::Transcode { source, parameters } => (
            Some(source.to_string()),
            Some(Value::from_iter(parameters.iter())),
        ),
        Expect::EncodeRefuse { parameters } | Expect::TranscodeRefuse { parameters, .. } => {
            (None, Some(Value::from_iter(parameters.iter())))
        }
        Expect::Accept(_) | Expect::Reject { .. } | Expect::Prefixes { .. } => (None, None),
    };
    json!({
        "id": case.id,
        "claim": case.claim,
        "kind": case.kind(),
        "profile": case.profile.to_string(),
        "sections": sections(case),
        "flags": case.flags,
        "step": case.step,
        "core": case.core_rule,
        "file": case.file.to_string(),
        "rule": case.rule().map(|(rule, _)| rule),
        "category": case.rule().map(|(_, category)| category.to_string()),
        "source": source,
        "parameters": parameters,
    })
}

fn table(cases: &[&Case]) -> String {
    let head = ["case", "kind", "profile", "sections", "claim"].map(str::to_owned);
    let row = |case: &&Case| {
        let sections = sections(case).join(" ");
        [
            case.id.clone(),
            case.kind().to_owned(),
            case.profile.to_string(),
            sections,
            case.claim.clone(),
        ]
    };
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(cases.iter().map(row)).collect();
    // The last column is not padded.
    let widths: Vec<usize> = (0..4)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &[String; 5]| {
        let padded = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}  "))
            .collect::<String>();
        format!("{padded}{}\n", row[4])
    };
    rows.iter().map(line).collect()
}
