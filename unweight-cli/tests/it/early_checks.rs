//! Checks of a folder run before it begins to work.

use std::fs::{self, File};

use unweight_format::layout::{self, entry, file_header};
use unweight_testkit::{safetensors_file, tensor};

use crate::model::{mixed, small};
use crate::place::Place;
use crate::restamp::Small;

/// Makes the folder `m`: two good files, and a last one with this name and these bytes.
fn folder(last: &str, bytes: &[u8]) -> Place {
    let place = Place::with("m/1.safetensors", &mixed());
    place.write("m/2.safetensors", &small());
    if last.ends_with(".unw") {
        place.run(&["compress", "m", "-o", "c"]).succeeds();
        fs::remove_dir_all(place.path("m")).unwrap();
        fs::rename(place.path("c"), place.path("m")).unwrap();
    }
    place.write(&format!("m/{last}"), bytes);
    place
}

/// Requires that the run fails before any file is done, and leaves nothing.
fn fails_before_work(place: &Place, call: &[&str], code: i32) -> String {
    let before = place.names();
    let run = place.run(call);
    assert_eq!(run.progress(), "");
    let line = run.fails(code);
    assert_eq!(place.names(), before);
    // No file was finished that --resume could have kept.
    assert!(!line.contains("--resume"), "{line}");
    line
}

#[test]
fn a_bad_last_file_is_found_before_the_first_is_converted() {
    let good = small();
    for bytes in [&good[..good.len() - 1], &good[..20], b"not a model"] {
        let place = folder("3.safetensors", bytes);
        let line = fails_before_work(&place, &["compress", "m"], 1);
        assert!(line.contains("m/3.safetensors: "), "{line}");
        fails_before_work(&place, &["compress", "m", "--resume"], 1);
    }
    let container = Place::with_compressed(&good, &[]).read("m.unw");
    let mut damaged = container.clone();
    damaged[70] ^= 1;
    for bytes in [&container[..container.len() - 1], &damaged, b"not a model"] {
        let place = folder("3.unw", bytes);
        let call = ["decompress", "m", "-o", "back"];
        let line = fails_before_work(&place, &call, 1);
        assert!(line.contains("m/3.unw: "), "{line}");
    }
}

#[test]
fn a_bad_pattern_is_found_first() {
    let place = folder("3.safetensors", &small());
    let line = fails_before_work(&place, &["compress", "m", "--exclude", "a[b"], 2);
    assert!(line.contains("a[b"), "{line}");
}

#[test]
fn a_file_that_needs_more_memory_than_allowed_is_found_first() {
    let tensors: Vec<_> = (0..20_000)
        .map(|n| tensor(&format!("scale.{n}"), "U8", &[0], vec![]))
        .collect();
    let place = folder("3.safetensors", &safetensors_file(&tensors));
    let call = ["compress", "m", "--memory", "4MiB"];
    let line = fails_before_work(&place, &call, 4);
    assert!(line.contains("m/3.safetensors: "), "{line}");
}

/// Number of bytes of a hole that no test machine has room for.
const HOLE_BYTES: u64 = 1 << 43;

#[cfg(unix)]
#[test]
fn a_disk_without_room_is_found_first() {
    // Eight tensors of 2^39 weights would be too long to be coded; raw ones are not.
    let json = format!(
        r#"{{"w":{{"dtype":"U8","shape":[{HOLE_BYTES}],"data_offsets":[0,{HOLE_BYTES}]}}}}"#
    );
    let place = folder("3.safetensors", &unweight_testkit::with_header(&json, b""));
    let path = place.path("m/3.safetensors");
    let length = fs::metadata(&path).unwrap().len();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length + HOLE_BYTES)
        .unwrap();
    let call = ["compress", "m", "-o", "out"];
    let line = fails_before_work(&place, &call, 3);
    assert!(line.contains("out: at least 1,099,"), "{line}");
    assert!(
        line.contains("bytes are needed, but") && line.contains("are free"),
        "{line}"
    );
    fails_before_work(&place, &[&call[..], &["--resume"]].concat(), 3);
}

