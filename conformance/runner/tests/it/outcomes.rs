//! `run`: every outcome except a pass, with its reason.

use std::time::Instant;

use unweight_conformance_runner::{Corpus, inspect};

use crate::fixture::{ENCODER_COMMAND, Fixture, toy};

fn assert_outcome(mode: &str, case: &str, outcome: &str, reason: &str) {
    let found = Fixture::new().outcome(mode, case, &["--timeout", "20"]);
    assert_eq!(found.0, outcome, "{found:?}");
    assert!(found.1.contains(reason), "{found:?}");
}

#[test]
fn reports_the_tensor_that_first_differs_where_digests_are_known() {
    assert_outcome(
        "flip-last-byte",
        "valid-digest",
        "wrong-output",
        "tensor \"b\" (BF16 [1]) is the first that differs",
    );
    assert_outcome(
        "flip-first-byte",
        "valid-digest",
        "wrong-output",
        "the source section, bytes 0..4, differs",
    );
    assert_outcome(
        "drop-last-byte",
        "valid-digest",
        "wrong-output",
        "(7 bytes found, 8 expected)",
    );
}

#[test]
fn reports_the_byte_that_first_differs_where_the_bytes_are_known() {
    let reason = "tensor \"b\" (BF16 [1]) first differs at its byte 1, offset 7 of the restored source: found 0x9d, expected 0x62";
    assert_outcome("flip-last-byte", "valid-hex", "wrong-output", reason);
    assert_outcome("flip-last-byte", "valid-source", "wrong-output", reason);
}

#[test]
fn reports_a_decoder_that_accepts_without_output() {
    assert_outcome(
        "accept-without-output",
        "valid-empty",
        "wrong-output",
        "wrote no {output}",
    );
}

#[test]
fn reports_an_invalid_file_that_is_accepted() {
    assert_outcome(
        "skip-checksum",
        "invalid-sum",
        "accepted-invalid",
        "which breaks `record-crc`",
    );
    assert_outcome(
        "accept-without-output",
        "invalid-sum",
        "accepted-invalid",
        "which breaks `record-crc`",
    );
}

#[test]
fn reports_a_valid_file_that_is_rejected() {
    assert_outcome("reject-all", "valid-hex", "rejected-valid", "named no rule");
}

#[test]
fn reports_an_output_that_is_left_behind() {
    assert_outcome(
        "leave-output",
        "invalid-sum",
        "left-output",
        "left an output behind",
    );
}

#[test]
fn reports_crashes_by_exit_code_and_by_signal() {
    assert_outcome(
        "exit-3",
        "invalid-sum",
        "crash",
        "exit code 3 (0 accepts, 1 rejects)",
    );
    assert_outcome("exit-3", "valid-hex", "crash", "exit code 3");
    assert_outcome(
        "segfault",
        "invalid-sum",
        "crash",
        "killed by signal 11 (SIGSEGV)",
    );
}

#[test]
fn an_exception_and_the_report_of_a_sanitizer_are_crashes_even_if_they_name_a_rule() {
    for (mode, reason) in [
        ("raise", "exit code 1, and stderr has a Python traceback"),
        (
            "report-of-a-sanitizer",
            "exit code 1, and stderr has a report of AddressSanitizer",
        ),
    ] {
        assert_outcome(mode, "invalid-sum", "crash", reason);
        let lenient = Fixture::new().outcome(mode, "invalid-sum", &["--lenient"]);
        assert_eq!(lenient.0, "crash");
    }
}

#[test]
fn a_rejection_without_a_rule_fails_unless_the_run_is_lenient() {
    let fixture = Fixture::new();
    for case in ["invalid-sum", "prefixes-plain"] {
        let (outcome, reason) = fixture.outcome("name-no-rule", case, &[]);
        assert_eq!(outcome, "unnamed-rejection");
        assert!(reason.contains("stderr names no rule"), "{reason}");
        let lenient = fixture.outcome("name-no-rule", case, &["--lenient"]);
        assert_eq!(lenient.0, "pass");
    }
    let decoder = fixture.decoder("name-no-rule");
    let report = fixture.report(&decoder, &["--filter", "invalid-", "--lenient"]);
    assert_eq!(report["totals"]["unnamed_rejections"], 2);
    assert_eq!(report["lenient"], true);
    let run = fixture.run("name-no-rule", &["--lenient"]);
    assert!(
        run.stdout.contains("8 rejections (prefixes counted singly) named no rule: passed, because the run is lenient."),
        "{}",
        run.stdout
    );
}

#[test]
fn an_encoder_need_not_name_a_rule() {
    let fixture = Fixture::new();
    let encoder = "sh -c 'echo it is too loud >&2; exit 1' {input} {output} {encoding} {chunk}";
    let found = fixture.outcome("good", "refused-source", &["--encoder", encoder]);
    assert_eq!(found.0, "pass");
}

