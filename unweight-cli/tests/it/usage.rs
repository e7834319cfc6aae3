//! Wrong use: exit code 2, and nothing is touched.

use crate::model::{mixed, small};
use crate::place::Place;

#[test]
fn flags_that_make_no_sense() {
    let place = Place::with_compressed(&small(), &[]);
    let before = place.names();
    for call in [
        &[][..],
        &["shrink", "m.safetensors"],
        &["compress"],
        &["compress", "m.safetensors", "-o", "x.unw", "--chunk", "11"],
        &["compress", "m.safetensors", "-o", "x.unw", "--chunk", "17"],
        &["compress", "m.safetensors", "-o", "x.unw", "--chunk", "x"],
        &[
            "compress",
            "m.safetensors",
            "-o",
            "x.unw",
            "--encoding",
            "raw",
        ],
        &["compress", "m.safetensors", "-o", "x.unw", "--fast"],
        &["compress", "m.safetensors", "-o", "x.unw", "--threads", "0"],
        &["compress", "m.safetensors", "more", "-o", "x.unw"],
        &["transcode", "m.unw", "-o", "x.unw"],
        &["transcode", "m.unw", "--to", "palette"],
        &["extract", "m.unw"],
        &["extract", "m.unw", "w", "--range", "5"],
        &["extract", "m.unw", "w", "--range", "5..4"],
        &["extract", "m.unw", "w", "--range=-1..4"],
    ] {
        place.run(call).misunderstood();
        assert_eq!(place.names(), before);
    }
}

#[test]
fn globs_that_are_none() {
    let place = Place::with("m.safetensors", &small());
    let line = place
        .run(&["compress", "m.safetensors", "--include", "a[b"])
        .fails(2);
    assert!(line.contains("a[b"), "{line}");
    assert_eq!(place.names(), ["m.safetensors"]);
}

#[test]
fn tensors_and_ranges_that_are_not_there() {
    let place = Place::with_compressed(&mixed(), &[]);
    let before = place.names();
    let line = place
        .run(&["extract", "m.unw", "lm_head", "-o", "x"])
        .fails(2);
    assert!(line.contains("\"lm_head\""), "{line}");
    for (tensor, range) in [
        ("head", "0..6001"),
        ("head", "6001..6001"),
        ("none", "0..1"),
        ("steps", "0..18446744073709551615"),
    ] {
        let line = place
            .run(&["extract", "m.unw", tensor, "--range", range, "-o", "x"])
            .fails(2);
        assert!(line.contains("elements") && line.contains(range), "{line}");
    }
    assert_eq!(place.names(), before);
}

#[test]
fn outputs_that_exist_without_force() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("old", b"old");
    let before = place.names();
    for call in [
        &["compress", "m.safetensors"][..],
        &["compress", "m.safetensors", "-o", "old"],
        &["decompress", "m.unw"],
        &["decompress", "m.unw", "-o", "old"],
        &["extract", "m.unw", "head", "-o", "old"],
        &["transcode", "m.unw", "--to", "palette", "-o", "old"],
    ] {
        let line = place.run(call).fails(2);
        assert!(
            line.contains("exists already") && line.contains("--force"),
            "{line}"
        );
    }
    assert_eq!(place.names(), before);
    assert_eq!(place.read("old"), b"old");
}

#[test]
fn folders_where_a_file_is_expected() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("folder/a", b"");
    let before = place.names();
    for call in [
        &["inspect", "folder"][..],
        &["extract", "folder", "head", "-o", "x"],
        &["transcode", "folder", "--to", "palette", "-o", "x"],
        &["verify", "m.unw", "--against", "folder"],
        &["compress", "m.safetensors", "-o", "folder", "--force"],
        &["decompress", "m.unw", "-o", "folder", "--force"],
        &["extract", "m.unw", "head", "-o", "folder", "--force"],
        &[
            "transcode",
            "m.unw",
            "--to",
            "palette",
            "-o",
            "folder",
            "--force",
        ],
    ] {
        let line = place.run(call).fails(2);
        assert!(line.contains("folder is a folder"), "{line}");
    }
    assert_eq!(place.names(), before);
}

/// To rename a file to `/dev/null` would be the end of it.
#[cfg(unix)]
#[test]
fn neither_devices_nor_pipes_are_inputs_or_outputs() {
    let place = Place::with_compressed(&mixed(), &[]);
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    let before = place.names();
    for call in [
        &["compress", "m.safetensors", "-o", "socket"][..],
        &["decompress", "m.unw", "-o", "socket"],
        &["extract", "m.unw", "head", "-o", "socket"],
        &["transcode", "m.unw", "--to", "palette", "-o", "socket"],
    ] {
        for force in [&["--force"][..], &[]] {
            let line = place.run(&[call, force].concat()).fails(2);
            assert!(line.contains("socket is a socket"), "{line}");
        }
    }
    // To open the pipe would wait for somebody who writes into it.
    let pipe = place.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for (input, kind) in [
        ("/dev/null", "device"),
        ("socket", "socket"),
        ("pipe", "pipe"),
    ] {
        for call in [
            &["compress", input, "-o", "x"][..],
            &["decompress", input, "-o", "x"],
            &["inspect", input],
            &["verify", input],
            &["verify", "m.unw", "--against", input],
            &["extract", input, "w", "-o", "x"],
            &["transcode", input, "--to", "palette", "-o", "x"],
            &["bench", input],
        ] {
            let line = place.run(call).fails(2);
            assert!(
                line.contains(&format!("{input} is a {kind}, expected a file")),
                "{line}"
            );
        }
    }
    std::fs::remove_file(pipe).unwrap();
    assert_eq!(place.names(), before);
    use std::os::unix::fs::FileTypeExt;
    assert!(
        place
            .path("socket")
            .metadata()
            .unwrap()
            .file_type()
            .is_socket()
    );
}

#[test]
fn json_tells_of_it_too() {
    let place = Place::new();
    for call in [
        &["compress", "--json"][..],
        &["--json", "extract", "x", "y", "--range", "1"],
    ] {
        let failure = place.run(call).misunderstood_json();
        assert_eq!(failure["error"]["kind"], "usage");
        assert!(
            failure["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("error: ")
        );
    }
}

#[test]
fn help_and_version_are_no_failures() {
    let place = Place::new();
    let says = |call: &[&str]| String::from_utf8(place.run(call).succeeds()).unwrap();
    assert!(says(&["--version"]).starts_with("unweight "));
    assert!(says(&["--help", "--json"]).contains("Exit codes"));
    for command in [
        "compress",
        "decompress",
        "inspect",
        "verify",
        "extract",
        "transcode",
    ] {
        assert!(says(&["--help"]).contains(&format!("  {command}")));
        assert!(says(&[command, "--help"]).contains(&format!("Usage: unweight {command}")));
    }
}
