//! File systems that do not offer every call, such as network and FUSE mounts. A finished run must
//! not fail because of a call that it can do without. `strace` simulates the file system.

use std::fs;

use crate::model::mixed;
use crate::place::Place;

/// Makes the folder `src` with a copied file and a folder, `c` made from it, and `m.unw` made from
/// `m.safetensors`.
fn place() -> Place {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("src/m.safetensors", &mixed());
    place.write("src/config.json", b"{}");
    place.write("src/deep/notes", b"notes");
    place.run(&["compress", "src", "-o", "c"]).succeeds();
    place
}

const CALLS: [&[&str]; 6] = [
    &["compress", "m.safetensors", "-o", "out"],
    &["decompress", "m.unw", "-o", "out"],
    &["transcode", "m.unw", "--to", "huffman", "-o", "out"],
    &["extract", "m.unw", "head", "-o", "out"],
    &["compress", "src", "-o", "out"],
    &["decompress", "c", "-o", "out"],
];

/// `--inject` options for calls, each with its result.
fn injected(calls: &[(&str, &str)]) -> Vec<String> {
    let names: Vec<_> = calls.iter().map(|(call, _)| *call).collect();
    let mut options = vec!["-e".to_owned(), format!("trace={}", names.join(","))];
    for (call, answer) in calls {
        options.extend(["-e".to_owned(), format!("inject={call}:{answer}")]);
    }
    options
}

/// Runs the program with calls that are refused. Returns None if there is no `strace`.
fn run_refused(
    place: &Place,
    calls: &[(&str, &str)],
    arguments: &[&str],
) -> Option<(crate::place::Run, String)> {
    let options = injected(calls);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    place.run_traced(&options, arguments)
}

fn remove(place: &Place, name: &str) {
    let path = place.path(name);
    fs::remove_file(&path)
        .or_else(|_| fs::remove_dir_all(&path))
        .unwrap();
}

/// Bytes of the file that a call makes. If the call makes a folder, they are the bytes of the
/// converted file in it.
fn made(place: &Place, call: &[&str]) -> Vec<u8> {
    place.read(match (call[0], call[1]) {
        ("compress", "src") => "out/m.unw",
        ("decompress", "c") => "out/m.safetensors",
        _ => "out",
    })
}

#[test]
fn what_a_finished_output_can_do_without_is_warned_of_once() {
    let place = place();
    let before = place.names();
    for (refused, is_reported) in [
        (&[("fchmod", "error=EPERM")][..], true),
        (&[("fchmod", "error=EOPNOTSUPP")], true),
        (&[("utimensat", "error=EPERM")], true),
        (&[("utimensat", "error=ENOSYS")], true),
        (
            &[("fsync", "error=EINVAL"), ("fdatasync", "error=EINVAL")],
            true,
        ),
        (&[("fsync", "error=EOPNOTSUPP")], true),
        (&[("ftruncate", "error=EPERM")], false),
        (&[("renameat2", "error=EINVAL")], false),
        (
            &[("renameat2", "error=ENOSYS"), ("linkat", "error=EPERM")],
            false,
        ),
    ] {
        for call in CALLS {
            place.run(call).succeeds();
            let expected = made(&place, call);
            remove(&place, "out");

            let Some((run, trace)) = run_refused(&place, refused, call) else {
                return;
            };
            let warnings = run.warns();
            let is_called = trace.contains("INJECTED");
            match is_reported && is_called {
                true => assert_eq!(warnings.len(), 1, "{warnings:?}"),
                false => assert!(warnings.is_empty(), "{warnings:?}"),
            }
            assert!(is_called || refused[0].0 == "utimensat" || refused[0].0 == "ftruncate");
            for line in &warnings {
                assert!(line.contains(": warning: out"), "{line}");
                assert!(!line.contains(".unweight-"), "{line}");
            }
            assert!(made(&place, call) == expected, "{call:?} {refused:?}");
            // Without --force nothing is replaced, whichever call renames files.
            let (run, _) = run_refused(&place, refused, call).unwrap();
            run.fails(2);
            assert!(made(&place, call) == expected);
            let (run, _) =
                run_refused(&place, refused, &[call, &["--force", "--quiet"]].concat()).unwrap();
            run.succeeds();
            assert!(made(&place, call) == expected);
            remove(&place, "out");
            assert_eq!(place.names(), before, "{call:?} {refused:?}");
        }
    }
}