#[test]
fn a_core_decoder_has_to_reject_the_form_palette_by_its_name() {
    let fixture = Fixture::new();
    let found = |mode| fixture.outcome(mode, "valid-source", &["--profile", "core"]);
    assert_eq!(found("core").0, "pass");
    let (outcome, reason) = found("core-by-another-name");
    assert_eq!(outcome, "wrong-rule");
    assert_eq!(
        reason,
        "rejected the file as `record-crc`, but the only rule that it breaks is `form-unknown`"
    );
    let (outcome, reason) = found("good");
    assert_eq!(outcome, "accepted-invalid");
    assert_eq!(reason, "accepted the file, which breaks `form-unknown`");
}

#[test]
fn kills_a_decoder_that_hangs() {
    let started = Instant::now();
    let (outcome, reason) = Fixture::new().outcome("hang", "invalid-sum", &["--timeout", "0.5"]);
    assert_eq!(
        (outcome.as_str(), reason.as_str()),
        (
            "timeout",
            "did not finish the file within 0.5 s and was killed"
        )
    );
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn reports_the_first_prefix_that_is_accepted() {
    // With step 3 the first is the empty one, which has no magic; this decoder rejects that one
    // only.
    let reason = "accepted its prefix of 3 of 14 bytes, which breaks `file-truncated`";
    assert_outcome(
        "accept-prefixes",
        "prefixes-plain",
        "accepted-invalid",
        reason,
    );
}

#[test]
fn reports_a_source_that_is_not_refused() {
    let fixture = Fixture::new();
    let encoder = "sh -c 'cp \"$1\" \"$2\"' cp {input} {output} {encoding} {chunk}";
    let (outcome, reason) = fixture.outcome("good", "refused-source", &["--encoder", encoder]);
    assert_eq!(outcome, "accepted-invalid");
    assert_eq!(reason, "accepted the source, which is not valid");
}

#[test]
fn reports_what_a_transcoder_does_wrong() {
    let fixture = Fixture::new();
    let found = |mode: &str, case: &str| {
        let transcoder = fixture.transcoder(mode);
        fixture.outcome("good", case, &["--transcoder", &transcoder])
    };
    let (outcome, reason) = found("skip-checksum", "recoded-sum");
    assert_eq!(outcome, "accepted-invalid");
    assert_eq!(reason, "accepted the file, which breaks `record-crc`");
    assert_eq!(found("leave-output", "recoded-sum").0, "left-output");
    fixture.write("corpus/transcode/plain-2.toy", toy(1, b"HEADaabb"));
    let (outcome, reason) = found("good", "recoded-plain");
    assert_eq!(outcome, "wrong-bytes");
    assert_eq!(
        reason,
        "the files first differ at offset 3: found 0x02, expected 0x01"
    );
}

#[test]
fn reports_where_an_encoder_first_differs() {
    let fixture = Fixture::new();
    let mut wrong = toy(12, b"HEADaabb");
    wrong[9] = 0;
    fixture.write("corpus/encode/plain-12.toy", wrong);
    let encoder = fixture.command(ENCODER_COMMAND);
    let (outcome, reason) = fixture.outcome("good", "encode-plain", &["--encoder", &encoder]);
    assert_eq!(outcome, "wrong-bytes");
    assert_eq!(
        reason,
        "the files first differ at offset 9: found 0x61, expected 0x00"
    );
}

/// `cp` of the restored source with a bit changed, for a file of the real corpus.
#[test]
fn a_mismatch_shows_the_first_differing_weight_with_what_the_file_has_of_it() {
    let fixture = Fixture::new();
    let id = "huffman-tensor-of-4097-weights";
    let corpus = Corpus::embedded();
    let case = corpus.cases().iter().find(|case| case.id == id).unwrap();
    let file = corpus.read(&case.file).unwrap();
    let mut restored = inspect::restore(&file).unwrap();
    // Weight 4095 is the last of chunk 0, and the last but one. Bits 14 to 7 are the exponent.
    let high_byte = restored.len() - 3;
    restored[high_byte] ^= 0x40;
    fixture.write("restored", restored);
    let decoder = "sh -c 'cp restored \"$1\"' cp {output} {input}";
    let options = [
        "run",
        "--decoder",
        decoder,
        "--exact",
        id,
        "--json",
        "report.json",
    ];
    let run = fixture.binary(&options);
    assert_eq!(run.code, 1, "{run:?}");
    for part in [
        "first differing weight: number 4095, chunk 0, step 15, lane 31\n",
        "field 0 [14..7], huffman: expected ",
        "lane ends: ",
        "codes: ",
        "lane 31: ",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let report: serde_json::Value = serde_json::from_str(&fixture.read("report.json")).unwrap();
    let weight = &report["cases"][0]["difference"]["weight"];
    assert_eq!(weight["index"], 4095);
    let bits = |name: &str| u64::from_str_radix(&weight[name].as_str().unwrap()[2..], 16).unwrap();
    assert_eq!(bits("expected") ^ bits("found"), 0x4000);
}
