//! Failures of input and output. The exit code is 3, and no partial output is left.

use std::fs;
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::mixed;
use crate::place::Place;

#[test]
fn reports_inputs_that_are_not_there() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("file.txt", b"text");
    let before = place.names();
    // The second path leads through a file. Nobody can read it, not even root.
    for missing in ["missing", "file.txt/x"] {
        for call in [
            &["compress", missing, "-o", "out"][..],
            &["decompress", missing, "-o", "out"],
            &["inspect", missing],
            &["verify", missing],
            &["verify", "m.unw", "--against", missing],
            &["extract", missing, "w", "-o", "out"],
            &["transcode", missing, "--to", "palette", "-o", "out"],
        ] {
            let line = place.run(call).fails(3);
            assert!(line.contains(&format!("{missing}: ")), "{line}");
            let (_, failure) = place.run(&[call, &["--json"]].concat()).fails_with_json(3);
            assert_eq!(failure["error"]["kind"], "io");
        }
    }
    assert_eq!(place.names(), before);
}

#[test]
fn reports_outputs_in_folders_that_are_not_there() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("file.txt", b"text");
    place.write("shards/a.safetensors", &mixed());
    let before = place.names();
    for output in ["missing/out", "file.txt/out"] {
        for call in [
            &["compress", "m.safetensors"][..],
            &["compress", "shards"],
            &["decompress", "m.unw"],
            &["extract", "m.unw", "head"],
            &["transcode", "m.unw", "--to", "palette"],
        ] {
            let line = place.run(&[call, &["-o", output]].concat()).fails(3);
            assert!(line.contains(&format!("{output}: ")), "{line}");
        }
    }
    assert_eq!(place.names(), before);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_neither_output_nor_temporary_file() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("shards/a.safetensors", &mixed());
    place.write("old", b"old");
    place.run(&["compress", "shards"]).succeeds();
    let before = place.names();
    // The disk has room for less than the source section, for some of the payload, or for all but
    // the end.
    let length = place.read("m.unw").len();
    for blocks in [0, 10, (length / 1_024 - 1) as u32] {
        for call in [
            &["compress", "m.safetensors", "-o", "out"][..],
            &["compress", "m.safetensors", "-o", "old", "--force"],
            &["compress", "shards", "-o", "out"],
            &["decompress", "m.unw", "-o", "out"],
            &["decompress", "shards.unw", "-o", "out"],
            &["transcode", "m.unw", "--to", "palette", "-o", "out"],
        ] {
            let line = place.run_on_full_disk(blocks, call).fails(3);
            assert!(line.contains("File too large"), "{line}");
            assert_eq!(place.names(), before, "{call:?}");
        }
    }
    let extract = ["extract", "m.unw", "embed", "-o", "out"];
    place.run_on_full_disk(10, &extract).fails(3);
    assert_eq!(place.names(), before);
    assert_eq!(place.read("old"), b"old");
}

