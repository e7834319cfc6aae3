//! Output that gets its name only when it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::failure::Failure;
use crate::write_back::WriteBack;

/// Refuses to replace what exists, unless `force` is set; what is neither file nor folder, in any case.
pub(crate) fn require_absent(path: &Path, force: bool) -> Result<(), Failure> {
    // Output is renamed into place: that would put a file where `/dev/null` was.
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(Failure::Usage(format!(
            "{} is a device or a pipe, expected the name of a file to make",
            path.display()
        )));
    }
    // A dangling link counts as something that exists.
    match fs::symlink_metadata(path) {
        Ok(_) if !force => Err(exists_already(path)),
        _ => Ok(()),
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
        let temporary = builder.tempfile_in(folder_of(path)).map_err(failed)?;
        let handle = temporary.as_file().try_clone().map_err(failed)?;
        Ok(OutputFile {
            temporary,
            write_back: WriteBack::of(handle),
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
        let failed = |error| Failure::io(&self.path, error);
        self.write_back.finish().map_err(failed)?;
        self.temporary.as_file().sync_all().map_err(failed)?;
        let mut temporary = self.temporary;
        if !self.replaces {
            // Somebody else may have made a file of this name since `require_absent` looked.
            temporary = match temporary.persist_noclobber(&self.path) {
                Ok(_) => return Ok(()),
                Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(exists_already(&self.path));
                }
                // Not every file system can do it in one step.
                Err(refused) => refused.file,
            };
        }
        temporary
            .persist(&self.path)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A folder under construction, beside its final name.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    temporary: TempDir,
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
        let temporary = builder
            .tempdir_in(folder_of(path))
            .map_err(|error| Failure::io(path, error))?;
        Ok(OutputFolder {
            temporary,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name, in place of what has it (`require_absent` was asked before).
    pub(crate) fn commit(self) -> Result<(), Failure> {
        let failed = |error| Failure::io(&self.path, error);
        // A folder cannot replace anything in one step: the old one leaves under a temporary name first.
        let old = match fs::symlink_metadata(&self.path) {
            Ok(_) => {
                let folder = tempfile::Builder::new()
                    .prefix(".unweight-")
                    .suffix(".old")
                    .tempdir_in(folder_of(&self.path))
                    .map_err(failed)?;
                let place = folder.path().join("replaced");
                fs::rename(&self.path, &place).map_err(failed)?;
                Some((folder, place))
            }
            Err(_) => None,
        };
        if let Err(error) = fs::rename(self.temporary.path(), &self.path) {
            if let Some((folder, place)) = old
                && fs::rename(place, &self.path).is_err()
            {
                // Better an odd name than no folder.
                let _ = folder.keep();
            }
            return Err(failed(error));
        }
        // It has its name: there is nothing temporary left to delete.
        let _ = self.temporary.keep();
        Ok(())
    }
}

/// Prints to standard output. A reader that has seen enough is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io(Path::new("standard output"), error))
        }
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