#[test]
fn errors_that_mean_lost_data_fail_and_blame_the_output() {
    let place = place();
    place.write("src/tokenizer.bin", &[7; 100_000]);
    let before = place.names();
    for (failing, says) in [
        (&[("fsync", "error=EIO")][..], "Input/output error"),
        (&[("fsync", "error=ENOSPC")], "No space left on device"),
        (&[("fsync", "error=EDQUOT")], "quota"),
        (&[("fsync", "error=EROFS")], "Read-only file system"),
        (&[("fchmod", "error=EIO")], "Input/output error"),
        (&[("renameat2", "error=EIO")], "Input/output error"),
        (&[("renameat2", "error=ENOSPC")], "No space left on device"),
        (
            &[
                ("copy_file_range", "error=ENOSPC"),
                ("write", "error=ENOSPC"),
            ],
            "No space left on device",
        ),
    ] {
        for call in CALLS {
            let Some((run, trace)) = run_refused(&place, failing, call) else {
                return;
            };
            if !trace.contains("INJECTED") {
                // Modes that are right need no call.
                assert_eq!(failing[0].0, "fchmod");
                run.succeeds();
                remove(&place, "out");
                continue;
            }
            if failing.iter().any(|(call, _)| *call == "write") {
                // The program cannot even print the failure.
                assert!(!run.is_success());
            } else {
                let line = run.fails(3);
                assert!(line.starts_with("unweight: out"), "{line}");
                assert!(line.contains(says), "{line}");
                assert!(!line.contains(".unweight-"), "{line}");
            }
            assert_eq!(place.names(), before, "{call:?} {failing:?}");
        }
    }
}

#[test]
fn a_copy_that_fails_says_which_file_failed() {
    let place = place();
    place.write("src/tokenizer.bin", &[7; 100_000]);
    let before = place.names();
    let call = ["compress", "src", "-o", "out"];
    let mut options = vec!["-P", "src/tokenizer.bin"];
    let failing = injected(&[("copy_file_range", "error=EIO"), ("read", "error=EIO")]);
    options.extend(failing.iter().map(String::as_str));
    let Some((run, _)) = place.run_traced(&options, &call) else {
        return;
    };
    let line = run.fails(3);
    let says = "unweight: src/tokenizer.bin: Input/output error";
    assert!(line.starts_with(says), "{line}");
    assert_eq!(place.names(), before);

    let line = place.run_on_full_disk(100, &call).fails(3);
    let says = "unweight: out/tokenizer.bin: File too large";
    assert!(line.starts_with(says), "{line}");
    assert_eq!(place.names(), before);
}

#[test]
fn what_the_system_cannot_copy_by_itself_is_copied_by_hand() {
    let place = place();
    let bytes: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    place.write("src/tokenizer.bin", &bytes);
    // In some of these cases, a part is copied before the call fails.
    for failing in ["error=EIO", "error=EXDEV", "error=EIO:when=2+"] {
        let call = ["compress", "src", "-o", "out"];
        let refused = [("copy_file_range", failing)];
        let Some((run, trace)) = run_refused(&place, &refused, &call) else {
            return;
        };
        run.succeeds();
        assert!(trace.contains("INJECTED"));
        assert!(place.read("out/tokenizer.bin") == bytes);
        remove(&place, "out");
    }
}

