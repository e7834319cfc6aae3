//! Checks a property on files, without libFuzzer:
//! `cargo run -p unweight-properties --example replay TARGET FILE-OR-FOLDER...`.
//! Coverage is measured with it.

use std::path::PathBuf;
use std::{env, fs};

use unweight_properties::PROPERTIES;

fn main() {
    let mut arguments = env::args_os().skip(1);
    let target = arguments.next().expect("a target");
    let property = PROPERTIES
        .iter()
        .find(|property| property.name == target)
        .unwrap_or_else(|| panic!("found target {target:?}, expected one of {PROPERTIES:#?}"));
    let mut count = 0;
    for path in arguments.map(PathBuf::from) {
        let files = match path.is_dir() {
            true => fs::read_dir(&path)
                .expect("a readable folder")
                .map(|entry| entry.expect("a readable entry").path())
                .collect(),
            false => vec![path],
        };
        for file in files {
            (property.check)(&fs::read(&file).expect("a readable file"));
            count += 1;
        }
    }
    println!("{}: {count} inputs", property.name);
}
