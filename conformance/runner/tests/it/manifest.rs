//! The manifest: what is refused, where the error points, and that parser and schema agree.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use unweight_conformance_runner::{Corpus, Manifest};

use crate::fixture::{Fixture, case, manifest, schema};

fn problem(change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = manifest();
    change(&mut manifest);
    Manifest::parse(&manifest.to_string())
        .unwrap_err()
        .to_string()
}

#[test]
fn says_the_line_where_json_is_wrong() {
    let json = "{\n  \"format_version\": \"1.0\",\n  \"license\": 3,\n  \"cases\": []\n}";
    let error = Manifest::parse(json).unwrap_err();
    assert_eq!(error.location, "line 3, column 14");
    assert_eq!(
        error.problem,
        "invalid type: integer `3`, expected a string"
    );
    let error = Manifest::parse("{\n\"format_version\": \"1.0\",").unwrap_err();
    assert!(error.location.starts_with("line 2"), "{error}");
}

#[test]
fn says_the_case_where_a_value_is_wrong() {
    let checks: &[(&str, &str, Value, &str)] = &[
        (
            "valid-hex",
            "id",
            json!("Valid"),
            "case 2 (`Valid`): id is not in kebab case",
        ),
        (
            "valid-hex",
            "id",
            json!("valid-digest"),
            "case 2 (`valid-digest`): an earlier case has this id",
        ),
        ("valid-hex", "claim", json!(" "), "claim is empty"),
        ("valid-hex", "sections", json!([]), "sections is empty"),
        (
            "valid-hex",
            "sections",
            json!(["x"]),
            "\"x\" is not a section number",
        ),
        (
            "valid-hex",
            "sections",
            json!(["3", "3"]),
            "sections has 3 twice",
        ),
        (
            "valid-hex",
            "flags",
            json!(["Edge case"]),
            "is not in kebab case",
        ),
        (
            "valid-hex",
            "restored_hex",
            json!("4845"),
            "restored_hex does not have the length",
        ),
        (
            "valid-hex",
            "restored_hex",
            json!("4845414461616263"),
            "restored_hex does not have the length and the sha256",
        ),
        (
            "valid-hex",
            "restored_hex",
            json!("xy"),
            "restored_hex is not pairs",
        ),
        (
            "valid-hex",
            "restored",
            json!({"length": 8, "sha256": "AB"}),
            "restored.sha256 is not 64",
        ),
        ("valid-hex", "step", json!(0), "step is 0; it is at least 1"),
        (
            "invalid-sum",
            "rule",
            json!("Record CRC"),
            "rule \"Record CRC\" is not in kebab case",
        ),
        (
            "invalid-sum",
            "restored_hex",
            json!("00"),
            "restored_hex does not belong",
        ),
        ("prefixes-plain", "stride", json!(0), "stride is 0"),
        (
            "encode-plain",
            "step",
            json!(3),
            "step belongs to cases of a decoder",
        ),
        (
            "valid-hex",
            "stride",
            json!(1),
            "stride does not belong to a case of this kind",
        ),
        (
            "valid-hex",
            "core",
            json!("form-unknown"),
            "core belongs to cases of profile full and of a decoder",
        ),
        (
            "valid-source",
            "core",
            json!("Form"),
            "core: rule \"Form\" is not in kebab case",
        ),
        (
            "valid-hex",
            "file",
            json!(3),
            "case 2 (`valid-hex`): invalid type: integer `3`, expected a string",
        ),
        ("prefixes-plain", "category", Value::Null, "stand together"),
        (
            "encode-plain",
            "parameters",
            json!({"encoding": "huffman"}),
            "parameters has no chunk",
        ),
        (
            "encode-plain",
            "parameters",
            json!({"encoding": [], "chunk": 12}),
            "parameters.encoding is not a string",
        ),
        (
            "encode-plain",
            "parameters",
            json!({"encoding": "a", "chunk": 12, "input": 1}),
            "\"input\" is not a name",
        ),
        (
            "refused-source",
            "parameters",
            json!({"encoding": "huffman"}),
            "parameters has no chunk",
        ),
        (
            "recoded-sum",
            "parameters",
            json!({"chunk": 12}),
            "parameters has no encoding",
        ),
        (
            "recoded-plain",
            "rule",
            json!("record-crc"),
            "rule does not belong to a case of this kind",
        ),
    ];
    for (id, field, value, expected) in checks {
        let found = problem(|manifest| case(manifest, id)[field] = value.clone());
        assert!(found.contains(expected), "{id}.{field}: {found}");
    }
}

