//! `-` as standard output, and as standard input, which no command can read.

use crate::model::{mixed, small};
use crate::place::Place;

#[test]
fn what_is_decompressed_goes_to_standard_output() {
    let source = mixed();
    for encoding in ["huffman", "palette"] {
        let place = Place::with_compressed(&source, &["--encoding", encoding]);
        let before = place.names();
        for quiet in [&[][..], &["--quiet"]] {
            let call = [&["decompress", "m.unw", "-o", "-"], quiet].concat();
            assert!(place.run(&call).succeeds() == source);
            let call = [&["extract", "m.unw", "steps", "-o", "-"], quiet].concat();
            assert_eq!(place.run(&call).succeeds(), 12_345u64.to_le_bytes());
        }
        // The program makes no file of that name.
        assert_eq!(place.names(), before);
    }
}

/// A reader may have got pieces that are right. The exit code says that the whole is not right.
#[test]
fn what_is_bad_fails_after_the_pieces_that_are_right() {
    let place = Place::with_compressed(&mixed(), &["--chunk", "12"]);
    let source = place.read("m.safetensors");
    let mut file = place.read("m.unw");
    let late = file.len() - 200;
    file[late] ^= 1;
    place.write("bad.unw", &file);
    let (code, stdout, stderr) = place.run(&["decompress", "bad.unw", "-o", "-"]).raw();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.starts_with("unweight: bad.unw: tensor "), "{stderr}");
    assert!(!stdout.is_empty() && source.starts_with(&stdout) && stdout.len() < source.len());
}

#[test]
fn json_and_folders_have_no_place_beside_the_bytes() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("folder.unw/a.unw", &place.read("m.unw"));
    let before = place.names();
    for call in [
        &["decompress", "m.unw", "-o", "-", "--json"][..],
        &["extract", "m.unw", "steps", "-o", "-", "--json"],
    ] {
        let (line, failure) = place.run(call).fails_with_json(2);
        assert!(line.contains("name a file with -o"), "{line}");
        assert_eq!(failure["error"]["kind"], "usage");
    }
    let line = place.run(&["decompress", "folder.unw", "-o", "-"]).fails(2);
    assert!(line.contains("name a folder with -o"), "{line}");
    assert_eq!(place.names(), before);
}

#[test]
fn what_needs_a_seek_is_refused_with_advice() {
    let place = Place::with_compressed(&mixed(), &[]);
    let before = place.names();
    for call in [
        &["compress", "m.safetensors", "-o", "-"][..],
        &["compress", "m.safetensors", "--force", "-o", "/dev/stdout"],
        &["transcode", "m.unw", "--to", "palette", "-o", "-"],
    ] {
        let line = place.run(call).fails(2);
        assert!(
            line.contains("standard output") && line.contains("name of a file"),
            "{line}"
        );
    }
    let line = place.run(&["tune", "m.unw", "-o", "-"]).fails(2);
    assert!(line.contains("--json"), "{line}");
    assert_eq!(place.names(), before);
}

#[test]
fn standard_input_is_refused_by_every_command() {
    let place = Place::with_compressed(&small(), &[]);
    let before = place.names();
    for call in [
        &["compress", "-"][..],
        &["compress", "-", "-o", "out"],
        &["decompress", "-", "-o", "out"],
        &["inspect", "-"],
        &["verify", "-"],
        &["verify", "m.unw", "--against", "-"],
        &["extract", "-", "w", "-o", "out"],
        &["transcode", "-", "--to", "palette", "-o", "out"],
        &["bench", "-"],
        &["tune", "-", "-o", "out"],
    ] {
        let line = place.run(call).fails(2);
        assert!(
            line.contains("standard input cannot be read at any offset"),
            "{line}"
        );
        let (_, failure) = place.run(&[call, &["--json"]].concat()).fails_with_json(2);
        assert_eq!(failure["error"]["kind"], "usage");
    }
    assert_eq!(place.names(), before);
    // A file that is called `-` can be named by a path.
    place.write("-", &small());
    place.run(&["compress", "./-", "-o", "out"]).succeeds();
}

/// If a stream is closed or full, the exit code is a documented one, and there is no panic.
#[cfg(target_os = "linux")]
#[test]
fn streams_that_are_closed_or_full_give_documented_exit_codes() {
    let place = Place::with_compressed(&small(), &[]);
    for streams in [
        ">&-",
        "2>&-",
        "<&-",
        ">&- 2>&- <&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
    ] {
        let is_full = streams.contains(" >/dev/full") || streams.starts_with(">/dev/full");
        for (call, expected) in [
            ("inspect m.unw", 0),
            ("inspect m.unw --json", 0),
            ("verify m.unw", 0),
            ("extract m.unw b", 0),
            ("decompress m.unw -o -", 0),
            ("compress m.safetensors --force", 0),
            ("--help", 0),
            ("--version", 0),
            ("-V", 0),
            ("completions zsh", 0),
            ("man", 0),
            ("nonsense --json", 2),
            ("verify missing --json", 3),
        ] {
            let script = format!("\"$0\" {call} {streams}");
            let arguments = ["-c", &script, crate::place::UNWEIGHT];
            let (code, _, stderr) = place.run_program("sh", &arguments).raw();
            let expected = if is_full && expected == 0 {
                3
            } else {
                expected
            };
            assert_eq!(code, Some(expected), "{call} {streams}: {stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
}
