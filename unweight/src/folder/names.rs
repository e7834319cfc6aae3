//! Detection of entries of a folder run that would get the same output name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::tree::Tree;
use crate::Error;
use crate::diagnostics::FileError;
use crate::error::writing;

/// Refuses a tree in which two entries would get the same output name. Returns two paths that
/// differ only in the case of their letters, if there are any.
pub(crate) fn require_distinct(
    root: &Path,
    tree: &Tree,
    to: &str,
) -> Result<Option<(PathBuf, PathBuf)>, FileError> {
    let folders = tree.folders.iter().cloned();
    let names: Vec<PathBuf> = tree.file_names(to).chain(folders).collect();
    match alike(&names, |path| path.as_os_str().to_owned()) {
        Some((name, _)) => Err(FileError::SameName {
            folder: root.to_owned(),
            name,
        }),
        None => Ok(alike(&names, |path| path.to_string_lossy().to_lowercase())),
    }
}

/// Two paths with the same key.
fn alike<K: Ord>(names: &[PathBuf], key: impl Fn(&Path) -> K) -> Option<(PathBuf, PathBuf)> {
    let mut keyed: Vec<_> = names.iter().map(|name| (key(name), name)).collect();
    keyed.sort();
    keyed
        .windows(2)
        .find(|pair| pair[0].0 == pair[1].0)
        .map(|pair| (pair[0].1.clone(), pair[1].1.clone()))
}

/// Refuses two names that differ only in the case of their letters, if the file system of `folder`
/// treats them as the same name.
pub(crate) fn require_distinct_in(
    folder: &Path,
    output: &Path,
    (one, other): &(PathBuf, PathBuf),
) -> Result<(), Error> {
    const PROBE: [&str; 2] = [".unweight-probe", ".UNWEIGHT-PROBE"];
    let probe = folder.join(PROBE[0]);
    File::create_new(&probe).map_err(writing(output))?;
    let is_one = fs::symlink_metadata(folder.join(PROBE[1])).is_ok();
    fs::remove_file(&probe).map_err(writing(output))?;
    match is_one {
        false => Ok(()),
        true => Err(FileError::SameNameIgnoringCase {
            output: output.to_owned(),
            one: one.clone(),
            other: other.clone(),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::LeftOut;

    fn tree(converted: &[&str], copied: &[&str], folders: &[&str]) -> Tree {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        Tree {
            converted: paths(converted),
            copied: paths(copied),
            folders: paths(folders),
            left_out: LeftOut::default(),
        }
    }

    #[test]
    fn finds_names_that_are_one_or_nearly_so() {
        let root = Path::new("m");
        let found = |tree| require_distinct(root, &tree, "unw");
        assert!(matches!(
            found(tree(&["a.safetensors"], &["b"], &["c"])),
            Ok(None)
        ));
        assert!(found(tree(&["a.safetensors"], &["b"], &["a.unw"])).is_err());
        // Only names in the same folder can collide.
        assert!(matches!(
            found(tree(&["d/a.safetensors"], &["A.unw"], &["d"])),
            Ok(None)
        ));
        let pair = found(tree(&["a.safetensors"], &["A.UNW"], &[]));
        let expected = (PathBuf::from("A.UNW"), PathBuf::from("a.unw"));
        assert_eq!(pair.unwrap(), Some(expected));
    }
}
