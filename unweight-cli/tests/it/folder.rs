//! Model folders: shards change their form, everything else is copied.

use std::fs;
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::mixed;
use crate::place::Place;

/// Makes the folder `tiny`: two shards, one of them a link, an index, other files, and a folder in
/// it.
fn tiny() -> Place {
    let place = Place::with("tiny/model-00001-of-00002.safetensors", &mixed());
    let second = safetensors_file(&[bf16("last", &Random::new(60).trained_weights(3_000))]);
    place.write("blobs/0a1b", &second);
    place.write("blobs/2c3d", b"a tokenizer");
    place.write("tiny/model.safetensors.index.json", b"{\"weight_map\":{}}");
    place.write("tiny/config.json", b"{}\n");
    place.write("tiny/empty", b"");
    place.write("tiny/adapter/adapter.safetensors", &second);
    place.write("tiny/adapter/deep/notes.txt", b"notes");
    fs::create_dir_all(place.path("tiny/logs/none")).unwrap();
    link(
        &place,
        "../blobs/0a1b",
        "tiny/model-00002-of-00002.safetensors",
    );
    link(&place, "../blobs/2c3d", "tiny/tokenizer.model");
    place
}

#[cfg(unix)]
fn link(place: &Place, to: &str, name: &str) {
    std::os::unix::fs::symlink(to, place.path(name)).unwrap();
}

/// Copies the file, because links need a privilege on other systems. The program makes a copy of a
/// link anyway.
#[cfg(not(unix))]
fn link(place: &Place, to: &str, name: &str) {
    let from = place.path("tiny").join(to);
    fs::copy(from, place.path(name)).unwrap();
}

/// Files and folders under `folder`, without its name in front.
fn names_under(place: &Place, folder: &str) -> Vec<String> {
    let prefix = format!("{folder}/");
    let names = place.names().into_iter();
    names
        .filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned))
        .collect()
}

#[test]
fn round_trips_and_verifies_against_its_source() {
    let place = tiny();
    place.run(&["compress", "tiny", "--verify"]).succeeds();
    assert_eq!(
        names_under(&place, "tiny.unw"),
        [
            "adapter",
            "adapter/adapter.unw",
            "adapter/deep",
            "adapter/deep/notes.txt",
            "config.json",
            "empty",
            "logs",
            "logs/none",
            "model-00001-of-00002.unw",
            "model-00002-of-00002.unw",
            "model.safetensors.index.json",
            "tokenizer.model",
        ]
    );
    place
        .run(&["verify", "tiny.unw", "--against", "tiny"])
        .succeeds();
    place.run(&["verify", "tiny.unw/"]).succeeds();

    fs::rename(place.path("tiny"), place.path("source")).unwrap();
    place.run(&["decompress", "tiny.unw/"]).succeeds();
    let names = names_under(&place, "source");
    assert_eq!(names_under(&place, "tiny"), names);
    for name in names {
        let (source, back) = (format!("source/{name}"), format!("tiny/{name}"));
        if place.path(&source).is_file() {
            assert!(place.read(&back) == place.read(&source), "{name}");
        }
    }
}

#[test]
fn shards_are_what_they_would_be_alone() {
    let place = tiny();
    place
        .run(&["compress", "tiny", "-o", "out", "--encoding", "palette"])
        .succeeds();
    let shard = "tiny/model-00001-of-00002.safetensors";
    place
        .run(&[
            "compress",
            shard,
            "-o",
            "alone.unw",
            "--encoding",
            "palette",
        ])
        .succeeds();
    assert!(place.read("out/model-00001-of-00002.unw") == place.read("alone.unw"));
}