/// A file that grows past a limit is an error, as on a full disk. The caller need not ignore
/// SIGXFSZ for the program.
#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_reported_and_leaves_nothing() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("shards/a.safetensors", &mixed());
    let before = place.names();
    for call in [
        &["compress", "m.safetensors", "-o", "out"][..],
        &["compress", "shards", "-o", "out"],
        &["decompress", "m.unw", "-o", "out"],
        &["extract", "m.unw", "embed", "-o", "out"],
        &["transcode", "m.unw", "--to", "palette", "-o", "out"],
    ] {
        let line = place.run_after("ulimit -f 10", call).fails(3);
        assert!(line.contains("unweight: out"), "{line}");
        assert!(line.contains("File too large"), "{line}");
        assert_eq!(place.names(), before, "{call:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_behind_standard_output_is_noticed() {
    use std::process::{Command, Stdio};
    let place = Place::with_compressed(&mixed(), &[]);
    for call in [
        &["extract", "m.unw", "embed"][..],
        // These calls write only a few bytes, which stay in a buffer until the end.
        &["extract", "m.unw", "steps"],
        &["extract", "m.unw", "embed", "--range", "0..3"],
        &["inspect", "m.unw"],
        &["verify", "m.unw"],
        &["verify", "m.unw", "--json"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(crate::place::UNWEIGHT)
            .args(call)
            .current_dir(place.path(""))
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{call:?}: {stderr}");
        assert!(
            stderr.contains("standard output: No space left"),
            "{stderr}"
        );
    }
}

#[test]
fn force_replaces_the_name_and_leaves_the_old_file_to_its_readers() {
    let source = safetensors_file(&[bf16("w", &Random::new(70).trained_weights(2_000))]);
    let place = Place::with_compressed(&source, &[]);
    let new = place.read("m.unw");
    for call in [
        &["compress", "m.safetensors", "-o", "out"][..],
        &["decompress", "m.unw", "-o", "out"],
        &["transcode", "m.unw", "--to", "huffman", "-o", "out"],
        &["extract", "m.unw", "w", "-o", "out"],
    ] {
        place.write("out", b"old");
        let mut reader = fs::File::open(place.path("out")).unwrap();
        place.run(&[call, &["--force"]].concat()).succeeds();
        let mut read = String::new();
        std::io::Read::read_to_string(&mut reader, &mut read).unwrap();
        assert_eq!(read, "old");
        let expected = match call[0] {
            "decompress" => &source[..],
            "extract" => &source[source.len() - 4_000..],
            _ => &new,
        };
        assert!(place.read("out") == expected, "{call:?}");
        fs::remove_file(place.path("out")).unwrap();
    }
    assert_eq!(place.names(), ["m.safetensors", "m.unw"]);
}

/// Root may write into any other folder, but not into this one.
#[cfg(target_os = "linux")]
#[test]
fn reports_a_target_that_cannot_be_written() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("shards/a.safetensors", &mixed());
    for call in [
        &["compress", "m.safetensors"][..],
        &["compress", "shards"],
        &["decompress", "m.unw"],
        &["extract", "m.unw", "head"],
        &["transcode", "m.unw", "--to", "palette"],
    ] {
        for force in [&["--force"][..], &[]] {
            let output = ["-o", "/sys/kernel/unweight-out"];
            let line = place.run(&[call, &output, force].concat()).fails(3);
            assert!(line.contains("/sys/kernel/unweight-out: "), "{line}");
        }
    }
}

/// Replacing a name takes permission to write to the folder, not to the file.
#[test]
fn force_replaces_a_read_only_file() {
    let place = Place::with_compressed(&mixed(), &[]);
    let new = place.read("m.unw");
    place.write("out", b"old");
    let mut permissions = place.path("out").metadata().unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(place.path("out"), permissions).unwrap();
    place
        .run(&["compress", "m.safetensors", "-o", "out"])
        .fails(2);
    place
        .run(&["compress", "m.safetensors", "-o", "out", "--force"])
        .succeeds();
    assert!(place.read("out") == new);
}

/// Runs many programs at the same time that write to `out`. Returns how many ended with exit code
/// 0. The others must end with 2.
fn race(place: &Place, call: &[&str]) -> usize {
    let children: Vec<_> = (0..16)
        .map(|_| {
            std::process::Command::new(crate::place::UNWEIGHT)
                .args(call)
                .args(["-o", "out", "--quiet"])
                .current_dir(place.path(""))
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let codes = children
        .into_iter()
        .map(|mut child| child.wait().unwrap().code());
    codes
        .map(|code| match code {
            Some(0) => 1,
            Some(2) => 0,
            other => panic!("{call:?}: {other:?}"),
        })
        .sum()
}

#[test]
fn of_programs_that_write_one_name_one_wins_whole() {
    let source = mixed();
    let place = Place::with_compressed(&source, &[]);
    let before = place.names();
    for (call, expected) in [
        (&["compress", "m.safetensors"][..], place.read("m.unw")),
        (&["decompress", "m.unw"], source.clone()),
    ] {
        assert_eq!(race(&place, call), 1, "{call:?}");
        assert!(place.read("out") == expected);
        assert_eq!(race(&place, &[call, &["--force"]].concat()), 16, "{call:?}");
        assert!(place.read("out") == expected);
        fs::remove_file(place.path("out")).unwrap();
        assert_eq!(place.names(), before, "{call:?}");
    }
}
