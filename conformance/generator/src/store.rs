//! Writing the corpus to a folder, and comparing the two.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::case::Cases;
use crate::{LICENSE, manifest};

/// Contents of the folder `conformance/corpus` by path.
pub fn contents(cases: &Cases) -> BTreeMap<String, Vec<u8>> {
    let mut contents: BTreeMap<String, Vec<u8>> = cases
        .files
        .iter()
        .map(|file| (file.path.clone(), file.bytes.clone()))
        .collect();
    assert_eq!(contents.len(), cases.files.len(), "paths are unique");
    contents.insert("manifest.json".into(), manifest::write(cases).into());
    contents.insert("LICENSE".into(), LICENSE.into());
    contents
}

/// Writes the corpus into `root`, and removes other files from its folders.
pub fn write(cases: &Cases, root: &Path) -> io::Result<()> {
    let contents = contents(cases);
    for stale in present(root)? {
        if !contents.contains_key(&stale) {
            fs::remove_file(root.join(stale))?;
        }
    }
    for (path, bytes) in contents {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // An unchanged file keeps its modification time.
        if fs::read(&path).ok().as_ref() != Some(&bytes) {
            fs::write(path, bytes)?;
        }
    }
    Ok(())
}

/// The differences between the folder `root` and the corpus, one sentence each.
pub fn differences(cases: &Cases, root: &Path) -> io::Result<Vec<String>> {
    let contents = contents(cases);
    let present = present(root)?;
    let mut differences: Vec<String> = present
        .iter()
        .filter(|path| !contents.contains_key(*path))
        .map(|path| format!("{path}: does not belong to the corpus"))
        .collect();
    for (path, bytes) in &contents {
        if !present.contains(path) {
            differences.push(format!("{path}: is missing"));
            continue;
        }
        let found = fs::read(root.join(path))?;
        if found != *bytes {
            let equal = found.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            differences.push(format!(
                "{path}: differs from byte {equal} on ({} bytes, expected {})",
                found.len(),
                bytes.len()
            ));
        }
    }
    Ok(differences)
}

/// The files of a folder and its subfolders, by their paths with `/`.
fn present(root: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        if !path.exists() {
            continue;
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let relative = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(relative);
            } else {
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                found.insert(parts.join("/"));
            }
        }
    }
    Ok(found)
}