#[test]
fn tells_as_json_what_became_of_each_file() {
    let place = tiny();
    let result = place.run(&["compress", "tiny", "--json"]).json();
    let outputs: Vec<_> = (0..3)
        .map(|i| result["files"][i]["output"].as_str().unwrap())
        .collect();
    for output in &outputs {
        assert!(place.path(output).is_file(), "{output}");
    }
    let bytes: usize = outputs.iter().map(|output| place.read(output).len()).sum();
    assert_eq!(result["output_bytes"], bytes);
    let result = place
        .run(&["verify", "tiny.unw", "--against", "tiny", "--json"])
        .json();
    assert_eq!(result["files"].as_array().unwrap().len(), 3);
    let result = place
        .run(&["decompress", "tiny.unw", "-o", "back", "--json"])
        .json();
    assert_eq!(
        result["files"][2]["output"],
        "back/model-00002-of-00002.safetensors"
    );
}

#[test]
fn verify_finds_every_difference_from_the_source() {
    let place = tiny();
    place.run(&["compress", "tiny", "-o", "out"]).succeeds();
    let fails_while = |change: &dyn Fn(), undo: &dyn Fn()| {
        change();
        let line = place.run(&["verify", "out", "--against", "tiny"]).fails(1);
        undo();
        place
            .run(&["verify", "out", "--against", "tiny"])
            .succeeds();
        line
    };
    let move_file = |from: &str, to: &str| fs::rename(place.path(from), place.path(to)).unwrap();

    let line = fails_while(&|| place.write("out/config.json", b"{} "), &|| {
        place.write("out/config.json", b"{}\n")
    });
    assert!(line.contains("config.json: differs"), "{line}");

    for name in [
        "out/config.json",
        "tiny/config.json",
        "out/adapter/adapter.unw",
        "tiny/adapter/adapter.safetensors",
    ] {
        let line = fails_while(&|| move_file(name, "away"), &|| move_file("away", name));
        assert!(line.contains("is missing"), "{line}");
    }

    // A missing folder is reported too, even if it is empty.
    for name in ["out/logs/none", "tiny/logs/none"] {
        let folder = place.path(name);
        let line = fails_while(&|| fs::remove_dir(&folder).unwrap(), &|| {
            fs::create_dir(&folder).unwrap();
        });
        assert!(line.contains("logs/none is missing"), "{line}");
    }

    let shard = "tiny/model-00001-of-00002.safetensors";
    let source = place.read(shard);
    let mut other = source.clone();
    let at = source.len() - 1_000;
    other[at] ^= 1;
    let line = fails_while(&|| place.write(shard, &other), &|| {
        place.write(shard, &source)
    });
    assert!(line.contains(&format!("at byte {at}")), "{line}");
}

#[test]
fn a_bad_shard_leaves_no_output() {
    let place = tiny();
    place.write("tiny/z.safetensors", b"not a model");
    let before = place.names();
    let line = place.run(&["compress", "tiny"]).fails(1);
    assert!(line.contains("z.safetensors"), "{line}");
    assert_eq!(place.names(), before);

    fs::remove_file(place.path("tiny/z.safetensors")).unwrap();
    place.run(&["compress", "tiny"]).succeeds();
    place.write("tiny.unw/z.unw", b"not a model");
    let before = place.names();
    let line = place
        .run(&["decompress", "tiny.unw", "-o", "back"])
        .fails(1);
    assert!(
        line.contains("z.unw") && line.contains("file-magic at byte 0"),
        "{line}"
    );
    assert_eq!(place.names(), before);
}

#[test]
fn force_replaces_the_whole_folder_only_when_the_new_one_is_complete() {
    let place = tiny();
    let outdated = "out/model-00001-of-00002.unw";
    place.write(outdated, b"old");
    place.run(&["compress", "tiny", "-o", "out"]).fails(2);

    place.write("tiny/z.safetensors", b"not a model");
    place
        .run(&["compress", "tiny", "-o", "out", "--force"])
        .fails(1);
    assert_eq!(place.read(outdated), b"old");

    fs::remove_file(place.path("tiny/z.safetensors")).unwrap();
    let names_beside = || -> Vec<String> {
        let names = place.names().into_iter();
        names.filter(|name| !name.starts_with("out")).collect()
    };
    let beside = names_beside();
    place
        .run(&["compress", "tiny", "-o", "out", "--force"])
        .succeeds();
    place
        .run(&["verify", "out", "--against", "tiny"])
        .succeeds();
    assert_eq!(names_beside(), beside);
}

