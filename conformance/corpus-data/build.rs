//! Writes the table of the files below `data`, which `src/lib.rs` includes.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let data = root.join("data").canonicalize()?;
    let mut files = Vec::new();
    collect(&data, "", &mut files)?;
    files.sort();
    let entries = files.iter().map(|(path, file)| {
        println!("cargo::rerun-if-changed={}", file.display());
        format!(
            "    ({path:?}, include_bytes!({:?})),\n",
            file.display().to_string()
        )
    });
    let table = format!("&[\n{}]\n", entries.collect::<String>());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("files.rs"), table)
}

/// Adds the files of a folder, each with its path below `data`, which has `/` on every system.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    // A file that is added changes the time of its folder.
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| io::Error::other(format!("{name:?} is not UTF-8")))?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push((path, entry.path()));
        }
    }
    Ok(())
}
