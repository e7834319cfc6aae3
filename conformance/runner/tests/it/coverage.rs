//! `coverage`.

use crate::fixture::{Fixture, Run, SPEC, case, manifest};

fn coverage(fixture: &Fixture, spec: &str, more: &[&str]) -> Run {
    fixture.write("spec.md", spec);
    fixture.binary(
        &[
            &["coverage", "--corpus", "corpus", "--spec", "spec.md"],
            more,
        ]
        .concat(),
    )
}

#[test]
fn prints_the_cases_of_each_rule_and_section() {
    let run = coverage(&Fixture::new(), SPEC, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    for line in [
        "11 cases (4 accept, 2 reject, 1 prefixes, 1 encode, 1 encode-refuse, 1 transcode, 1 transcode-refuse). They exercise 3 of 3 rules and 5 of 8 sections.",
        "| `file-magic` | malformed | 3.1 | `invalid-magic` |",
        "| `file-truncated` | truncated | 3.1 | `prefixes-plain` |",
        "| 4.2 | Coded | `valid-digest`, `valid-hex` |",
        "| 12 | Versioning | none |",
    ] {
        assert!(
            run.stdout.lines().any(|found| found == line),
            "{line}\n\n{}",
            run.stdout
        );
    }
}

#[test]
fn check_passes_on_its_own_output_and_fails_on_any_other() {
    let fixture = Fixture::new();
    let document = coverage(&fixture, SPEC, &[]).stdout;
    fixture.write("COVERAGE.md", &document);
    let run = coverage(&fixture, SPEC, &["--check", "COVERAGE.md"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (0, "", "")
    );

    for (stale, line) in [
        (document.replacen("`valid-hex`", "`valid-old`", 1), 21),
        (format!("{document}\n"), 27),
    ] {
        fixture.write("COVERAGE.md", stale);
        let run = coverage(&fixture, SPEC, &["--check", "COVERAGE.md"]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(
            run.stderr.contains(&format!(
                "COVERAGE.md: differs from the corpus in line {line};"
            )),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_rule_without_a_case_is_a_gap() {
    let spec = SPEC.replace(
        "| `record-crc`",
        "| `record-kind` | unsupported | 5.1 | x |\n| `record-crc`",
    );
    let run = coverage(&Fixture::new(), &spec, &[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(run.stderr, "rule `record-kind` has no case\n");
    assert!(
        run.stdout
            .contains("| `record-kind` | unsupported | 5.1 | none |\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_case_that_the_specification_does_not_know_is_a_gap() {
    for (field, value, problem) in [
        (
            "rule",
            "no-such".into(),
            "case `invalid-sum` names rule `no-such`, which the specification does not have",
        ),
        (
            "category",
            "limit".into(),
            "case `invalid-sum` has category limit, but the specification has `record-crc` as malformed",
        ),
        (
            "sections",
            ["9.9"].as_slice().into(),
            "case `invalid-sum` names section 9.9, which the specification does not have",
        ),
    ] {
        let fixture = Fixture::new();
        let mut manifest = manifest();
        case(&mut manifest, "invalid-sum")[field] = value;
        fixture.write_manifest(&manifest);
        let run = coverage(&fixture, SPEC, &[]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(problem), "{}", run.stderr);
    }
}

#[test]
fn a_specification_without_rules_is_wrong_use() {
    let fixture = Fixture::new();
    let run = coverage(&fixture, "# Nothing\n", &[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("spec.md: no rule table"),
        "{}",
        run.stderr
    );
    assert_eq!(coverage(&fixture, SPEC, &["--check", "no-such.md"]).code, 2);
}

#[test]
fn reads_the_rules_of_the_real_specification() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/unweight.md");
    let run = Fixture::new().binary(&["coverage", "--corpus", "corpus", "--spec", path]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr
            .contains("rule `code-oversubscribed` has no case"),
        "{}",
        run.stderr
    );
    assert!(
        !run.stderr.contains("rule `file-magic` has no case"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("does not have"), "{}", run.stderr);
}