/// `-o` may name a home folder by mistake. Users also put notes and adapters beside files that a
/// program made.
#[test]
fn force_deletes_nothing_that_the_new_folder_does_not_hold() {
    let place = tiny();
    place.run(&["compress", "tiny"]).succeeds();
    place
        .run(&["decompress", "tiny.unw", "-o", "back"])
        .succeeds();
    for (name, stray) in [
        ("tiny.unw/notes.txt", "notes.txt"),
        ("tiny.unw/adapter/more.unw", "adapter/more.unw"),
        ("tiny.unw/more/empty/x", "more"),
        ("back/my_adapter.bin", "my_adapter.bin"),
        ("home/diary.txt", "diary.txt"),
        // The old output has a folder where the new one has a file.
        ("kind/config.json/x", "config.json"),
    ] {
        place.write(name, b"precious");
        let before = place.names();
        let output = name.split('/').next().unwrap();
        let call = match output {
            "back" => ["decompress", "tiny.unw", "-o", output, "--force"],
            _ => ["compress", "tiny", "-o", output, "--force"],
        };
        let line = place.run(&call).fails(2);
        assert!(
            line.contains(&format!("{output} holds {stray}, which")),
            "{line}"
        );
        assert_eq!(place.names(), before);
        assert_eq!(place.read(name), b"precious");
        match stray {
            "more" => fs::remove_dir_all(place.path("tiny.unw/more")).unwrap(),
            _ => fs::remove_file(place.path(name)).unwrap(),
        }
        fs::remove_dir_all(place.path("home")).ok();
        place.run(&["compress", "tiny", "--force"]).succeeds();
    }
    // A message does not list all of many names.
    (0..9).for_each(|i| place.write(&format!("many/{i}"), b""));
    let line = place
        .run(&["compress", "tiny", "-o", "many", "--force"])
        .fails(2);
    assert!(line.contains(" and more, which"), "{line}");
    // A file is not a folder that this program made.
    place.write("file", b"precious");
    let line = place
        .run(&["compress", "tiny", "-o", "file", "--force"])
        .fails(2);
    assert!(line.contains("file is a file, which"), "{line}");
    assert_eq!(place.read("file"), b"precious");
    // An empty folder may be lost.
    fs::create_dir(place.path("nothing")).unwrap();
    place
        .run(&["compress", "tiny", "-o", "nothing", "--force"])
        .succeeds();
    place
        .run(&["verify", "nothing", "--against", "tiny"])
        .succeeds();
}

/// This program makes no links, so a link belongs to the user.
#[cfg(unix)]
#[test]
fn force_deletes_no_link_in_a_folder() {
    let place = tiny();
    place.run(&["compress", "tiny"]).succeeds();
    let name = "tiny.unw/model-00001-of-00002.unw";
    fs::rename(place.path(name), place.path("elsewhere.unw")).unwrap();
    link(&place, "../elsewhere.unw", name);
    let line = place.run(&["compress", "tiny", "--force"]).fails(2);
    assert!(line.contains("model-00001-of-00002.unw, which"), "{line}");
    assert!(place.path(name).is_symlink());
}

#[cfg(unix)]
#[test]
fn what_is_neither_file_nor_folder_has_no_place_in_a_model_folder() {
    let place = tiny();
    place.run(&["compress", "tiny", "-o", "out"]).succeeds();
    let pipe = place.path("tiny/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for call in [
        &["compress", "tiny"][..],
        &["verify", "out", "--against", "tiny"],
    ] {
        let line = place.run(call).fails(2);
        assert!(line.contains("pipe is a pipe"), "{line}");
    }
    assert!(!place.path("tiny.unw").exists());
}

