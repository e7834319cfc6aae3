//! Seeds the corpora of the fuzz targets from the conformance corpus, saved findings and kept inputs:
//! `cargo run -p unweight-properties --example seed [FOLDER]`.
//! FOLDER has a subfolder for each target; the default is `fuzz/corpus`. Existing files stay.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use unweight::container::OpenFile;
use unweight_properties::{PROPERTIES, kept_inputs};
use unweight_testkit::{Random, repository, restored};

/// Length limit of seeds. Fuzzing becomes slower with longer inputs.
const LONGEST_BYTES: usize = 1 << 13;

/// Number of pseudo-random descriptions of tensors.
const DESCRIPTIONS: u64 = 256;

fn main() -> io::Result<()> {
    let repository = repository("");
    let corpora = env::args_os()
        .nth(1)
        .map_or_else(|| repository.join("fuzz/corpus"), PathBuf::from);
    let mut files = vec![repository.join("spec/example.unw")];
    containers_below(&repository.join("conformance/corpus"), &mut files)?;
    for target in PROPERTIES.iter().map(|property| property.name) {
        let folder = corpora.join(target);
        fs::create_dir_all(&folder)?;
        let mut count = 0;
        for file in &files {
            if let Some(seed) = seed_of(target, fs::read(file)?) {
                fs::write(
                    folder.join(file.file_stem().expect("a file has a name")),
                    seed,
                )?;
                count += 1;
            }
        }
        if target == "roundtrip_any_tensor" {
            // No file is a seed for a description.
            for number in 0..DESCRIPTIONS {
                let description = Random::new(number).bytes(400);
                fs::write(folder.join(format!("description-{number}")), description)?;
                count += 1;
            }
        }
        for finding in findings_of(target, &repository)? {
            fs::copy(
                &finding,
                folder.join(finding.file_name().expect("a file has a name")),
            )?;
            count += 1;
        }
        for (number, input) in kept_inputs(target)?.into_iter().enumerate() {
            fs::write(folder.join(format!("kept-{number}")), input)?;
            count += 1;
        }
        println!("{}: {count} seeds", folder.display());
    }
    Ok(())
}

/// The seed for a target from a container.
fn seed_of(target: &str, file: Vec<u8>) -> Option<Vec<u8>> {
    let seed = match target {
        // This target takes descriptions of tensors alone.
        "roundtrip_any_tensor" => None,
        "safetensors_in" => source(&file).filter(|source| !source.is_empty()),
        "cli_compress_decompress" | "c_encoder_agrees" => restored(&file[..])
            .ok()
            .filter(|restored| restored.get(8) == Some(&b'{')),
        _ => Some(file),
    };
    seed.filter(|seed| seed.len() <= LONGEST_BYTES)
}

/// The saved findings of this property.
fn findings_of(target: &str, repository: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(repository.join("fuzz/findings").join(target)) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn source(file: &[u8]) -> Option<Vec<u8>> {
    let open = OpenFile::read(file).ok()?;
    open.container().source().ok()
}

fn containers_below(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            containers_below(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "unw") {
            found.push(path);
        }
    }
    Ok(())
}
