//! Every property over the conformance corpus, saved findings, kept inputs and pseudo-random bytes.

use std::fs;
use std::path::{Path, PathBuf};

use unweight_properties::{PROPERTIES, Property, kept_inputs};
use unweight_testkit::{Random, repository};

/// All files below `folder` with one of these extensions, in order. None if there is no such
/// folder.
fn files_below(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match path.is_dir() {
                true => files_below(path, extensions),
                false if extension.is_some_and(|extension| extensions.contains(&extension)) => {
                    vec![path.clone()]
                }
                false => Vec::new(),
            }
        })
        .collect()
}

/// Checks a property. The panic message names the input.
fn check(property: &Property, bytes: &[u8], what: impl std::fmt::Display) {
    let outcome = std::panic::catch_unwind(|| (property.check)(bytes));
    assert!(
        outcome.is_ok(),
        "{} does not hold for {what}",
        property.name
    );
}

fn check_all(name: &str) {
    let property = PROPERTIES
        .iter()
        .find(|property| property.name == name)
        .unwrap();
    for path in files_below(&repository("fuzz/findings").join(name), &["bin"]) {
        check(property, &fs::read(&path).unwrap(), path.display());
    }
    for (number, bytes) in kept_inputs(name).unwrap().iter().enumerate() {
        check(property, bytes, format_args!("kept input {number}"));
    }
    // Longer files are left to the fuzzer, because they are slow without optimisation.
    const LONGEST_BYTES: usize = 1 << 15;
    let mut seeds = vec![repository("spec/example.unw")];
    seeds.extend(files_below(
        &repository("conformance/corpus"),
        &["unw", "safetensors"],
    ));
    let mut short = Vec::new();
    for path in seeds {
        let bytes = fs::read(&path).unwrap();
        if bytes.len() <= LONGEST_BYTES {
            check(property, &bytes, path.display());
            // An empty input has nothing to change.
            short.extend((!bytes.is_empty()).then_some(bytes));
        }
    }
    let mut random = Random::new(1);
    for number in 0..600 {
        let length = random.below(300) as usize;
        let bytes = random.bytes(length);
        check(
            property,
            &bytes,
            format_args!("random bytes {number}: {bytes:02x?}"),
        );
        let mut bytes = short[random.below(short.len() as u64) as usize].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.bits() as u8;
        }
        check(property, &bytes, format_args!("mutated seed {number}"));
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check_all(stringify!($name)); })*

        #[test]
        fn every_property_has_its_test_and_its_target() {
            let tested = [$(stringify!($name)),*];
            let named: Vec<&str> = PROPERTIES.iter().map(|property| property.name).collect();
            assert_eq!(tested[..], named);
            let mut targets = files_below(&repository("fuzz/fuzz_targets"), &["rs"]);
            targets.retain(|path| !named.contains(&path.file_stem().unwrap().to_str().unwrap()));
            assert!(targets.is_empty(), "{targets:?}");
            let manifest = fs::read_to_string(repository("fuzz/Cargo.toml")).unwrap();
            for name in named {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
                assert!(repository(&format!("fuzz/fuzz_targets/{name}.rs")).is_file(), "{name}");
            }
        }
    };
}

tests! {
    parse_never_panics
    parse_then_write_is_identity
    roundtrip_any_tensor
    decode_any_container
    random_access_equals_whole
    fast_equals_reference
    output_ignores_old_buffer
    safetensors_in
    storage_answers_never_panic
    cli_compress_decompress
    c_decoder_agrees
    c_encoder_agrees
}
