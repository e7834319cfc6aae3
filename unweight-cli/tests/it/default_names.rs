//! Default names of outputs.

use std::fs;
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::small;
use crate::place::Place;

#[test]
fn a_number_behind_a_dot_is_no_extension() {
    let place = Place::with("llama-3.1", &small());
    let other = safetensors_file(&[bf16("w", &Random::new(2).trained_weights(1_000))]);
    place.write("llama-3.2", &other);
    for name in ["llama-3.1", "llama-3.2"] {
        place.run(&["compress", name]).succeeds();
    }
    let names = ["llama-3.1", "llama-3.1.unw", "llama-3.2", "llama-3.2.unw"];
    assert_eq!(place.names(), names);

    for name in ["3.1", "3.2"] {
        fs::rename(place.path(&format!("llama-{name}.unw")), place.path(name)).unwrap();
        place.run(&["decompress", name]).succeeds();
    }
    assert_eq!(place.read("3.1.safetensors"), small());
    assert_eq!(place.read("3.2.safetensors"), other);
}

#[test]
fn folders_keep_numbers_behind_dots_too() {
    let place = Place::with("llama-3.1/m.safetensors", &small());
    place.write("llama-3.2/m.safetensors", &small());
    for name in ["llama-3.1", "llama-3.2/"] {
        place.run(&["compress", name]).succeeds();
    }
    assert!(place.path("llama-3.1.unw").is_dir() && place.path("llama-3.2.unw").is_dir());
}

/// Two entries with one output name are refused before any work, whatever else the folder holds.
#[test]
fn two_entries_of_one_output_name_are_refused() {
    let place = Place::with("m/a.safetensors", &small());
    fs::create_dir(place.path("m/a.unw")).unwrap();
    let before = place.names();
    let line = place.run(&["compress", "m", "-o", "out"]).fails(2);
    assert!(line.contains("would both be called a.unw"), "{line}");
    assert_eq!(place.names(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_descriptor_has_no_name_to_derive_one_from() {
    use std::fs::File;
    use std::process::Command;

    let place = Place::with_compressed(&small(), &[]);
    let before = place.names();
    for (command, input) in [("compress", "m.safetensors"), ("decompress", "m.unw")] {
        for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
            let run = |rest: &[&str]| {
                Command::new(crate::place::UNWEIGHT)
                    .args([command, path])
                    .args(rest)
                    .current_dir(place.path(""))
                    .stdin(File::open(place.path(input)).unwrap())
                    .output()
                    .unwrap()
            };
            let refused = run(&[]);
            let line = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{line}");
            assert!(line.contains("name the output with -o"), "{line}");
            assert_eq!(place.names(), before);
            assert!(run(&["-o", "out"]).status.success());
            fs::remove_file(place.path("out")).unwrap();
        }
    }
}
