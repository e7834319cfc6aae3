//! Output on a terminal: no line of a table or of a progress bar is wider than the terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use unicode_width::UnicodeWidthStr;
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::{mixed, small};
use crate::place::{Place, UNWEIGHT};

/// Runs the program with all its streams on a terminal of so many columns. Returns the exit code,
/// and everything that was shown.
fn on_terminal(place: &Place, columns: u16, call: &[&str]) -> (Option<i32>, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();
    let side = || {
        let mut options = File::options();
        Stdio::from(
            options
                .read(true)
                .write(true)
                .open(name.to_str().unwrap())
                .unwrap(),
        )
    };
    let mut child = Command::new(UNWEIGHT)
        .args(call)
        .env("TERM", "xterm")
        .current_dir(place.path(""))
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    // Reading fails on Linux when the other side has been closed.
    let _ = File::from(terminal).read_to_end(&mut shown);
    let code = child.wait().unwrap().code();
    (code, String::from_utf8(shown).unwrap())
}

/// Text of each line at any moment, without sequences that move the cursor or set colours.
fn lines(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut characters = shown.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // `ESC [ parameters letter`.
                let _ = characters.by_ref().skip(1).find(char::is_ascii_alphabetic);
                plain.push('\n');
            }
            '\r' => plain.push('\n'),
            other => plain.push(other),
        }
    }
    plain.lines().map(str::to_owned).collect()
}

#[track_caller]
fn fits(place: &Place, columns: u16, call: &[&str]) -> String {
    let (code, shown) = on_terminal(place, columns, call);
    assert_eq!(code, Some(0), "{shown}");
    for line in lines(&shown) {
        assert!(
            line.width() <= columns.into(),
            "{columns}: {call:?}: {line:?}"
        );
    }
    shown
}

fn large() -> Vec<u8> {
    let mut numbers = Random::new(80);
    let long = "model.".repeat(50) + "weight";
    safetensors_file(&[
        bf16(
            "model.layers.10.self_attn.q_proj.weight",
            &numbers.trained_weights(400_000),
        ),
        bf16(&long, &numbers.trained_weights(5_000)),
        tensor("重み".repeat(30).as_str(), "U8", &[1; 40], vec![0]),
        tensor("b", "F32", &[30, 1_000], numbers.bytes(120_000)),
    ])
}

#[test]
fn inspect_fits_its_terminal() {
    let place = Place::with_compressed(&large(), &[]);
    for columns in [20, 40, 59, 60, 80, 132] {
        for options in [&[][..], &["--directory"]] {
            let shown = fits(&place, columns, &[&["inspect", "m.unw"], options].concat());
            assert!(
                shown.contains("bits/weight") && shown.contains("candidate"),
                "{shown}"
            );
        }
    }
    // A terminal that does not say how wide it is has 80 columns.
    let (_, shown) = on_terminal(&place, 0, &["inspect", "m.unw"]);
    assert!(
        lines(&shown).iter().all(|line| line.width() <= 80),
        "{shown}"
    );
}

#[test]
fn names_are_shortened_in_the_middle_on_a_terminal_alone() {
    let name = "model.layers.10.self_attn.q_proj.weight";
    let place = Place::with_compressed(&large(), &[]);
    let shown = fits(&place, 64, &["inspect", "m.unw"]);
    assert!(shown.contains("model.lay") && shown.contains("...") && !shown.contains(name));
    let whole = String::from_utf8(place.run(&["inspect", "m.unw"]).succeeds()).unwrap();
    assert!(
        whole.contains(name) && whole.contains(&"model.".repeat(50)),
        "{whole}"
    );
    // A name has a line of its own at 40 columns.
    let shown = fits(&place, 40, &["inspect", "m.unw", "--directory"]);
    assert!(
        lines(&shown).iter().any(|line| line.trim() == name),
        "{shown}"
    );
}

#[test]
fn bars_and_results_of_every_command_fit_their_terminal() {
    let place = Place::with("m.safetensors", &large());
    place.write("small.safetensors", &small());
    place.write("shards/model-00001-of-00002.safetensors", &mixed());
    for columns in [40, 80, 132] {
        for call in [
            &[
                "compress",
                "m.safetensors",
                "-o",
                "m.unw",
                "--force",
                "--verify",
            ][..],
            &["compress", "shards", "--force"],
            &["decompress", "m.unw", "-o", "out", "--force"],
            &["decompress", "shards.unw", "-o", "back", "--force"],
            &["verify", "m.unw", "--against", "m.safetensors"],
            &["extract", "m.unw", "b", "-o", "out", "--force"],
            &[
                "transcode",
                "m.unw",
                "--to",
                "palette",
                "-o",
                "out",
                "--force",
            ],
            &["bench", "small.safetensors", "--runs", "1"],
            &[
                "bench",
                "--kind",
                "bf16-from-e4m3",
                "--rows",
                "1",
                "--runs",
                "1",
            ],
        ] {
            fits(&place, columns, call);
        }
        let (_, shown) = on_terminal(&place, columns, &["verify", "m.unw"]);
        assert!(shown.contains("verify"), "{shown}");
    }
}

#[test]
fn bytes_do_not_go_to_a_terminal() {
    let place = Place::with_compressed(&mixed(), &[]);
    for call in [
        &["decompress", "m.unw", "-o", "-"][..],
        &["extract", "m.unw", "steps", "-o", "-"],
        &["extract", "m.unw", "steps"],
    ] {
        let (code, shown) = on_terminal(&place, 80, call);
        assert_eq!(code, Some(2), "{shown}");
        assert!(
            shown.contains("expected a file or a pipe for raw data"),
            "{shown}"
        );
    }
}
