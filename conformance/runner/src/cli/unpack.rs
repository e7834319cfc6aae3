//! `unweight-conformance unpack`.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{Found, print};

/// Write the corpus inside this program to a folder
#[derive(Args)]
pub(super) struct Arguments {
    /// Folder to create; it must not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Arguments {
    pub(super) fn run(self) -> Found {
        let root = &self.folder;
        let fail = |path: &PathBuf, error| format!("cannot write {}: {error}", path.display());
        fs::create_dir(root).map_err(|error| fail(root, error))?;
        for (path, bytes) in unweight_corpus_data::files() {
            let path = root.join(path);
            let parent = path.parent().expect("it is below the folder");
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, bytes))
                .map_err(|error| fail(&path, error))?;
        }
        print(&format!(
            "{} files in {}\n",
            unweight_corpus_data::files().len(),
            root.display()
        ))?;
        Ok(true)
    }
}
