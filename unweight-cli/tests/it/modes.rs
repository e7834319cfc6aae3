//! Permissions of outputs: those of the source, within the process's mask, and never more than
//! before.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::model::mixed;
use crate::place::Place;

fn mode(place: &Place, name: &str) -> u32 {
    place.path(name).metadata().unwrap().mode() & 0o7777
}

fn set_mode(place: &Place, name: &str, mode: u32) {
    set_permissions(place.path(name), Permissions::from_mode(mode)).unwrap();
}

/// A call of each command that makes `out` from one file, and that file.
const CALLS: [(&[&str], &str); 4] = [
    (&["compress", "m.safetensors", "-o", "out"], "m.safetensors"),
    (&["decompress", "m.unw", "-o", "out"], "m.unw"),
    (
        &["transcode", "m.unw", "--to", "palette", "-o", "out"],
        "m.unw",
    ),
    (&["extract", "m.unw", "head", "-o", "out"], "m.unw"),
];

#[test]
fn a_file_has_the_mode_of_its_source_within_the_mask() {
    let place = Place::with_compressed(&mixed(), &[]);
    for (call, source) in CALLS {
        for (source_mode, mask, expected) in [
            (0o600, 0o000, 0o600),
            (0o644, 0o022, 0o644),
            (0o666, 0o027, 0o640),
            (0o664, 0o077, 0o600),
            (0o444, 0o022, 0o444),
            (0o7755, 0o022, 0o755),
            (0o644, 0o777, 0o000),
        ] {
            set_mode(&place, source, source_mode);
            let umask = format!("umask {mask:o}");
            place.run_after(&umask, call).succeeds();
            assert_eq!(mode(&place, "out"), expected, "{call:?} {source_mode:o}");
            std::fs::remove_file(place.path("out")).unwrap();
        }
    }
}

#[test]
fn a_replaced_file_is_not_opened_to_more_people() {
    let place = Place::with_compressed(&mixed(), &[]);
    for (call, source) in CALLS {
        for (source_mode, replaced_mode, expected) in [
            (0o644, 0o600, 0o600),
            (0o600, 0o644, 0o600),
            (0o640, 0o604, 0o600),
            (0o644, 0o4755, 0o644),
        ] {
            set_mode(&place, source, source_mode);
            place.write("out", b"old");
            set_mode(&place, "out", replaced_mode);
            place
                .run_after("umask 0", &[call, &["--force"]].concat())
                .succeeds();
            assert_eq!(mode(&place, "out"), expected, "{call:?}");
            std::fs::remove_file(place.path("out")).unwrap();
        }
    }
}

/// Makes the folder `src`, where everything has another mode.
fn folder() -> Place {
    let place = Place::with("src/m.safetensors", &mixed());
    place.write("src/config.json", b"{}");
    place.write("src/tool", b"#!/bin/sh\n");
    place.write("src/code/shared", b"");
    place.write("src/read-only/notes", b"");
    for (name, mode) in [
        ("src/m.safetensors", 0o640),
        ("src/config.json", 0o600),
        ("src/tool", 0o4755),
        ("src/code/shared", 0o6775),
        ("src/read-only/notes", 0o444),
        ("src/code", 0o3770),
        ("src/read-only", 0o555),
        ("src", 0o700),
    ] {
        set_mode(&place, name, mode);
    }
    place
}

#[test]
fn a_folder_keeps_its_modes_but_for_the_bits_that_give_privileges() {
    let place = folder();
    let umask = "umask 022";
    place.run_after(umask, &["compress", "src"]).succeeds();
    place
        .run_after(umask, &["decompress", "src.unw", "-o", "back"])
        .succeeds();
    for (folder, extension) in [("src.unw", "unw"), ("back", "safetensors")] {
        for (name, expected) in [
            ("", 0o700),
            (&format!("m.{extension}"), 0o640),
            ("config.json", 0o600),
            ("tool", 0o755),
            ("code", 0o750),
            ("code/shared", 0o755),
            ("read-only", 0o555),
            ("read-only/notes", 0o444),
        ] {
            let name = format!("{folder}/{name}");
            assert_eq!(mode(&place, &name), expected, "{name}");
        }
    }
    // An output that was made with this mask can be replaced.
    place
        .run_after(umask, &["compress", "src", "--force"])
        .succeeds();
    assert_eq!(mode(&place, "src.unw/read-only"), 0o555);
}

/// Systems give the setgid bit to every folder that is made in a folder that has it.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_made_in_one_of_a_group_stays_of_the_group() {
    for options in [&[][..], &["--resume"]] {
        let place = folder();
        std::fs::create_dir(place.path("shared")).unwrap();
        set_mode(&place, "shared", 0o2755);
        let call = [&["compress", "src", "-o", "shared/out"], options].concat();
        place.run_after("umask 022", &call).succeeds();
        for (name, expected) in [
            ("shared/out", 0o2700),
            ("shared/out/code", 0o2750),
            ("shared/out/code/shared", 0o755),
            ("shared/out/tool", 0o755),
        ] {
            assert_eq!(mode(&place, name), expected, "{name} {options:?}");
        }
    }
}

#[test]
fn a_replaced_folder_is_not_opened_to_more_people() {
    for options in [&["--force"][..], &["--force", "--resume"]] {
        let place = folder();
        for name in ["src", "src/code", "src/m.safetensors", "src/config.json"] {
            set_mode(&place, name, 0o777);
        }
        place.run_after("umask 0", &["compress", "src"]).succeeds();
        let closed = [
            ("src.unw/m.unw", 0o600),
            ("src.unw/config.json", 0o640),
            ("src.unw/code", 0o710),
            ("src.unw", 0o700),
        ];
        for (name, mode) in closed {
            set_mode(&place, name, mode);
        }
        place
            .run_after("umask 0", &[&["compress", "src"], options].concat())
            .succeeds();
        for (name, expected) in closed {
            assert_eq!(mode(&place, name), expected, "{name} {options:?}");
        }
        assert_eq!(mode(&place, "src.unw/tool"), 0o755);
    }
}

/// Outputs are private from the moment they exist. Whoever opens an output then could read all that
/// is written later.
#[cfg(target_os = "linux")]
#[test]
fn what_is_temporary_is_private_from_the_first_moment() {
    let place = folder();
    set_mode(&place, "src", 0o777);
    set_mode(&place, "src/m.safetensors", 0o666);
    for call in [
        &["compress", "src", "-o", "out"][..],
        &["compress", "src/m.safetensors", "-o", "file"],
        &["decompress", "out", "-o", "back"],
    ] {
        let Some((run, trace)) = place.run_traced(&["-e", "trace=openat,mkdir,mkdirat"], call)
        else {
            return;
        };
        run.succeeds();
        let made = trace
            .lines()
            .filter(|line| line.contains("O_CREAT") || line.contains("mkdir"))
            .filter(|line| line.contains(".unweight-"));
        let mut count = 0;
        for line in made {
            count += 1;
            let expected = match line.contains("mkdir") {
                true => ", 0700)",
                false => ", 0600)",
            };
            assert!(line.contains(expected), "{line}");
        }
        assert!(count > 0);
    }
}