/// Makes a container with a valid directory of one raw tensor of so many bytes. All of the bytes
/// are missing.
fn container_of_a_hole(place: &Place, name: &str) {
    let source = safetensors_file(&[tensor("w", "U8", &[8], vec![0; 8])]);
    let mut file = Small(Place::with_compressed(&source, &[]).read("m.unw"));
    let start = file.source().offset + file.source().length;
    let data = start.next_multiple_of(layout::LARGE_TENSOR_ALIGNMENT);
    let blocks = HOLE_BYTES / layout::BLOCK_BYTES;
    let end = data + HOLE_BYTES + layout::BLOCK_CHECKSUM_BYTES * blocks;
    file.set(
        layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES,
        &HOLE_BYTES.to_le_bytes(),
    );
    file.set(file.entry(0, entry::PAYLOAD_END), &end.to_le_bytes());
    let length = end + layout::GUARD_BYTES;
    file.set(file_header::FILE_LENGTH, &length.to_le_bytes());
    file.stamp();
    place.write(name, &file.0[..start as usize]);
    let file = File::options().write(true).open(place.path(name)).unwrap();
    file.set_len(length).unwrap();
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_for_what_is_restored_is_found_first() {
    let place = folder("3.unw", b"");
    container_of_a_hole(&place, "m/3.unw");
    let line = fails_before_work(&place, &["decompress", "m", "-o", "back"], 3);
    // The exact length is known.
    let restored: u64 = HOLE_BYTES
        + safetensors_file(&[tensor("w", "U8", &[8], vec![])]).len() as u64
        + (mixed().len() + small().len()) as u64;
    let digits: String = line
        .split("back: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .replace(',', "");
    assert_eq!(digits, restored.to_string(), "{line}");
}

/// Makes the folder `m` with two shards. The name of one of them plus `end` has as many characters
/// as a name may have.
#[cfg(unix)]
fn folder_with_long_name(place: &Place, end: &str) {
    const NAME_MAX: usize = 255;
    place.write("m/a.unw", &place.read("m.unw"));
    let name = "n".repeat(NAME_MAX - end.len());
    place.write(&format!("m/sub/{name}.unw"), &place.read("m.unw"));
}

#[cfg(unix)]
#[test]
fn a_name_that_the_output_cannot_get_is_found_first() {
    let place = Place::with_compressed(&mixed(), &[]);
    folder_with_long_name(&place, ".unw");
    place.write("s/a.safetensors", &mixed());
    let long = "n".repeat(256);
    for call in [
        &["decompress", "m", "-o", "out"][..],
        &["decompress", "m", "-o", "out", "--resume"],
        &["compress", "s", "-o", &long],
        &["compress", "m.safetensors", "-o", &long],
        &["decompress", "m.unw", "-o", &long],
        &["extract", "m.unw", "head", "-o", &long],
    ] {
        let line = fails_before_work(&place, call, 3);
        assert!(line.contains("too long"), "{line}");
    }
    for call in [
        &["compress", "m.safetensors"][..],
        &["decompress", "m.unw"],
        &["extract", "m.unw", "head"],
        &["transcode", "m.unw", "--to", "palette"],
    ] {
        for output in ["out/", "out/.", "missing/out/"] {
            let call = [call, &["-o", output]].concat();
            let line = fails_before_work(&place, &call, 2);
            assert!(line.contains("expected the name of a file"), "{line}");
        }
    }
}

#[test]
fn a_folder_may_be_named_with_a_slash_behind_it() {
    let place = Place::with("m/a.safetensors", &mixed());
    place.run(&["compress", "m/.", "-o", "out/."]).succeeds();
    place.run(&["decompress", "out/", "-o", "back/"]).succeeds();
    assert!(place.read("back/a.safetensors") == mixed());
}
