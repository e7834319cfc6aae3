//! The reader against every file of the corpus.

use serde_json::{Value, json};

use super::{
    code, costs,
    explain::{Costs, code_digits, field_codes},
    *,
};
use crate::{Corpus, Expect};

fn corpus() -> Corpus {
    Corpus::embedded()
}

/// The code that an encoder takes is the record's, in every file that an encoder must write.
#[test]
fn the_costs_explain_the_code_of_every_record_that_an_encoder_must_write() {
    let (corpus, mut own, mut fields) = (corpus(), 0, 0);
    for case in corpus.cases() {
        let Expect::Encode { .. } = case.expect else {
            continue;
        };
        let bytes = corpus.read(&case.file).unwrap();
        let file = File::read(&bytes).unwrap();
        for tensor in file.tensors() {
            let parts = tensor.parts().unwrap();
            let codes = field_codes(
                &file,
                tensor,
                &parts,
                &file.coded_values(tensor, &parts).unwrap(),
            )
            .unwrap();
            for (chunk, i) in
                (0..parts.chunks).flat_map(|chunk| (0..parts.coded.len()).map(move |i| (chunk, i)))
            {
                let record = file.record(tensor, &parts, chunk, i).unwrap();
                if record.kind != Kind::Huffman {
                    continue;
                }
                let palette = file.palette(tensor, &parts, parts.coded[i]).unwrap();
                let counts = costs::count(&record.values(palette).unwrap());
                let choice = Costs::of(&counts, record.weights, palette, &codes[i]);
                let taken = if choice.takes_own() {
                    choice.own_code
                } else {
                    codes[i]
                };
                assert_eq!(record.code_lengths, taken, "{} chunk {chunk}", case.id);
                *(if choice.takes_own() {
                    &mut own
                } else {
                    &mut fields
                }) += 1;
            }
        }
    }
    assert!(
        own > 0 && fields > 0,
        "{own} own codes, {fields} codes of fields"
    );
}

#[test]
fn every_valid_file_is_restored_and_explained() {
    let (corpus, mut files) = (corpus(), 0);
    for case in corpus.cases() {
        let Expect::Accept(accept) = &case.expect else {
            continue;
        };
        let bytes = corpus.read(&case.file).unwrap();
        let restored = super::restore(&bytes).unwrap();
        let digest = crate::digest::sha256_hex(&restored);
        assert_eq!(digest, accept.sha256, "{}", case.id);
        let text = explain(&bytes, &Choice::default()).unwrap();
        assert!(!text.contains("WRONG"), "{}: {text}", case.id);
        assert!(!text.contains("cannot"), "{}: {text}", case.id);
        files += 1;
    }
    assert!(files > 400, "{files}");
}

/// A file that breaks a rule is explained as far as it can be, and never with a panic.
#[test]
fn every_invalid_file_is_explained_as_far_as_it_can_be() {
    let (corpus, choice, mut explained) = (corpus(), Choice::default(), 0);
    for case in corpus.cases() {
        let bytes = corpus.read(&case.file).unwrap();
        if let Expect::Reject { .. } = case.expect {
            explained += usize::from(explain(&bytes, &choice).is_ok());
        } else if bytes.len() < 4096 {
            let half = &bytes[..bytes.len() / 2];
            explained += usize::from(explain(half, &choice).is_ok());
        }
    }
    assert!(explained > 500, "{explained}");
}

/// The manifest has inner values of some cases. They come from programs in Python.
#[test]
fn the_inner_values_are_those_of_the_manifest() {
    let corpus = corpus();
    let manifest = unweight_corpus_data::file("manifest.json").unwrap();
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let (mut cases, mut kinds) = (0, Vec::new());
    for case in manifest["cases"].as_array().unwrap() {
        let Some(expected) = case.get("inner") else {
            continue;
        };
        let id = case["id"].as_str().unwrap();
        let of_corpus = corpus.cases().iter().find(|case| case.id == id).unwrap();
        let bytes = corpus.read(&of_corpus.file).unwrap();
        let file = File::read(&bytes).unwrap();
        let stored = file.tensors().iter().filter(|tensor| tensor.forms != 0);
        let tensors: Vec<Value> = stored.map(|tensor| inner_values(&file, tensor)).collect();
        for (found, expected) in tensors.iter().zip(expected.as_array().unwrap()) {
            assert_eq!(found, expected, "{id}");
        }
        assert_eq!(
            Some(tensors.len()),
            expected.as_array().map(Vec::len),
            "{id}"
        );
        for record in tensors
            .iter()
            .flat_map(|tensor| tensor["records"].as_array())
        {
            kinds.extend(record.iter().map(|record| record["kind"].to_string()));
        }
        cases += 1;
    }
    assert!(cases >= 10, "{cases}");
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, [r#""huffman""#, r#""palette""#, r#""verbatim""#]);
}

fn inner_values(file: &File<'_>, tensor: &Tensor) -> Value {
    let parts = tensor.parts().unwrap();
    let palettes = parts.stored.iter().map(|(field, form)| {
        let form = match form {
            Form::Huffman => "huffman",
            Form::Palette => "palette",
            Form::Constant => "constant",
            other => panic!("{other:?}"),
        };
        json!({"field": field, "form": form, "values": file.palette(tensor, &parts, *field).unwrap()})
    });
    let mut inner = json!({"tensor": tensor.name, "palettes": palettes.collect::<Vec<_>>()});
    if parts.coded.is_empty() {
        return inner;
    }
    let values = file.coded_values(tensor, &parts).unwrap();
    let codes = field_codes(file, tensor, &parts, &values).unwrap();
    let all = (0..parts.chunks).flat_map(|chunk| (0..parts.coded.len()).map(move |i| (chunk, i)));
    let records = all.map(|(chunk, i)| {
        let palette = file.palette(tensor, &parts, parts.coded[i]).unwrap();
        let record = file.record(tensor, &parts, chunk, i).unwrap();
        let kind = match record.kind {
            Kind::Verbatim => "verbatim",
            Kind::Huffman => "huffman",
            Kind::Palette => "palette",
            Kind::Unknown(kind) => panic!("{kind}"),
        };
        let mut inner = json!({
            "chunk": chunk, "field": parts.coded[i], "kind": kind, "patches": record.patches(),
        });
        if record.kind == Kind::Huffman {
            let mut texts = vec![Value::Null; 16];
            for (entry, length, code) in code::codes(&record.code_lengths) {
                let digits = if length == 0 { String::new() } else { code_digits(length, code) };
                texts[entry] = digits.into();
            }
            let counts = costs::count(&record.values(palette).unwrap());
            let costs = Costs::of(&counts, record.weights, palette, &codes[i]);
            let more = json!({
                "code_lengths": record.code_lengths, "codes": texts, "lane_ends": record.lane_ends(),
                "t": costs.t, "o": costs.o,
            });
            let inner = inner.as_object_mut().unwrap();
            inner.extend(more.as_object().unwrap().clone());
        }
        inner
    });
    inner["records"] = records.collect::<Vec<_>>().into();
    inner
}