#[cfg(unix)]
#[test]
fn copies_keep_their_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let place = tiny();
    let script = place.path("tiny/run.sh");
    place.write("tiny/run.sh", b"#!/bin/sh\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o750)).unwrap();
    place.run(&["compress", "tiny"]).succeeds();
    let copy = place.path("tiny.unw/run.sh").metadata().unwrap();
    assert_eq!(copy.permissions().mode() & 0o777, 0o750);
}

#[cfg(unix)]
#[test]
fn force_replaces_a_link_and_not_what_it_leads_to() {
    let place = tiny();
    place.write("elsewhere/kept", b"kept");
    link(&place, "elsewhere", "out");
    link(&place, "nowhere", "dangling");
    for name in ["out", "dangling"] {
        place.run(&["compress", "tiny", "-o", name]).fails(2);
        place
            .run(&["compress", "tiny", "-o", name, "--force"])
            .succeeds();
        assert!(!place.path(name).is_symlink());
        place.run(&["verify", name, "--against", "tiny"]).succeeds();
    }
    assert_eq!(place.read("elsewhere/kept"), b"kept");
}

#[test]
fn an_output_that_holds_the_input_is_wrong_use() {
    let place = tiny();
    place.run(&["compress", "tiny"]).succeeds();
    place.write("outer/tiny/m.safetensors", &mixed());
    let before = place.names();
    for call in [
        ["compress", "tiny", "-o", "tiny"],
        ["compress", "outer/tiny", "-o", "outer"],
        ["decompress", "tiny.unw", "-o", "tiny.unw"],
    ] {
        place.run(&[&call[..], &["--force"]].concat()).fails(2);
    }
    assert_eq!(place.names(), before);
}

#[test]
fn what_could_not_be_told_apart_or_found_is_wrong_use() {
    let place = tiny();
    // A folder without shards.
    place.run(&["compress", "blobs"]).fails(2);
    place.run(&["decompress", "tiny", "-o", "back"]).fails(2);
    place.run(&["verify", "tiny"]).fails(2);
    // A name that nothing can be derived from.
    place.run(&["compress", "."]).fails(2);
    place.run(&["compress", "tiny", "-o", "out"]).succeeds();
    place.run(&["decompress", "out"]).fails(2);
    // A folder compared with a file, and a file with a folder.
    let shard = "tiny/model-00001-of-00002.safetensors";
    place.run(&["verify", "out", "--against", shard]).fails(2);
    place
        .run(&[
            "verify",
            "out/model-00001-of-00002.unw",
            "--against",
            "tiny",
        ])
        .fails(2);
    // A file that decompressing would take for a shard.
    place.write("tiny/extra.unw", b"");
    let line = place.run(&["compress", "tiny", "-o", "out2"]).fails(2);
    assert!(line.contains("extra.unw"), "{line}");
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_or_in_circles_are_reported() {
    let place = tiny();
    link(&place, "nowhere", "tiny/dangling");
    let before = place.names();
    place.run(&["compress", "tiny"]).fails(3);
    fs::remove_file(place.path("tiny/dangling")).unwrap();
    link(&place, "..", "tiny/adapter/up");
    place.run(&["compress", "tiny"]).fails(1);
    fs::remove_file(place.path("tiny/adapter/up")).unwrap();
    assert_eq!(place.names().len(), before.len() - 1);
}

/// Guards against a list that is searched for each file of the other. The search takes more than a
/// minute for this many files.
#[test]
fn comparing_names_takes_time_in_proportion_to_their_number() {
    let place = Place::with_compressed(&safetensors_file(&[]), &[]);
    for (folder, shard) in [("a", "m.safetensors"), ("a.unw", "m.unw")] {
        place.write(&format!("{folder}/{shard}"), &place.read(shard));
        for number in 0..25_000 {
            fs::File::create(place.path(&format!("{folder}/{number:05}"))).unwrap();
        }
    }
    place.run(&["verify", "a.unw", "--against", "a"]).succeeds();
}
