//! The library, as a Rust decoder uses it in its own tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use unweight_conformance_runner::{
    Corpus, Ignored, InProcess, Outcome, Parameters, Profile, Rejection, RunOptions, Subjects,
    Verdict, run_with,
};

use crate::fixture::{Fixture, decode_toy, toy};

fn corpus(fixture: &Fixture) -> Corpus {
    Corpus::open(fixture.path("corpus")).unwrap()
}

fn decode(file: &[u8]) -> Result<Vec<u8>, Rejection> {
    decode_toy(file).map_err(Rejection::naming)
}

#[test]
fn a_decoder_that_conforms_passes() {
    let report = corpus(&Fixture::new())
        .check(Profile::Full, decode)
        .unwrap();
    report.assert_passed();
    assert!(
        matches!(report.decoder_verdict(Profile::Full), Verdict::Passed(tally) if tally.cases() == 7)
    );
    assert_eq!(report.rule_agreement().same, 2);
}

#[test]
fn a_panic_is_a_crash_of_its_case_alone() {
    let report = corpus(&Fixture::new())
        .check(Profile::Full, |file| {
            if file.starts_with(b"TOX") {
                panic!("index out of {}", "range")
            } else {
                decode(file)
            }
        })
        .unwrap();
    let failures: Vec<_> = report.failures().collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].case.id, "invalid-magic");
    assert!(
        matches!(&failures[0].outcome, Outcome::Crashed { how, .. } if how == "panicked: index out of range")
    );
}

#[test]
fn prefixes_are_cut_as_the_step_says_and_stop_at_the_first_failure() {
    let fixture = Fixture::new();
    let whole = toy(15, b"HEADaabb").len();
    let calls = AtomicUsize::new(0);
    let options = RunOptions {
        filters: vec!["prefixes".into()],
        ..RunOptions::default()
    };
    let decoder = InProcess(|file: &[u8], _: &Parameters| {
        assert!(file.len() < whole, "a prefix is strict");
        calls.fetch_add(1, Ordering::Relaxed);
        if file.len() < 9 {
            Err(Rejection::unnamed())
        } else {
            Ok(Vec::new())
        }
    });
    let subjects = Subjects {
        decoder: Some(&decoder),
        ..Subjects::default()
    };
    let report = run_with(&corpus(&fixture), &options, subjects, &|_| ()).unwrap();
    let outcome = report.cases[0].outcome.to_string();
    assert_eq!(
        outcome,
        "accepted its prefix of 9 of 14 bytes, which breaks `file-truncated`"
    );
    assert_eq!(calls.into_inner(), 4, "0, 3, 6 and 9");
}

#[test]
fn an_encoder_that_is_canonical_passes() {
    let encode = |source: &[u8], parameters: &Parameters| {
        assert_eq!(parameters.value("encoding"), Some("huffman"));
        if source.contains(&b'!') {
            return Err(Rejection::unnamed());
        }
        Ok(toy(
            parameters.value("chunk").unwrap().parse().unwrap(),
            source,
        ))
    };
    let report = corpus(&Fixture::new()).check_encoder(encode).unwrap();
    report.assert_passed();
    assert!(matches!(report.encoder_verdict(), Verdict::Passed(tally) if tally.cases() == 2));
    assert!(matches!(
        report.decoder_verdict(Profile::Full),
        Verdict::NotJudged("no decoder was given")
    ));
}

#[test]
fn a_transcoder_that_conforms_passes() {
    let transcode = |file: &[u8], parameters: &Parameters| {
        assert_eq!(parameters.value("chunk"), None);
        let restored = decode(file)?;
        let chunk = match parameters.value("encoding") {
            Some("huffman") => 1,
            _ => 2,
        };
        Ok(toy(chunk, &restored))
    };
    let report = corpus(&Fixture::new()).check_transcoder(transcode).unwrap();
    report.assert_passed();
    assert!(matches!(report.transcoder_verdict(), Verdict::Passed(tally) if tally.cases() == 2));
    assert!(matches!(
        report.encoder_verdict(),
        Verdict::NotJudged("no encode case was run")
    ));
    assert_eq!(report.rule_agreement().same, 1);
}

#[test]
fn the_report_has_the_order_of_the_manifest() {
    let fixture = Fixture::new();
    let corpus = corpus(&fixture);
    let report = corpus.check(Profile::Full, decode).unwrap();
    let ids = report.cases.iter().map(|report| &report.case.id);
    assert!(ids.eq(corpus.cases().iter().map(|case| &case.id)));
}

#[test]
fn a_function_of_profile_core_has_to_reject_palettes_as_form_unknown() {
    let fixture = Fixture::new();
    let check = |decode: fn(&[u8]) -> Result<Vec<u8>, Rejection>| {
        let report = corpus(&fixture).check(Profile::Core, decode).unwrap();
        let case = report
            .cases
            .iter()
            .find(|case| case.case.id == "valid-source")
            .unwrap();
        case.outcome.clone()
    };
    assert!(check(|_| Err(Rejection::naming("form-unknown"))).passed());
    // A function need not name a rule.
    assert!(check(|_| Err(Rejection::unnamed())).passed());
    assert!(matches!(
        check(|_| Err(Rejection::naming("record-crc"))),
        Outcome::WrongRule { .. }
    ));
    assert!(matches!(check(decode), Outcome::AcceptedInvalid { .. }));
}

#[test]
fn the_corpus_inside_the_program_has_all_files() {
    let corpus = Corpus::embedded();
    assert_eq!(corpus.root(), None);
    assert!(corpus.cases().len() > 1000);
    assert!(
        corpus
            .cases()
            .iter()
            .filter(|case| !case.large)
            .all(|case| corpus.read(&case.file).is_ok())
    );
    assert_eq!(corpus.manifest().ignored, Ignored::default());
}
