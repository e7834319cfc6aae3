//! A file under construction. It gets its name when it is complete and on the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::attributes::Attributes;
use super::flush::{flush_file, flush_folder, not_sure_to_stay};
use super::preconditions::{exists_already, require_absent};
use super::rename::file_to_free_name;
use super::{PARTIAL, folder_of};
use crate::failure::Failure;
use crate::temporary::{self, Temporary, uninterrupted};
use crate::write_back::WriteBack;

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
#[derive(Debug)]
pub(crate) struct OutputFile {
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
    /// attributes.
    pub(crate) fn create(
        target: Target<'_>,
        attributes: &Attributes,
    ) -> Result<OutputFile, Failure> {
        let failed = |error| Failure::io(target.name, error);
        if target.place.is_dir() {
            return Err(Failure::Usage(format!(
                "{} is a folder, expected the name of a file",
                target.name.display()
            )));
        }
        let folder = folder_of(target.place);
        let (file, temporary) = temporary::make(folder, PARTIAL, create_private).map_err(failed)?;
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

    /// A handle for writing.
    pub(crate) fn file(&self) -> Result<File, Failure> {
        let file = self.file.try_clone();
        file.map_err(|error| Failure::io(&self.name, error))
    }

    /// Handle for reading back the written bytes, at given offsets. Some masks forbid opening the
    /// file by its name.
    pub(crate) fn reopen(&self) -> Result<File, Failure> {
        self.file()
    }

    /// Gives the file its attributes, flushes it to the disk, gives it its name, and flushes the
    /// name.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        let failed = |error| Failure::io(&self.name, error);
        self.write_back.finish(&self.name).map_err(failed)?;
        if self.replaces {
            // The entry that has the name is to be replaced, unless it has become a device
            // meanwhile.
            require_absent(&self.place, true)?;
        }
        (self.attributes)
            .give_to(&self.file, &self.name)
            .and_then(|()| flush_file(&self.file, &self.name))
            .map_err(failed)?;
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
                    Err(exists_already(&self.name))
                }
                Err(error) => Err(failed(error)),
            }
        })?;
        match self.is_in_folder {
            // The folder is flushed when it is complete.
            true => Ok(()),
            false => flush_folder(folder_of(&self.place), &self.name)
                .map_err(|error| not_sure_to_stay(&self.name, error)),
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
