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
        "core decoder: not judged: run it with --profile core\n",
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
fn core_runs_the_palette_cases_and_skips_what_it_says_nothing_about() {
    let fixture = Fixture::new();
    let mut manifest = manifest();
    let free = case(&mut manifest, "invalid-magic");
    free["profile"] = "full".into();
    fixture.write_manifest(&manifest);
    let run = fixture.run("core", &["--profile", "core"]);
    assert_eq!(run.code, 0, "{run:?}");
    let text = run.stdout;
    assert!(
        text.contains("profile core: 11 cases, 6 passed, 0 failed, 5 not run"),
        "{text}"
    );
    assert!(
        text.contains("1 case skipped: a decoder of profile core may accept or reject these files\n    invalid-magic\n"),
        "{text}"
    );
    assert!(
        text.contains("1 case skipped: belongs to profile full\n    recoded-plain\n"),
        "{text}"
    );
    assert!(
        text.contains("core decoder: passed, 6 of 6 cases\n"),
        "{text}"
    );
    assert!(
        text.contains("full decoder: not judged: run it with --profile full\n"),
        "{text}"
    );
    // A decoder that knows the form palette is none of core.
    assert_eq!(fixture.run("good", &["--profile", "core"]).code, 1);
}

#[test]
fn shows_some_ids_of_a_long_list() {
    let fixture = Fixture::new();
    let mut manifest = manifest();
    let encode = case(&mut manifest, "encode-plain").clone();
    for number in 0..98 {
        let mut more = encode.clone();
        more["id"] = format!("more-{number}").into();
        manifest["cases"].as_array_mut().unwrap().push(more);
    }
    fixture.write_manifest(&manifest);
    let run = fixture.run("good", &[]);
    let shown = "100 cases not run: no encoder was given\n    encode-plain, refused-source, more-0, more-1, more-2, and 95 more (--verbose and --json have all)\n";
    assert!(run.stdout.contains(shown), "{}", run.stdout);
}

#[test]
fn a_known_failure_is_counted_and_one_that_passes_is_an_error() {
    let fixture = Fixture::new();
    fixture.write(
        "known.txt",
        "# of the toy\ninvalid-sum # it has no checksums\n",
    );
    let run = fixture.run("skip-checksum", &["--known-failures", "known.txt"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout.contains("1 known failure\n    invalid-sum\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("full decoder: FAILED, 1 of 7 cases\n"),
        "{}",
        run.stdout
    );

    let more = ["--known-failures", "known.txt", "--junit", "out.xml"];
    let run = fixture.run("good", &more);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout.contains(
            "FAILED invalid-sum: passes, but the list of known failures has it; take it out\n"
        ),
        "{}",
        run.stdout
    );
    assert!(fixture.read("out.xml").contains("type=\"unexpected-pass\""));

    fixture.write("known.txt", "no-such-case\n");
    let run = fixture.run("good", &["--known-failures", "known.txt"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr
            .contains("has `no-such-case`, which is no case of this corpus"),
        "{run:?}"
    );
}

#[test]
fn options_of_different_kinds_narrow_the_selection() {
    let fixture = Fixture::new();
    let ids = |options: &[&str]| {
        let report = fixture.report(&fixture.decoder("good"), options);
        let cases = report["cases"].as_array().unwrap().iter();
        cases
            .map(|case| case["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--exact", "valid-hex"]), ["valid-hex"]);
    assert_eq!(
        ids(&["--exact", "valid-hex", "--filter", "magic"]),
        ["valid-hex", "invalid-magic"]
    );
    assert_eq!(
        ids(&["--rule", "record-crc"]),
        ["invalid-sum", "recoded-sum"]
    );
    assert_eq!(
        ids(&["--rule", "record-crc", "--kind", "reject"]),
        ["invalid-sum"]
    );
    assert_eq!(
        ids(&["--section", "5.1", "--kind", "reject"]),
        ["invalid-sum"]
    );
    assert_eq!(
        ids(&["--section", "5"]),
        ["valid-source", "invalid-sum", "recoded-sum"]
    );
    assert_eq!(ids(&["--step", "1"]), ["invalid-magic", "prefixes-plain"]);
    assert_eq!(
        ids(&["--step", "6"]),
        ["invalid-magic", "invalid-sum", "prefixes-plain"]
    );
    let run = fixture.run("good", &["--exact", "valid"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("there is no case `valid`"), "{run:?}");
}

#[test]
fn fail_fast_stops_at_the_first_failure() {
    let fixture = Fixture::new();
    let run = fixture.run("exit-3", &["--fail-fast", "--jobs", "1"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stdout
            .contains("11 cases, 0 passed, 1 failed, 10 not run"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("10 cases not run: an earlier case failed, and --fail-fast is given"),
        "{}",
        run.stdout
    );
}

#[test]
fn keep_writes_the_files_of_every_call() {
    let fixture = Fixture::new();
    let (encoder, transcoder) = (fixture.command(ENCODER_COMMAND), fixture.transcoder("good"));
    let subjects = ["--encoder", &encoder, "--transcoder", &transcoder];
    let run = fixture.run("good", &[&subjects[..], &["--keep", "kept"]].concat());
    assert_eq!(run.code, 0, "{run:?}");
    let bytes = |name: &str| std::fs::read(fixture.path("kept").join(name)).unwrap();
    let file = |name: &str| std::fs::read(fixture.path("corpus").join(name)).unwrap();
    assert_eq!(bytes("valid-hex/input.unw"), file("valid/plain.toy"));
    assert_eq!(bytes("valid-hex/output.safetensors"), b"HEADaabb");
    assert!(
        String::from_utf8(bytes("invalid-sum/stderr.txt"))
            .unwrap()
            .contains("record-crc")
    );
    assert!(!fixture.path("kept/invalid-sum/output.safetensors").exists());
    assert_eq!(
        bytes("prefixes-plain/prefix-of-6-bytes/input.unw"),
        file("valid/plain.toy")[..6]
    );
    assert_eq!(bytes("encode-plain/input.safetensors"), b"HEADaabb");
    assert_eq!(
        bytes("encode-plain/output.unw"),
        file("encode/plain-12.toy")
    );
    assert_eq!(
        bytes("recoded-plain/output.unw"),
        file("transcode/plain-2.toy")
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
        run.stdout.contains("full decoder: FAILED, 1 of 7 cases\n"),
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
            .contains("full decoder: not judged: options left cases out\n"),
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
        run.stdout.contains("breaks file-magic: says the toy\n"),
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
            &["run", "--decoder", &decoder, "--corpus", "no-such"],
            "no-such/manifest.json: cannot be read",
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
