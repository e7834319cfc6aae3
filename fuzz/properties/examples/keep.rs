//! Keeps the inputs of `FOLDER/TARGET` for each target that has a folder:
//! `cargo run -p unweight-properties --example keep FOLDER`. `.ci/fuzz --keep` calls it.

use std::path::PathBuf;
use std::{env, fs, io};

use unweight_properties::{PROPERTIES, keep_inputs};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).expect("a folder"));
    for target in PROPERTIES.iter().map(|property| property.name) {
        let entries = match fs::read_dir(folder.join(target)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        let inputs = entries.map(|entry| fs::read(entry?.path()));
        let inputs = inputs.collect::<io::Result<Vec<_>>>()?;
        let bytes: usize = inputs.iter().map(Vec::len).sum();
        println!("{target}: {} inputs, {bytes} bytes", inputs.len());
        keep_inputs(target, inputs)?;
    }
    Ok(())
}
