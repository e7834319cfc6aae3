//! Index of a model folder: the shards that it names have to exist.

use std::fs::{self, File};

use serde_json::json;
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::place::Place;

const INDEX: &str = "m/model.safetensors.index.json";

fn shard(seed: u64) -> Vec<u8> {
    safetensors_file(&[bf16("w", &Random::new(seed).trained_weights(2_000))])
}

/// Makes the folder `m` of two shards, with an index of these names beside them.
fn indexed(names: &[&str]) -> Place {
    let place = Place::with("m/1.safetensors", &shard(1));
    place.write("m/2.safetensors", &shard(2));
    write_index(&place, INDEX, names);
    place
}

fn write_index(place: &Place, path: &str, names: &[&str]) {
    let map: serde_json::Map<_, _> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (format!("w{number}"), json!(name)))
        .collect();
    let index = json!({"metadata": {"total_size": 8_000}, "weight_map": map});
    place.write(path, index.to_string().as_bytes());
}

#[test]
fn present_shards_cause_no_warning() {
    let place = indexed(&["1.safetensors", "2.safetensors", "./1.safetensors"]);
    place.run(&["compress", "m"]).succeeds();
    place.run(&["verify", "m.unw"]).succeeds();
    place.run(&["decompress", "m.unw", "-o", "back"]).succeeds();
}

#[test]
fn a_missing_shard_is_a_warning_first_and_a_failure_later() {
    let place = indexed(&["1.safetensors", "2.safetensors", "3.safetensors"]);
    let (_, warning) = place.run(&["compress", "m"]).succeeds_with_warning();
    let words = "model.safetensors.index.json names 3.safetensors, which is missing";
    assert!(warning.contains(words), "{warning}");

    let json = ["compress", "m", "-o", "json", "--json"];
    let (stdout, _) = place.run(&json).succeeds_with_warning();
    let result: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(result["warnings"], json!([format!("m: {words}")]));
    // `--quiet` leaves out everything but errors.
    let quiet = ["compress", "m", "-o", "quiet", "--quiet"];
    place.run(&quiet).succeeds();

    fs::remove_file(place.path("m.unw/2.unw")).unwrap();
    let before = place.names();
    for call in [
        &["verify", "m.unw"][..],
        &["decompress", "m.unw", "-o", "back"],
    ] {
        let line = place.run(call).fails(1);
        let words = "names 2.safetensors, 3.safetensors, which are missing";
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(place.names(), before);
}

/// diffusers lays out its pipelines like this.
#[test]
fn an_index_in_a_subfolder_names_shards_beside_it() {
    let place = Place::with("m/unet/1.safetensors", &shard(1));
    place.write("m/vae/2.safetensors", &shard(2));
    let index = "m/unet/diffusion_pytorch_model.safetensors.index.json";
    write_index(&place, index, &["1.safetensors", "sub/3.safetensors"]);
    let (_, warning) = place.run(&["compress", "m"]).succeeds_with_warning();
    assert!(
        warning.contains("names sub/3.safetensors, which is"),
        "{warning}"
    );

    place.write("m/unet/sub/3.safetensors", &shard(3));
    place.run(&["compress", "m", "-o", "whole"]).succeeds();
    place.run(&["verify", "whole", "--against", "m"]).succeeds();
}

#[test]
fn many_missing_shards_are_told_in_one_line() {
    let names: Vec<String> = (0..5_000).map(|n| format!("{n:05}.safetensors")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let place = indexed(&names);
    let (_, warning) = place.run(&["compress", "m"]).succeeds_with_warning();
    assert!(
        warning.ends_with(" and 4990 more, which are missing\n"),
        "{warning}"
    );
    assert!(warning.len() < 500, "{warning}");
}

#[test]
fn names_that_lead_out_of_the_folder_are_not_followed() {
    let outside = Place::with("secret.safetensors", &shard(9));
    let absolute = outside.path("secret.safetensors").display().to_string();
    for name in [
        "../secret.safetensors",
        "",
        "..",
        "a/../../m/1.safetensors",
        &absolute,
    ] {
        let place = indexed(&["1.safetensors", name]);
        place.write("secret.safetensors", &shard(9));
        let (_, warning) = place.run(&["compress", "m"]).succeeds_with_warning();
        assert!(
            warning.contains("expected names of files beside it"),
            "{warning}"
        );
        let line = place.run(&["verify", "m.unw"]).fails(1);
        assert!(line.contains("expected names of files beside it"), "{line}");
        // A folder that was compressed with a warning can be decompressed.
        place
            .run(&["decompress", "m.unw", "-o", "back"])
            .succeeds_with_warning();
    }
}

#[test]
fn what_is_no_index_is_named() {
    let long = format!(r#"{{"weight_map":{{"w":"{}"}}}}"#, "x".repeat(2 << 20));
    let many: Vec<String> = (0..200_000).map(|n| format!("\"{n}\":\"{n}\"")).collect();
    let many = format!(r#"{{"weight_map":{{{}}}}}"#, many.join(","));
    let deep = "[".repeat(100_000);
    for (index, expected) in [
        ("", "EOF"),
        ("not JSON", "expected"),
        ("[]", "an object with a weight_map"),
        ("\"weight_map\"", "an object with a weight_map"),
        ("{}", "missing field `weight_map`"),
        (r#"{"weight_map":"x"}"#, "an object of names of files"),
        (r#"{"weight_map":{"w":5}}"#, "the name of a file"),
        (r#"{"weight_map":{"w":{}}}"#, "the name of a file"),
        (r#"{"weight_map":{}} {}"#, "trailing characters"),
        (&long, "a string of more than 1048576 bytes"),
        (&many, "names of shards"),
        (&deep, "an object with a weight_map"),
        (&format!(r#"{{"a":{deep}"#), "EOF"),
    ] {
        let place = indexed(&[]);
        place.write(INDEX, index.as_bytes());
        let (_, warning) = place.run(&["compress", "m"]).succeeds_with_warning();
        assert!(warning.contains("is no index of shards: "), "{warning}");
        assert!(warning.contains(expected), "{warning}");
        assert!(warning.len() < 500, "{warning}");
        let line = place.run(&["verify", "m.unw"]).fails(1);
        assert!(line.contains(expected), "{line}");
    }
}

/// The index is not read, so it takes neither memory nor time. It is a hole, so it takes no room on
/// the disk.
#[test]
fn an_index_of_absurd_length_is_not_read() {
    let place = indexed(&[]);
    let index = File::options().write(true).open(place.path(INDEX)).unwrap();
    index.set_len(65 << 20).unwrap();
    let (_, warning) = place.run(&["compress", "m"]).succeeds_with_warning();
    assert!(warning.contains("it is not read"), "{warning}");
    place.run(&["verify", "m.unw"]).fails(1);
}
