//! `run`: profiles, filters, what is printed, exit codes.

use std::process::Command;

use crate::fixture::{ENCODER_COMMAND, Fixture, Run, case, manifest};

#[test]
fn passes_what_conforms() {
    let fixture = Fixture::new();
    let encoder = fixture.command(ENCODER_COMMAND);
    let transcoder = fixture.transcoder("good");
    let run = fixture.run(
        "good",
        &["--encoder", &encoder, "--transcoder", &transcoder],
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("11 cases, 11 passed, 0 failed, 0 not run"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("3.1          4       4       0        0"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("Of 3 rejections, 3 named the rule of the case, 0 another rule, 0 none")
    );
    assert!(run.stdout.ends_with(concat!(
        "core decoder: passed, 6 of 6 cases\n",
        "full decoder: passed, 7 of 7 cases\n",
        "encoder:      passed, 2 of 2 cases\n",
        "transcoder:   passed, 2 of 2 cases\n"
    )));
    assert_eq!(run.stderr, "");
}

#[test]
fn an_encode_case_without_an_encoder_is_not_run() {
    let run = Fixture::new().run("good", &[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("11 cases, 7 passed, 0 failed, 4 not run"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("2 cases not run: no encoder was given\n    encode-plain, refused-source\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("encoder:      not judged: no encode case was run\n")
    );
}

#[test]
fn what_cannot_run_here_is_skipped_and_never_passed() {
    let fixture = Fixture::new();
    let run = fixture.run(
        "good",
        &[
            "--probe",
            "sh -c 'echo a line >&2; echo no device >&2; exit 3'",
        ],
    );
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.stdout, "skipped every case: no device\n");
    assert_eq!(run.stderr, "");
    let run = fixture.run("good", &["--probe", "sh -c 'exit 1'"]);
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.stdout, "skipped every case: exit code 1\n");
    // The probe decides only whether the decoder is run.
    assert_eq!(fixture.run("good", &["--probe", "true"]).code, 0);
    assert_eq!(fixture.run("reject-all", &["--probe", "true"]).code, 1);
    for (probe, problem) in [
        ("./no-such", "cannot start ./no-such"),
        ("'", "a quote is not closed"),
        ("", "it is empty"),
    ] {
        let run = fixture.run("good", &["--probe", probe]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains(problem), "{run:?}");
    }
}

#[test]
fn core_skips_the_cases_of_full() {
    let run = Fixture::new().run("good", &["--profile", "core"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("profile core: 11 cases, 6 passed, 0 failed, 5 not run"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains(
            "2 cases skipped: belongs to profile full\n    valid-source, recoded-plain\n"
        ),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("full decoder: not judged: cases of profile full were skipped\n")
    );
}

#[test]
fn a_failing_case_makes_exit_code_1_and_is_shown_with_its_reason() {
    let run = Fixture::new().run("skip-checksum", &[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout
            .contains("FAILED invalid-sum (reject): accepted-invalid, section 5.1\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("    accepted the file, which breaks `record-crc`\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("core decoder: FAILED, 1 of 6 cases\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn naming_another_rule_is_information_only() {
    let fixture = Fixture::new();
    let mut manifest = manifest();
    // `padding` counts as a rule only when some case knows it.
    case(&mut manifest, "prefixes-plain")["rule"] = "padding".into();
    fixture.write_manifest(&manifest);
    let run = fixture.run("name-another-rule", &["--filter", "invalid-"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("Of 2 rejections, 0 named the rule of the case, 2 another rule, 0 none")
    );
    assert!(
        run.stdout
            .contains("    invalid-sum: expected `record-crc`, named `padding`\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn filters_are_alternatives_and_a_filtered_run_judges_nothing() {
    let run = Fixture::new().run("good", &["--filter", "hex", "--filter", "magic"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("2 cases, 2 passed"), "{}", run.stdout);
    assert!(
        run.stdout
            .contains("core decoder: not judged: filters left cases out\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn an_encoder_that_cannot_be_told_a_parameter_is_not_run() {
    let fixture = Fixture::new();
    let encoder = "false {input} {output} {encoding}";
    let run = fixture.run("good", &["--encoder", encoder]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("the encoder's command has no {chunk} for the value 12"),
        "{}",
        run.stdout
    );
}

#[test]
fn gives_paths_with_spaces_as_one_word() {
    let fixture = Fixture::new();
    fixture.write("tmp dir/keep", "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_unweight-conformance"));
    let decoder = fixture.decoder("good");
    command
        .args(["run", "--corpus", "corpus", "--decoder", &decoder])
        .current_dir(fixture.path(""));
    let run = Run::of(command.env("TMPDIR", fixture.path("tmp dir")));
    assert_eq!(run.code, 0, "{run:?}");
    let left = std::fs::read_dir(fixture.path("tmp dir")).unwrap().count();
    assert_eq!(left, 1, "the temporary folders of the cases are gone");
}

#[test]
fn runs_no_shell() {
    let fixture = Fixture::new();
    let run = fixture.run_command(
        "sh -c 'exit 1' {input} {output} ; touch $HOME/mark > mark",
        &[],
    );
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!fixture.path("mark").exists());
}

#[test]
fn outcomes_do_not_depend_on_the_number_of_jobs() {
    let fixture = Fixture::new();
    let [one, many] = ["1", "8"].map(|jobs| fixture.run("skip-checksum", &["--jobs", jobs]));
    assert_eq!(one.stdout, many.stdout);
}

#[test]
fn verbose_shows_every_case_and_what_its_command_wrote() {
    let run = Fixture::new().run("good", &["--verbose", "--filter", "invalid-"]);
    assert!(
        run.stdout.starts_with("pass             invalid-magic ("),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("    stderr: file-magic: says the toy\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn wrong_use_is_exit_code_2_and_says_what_to_do() {
    let fixture = Fixture::new();
    let decoder = fixture.decoder("good");
    let checks: &[(&[&str], &str)] = &[
        (&["run"], "--decoder"),
        (
            &["run", "--decoder", &decoder],
            "conformance/corpus/manifest.json: cannot be read",
        ),
        (
            &["run", "--decoder", "d {input}", "--corpus", "corpus"],
            "it has no {output}",
        ),
        (
            &[
                "run",
                "--decoder",
                "d {input} {output} {chunk}",
                "--corpus",
                "corpus",
            ],
            "a decoder has no {chunk}",
        ),
        (
            &[
                "run",
                "--decoder",
                "d '{input} {output}",
                "--corpus",
                "corpus",
            ],
            "a quote is not closed",
        ),
        (
            &[
                "run",
                "--decoder",
                "./no-such {input} {output}",
                "--corpus",
                "corpus",
            ],
            "cannot start ./no-such",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--filter",
                "no-such",
            ],
            "no case matches",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--filter",
                "encode-",
            ],
            "none of the 1 matching cases",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--timeout",
                "0",
            ],
            "more than 0",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--jobs",
                "0",
            ],
            "--jobs",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--profile",
                "half",
            ],
            "--profile",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--encoder",
                "e {input} {output} {chnk}",
            ],
            "{chnk}, which no encode case sets; there are {chunk}, {encoding}",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--transcoder",
                "t {input} {output} {chunk}",
            ],
            "the transcoder's command has {chunk}, which no transcode case sets; there are {encoding}",
        ),
        (
            &[
                "run",
                "--decoder",
                &decoder,
                "--corpus",
                "corpus",
                "--json",
                "no/such/r.json",
            ],
            "cannot write no/such/r.json",
        ),
        (&["dance"], "dance"),
    ];
    for (arguments, message) in checks {
        let run = fixture.binary(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {run:?}");
        assert!(
            run.stderr.contains(message),
            "{arguments:?}: {}",
            run.stderr
        );
    }
}
