//! Files of another kind than expected: the message says what kind it is, and what to do.

use crate::model::small;
use crate::place::Place;

const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4976698672\n";

/// A call of each command that reads an Unweight file.
fn readers(file: &str) -> [Vec<&str>; 6] {
    [
        vec!["inspect", file],
        vec!["inspect", file, "--directory"],
        vec!["verify", file],
        vec!["decompress", file, "-o", "out"],
        vec!["extract", file, "w", "-o", "out"],
        vec!["transcode", file, "--to", "palette", "-o", "out"],
    ]
}

#[test]
fn what_is_no_safetensors_file_is_named() {
    let place = Place::with_compressed(&small(), &[]);
    let files: [(&str, &[u8], &[&str]); 10] = [
        ("lfs", LFS, &["Git LFS pointer", "git lfs pull"]),
        ("html", b"<!DOCTYPE html><html><head>", &["HTML page"]),
        ("gguf", b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0", &["GGUF"]),
        (
            "zip",
            b"PK\x03\x04\0\0\0\0\x08\x08\0\0",
            &["zip", "PyTorch", "convert"],
        ),
        (
            "pickle",
            b"\x80\x02}q\0............",
            &["pickle", "PyTorch"],
        ),
        ("npy", b"\x93NUMPY\x01\0v\0{'descr': '<f4'", &["NumPy"]),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", &["gzip", "unpack"]),
        ("zstd", b"\x28\xb5\x2f\xfd\x24\0\0\0\0", &["zstd", "unpack"]),
        (
            "index",
            b"{\"metadata\": {\"total_size\": 1}, \"weight_map\": {}}",
            &["index", "folder"],
        ),
        ("empty", b"", &["empty file"]),
    ];
    for (name, bytes, words) in files {
        place.write(name, bytes);
        let mut calls = vec![vec!["compress", name, "-o", "out"], vec!["bench", name]];
        calls.extend(readers(name));
        for call in calls {
            let line = place.run(&call).fails(1);
            assert!(
                line.starts_with(&format!("unweight: {name}: this is ")),
                "{line}"
            );
            for word in words {
                assert!(line.contains(word), "{line}");
            }
        }
    }
    let line = place.run(&["compress", "m.unw", "-o", "out"]).fails(1);
    assert!(
        line.contains("an Unweight file already") && line.contains("decompress"),
        "{line}"
    );
    for call in readers("m.safetensors") {
        let line = place.run(&call).fails(1);
        assert!(
            line.contains("a safetensors file") && line.contains("compress"),
            "{line}"
        );
    }
    assert!(!place.path("out").exists());
}

/// Readers of the JSON depend on the rule.
#[test]
fn the_rule_is_named_all_the_same() {
    let place = Place::with("lfs", LFS);
    place.write("empty", b"");
    for (name, rule) in [("lfs", "file-magic"), ("empty", "file-truncated")] {
        for call in readers(name) {
            let run = place.run(&[&call[..], &["--json"]].concat());
            let (line, failure) = run.fails_with_json(1);
            assert_eq!(failure["error"]["kind"], "bad");
            assert_eq!(failure["error"]["rule"]["rule"], rule, "{failure}");
            assert!(line.contains(rule), "{line}");
        }
    }
}

#[test]
fn files_that_are_only_cut_short_or_damaged_are_not_something_else() {
    let place = Place::with_compressed(&small(), &[]);
    let (source, container) = (place.read("m.safetensors"), place.read("m.unw"));
    for length in [1, 7, 9, 20, source.len() - 1] {
        place.write("cut", &source[..length]);
        let line = place.run(&["compress", "cut", "-o", "out"]).fails(1);
        assert!(!line.contains("this is"), "{line}");
    }
    for length in [8, 63, 64, container.len() - 1] {
        place.write("cut", &container[..length]);
        let line = place.run(&["verify", "cut"]).fails(1);
        assert!(
            line.contains("file-truncated") && !line.contains("this is"),
            "{line}"
        );
    }
}

#[test]
fn folders_where_a_file_is_expected_come_with_advice() {
    let place = Place::with_compressed(&small(), &[]);
    place.write("folder/a", b"");
    let line = place.run(&["inspect", "folder"]).fails(2);
    assert!(line.contains("one of its files"), "{line}");
}
