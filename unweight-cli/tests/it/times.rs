//! Times of outputs. An output that is another form of its source has the source's times, like a
//! copy that keeps them.

use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::mixed;
use crate::place::Place;

/// A moment long ago, different for each number, and not on a whole second.
fn moment(number: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(1_577_934_245 + 86_400 * number, 123_456_700)
}

fn set_times(place: &Place, name: &str, number: u64) {
    let times = FileTimes::new()
        .set_modified(moment(number))
        .set_accessed(moment(number + 50));
    let file = File::open(place.path(name)).unwrap();
    file.set_times(times).unwrap();
}

#[track_caller]
fn require_times(place: &Place, name: &str, number: u64) {
    let found = place.path(name).metadata().unwrap();
    assert_eq!(found.modified().unwrap(), moment(number), "{name}");
    // The output has not been read since, unlike its source.
    assert_eq!(found.accessed().unwrap(), moment(number + 50), "{name}");
}

#[cfg(unix)]
#[test]
fn a_file_in_another_form_keeps_its_times() {
    let place = Place::with_compressed(&mixed(), &[]);
    let make = |call: &[&str], source: &str| {
        set_times(&place, source, 1);
        place.run(call).succeeds();
        require_times(&place, "out", 1);
    };
    make(
        &["compress", "m.safetensors", "-o", "out", "--verify"],
        "m.safetensors",
    );
    // The replaced file is of the present.
    place.write("out", b"old");
    make(&["decompress", "m.unw", "-o", "out", "--force"], "m.unw");
    let transcode = ["transcode", "m.unw", "--to", "palette", "-o", "out"];
    make(&[&transcode[..], &["--force"]].concat(), "m.unw");
}

#[cfg(unix)]
#[test]
fn files_and_folders_of_a_folder_keep_their_times() {
    let place = Place::with("src/m.safetensors", &mixed());
    place.write("src/config.json", b"{}");
    place.write("src/deep/er/notes", b"notes");
    let names = [
        "m.safetensors",
        "config.json",
        "deep/er/notes",
        "deep/er",
        "deep",
        "",
    ];
    let set = |folder: &str| {
        for (number, name) in (0..).zip(names) {
            let name = match folder {
                "src" => name,
                _ => &name.replace("safetensors", "unw"),
            };
            set_times(&place, &format!("{folder}/{name}"), number);
        }
    };
    // Only modification times are compared, because folders are listed before their access times
    // are taken over.
    let require = |folder: &str, extension: &str| {
        for (number, name) in (0..).zip(names) {
            let name = format!("{folder}/{}", name.replace("safetensors", extension));
            let found = place.path(&name).metadata().unwrap();
            assert_eq!(found.modified().unwrap(), moment(number), "{name}");
        }
    };
    set("src");
    place.run(&["compress", "src"]).succeeds();
    require("src.unw", "unw");
    set("src");
    place.run(&["compress", "src", "--force"]).succeeds();
    require("src.unw", "unw");
    place
        .run(&["decompress", "src.unw", "-o", "back"])
        .succeeds();
    require("back", "safetensors");
}

#[test]
fn an_extracted_tensor_has_the_present_time() {
    let place = Place::with_compressed(&mixed(), &[]);
    let file = File::options().write(true).open(place.path("m.unw"));
    let times = FileTimes::new().set_modified(moment(0));
    file.unwrap().set_times(times).unwrap();
    place
        .run(&["extract", "m.unw", "head", "-o", "out"])
        .succeeds();
    let found = place.path("out").metadata().unwrap().modified().unwrap();
    assert!(found > moment(365));
}