#[test]
fn refuses_a_tensor_table_with_a_gap() {
    let offset = |tensor: usize, offset: u64| {
        problem(|m| case(m, "valid-hex")["tensors"][tensor]["offset"] = offset.into())
    };
    assert!(offset(1, 7).contains("tensor \"b\" begins at 7, but the one before it ends at 6"));
    let length =
        |length: u64| problem(|m| case(m, "valid-hex")["tensors"][1]["length"] = length.into());
    assert!(length(3).contains("the last tensor ends at 9, but the restored source has 8 bytes"));
    assert!(length(u64::MAX).contains("offset + length overflows"));
}

#[test]
fn refuses_another_format_no_cases_and_no_license() {
    assert!(
        problem(|m| m["format_version"] = "2.0".into()).contains("knows the cases of format 1")
    );
    assert!(problem(|m| m["cases"] = json!([])).contains("cases is empty"));
    assert!(problem(|m| m["license"] = "".into()).contains("license is empty"));
}

#[test]
fn ignores_what_a_newer_manifest_has_and_counts_it() {
    let mut newer = manifest();
    newer["surprise"] = json!({});
    for id in ["valid-hex", "invalid-sum"] {
        case(&mut newer, id)["values"] = json!([1, 2]);
    }
    *case(&mut newer, "valid-empty") =
        json!({"id": "slice", "kind": "tensor-slice", "profile": "core"});
    case(&mut newer, "invalid-magic")["profile"] = "random-access".into();
    case(&mut newer, "prefixes-plain")["category"] = "obsolete".into();
    let manifest = Manifest::parse(&newer.to_string()).unwrap();
    let ignored = &manifest.ignored;
    let cases: Vec<(&str, usize)> = ignored
        .cases
        .iter()
        .map(|(what, n)| (what.as_str(), *n))
        .collect();
    assert_eq!(
        cases,
        [
            ("category `obsolete`", 1),
            ("kind `tensor-slice`", 1),
            ("profile `random-access`", 1)
        ]
    );
    assert_eq!(ignored.case_count(), 3);
    assert_eq!(ignored.members.get("surprise"), Some(&1));
    assert_eq!(ignored.members.get("values"), Some(&2));
    assert_eq!(manifest.cases.len(), 8);
}

#[test]
fn a_run_reports_what_it_ignores_and_judges_nothing() {
    let fixture = Fixture::new();
    let mut newer = manifest();
    case(&mut newer, "valid-hex")["kind"] = "dance".into();
    case(&mut newer, "invalid-sum")["values"] = json!([]);
    fixture.write_manifest(&newer);
    let run = fixture.run("good", &[]);
    assert_eq!(run.code, 0, "{run:?}");
    let text = run.stdout;
    assert!(text.contains("1 case ignored, which this runner does not know: kind `dance` (1). Use a newer runner.\n"), "{text}");
    assert!(
        text.contains("Members of the manifest that this runner does not know: values (1)\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "full decoder: not judged: the corpus has cases that this runner does not know\n"
        ),
        "{text}"
    );
}

