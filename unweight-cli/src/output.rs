//! Output that gets its name only when it is complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::failure::Failure;
use crate::input::kind;
use crate::temporary::{self, Listed, uninterrupted};
use crate::tree::Tree;
use crate::write_back::WriteBack;

/// Refuses to replace what exists, unless `force` is set; what is neither file nor folder, in any case.
pub(crate) fn require_absent(path: &Path, force: bool) -> Result<(), Failure> {
    // Output is renamed into place: that would put a file where `/dev/null` was.
    if let Ok(found) = fs::metadata(path)
        && !found.is_file()
        && !found.is_dir()
    {
        return Err(Failure::Usage(format!(
            "{} is a {}, expected the name of a file to make",
            path.display(),
            kind(found.file_type())
        )));
    }
    // A dangling link counts as something that exists.
    match fs::symlink_metadata(path) {
        Ok(_) if !force => Err(exists_already(path)),
        _ => Ok(()),
    }
}

/// Refuses to replace a folder that is none of ours: it must be empty, or hold a file with this extension where the new one will hold some.
/// (A link to a folder is replaced itself, and costs nothing.)
pub(crate) fn require_replaceable(
    path: &Path,
    tree: &Tree,
    extension: &str,
) -> Result<(), Failure> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let failed = |error| Failure::io(path, error);
    if fs::read_dir(path).map_err(failed)?.next().is_none() {
        return Ok(());
    }
    let has_one = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .any(|file| file.extension().is_some_and(|found| found == extension))
    };
    let mut places = tree.converted.iter().filter_map(|file| file.parent());
    match places.any(|place| has_one(path.join(place))) {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "{} is a folder without .{extension} files, which --force does not replace; choose another name with -o, or delete it yourself",
            path.display()
        ))),
    }
}

fn exists_already(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} exists already; choose another name with -o, or replace it with --force",
        path.display()
    ))
}

/// Refuses an output folder that is, or holds, the input: to replace it would delete what is being read.
pub(crate) fn require_outside(input: &Path, output: &Path) -> Result<(), Failure> {
    match (input.canonicalize(), output.canonicalize()) {
        (Ok(from), Ok(to)) if from.starts_with(&to) => Err(Failure::Usage(format!(
            "{} holds the input; choose another name with -o",
            output.display()
        ))),
        _ => Ok(()),
    }
}

/// A file under construction: a temporary one in the folder of its final name.
#[derive(Debug)]
pub(crate) struct OutputFile {
    temporary: NamedTempFile,
    write_back: WriteBack,
    /// Behind what it lists: fields are dropped in order.
    listed: Listed,
    path: PathBuf,
    replaces: bool,
}

impl OutputFile {
    /// A file that is to have this name, in place of what has it if it `replaces`.
    pub(crate) fn create(path: &Path, replaces: bool) -> Result<OutputFile, Failure> {
        let failed = |error| Failure::io(path, error);
        if path.is_dir() {
            return Err(Failure::Usage(format!(
                "{} is a folder, expected the name of a file",
                path.display()
            )));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unweight-").suffix(".partial");
        #[cfg(unix)]
        {
            // What any program's new file has; the process's mask applies.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let make = || builder.tempfile_in(folder_of(path));
        let (temporary, listed) = temporary::make(make).map_err(failed)?;
        let handle = temporary.as_file().try_clone().map_err(failed)?;
        Ok(OutputFile {
            temporary,
            write_back: WriteBack::of(handle).map_err(failed)?,
            listed,
            path: path.to_owned(),
            replaces,
        })
    }

    /// A handle for writing.
    pub(crate) fn file(&self) -> Result<File, Failure> {
        self.temporary
            .as_file()
            .try_clone()
            .map_err(|error| Failure::io(&self.path, error))
    }

    /// A handle for reading back what was written.
    pub(crate) fn reopen(&self) -> Result<File, Failure> {
        self.temporary
            .reopen()
            .map_err(|error| Failure::io(&self.path, error))
    }

    /// Flushes the file to the disk and gives it its name.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        // Dropped last to first: off the list only when it is gone.
        let OutputFile {
            listed: _listed,
            temporary,
            write_back,
            path,
            replaces,
        } = self;
        let synced = write_back
            .finish()
            .and_then(|()| temporary.as_file().sync_all());
        synced.map_err(|error| Failure::io(&path, error))?;
        uninterrupted(|_| persist(temporary, &path, replaces))
    }
}

fn persist(mut temporary: NamedTempFile, path: &Path, replaces: bool) -> Result<(), Failure> {
    if !replaces {
        // Somebody else may have made a file of this name since `require_absent` looked.
        temporary = match temporary.persist_noclobber(path) {
            Ok(_) => return Ok(()),
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists_already(path));
            }
            // Not every file system can do it in one step.
            Err(refused) => refused.file,
        };
    }
    match temporary.persist(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::io(path, error.error)),
    }
}

/// A folder under construction, beside its final name.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    temporary: TempDir,
    /// Behind what it lists.
    listed: Listed,
    path: PathBuf,
}

impl OutputFolder {
    pub(crate) fn create(path: &Path) -> Result<OutputFolder, Failure> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unweight-").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let (temporary, listed) = temporary::make(|| builder.tempdir_in(folder_of(path)))
            .map_err(|error| Failure::io(path, error))?;
        Ok(OutputFolder {
            temporary,
            listed,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name, in place of what has it (`require_absent` was asked before).
    pub(crate) fn commit(self) -> Result<(), Failure> {
        // Dropped last to first: off the list only when it is gone.
        let OutputFolder {
            listed: _listed,
            temporary,
            path,
        } = self;
        // What was replaced may take its time to go; a signal meanwhile deletes it as well.
        let _replaced = uninterrupted(|list| {
            let replaced =
                exchange(&temporary, &path).map_err(|error| Failure::io(&path, error))?;
            Ok(replaced.map(|folder| {
                let listed = list.add(folder.path());
                (folder, listed)
            }))
        })?;
        // It has its name: there is nothing temporary left to delete.
        let _ = temporary.keep();
        Ok(())
    }
}

/// Gives a folder its name. What had it before is in the temporary folder that this returns.
fn exchange(folder: &TempDir, path: &Path) -> io::Result<Option<TempDir>> {
    // A folder cannot replace anything in one step: the old one leaves under a temporary name first.
    let old = match fs::symlink_metadata(path) {
        Ok(_) => {
            let beside = tempfile::Builder::new()
                .prefix(".unweight-")
                .suffix(".old")
                .tempdir_in(folder_of(path))?;
            fs::rename(path, beside.path().join("replaced"))?;
            Some(beside)
        }
        Err(_) => None,
    };
    match fs::rename(folder.path(), path) {
        Ok(()) => Ok(old),
        Err(error) => {
            if let Some(beside) = old
                && fs::rename(beside.path().join("replaced"), path).is_err()
            {
                // Better an odd name than no folder.
                let _ = beside.keep();
            }
            Err(error)
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
