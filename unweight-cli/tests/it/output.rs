//! Text that commands print on standard output and on standard error.

use std::io::pipe;
use std::process::{Command, Stdio};

use crate::model::{mixed, small};
use crate::place::{Place, UNWEIGHT};

/// One call of each command, on `m.safetensors` and `m.unw`.
const CALLS: [&[&str]; 6] = [
    &[
        "compress",
        "m.safetensors",
        "-o",
        "c.unw",
        "--force",
        "--verify",
    ],
    &["decompress", "m.unw", "-o", "back", "--force"],
    &["inspect", "m.unw"],
    &["verify", "m.unw", "--against", "m.safetensors"],
    &["extract", "m.unw", "embed", "-o", "embed.bin", "--force"],
    &[
        "transcode",
        "m.unw",
        "--to",
        "palette",
        "-o",
        "p.unw",
        "--force",
    ],
];

#[test]
fn results_go_to_standard_output_and_progress_nowhere_but_to_a_terminal() {
    let place = Place::with_compressed(&mixed(), &[]);
    for call in CALLS {
        // `succeeds` checks that standard error has no other line than progress.
        let text = String::from_utf8(place.run(call).succeeds()).unwrap();
        assert!(
            text.ends_with('\n') && !text.contains(['\r', '\u{1b}']),
            "{text:?}"
        );
        if call[0] != "inspect" {
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let place = Place::with_compressed(&mixed(), &[]);
    for call in CALLS {
        for quiet in ["--quiet", "-q"] {
            let printed = place.run(&[&[quiet], call].concat()).succeeds();
            assert_eq!(printed, b"", "{call:?}");
        }
    }
    place.write("m.unw", b"bad");
    place.run(&["verify", "m.unw", "--quiet"]).fails(1);
}

#[test]
fn json_is_all_there_is_on_success_and_on_failure() {
    let place = Place::with_compressed(&mixed(), &[]);
    for call in CALLS {
        assert!(place.run(&[call, &["--json"]].concat()).json().is_object());
        // `--json` prints JSON even with `--quiet`.
        assert!(
            place
                .run(&[call, &["--json", "--quiet"]].concat())
                .json()
                .is_object()
        );
    }
    place.write("m.safetensors", b"bad");
    place.write("m.unw", b"bad");
    for call in CALLS {
        let (_, failure) = place.run(&[call, &["--json"]].concat()).fails_with_json(1);
        assert_eq!(failure["error"]["kind"], "bad");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_no_obstacle() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::with_compressed(&mixed(), &[]);
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.unw");
    std::fs::rename(place.path("m.unw"), place.path("").join(odd)).unwrap();
    for rest in [
        &["inspect"][..],
        &["verify"],
        &["decompress"],
        &["transcode", "--to", "palette", "-o", "p.unw"],
        &["extract", "-o", "x.bin", "--"],
    ] {
        let mut command = Command::new(UNWEIGHT);
        command
            .current_dir(place.path(""))
            .arg("--json")
            .args(rest)
            .arg(odd);
        if rest[0] == "extract" {
            command.arg("embed");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{rest:?}");
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(result.is_object());
    }
    let mut command = Command::new(UNWEIGHT);
    command
        .current_dir(place.path(""))
        .args(["extract", "--json", "--force"]);
    let odd_output = std::ffi::OsStr::from_bytes(b"odd\xff.bin");
    let status = command
        .arg(odd)
        .args(["embed", "-o"])
        .arg(odd_output)
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(0));
}

/// Runs the program without a reader of standard output, or of standard output and standard error.
fn run_into_closed_pipe(
    place: &Place,
    arguments: &[&str],
    stderr_too: bool,
) -> (Option<i32>, String) {
    let closed = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        writer
    };
    let stderr = match stderr_too {
        true => Stdio::from(closed()),
        false => Stdio::piped(),
    };
    let output = Command::new(UNWEIGHT)
        .args(arguments)
        .current_dir(place.path(""))
        .stdout(closed())
        .stderr(stderr)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::with_compressed(&mixed(), &[]);
    for call in [
        &["inspect", "m.unw"][..],
        &["inspect", "m.unw", "--json"],
        &["verify", "m.unw"],
        &["extract", "m.unw", "embed"],
        &["extract", "m.unw", "embed", "--range", "5..6"],
        &["--help"],
    ] {
        let (code, stderr) = run_into_closed_pipe(&place, call, false);
        assert_eq!((code, &*stderr), (Some(0), ""), "{call:?}");
    }
}

#[test]
fn failures_keep_their_exit_code_where_nobody_listens() {
    let file = Place::with_compressed(&small(), &[]).read("m.unw");
    let place = Place::with("bad.unw", &file[..100]);
    for (call, expected) in [
        (&["verify", "bad.unw", "--json"][..], 1),
        (&["extract", "bad.unw", "w"], 1),
        (&["inspect", ".", "--json"], 2),
        (&["verify", "missing", "--json"], 3),
    ] {
        for stderr_too in [false, true] {
            let (code, stderr) = run_into_closed_pipe(&place, call, stderr_too);
            assert_eq!(code, Some(expected), "{call:?}: {stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
}

#[cfg(unix)]
#[test]
fn control_characters_of_a_path_do_not_reach_the_terminal() {
    let place = Place::with("a\n\u{1b}[31m.unw", b"text");
    // `fails` checks that there is one line, and that nothing in it controls a terminal.
    let line = place.run(&["verify", "a\n\u{1b}[31m.unw"]).fails(1);
    assert!(line.contains("a\\n\\u{1b}[31m.unw: "), "{line}");
}