#[test]
fn refuses_paths_that_leave_the_corpus() {
    for path in [
        "../x",
        "a/../b",
        "/etc/passwd",
        "C:/x",
        "a\\..\\b",
        "./x",
        "a//b",
        "a/",
        "",
        "a/.",
        "..",
        "file:///x",
        "a\0b",
    ] {
        for (id, field) in [
            ("valid-hex", "file"),
            ("valid-source", "source"),
            ("encode-plain", "source"),
            ("recoded-plain", "source"),
        ] {
            let found = problem(|manifest| case(manifest, id)[field] = path.into());
            assert!(
                found.contains("is not a path inside the corpus"),
                "{path:?}: {found}"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn refuses_a_link_that_leads_out_of_the_corpus() {
    let fixture = Fixture::new();
    fixture.write("outside", "TOX");
    std::fs::remove_file(fixture.path("corpus/invalid/magic.toy")).unwrap();
    std::os::unix::fs::symlink(
        fixture.path("outside"),
        fixture.path("corpus/invalid/magic.toy"),
    )
    .unwrap();
    let error = Corpus::open(fixture.path("corpus"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("case 5 (`invalid-magic`): invalid/magic.toy is a link that leads out"),
        "{error}"
    );
}

#[test]
fn names_the_case_whose_file_is_missing() {
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.path("corpus/invalid/sum.toy")).unwrap();
    let run = fixture.run("good", &[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr
            .contains("manifest.json: case 6 (`invalid-sum`): invalid/sum.toy cannot be read"),
        "{}",
        run.stderr
    );
}

/// A case of each kind with every property that the schema has for it.
fn complete_cases() -> Vec<Value> {
    let mut manifest = manifest();
    [
        "valid-source",
        "invalid-sum",
        "prefixes-plain",
        "encode-plain",
        "refused-source",
        "recoded-plain",
        "recoded-sum",
    ]
    .map(|id| {
        let case = case(&mut manifest, id);
        case["flags"] = json!(["edge-case"]);
        case["inner"] = json!([]);
        if ["accept", "reject", "prefixes"].contains(&case["kind"].as_str().unwrap()) {
            (case["profile"], case["core"], case["step"]) =
                ("full".into(), "form-unknown".into(), 9.into());
        }
        if id == "valid-source" {
            case["restored_hex"] = "4845414461616262".into();
        }
        case.take()
    })
    .into()
}

fn parses(case: &Value) -> bool {
    let manifest = json!({"$schema": "../manifest.schema.json", "format_version": "1.0", "license": "CC0-1.0", "cases": [case]});
    Manifest::parse(&manifest.to_string()).is_ok()
}

fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(list) => list
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect(),
        _ => BTreeSet::new(),
    }
}

/// Every kind of the schema.
const KINDS: [&str; 7] = [
    "accept",
    "reject",
    "prefixes",
    "encode",
    "encode-refuse",
    "transcode",
    "transcode-refuse",
];

/// The properties and the required ones, of all kinds and of one kind together.
fn schema_of(kind: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let schema = schema();
    let both = |field: &str| {
        &names(&schema["$defs"]["case"][field]) | &names(&schema["$defs"][kind][field])
    };
    (both("properties"), both("required"))
}

#[test]
fn parser_and_schema_require_and_allow_the_same_properties() {
    let every: BTreeSet<String> = KINDS.iter().flat_map(|kind| schema_of(kind).0).collect();
    let complete = complete_cases();
    let values: Map<String, Value> = complete
        .iter()
        .flat_map(|case| case.as_object().unwrap().clone())
        .collect();
    for case in &complete {
        let (properties, required) = schema_of(case["kind"].as_str().unwrap());
        assert_eq!(names(case), properties);
        assert!(parses(case), "{case}");
        for property in &every {
            let mut changed = case.clone();
            if !properties.contains(property) {
                changed[property] = values[property].clone();
                assert!(!parses(&changed), "the parser allows {property}: {changed}");
            } else {
                changed.as_object_mut().unwrap().remove(property);
                let paired =
                    case["kind"] == "prefixes" && (property == "rule" || property == "category");
                assert_eq!(
                    parses(&changed),
                    !required.contains(property) && !paired,
                    "without {property}: {changed}"
                );
            }
        }
    }
}

#[test]
fn parser_and_schema_know_the_same_words() {
    let schema = schema();
    for (id, field, words) in [
        (
            "valid-hex",
            "profile",
            &schema["$defs"]["case"]["properties"]["profile"]["enum"],
        ),
        (
            "invalid-sum",
            "category",
            &schema["$defs"]["category"]["enum"],
        ),
    ] {
        let unknown = |word: &str| {
            let mut manifest = manifest();
            case(&mut manifest, id)[field] = word.into();
            Manifest::parse(&manifest.to_string())
                .unwrap()
                .ignored
                .case_count()
        };
        for word in words.as_array().unwrap() {
            assert_eq!(unknown(word.as_str().unwrap()), 0, "{word}");
        }
        assert_eq!(unknown("other"), 1);
    }
}

#[test]
fn a_case_whose_file_is_made_has_a_recipe_and_no_file() {
    let made = json!({
        "id": "many", "claim": "many tensors decode", "kind": "accept", "profile": "core", "sections": ["3.2"],
        "restored": {"length": 3, "sha256": "0".repeat(64)}, "recipe": {"tensors": 3, "name_length": 1},
    });
    let parse = |change: &dyn Fn(&mut Value)| {
        let (mut manifest, mut made) = (manifest(), made.clone());
        change(&mut made);
        manifest["made"] = json!([made]);
        Manifest::parse(&manifest.to_string())
    };
    let parsed = parse(&|_| ()).unwrap();
    let case = parsed.cases.last().unwrap();
    assert_eq!(case.file.to_string(), "made/many.unw");
    assert_eq!(case.recipe.as_ref().unwrap().restored(), [0, 1, 2]);
    assert_eq!(
        parsed.ignored,
        Manifest::parse(&manifest().to_string()).unwrap().ignored
    );

    let problem = |change: &dyn Fn(&mut Value)| parse(change).unwrap_err().to_string();
    let without = problem(&|made| drop(made.as_object_mut().unwrap().remove("recipe")));
    assert!(
        without.contains("made case 1 (`many`): a case of `made` needs recipe"),
        "{without}"
    );
    let named = problem(&|made| made["file"] = "valid/many.unw".into());
    assert!(named.contains("file and source do not belong"), "{named}");
    let nameless = problem(&|made| made["recipe"]["name_length"] = 0.into());
    assert!(
        nameless.contains("recipe.name_length is not 1 to 65535"),
        "{nameless}"
    );
    let again = problem(&|made| made["id"] = "valid-hex".into());
    assert!(again.contains("an earlier case has this id"), "{again}");
}
