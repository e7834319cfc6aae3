//! A file under construction. It gets its name when it is complete and on the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::attributes::Attributes;
use super::flush::{flush_file, flush_folder, not_sure_to_stay};
use super::preconditions::{exists_already, require_absent};
use super::rename::file_to_free_name;
use super::write_back::WriteBack;
use super::{PARTIAL, folder_of};
use crate::Error;
use crate::diagnostics::{FileError, Warning};
use crate::error::writing;
use crate::temporary::{self, Temporary, uninterrupted};

/// Path where an output file is made, and its final name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    place: &'a Path,
    name: &'a Path,
    replaces: bool,
    is_in_folder: bool,
}

impl<'a> Target<'a> {
    /// A file that is not part of an output folder. It takes the place of what has its name if
    /// `replaces` is set.
    pub(crate) fn alone(name: &'a Path, replaces: bool) -> Target<'a> {
        Target {
            place: name,
            name,
            replaces,
            is_in_folder: false,
        }
    }

    /// A file at `place` in a folder under construction. Its final name is `name`.
    pub(crate) fn in_folder(place: &'a Path, name: &'a Path) -> Target<'a> {
        Target {
            place,
            name,
            replaces: false,
            is_in_folder: true,
        }
    }

    /// Final name of the file, for messages.
    pub(crate) fn name(&self) -> &'a Path {
        self.name
    }
}

/// A file under construction: a temporary one in the folder of its final name.
///
/// It gets its name when it is complete and on the disk. It is removed if it is dropped before
/// that.
///
/// ```
/// # fn main() -> Result<(), unweight::Error> {
/// # let folder = std::env::temp_dir().join(format!("unweight-output-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = &folder.join("notes");
/// use std::io::Write;
/// use unweight::output::{Attributes, OutputFile, require_absent};
///
/// let replaces = false;
/// require_absent(path, replaces)?;
/// let output = OutputFile::create(path, replaces, &Attributes::of_new_file())?;
/// output.file()?.write_all(b"complete").map_err(unweight::Error::Write)?;
/// output.commit(|warning| eprintln!("{warning}"))?;
/// # assert_eq!(std::fs::read(path).unwrap(), b"complete");
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the file is removed unless it is committed"]
pub struct OutputFile {
    file: File,
    temporary: Temporary,
    write_back: WriteBack,
    place: PathBuf,
    name: PathBuf,
    replaces: bool,
    is_in_folder: bool,
    attributes: Attributes,
}

impl OutputFile {
    /// Makes a file that nobody else can read until it is complete. The file then gets these
    /// attributes and the name `path`. It takes the place of what has the name if `replaces` is
    /// set.
    ///
    /// [`require_absent`] checks the name before there is work to lose.
    ///
    /// # Errors
    /// [`FileError::IsFolder`]; [`Error::Write`] at the path.
    pub fn create(
        path: impl AsRef<Path>,
        replaces: bool,
        attributes: &Attributes,
    ) -> Result<OutputFile, Error> {
        OutputFile::create_at(Target::alone(path.as_ref(), replaces), attributes)
    }

    pub(crate) fn create_at(
        target: Target<'_>,
        attributes: &Attributes,
    ) -> Result<OutputFile, Error> {
        if target.place.is_dir() {
            let path = target.name.to_owned();
            return Err(FileError::IsFolder { path }.into());
        }
        let folder = folder_of(target.place);
        let made = temporary::make(folder, PARTIAL, create_private);
        let (file, temporary) = made.map_err(writing(target.name))?;
        Ok(OutputFile {
            write_back: WriteBack::of(&file),
            file,
            temporary,
            place: target.place.to_owned(),
            name: target.name.to_owned(),
            replaces: target.replaces,
            is_in_folder: target.is_in_folder,
            attributes: attributes.clone(),
        })
    }

    /// A handle for writing, and for reading back the written bytes at given offsets. Some masks
    /// forbid opening the file by its name.
    ///
    /// # Errors
    /// [`Error::Write`] at the path.
    pub fn file(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(writing(&self.name))
    }

    /// Gives the file its attributes, flushes it to the disk, gives it its name, and flushes the
    /// name. `warn` gets what the file system refuses and the file can do without.
    ///
    /// # Errors
    /// [`Error::Write`] at the path; [`FileError::Exists`] if the name was taken meanwhile;
    /// [`FileError::NotFlushed`], after which the file has its name.
    pub fn commit(self, warn: impl Fn(Warning)) -> Result<(), Error> {
        let warn: &dyn Fn(Warning) = &warn;
        let failed = writing(&self.name);
        self.write_back.finish(&self.name, warn).map_err(&failed)?;
        if self.replaces {
            // The entry that has the name is to be replaced, unless it has become a device
            // meanwhile.
            require_absent(&self.place, true)?;
        }
        (self.attributes)
            .give_to(&self.file, &self.name, warn)
            .and_then(|()| flush_file(&self.file, &self.name, warn))
            .map_err(&failed)?;
        uninterrupted(|list| {
            let named = match self.replaces {
                true => fs::rename(self.temporary.path(), &self.place),
                false => file_to_free_name(self.temporary.path(), &self.place),
            };
            match named {
                Ok(()) => {
                    list.forget(self.temporary.path());
                    Ok(())
                }
                Err(error) if !self.replaces && error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(exists_already(&self.name).into())
                }
                Err(error) => Err(failed(error)),
            }
        })?;
        match self.is_in_folder {
            // The folder is flushed when it is complete.
            true => Ok(()),
            false => flush_folder(folder_of(&self.place), &self.name, warn)
                .map_err(|error| not_sure_to_stay(&self.name, error).into()),
        }
    }
}

/// Makes a file that only its owner can read, whatever the mask allows.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
