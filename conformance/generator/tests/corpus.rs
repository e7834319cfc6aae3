//! The committed corpus is up to date.

use std::path::PathBuf;

use unweight_conformance_runner::{Corpus, Expect};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn corpus() -> Corpus {
    Corpus::open(folder()).unwrap()
}

#[test]
fn the_committed_corpus_is_what_the_generator_writes() {
    let differences = unweight_conformance_generator::store::differences(
        &unweight_conformance_generator::corpus(),
        &folder(),
    )
    .unwrap();
    assert!(
        differences.is_empty(),
        "run `cargo run -p unweight-conformance-generator -- write conformance/corpus`:\n{}",
        differences.join("\n")
    );
}

#[test]
fn every_case_is_in_the_folder_of_its_kind_under_its_own_name() {
    for case in corpus().cases() {
        let expected = match &case.expect {
            // The corpus has no such files.
            _ if case.recipe.is_some() => continue,
            // These cases share the files of other cases.
            Expect::Prefixes { .. } | Expect::TranscodeRefuse { .. } => continue,
            Expect::Accept(_) if case.id.ends_with("-decodes") => continue,
            Expect::Accept(_) => format!("valid/{}.unw", case.id),
            Expect::Reject { .. } => format!("invalid/{}.unw", case.id),
            Expect::Encode { .. } => format!("encode/{}.unw", case.id),
            Expect::EncodeRefuse { .. } => format!("refuse/{}.safetensors", case.id),
            // Several inputs may have the same result.
            Expect::Transcode { .. } => continue,
        };
        assert_eq!(case.file.to_string(), expected);
    }
}
