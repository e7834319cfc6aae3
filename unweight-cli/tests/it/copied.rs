//! Selection of the files of a folder that are copied, and their count in the report.

use std::fs;

use serde_json::json;
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::place::Place;

fn shard() -> Vec<u8> {
    safetensors_file(&[bf16("w", &Random::new(1).trained_weights(4_000))])
}

/// Files that tools keep beside a model: 5 files of 50 bytes.
const LEFT_OUT: [&str; 5] = [
    ".git/lfs/objects/ab/abcd",
    ".cache/huggingface/download/x.lock",
    "deep/.cache/y",
    "model.safetensors.incomplete",
    ".unweight-stale.partial",
];

/// Makes the folder `m`: a shard, files that belong to it, and files that do not.
fn cloned() -> Place {
    let place = Place::with("m/model.safetensors", &shard());
    place.write("m/config.json", b"{}");
    place.write("m/.gitattributes", b"* lfs");
    for name in LEFT_OUT {
        place.write(&format!("m/{name}"), b"0123456789");
    }
    place
}

#[test]
fn leaves_out_what_other_programs_keep_there_and_says_so() {
    let place = cloned();
    let words = String::from_utf8(place.run(&["compress", "m"]).succeeds()).unwrap();
    assert!(
        words.contains("left out 5 files of 50 bytes: .cache, .git, "),
        "{words}"
    );
    assert!(words.contains("with 2 files copied (7 bytes)"), "{words}");
    for name in LEFT_OUT {
        assert!(!place.path("m.unw").join(name).exists(), "{name}");
    }
    assert!(place.path("m.unw/.gitattributes").exists());
    assert!(place.path("m.unw/deep").is_dir());

    let verify = ["verify", "m.unw", "--against", "m"];
    let words = String::from_utf8(place.run(&verify).succeeds()).unwrap();
    assert!(
        words.contains("not compared: 5 files of 50 bytes"),
        "{words}"
    );
    // A tool that uploads the output may have left files in it.
    place.write("m.unw/.cache/huggingface/upload/x.metadata", b"1");
    place.run(&verify).succeeds();
    place.run(&["decompress", "m.unw", "-o", "back"]).succeeds();
    assert!(!place.path("back/.cache").exists());
}

#[test]
fn copies_all_if_asked_for() {
    let place = cloned();
    place.run(&["compress", "m", "--copy", "all"]).succeeds();
    for name in LEFT_OUT {
        assert_eq!(place.read(&format!("m.unw/{name}")), b"0123456789");
    }
    let verify = ["verify", "m.unw", "--against", "m"];
    place.run(&verify).succeeds();
    let verify_all = [&verify[..], &["--copy", "all"]].concat();
    place.run(&verify_all).succeeds();
    place.write("m.unw/.git/lfs/objects/ab/abcd", b"9876543210");
    place.run(&verify).succeeds();
    place.run(&verify_all).fails(1);
    let all = ["decompress", "m.unw", "-o", "back", "--copy", "all"];
    place.run(&all).succeeds();
    assert_eq!(place.read("back/.git/lfs/objects/ab/abcd"), b"9876543210");
}

#[test]
fn counts_the_whole_folder() {
    let place = cloned();
    let result = place.run(&["compress", "m", "--json"]).json();
    let (source, shard) = (shard().len(), place.read("m.unw/model.unw").len());
    assert_eq!(result["input_bytes"], source);
    assert_eq!(result["output_bytes"], shard);
    assert_eq!(result["folder"]["copied"], json!({"files": 2, "bytes": 7}));
    assert_eq!(result["folder"]["input_bytes"], source + 7);
    assert_eq!(result["folder"]["output_bytes"], shard + 7);
    assert_eq!(result["folder"]["left_out"]["files"], 5);
    assert_eq!(result["folder"]["left_out"]["bytes"], 50);
    let names = result["folder"]["left_out"]["names"].as_array().unwrap();
    assert!(names.contains(&json!(".git")) && names.contains(&json!("deep/.cache")));

    let result = place
        .run(&["decompress", "m.unw", "-o", "back", "--json"])
        .json();
    assert_eq!(result["folder"]["input_bytes"], shard + 7);
    assert_eq!(result["folder"]["output_bytes"], source + 7);
    assert_eq!(result["folder"]["left_out"]["files"], 0);

    let result = place
        .run(&["compress", "m/model.safetensors", "--json"])
        .json();
    assert_eq!(result["folder"], json!(null));
}

