//! `unweight-conformance-generator write FOLDER` and `unweight-conformance-generator check FOLDER`.

use std::path::Path;
use std::process::ExitCode;

use unweight_conformance_generator::{corpus, store};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", folder] => write(Path::new(folder)),
        ["check", folder] => check(Path::new(folder)),
        _ => {
            eprintln!("usage: unweight-conformance-generator write|check FOLDER");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("unweight-conformance-generator: {error}");
            ExitCode::from(3)
        }
    }
}

fn write(folder: &Path) -> std::io::Result<bool> {
    let cases = corpus();
    store::write(&cases, folder)?;
    let bytes: usize = store::contents(&cases).values().map(Vec::len).sum();
    let (count, files) = (cases.cases.len(), cases.files.len());
    println!("{count} cases, {files} files, {bytes} bytes");
    Ok(true)
}

fn check(folder: &Path) -> std::io::Result<bool> {
    let differences = store::differences(&corpus(), folder)?;
    for difference in &differences {
        eprintln!("{difference}");
    }
    if !differences.is_empty() {
        eprintln!(
            "found {} differences; to write the corpus: cargo run -p unweight-conformance-generator -- write {}",
            differences.len(),
            folder.display()
        );
    }
    Ok(differences.is_empty())
}
