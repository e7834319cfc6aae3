//! Wrong use: the exit code is 2, and no file is touched.

use crate::model::{mixed, small};
use crate::place::Place;

#[test]
fn refuses_flags_that_make_no_sense() {
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
fn refuses_invalid_globs() {
    let place = Place::with("m.safetensors", &small());
    let line = place
        .run(&["compress", "m.safetensors", "--include", "a[b"])
        .fails(2);
    assert!(line.contains("a[b"), "{line}");
    assert_eq!(place.names(), ["m.safetensors"]);
}

#[test]
fn refuses_missing_tensors_and_ranges() {
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
fn refuses_existing_outputs_without_force() {
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
fn refuses_folders_where_a_file_is_expected() {
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

/// Renaming a file to `/dev/null` would replace the device.
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
    // Opening the pipe would wait for a writer.
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
fn reports_wrong_use_as_json() {
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
fn help_and_version_succeed() {
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

#[test]
fn the_version_says_what_runs_and_that_the_format_is_a_release_candidate() {
    let place = Place::with_compressed(&small(), &[]);
    let says = |call: &[&str]| String::from_utf8(place.run(call).succeeds()).unwrap();
    let long = says(&["--version"]);
    let lines: Vec<&str> = long.lines().collect();
    let [program, format, path, kernels] = lines[..] else {
        panic!("{long}")
    };
    assert!(program.starts_with("unweight 0."), "{program}");
    assert_eq!(
        format,
        "format 1.0, release candidate 1: nothing is expected to change, files may have to be made \
         again"
    );
    assert!(path.starts_with("CPU instruction set: "), "{path}");
    assert!(kernels.starts_with("GPU kernels: "), "{kernels}");
    assert_eq!(says(&["-V"]).trim_end(), program);
    // The help says it because users decide there to delete their originals.
    for help in ["--help", "-h"] {
        let words = says(&[help]);
        let words: Vec<&str> = words.split_whitespace().collect();
        assert!(words.join(" ").contains(
            "The format is release candidate 1 of version 1.0: nothing is expected to change, \
             files may have to be made again."
        ));
    }
    let inspected = says(&["inspect", "m.unw"]);
    assert!(inspected.lines().next().unwrap().contains(
        "Unweight 1.0 (release candidate 1: nothing is expected to change, files may have to be \
         made again)"
    ));
}

#[test]
fn the_version_names_the_requested_instruction_set() {
    let place = Place::new();
    for (path, shown) in [
        ("portable", "CPU instruction set: portable"),
        ("none such", "CPU instruction set: none ("),
    ] {
        let output = std::process::Command::new(crate::place::UNWEIGHT)
            .arg("--version")
            .env("UNWEIGHT_CPU_ISA", path)
            .current_dir(place.path(""))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(shown), "{text}");
    }
}

const COMMANDS: [&str; 11] = [
    "compress",
    "decompress",
    "inspect",
    "report",
    "verify",
    "extract",
    "transcode",
    "bench",
    "tune",
    "completions",
    "man",
];

#[test]
fn completions_have_every_command_and_its_options() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(place.run(&["completions", shell]).succeeds()).unwrap();
        for word in COMMANDS
            .iter()
            .chain(&["encoding", "against", "memory", "kind"])
        {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    place.run(&["completions", "csh"]).misunderstood();
}

#[test]
fn manual_pages_have_every_command_and_nothing_of_this_machine() {
    let place = Place::new();
    let page = String::from_utf8(place.run(&["man"]).succeeds()).unwrap();
    assert!(
        page.contains(".TH unweight 1") && page.contains("release candidate 1"),
        "{page}"
    );
    assert!(
        page.contains("Exit codes") && !page.contains("CPU instruction set"),
        "{page}"
    );
    place.run(&["man", "pages/man1"]).succeeds();
    for command in COMMANDS {
        let name = format!("pages/man1/unweight-{command}.1");
        let page = String::from_utf8(place.read(&name)).unwrap();
        assert!(
            page.contains("SYNOPSIS") && page.contains(command),
            "{name}: {page}"
        );
    }
    assert_eq!(place.read("pages/man1/unweight.1"), page.as_bytes());
    assert_eq!(place.names().len(), 2 + 1 + COMMANDS.len());
    // Pages, like any other output, are replaced only when asked for.
    assert!(
        place
            .run(&["man", "pages/man1"])
            .fails(2)
            .contains("--force")
    );
    place.run(&["man", "pages/man1", "--force"]).succeeds();
}
