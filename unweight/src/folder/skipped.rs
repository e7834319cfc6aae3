//! Files in a model folder that are not part of the model, such as files of version control and of
//! downloads.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Selection of the files in a folder that belong to it, besides those that change their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// All files except those with the names below.
    Model,
    /// All files.
    All,
}

/// Names of files and folders that are left out.
const NAMES: [&str; 2] = [".git", ".cache"];
const UNFINISHED_DOWNLOAD: &str = ".incomplete";
/// Start and possible ends of the names of this program's own temporary files.
const TEMPORARY: (&str, [&str; 2]) = (".unweight-", [".partial", ".old"]);

impl Others {
    /// Whether a file or folder of this name is left out, with everything in it.
    pub(crate) fn leave_out(self, name: &OsStr) -> bool {
        if self == Others::All {
            return false;
        }
        let name = name.as_encoded_bytes();
        let (begin, ends) = TEMPORARY;
        NAMES.iter().any(|left_out| left_out.as_bytes() == name)
            || name.ends_with(UNFINISHED_DOWNLOAD.as_bytes())
            || name.starts_with(begin.as_bytes())
                && ends.iter().any(|end| name.ends_with(end.as_bytes()))
    }
}

/// Files and folders that are not part of a model, and were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Paths of files and folders, relative to the model folder.
    pub names: Vec<PathBuf>,
    /// The number of files, including the files in folders that were left out.
    pub files: u64,
    /// The length of these files in bytes.
    pub bytes: u64,
}

impl LeftOut {
    /// Counts a file, or the files in a folder. Entries that cannot be read are no error, because
    /// nothing reads their content.
    pub(crate) fn add(&mut self, path: &Path, relative: PathBuf) {
        self.names.push(relative);
        let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let lengths: Vec<u64> = match is_folder {
            true => WalkDir::new(path)
                .into_iter()
                .flatten()
                .filter(|entry| entry.file_type().is_file())
                .filter_map(|entry| Some(entry.metadata().ok()?.len()))
                .collect(),
            false => fs::metadata(path)
                .ok()
                .filter(fs::Metadata::is_file)
                .map(|found| found.len())
                .into_iter()
                .collect(),
        };
        self.files += lengths.len() as u64;
        self.bytes += lengths.iter().sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_other_programs_keep_beside_a_model() {
        for name in [
            ".git",
            ".cache",
            "model-00001-of-00002.safetensors.incomplete",
            ".unweight-a1b2c3.partial",
            ".unweight-a1b2c3.old",
        ] {
            assert!(Others::Model.leave_out(OsStr::new(name)), "{name}");
            assert!(!Others::All.leave_out(OsStr::new(name)), "{name}");
        }
        for name in [
            ".gitattributes",
            ".github",
            "cache",
            "incomplete",
            "model.partial",
            ".unweight-notes",
            "tokenizer.lock",
        ] {
            assert!(!Others::Model.leave_out(OsStr::new(name)), "{name}");
        }
    }
}