/// Models a file system where a rename cannot be told not to replace.
#[test]
fn what_takes_the_name_meanwhile_stays_where_a_rename_would_replace_it() {
    let place = place();
    let before = place.names();
    let late = "error=EINVAL:delay_enter=500000";
    let takers: [fn(&Place); 3] = [
        |place| place.write("out", b"theirs"),
        |place| place.write("out", b""),
        |place| place.write("out/theirs", b"theirs"),
    ];
    for call in [CALLS[0], CALLS[4]] {
        for take in takers {
            for refused in [
                &[("renameat2", late)][..],
                &[("renameat2", late), ("linkat", "error=EOPNOTSUPP")],
            ] {
                let result = std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let start = std::time::Instant::now();
                        let is_begun = || {
                            let names = place.names();
                            names.iter().any(|name| name.contains(".partial"))
                        };
                        while !is_begun() && start.elapsed().as_secs() < 20 {
                            std::thread::yield_now();
                        }
                        take(&place);
                    });
                    run_refused(&place, refused, call)
                });
                let found = fs::metadata(place.path("out")).unwrap();
                if let Some((run, _)) = result {
                    let line = run.fails(2);
                    assert!(line.contains("out exists already"), "{line}");
                    match found.is_dir() {
                        true => assert_eq!(place.read("out/theirs"), b"theirs"),
                        false => assert!(found.len() <= 6),
                    }
                    assert!(!place.path("out/m.unw").exists());
                }
                remove(&place, "out");
                assert_eq!(place.names(), before, "{call:?} {refused:?}");
            }
        }
    }
}

/// Models a file system where two folders cannot be exchanged.
#[test]
fn a_folder_is_replaced_in_two_steps_and_comes_back_if_it_must_not_be_deleted() {
    let place = place();
    place.run(&["compress", "src", "-o", "out"]).succeeds();
    let before = place.names();
    let call = ["compress", "src", "-o", "out", "--force"];
    let call = [&call[..], &["--encoding", "palette"]].concat();
    let refused = [("renameat2", "error=EINVAL:delay_enter=300000")];
    let old = place.read("out/m.unw");
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = std::time::Instant::now();
            while place.names().len() == before.len() && start.elapsed().as_secs() < 20 {
                std::thread::yield_now();
            }
            place.write("out/notes", b"theirs");
        });
        run_refused(&place, &refused, &call)
    });
    let Some((run, _)) = result else {
        return;
    };
    let line = run.fails(2);
    assert!(line.contains("out holds notes, which"), "{line}");
    assert_eq!(place.read("out/notes"), b"theirs");
    assert!(place.read("out/m.unw") == old);
    remove(&place, "out/notes");
    assert_eq!(place.names(), before);

    let (run, _) = run_refused(&place, &refused, &call).unwrap();
    run.succeeds();
    assert!(place.read("out/m.unw") != old);
    assert_eq!(place.names(), before);
}

/// EXDEV is the error for a folder of a lower layer of a container, and EBUSY the one for a mount
/// point.
#[test]
fn a_folder_that_cannot_leave_its_name_stays_and_is_named() {
    let place = place();
    place.run(&["compress", "src", "-o", "out"]).succeeds();
    let before = place.names();
    let call = ["compress", "src", "-o", "out", "--force"];
    let Some((run, trace)) = place.run_traced(&["-e", "trace=renameat2"], &call) else {
        return;
    };
    run.succeeds();
    let exchange = trace
        .lines()
        .filter(|line| line.contains("renameat2("))
        .count();
    for error in ["EXDEV", "EBUSY"] {
        let answer = format!("error={error}:when={exchange}");
        let (run, _) = run_refused(&place, &[("renameat2", &answer)], &call).unwrap();
        let line = run.fails(3);
        assert!(
            line.contains("out: what has this name cannot be renamed here")
                && line.contains("delete it yourself"),
            "{line}"
        );
        assert_eq!(place.names(), before);
    }
}