#[test]
fn says_which_files_gained_nothing_and_why() {
    let place = Place::with("m/good.safetensors", &shard());
    let floats: Vec<_> = (0..50)
        .map(|n| tensor(&format!("scale.{n}"), "F32", &[1], vec![0; 4]))
        .collect();
    place.write("m/floats.safetensors", &safetensors_file(&floats));
    let noise = safetensors_file(&[bf16("w", &Random::new(5).random_weights(3_000))]);
    place.write("m/noise.safetensors", &noise);
    place.write("m/empty.safetensors", &safetensors_file(&[]));
    for (file, expected) in [
        (
            "floats",
            "its tensors are too small, or their bits too random; the file grew by ",
        ),
        (
            "noise",
            "its tensors are too small, or their bits too random; the file grew by ",
        ),
        ("empty", "it has no tensors; the file grew by "),
    ] {
        let input = format!("m/{file}.safetensors");
        let output = format!("{file}.unw");
        let compress = ["compress", &input, "-o", &output];
        let words = String::from_utf8(place.run(&compress).succeeds()).unwrap();
        assert!(words.contains(&format!("no gain: {expected}")), "{words}");
        assert_eq!(words.lines().count(), 1);
        let json = place
            .run(&[&compress[..], &["--json", "--force"]].concat())
            .json();
        let why = json["files"][0]["nothing_gained"].as_str().unwrap();
        assert!(why.starts_with(expected), "{why}");
    }
    let excluded = [
        "compress",
        "m/good.safetensors",
        "-o",
        "x.unw",
        "--exclude",
        "*",
    ];
    let words = String::from_utf8(place.run(&excluded).succeeds()).unwrap();
    assert!(
        words.contains("--include and --exclude select none"),
        "{words}"
    );

    let words = String::from_utf8(place.run(&["compress", "m"]).succeeds()).unwrap();
    assert!(
        words.contains("no gain in 3 of 4 files: m/empty.safetensors ("),
        "{words}"
    );
    let gained = ["compress", "m/good.safetensors", "-o", "y.unw", "--json"];
    assert_eq!(
        place.run(&gained).json()["files"][0]["nothing_gained"],
        json!(null)
    );
}

#[test]
fn options_for_folders_are_wrong_use_with_a_file() {
    let place = Place::with_compressed(&shard(), &[]);
    let before = place.names();
    for call in [
        &["compress", "m.safetensors", "-o", "x", "--resume"][..],
        &["compress", "m.safetensors", "-o", "x", "--copy", "all"],
        &["decompress", "m.unw", "-o", "x", "--resume"],
        &["decompress", "m.unw", "-o", "x", "--copy", "model"],
        &["verify", "m.unw", "--copy", "all"],
    ] {
        let line = place.run(call).fails(2);
        assert!(line.contains("is not a folder"), "{line}");
    }
    place
        .run(&["compress", "m.safetensors", "--copy", "some"])
        .misunderstood();
    assert_eq!(place.names(), before);
}

/// `.git` may hold a socket, and a link there may lead nowhere.
#[cfg(unix)]
#[test]
fn what_is_left_out_is_no_obstacle() {
    let place = cloned();
    let pipe = place.path("m/.git/fsmonitor");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("nowhere", place.path("m/deep/x.incomplete")).unwrap();
    std::os::unix::fs::symlink("..", place.path("m/.git/up")).unwrap();
    place.run(&["compress", "m"]).succeeds();
    // `--copy all` looks at these entries too.
    let all = ["compress", "m", "-o", "all", "--copy", "all"];
    let line = place.run(&all).fails(2);
    assert!(line.contains("fsmonitor is a pipe"), "{line}");
    fs::remove_file(pipe).unwrap();
    let line = place.run(&all).fails(1);
    assert!(line.contains(".git/up: a link that leads back"), "{line}");
}

#[test]
fn prints_a_line_for_each_file_that_is_done() {
    let place = cloned();
    place.write("m/z.safetensors", &shard());
    let run = place.run(&["compress", "m"]);
    let lines: Vec<_> = run.progress().lines().collect();
    assert!(
        lines[0].starts_with("1 of 2: model.safetensors, "),
        "{lines:?}"
    );
    assert!(
        lines[0].contains(" %, ") && lines[0].ends_with(" s"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("2 of 2: z.safetensors, "), "{lines:?}");
    run.succeeds();
    for call in [
        &["verify", "m.unw"][..],
        &["decompress", "m.unw", "-o", "back"],
    ] {
        let run = place.run(call);
        assert!(
            run.progress().starts_with("1 of 2: model.unw, "),
            "{}",
            run.progress()
        );
    }
    for silent in ["--quiet", "--json"] {
        let run = place.run(&["compress", "m", "--force", silent]);
        assert_eq!(run.progress(), "");
        run.succeeds();
    }
}
