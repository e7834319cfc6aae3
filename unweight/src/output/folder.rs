//! A folder under construction. It gets its name when it is complete and on the disk.

use std::fs;
#[cfg(unix)]
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::attributes::Attributes;
#[cfg(unix)]
use super::flush::flush_open_folder;
use super::flush::{flush_folder, not_sure_to_stay};
use super::preconditions::exists_already;
#[cfg(unix)]
use super::refusal::tolerate;
use super::rename::{exchange, file_to_free_name, folder_to_free_name};
use super::successors::Replaced;
use super::{LASTING, PARTIAL, folder_of};
use crate::Error;
#[cfg(unix)]
use crate::diagnostics::RefusedCall;
use crate::diagnostics::{FileError, Warning};
use crate::error::writing;
use crate::temporary::{self, Temporaries, Temporary, uninterrupted_with_warnings};

/// A folder under construction, beside its final name.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    temporary: Temporary,
    path: PathBuf,
    replaces: bool,
    /// Whether the folder is made in another folder than its final one.
    moves: bool,
    has_name: bool,
    /// Folders by relative path, each before its content, with the attributes that they get when
    /// they are filled. The first one is the output folder itself.
    folders: Vec<(PathBuf, Attributes)>,
}

impl OutputFolder {
    /// Makes a folder that is to have this name, with the permissions and times of the folder
    /// `source`. It takes the place of what has the name if `replaces` is set.
    pub(crate) fn create(
        path: &Path,
        replaces: bool,
        source: &Path,
    ) -> Result<OutputFolder, Error> {
        let attributes = Attributes::of_folder(source)?;
        let ((), temporary) =
            temporary::make(folder_of(path), PARTIAL, make_private).map_err(writing(path))?;
        Ok(OutputFolder {
            temporary,
            path: path.to_owned(),
            replaces,
            moves: false,
            has_name: false,
            folders: vec![(PathBuf::new(), attributes)],
        })
    }

    /// Does the same as [`OutputFolder::create`], but makes the folder in the folder `work`. It
    /// stays there unless it gets its name.
    pub(crate) fn create_lasting(
        work: &Path,
        path: &Path,
        replaces: bool,
        source: &Path,
    ) -> Result<OutputFolder, Error> {
        let attributes = Attributes::of_folder(source)?;
        let ((), temporary) =
            temporary::make_lasting(work, LASTING, make_private).map_err(writing(path))?;
        Ok(OutputFolder {
            temporary,
            path: path.to_owned(),
            replaces,
            moves: true,
            has_name: false,
            folders: vec![(PathBuf::new(), attributes)],
        })
    }

    /// Path of the folder while it is filled.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Whether the folder is complete and has its final name.
    pub(crate) fn has_name(&self) -> bool {
        self.has_name
    }

    /// Final path of the entry with this relative path.
    pub(crate) fn name_of(&self, relative: &Path) -> PathBuf {
        self.path.join(relative)
    }

    /// Makes a folder with this relative path, with permissions and times of the folder `source`.
    /// The folder around it must exist.
    pub(crate) fn add_folder(&mut self, relative: &Path, source: &Path) -> Result<(), Error> {
        let attributes = Attributes::of_folder(source)?;
        make_private(&self.path().join(relative)).map_err(writing(&self.name_of(relative)))?;
        self.folders.push((relative.to_owned(), attributes));
        Ok(())
    }

    /// Flushes the folders and gives this folder its name. If it replaces an old folder, the old
    /// one is deleted unless it holds something that this folder does not hold. After a failure,
    /// [`OutputFolder::has_name`] tells whether the folder got its name.
    pub(crate) fn commit(&mut self, warn: &dyn Fn(Warning)) -> Result<(), Error> {
        // The content of a folder is completed before the folder.
        for (relative, attributes) in self.folders.iter().rev() {
            complete(
                &self.path().join(relative),
                attributes,
                &self.name_of(relative),
                warn,
            )
            .map_err(writing(&self.name_of(relative)))?;
        }
        // Moving a folder to another parent takes permission to write to the moved folder.
        let closed = match self.moves {
            true => Closed::open(self.path()),
            false => None,
        };
        uninterrupted_with_warnings(warn, |list, warn| {
            let replaced = self.take_name(list, warn)?;
            self.has_name = true;
            let closed = closed.map_or(Ok(()), |closed| closed.close(&self.path, warn));
            let folder = folder_of(&self.path);
            let flushed = closed.and_then(|()| flush_folder(folder, &self.path, warn));
            // The old folder is deleted only when the new one is sure to keep its name.
            match replaced {
                Some(replaced) if flushed.is_ok() => replaced.delete(&self.path, warn),
                Some(replaced) => say_where(&replaced.place, &self.path, warn),
                None => {}
            }
            flushed.map_err(|error| not_sure_to_stay(&self.path, error).into())
        })
    }

    /// Gives the folder its name. Afterwards no temporary entry is left to be removed, except the
    /// replaced folder that this returns.
    fn take_name(
        &self,
        list: &mut Temporaries,
        warn: &dyn Fn(Warning),
    ) -> Result<Option<Replaced>, Error> {
        // With --force, other programs may take the name and leave it meanwhile.
        const ROUNDS: usize = 100;
        let failed = writing(&self.path);
        for _ in 0..ROUNDS {
            match folder_to_free_name(self.path(), &self.path) {
                Ok(()) => {
                    list.forget(self.path());
                    return Ok(None);
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                Err(_) if !self.replaces => break,
                Err(_) => {}
            }
            let own = identity(self.path());
            let (exchanged, closed) = self.exchange(warn);
            match exchanged {
                Ok(()) => return self.look_at_exchanged(own, closed, list, warn).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(error) if is_held(&error) => return Err(held(&self.path, error)),
                Err(error) => return Err(failed(error)),
            }
            if let Some(replaced) = self.replace_in_two_steps(list, warn)? {
                return Ok(Some(replaced));
            }
        }
        Err(exists_already(&self.path).into())
    }

    /// Exchanges the folder for the entry that has its name. That entry is made writable for the
    /// exchange if this is needed and possible.
    fn exchange(&self, warn: &dyn Fn(Warning)) -> (io::Result<()>, Option<Closed>) {
        match exchange(self.path(), &self.path) {
            Err(error) if self.moves && error.kind() == io::ErrorKind::PermissionDenied => {
                let Some(closed) = Closed::open(&self.path) else {
                    return (Err(error), None);
                };
                let exchanged = exchange(self.path(), &self.path);
                match exchanged {
                    Ok(()) => (Ok(()), Some(closed)),
                    Err(_) => (closed.close(&self.path, warn).and(exchanged), None),
                }
            }
            exchanged => (exchanged, None),
        }
    }

    /// Examines the old folder after the exchange. If the old folder must not be deleted, both
    /// folders are exchanged back.
    fn look_at_exchanged(
        &self,
        own: Option<(u64, u64)>,
        closed: Option<Closed>,
        list: &mut Temporaries,
        warn: &dyn Fn(Warning),
    ) -> Result<Replaced, Error> {
        // The temporary name now belongs to the old folder, which no signal may delete.
        let was_listed = list.forget(self.path());
        let refused = match Replaced::look_at(self.path(), &self.path, &self.path) {
            Ok(replaced) => return Ok(replaced),
            Err(refused) => refused,
        };
        match exchange(self.path(), &self.path) {
            // The folder is this one again, unless another program has replaced it meanwhile.
            Ok(()) if identity(self.path()) == own => {
                if was_listed {
                    list.list_again(&self.temporary);
                }
            }
            _ => say_where(self.path(), &self.path, warn),
        }
        if let Some(closed) = closed {
            // If this fails, only the owner has more permissions on the folder than before.
            let _ = closed.close(&self.path, warn);
        }
        Err(refused)
    }

    /// Replaces in two steps where the system cannot exchange in one: the old folder leaves the
    /// name, then this folder takes it. Returns None if another program was quicker.
    fn replace_in_two_steps(
        &self,
        list: &mut Temporaries,
        warn: &dyn Fn(Warning),
    ) -> Result<Option<Replaced>, Error> {
        let failed = writing(&self.path);
        // The old folder keeps its parent, because moving it to another one takes permission to
        // write to it.
        let left = temporary::name(folder_of(&self.path), ".old", |old| {
            to_free_name(&self.path, old)
        });
        let old = match left {
            Ok(((), old)) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_held(&error) => return Err(held(&self.path, error)),
            Err(error) => return Err(failed(error)),
        };
        let put_back = || {
            if to_free_name(&old, &self.path).is_err() {
                say_where(&old, &self.path, warn);
            }
        };
        let replaced =
            Replaced::look_at(&old, &self.path, self.path()).inspect_err(|_| put_back())?;
        match folder_to_free_name(self.path(), &self.path) {
            Ok(()) => {
                list.forget(self.path());
                Ok(Some(replaced))
            }
            Err(error) => {
                put_back();
                Err(match error.kind() {
                    io::ErrorKind::AlreadyExists => exists_already(&self.path).into(),
                    _ => failed(error),
                })
            }
        }
    }
}

/// Whether an error says that the entry to be replaced cannot leave its name. Such an entry is a
/// mount point, or a folder of a lower layer in a container.
fn is_held(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, ResourceBusy};
    matches!(error.kind(), CrossesDevices | ResourceBusy)
}

fn held(name: &Path, error: io::Error) -> Error {
    let path = name.to_owned();
    FileError::Held { path, error }.into()
}

/// Renames a file or folder to a name that is free.
fn to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(from)?.is_dir() {
        true => folder_to_free_name(from, to),
        false => file_to_free_name(from, to),
    }
}

/// Makes a folder that only its owner can look into until it is complete.
#[cfg(unix)]
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().mode(0o700).create(path)?;
    let made = path.metadata().and_then(|found| {
        match found.permissions().mode() & 0o700 {
            0o700 => Ok(()),
            // The mask may take permissions from the owner too, who has to fill the folder.
            _ => fs::set_permissions(path, fs::Permissions::from_mode(0o700)),
        }
    });
    made.inspect_err(|_| {
        // The folder is empty. The first error is the one to report.
        let _ = fs::remove_dir(path);
    })
}

#[cfg(not(unix))]
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Gives a filled folder its permissions and times, and flushes it.
#[cfg(unix)]
fn complete(
    folder: &Path,
    attributes: &Attributes,
    name: &Path,
    warn: &dyn Fn(Warning),
) -> io::Result<()> {
    // The folder is opened before its permissions may forbid it.
    let folder = File::open(folder)?;
    attributes.give_to(&folder, name, warn)?;
    flush_open_folder(&folder, name, warn)
}

#[cfg(not(unix))]
fn complete(_: &Path, _: &Attributes, _: &Path, _: &dyn Fn(Warning)) -> io::Result<()> {
    Ok(())
}

/// Folder that its owner must not write to, made writable for a moment.
#[derive(Debug)]
struct Closed {
    #[cfg(unix)]
    folder: File,
    #[cfg(unix)]
    permissions: fs::Permissions,
}

#[cfg(unix)]
impl Closed {
    /// Makes a folder writable for its owner. None if it is writable already or cannot be made
    /// writable. The rename then shows whether the folder can be renamed.
    fn open(path: &Path) -> Option<Closed> {
        use rustix::fs::OFlags;
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        const WRITABLE: u32 = 0o200;
        let mut options = File::options();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits() as i32);
        let folder = options.open(path).ok()?;
        let permissions = folder.metadata().ok()?.permissions();
        let mode = permissions.mode();
        if mode & WRITABLE != 0 {
            return None;
        }
        let writable = fs::Permissions::from_mode(mode | WRITABLE);
        folder.set_permissions(writable).ok()?;
        Some(Closed {
            folder,
            permissions,
        })
    }

    /// Takes the permission to write back.
    fn close(self, name: &Path, warn: &dyn Fn(Warning)) -> io::Result<()> {
        let closed = self.folder.set_permissions(self.permissions);
        tolerate(closed, RefusedCall::SetMode, name, warn)?;
        flush_open_folder(&self.folder, name, warn)
    }
}

/// Systems other than Unix do not take over permissions.
#[cfg(not(unix))]
impl Closed {
    fn open(_: &Path) -> Option<Closed> {
        None
    }

    fn close(self, _: &Path, _: &dyn Fn(Warning)) -> io::Result<()> {
        Ok(())
    }
}

/// Identity of the folder that has this name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// The identity is not needed on other systems, which exchange nothing in one step.
#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}

/// Warns that an entry could not keep its name, and says where it is now.
fn say_where(old: &Path, name: &Path, warn: &dyn Fn(Warning)) {
    warn(Warning::Renamed {
        path: name.to_owned(),
        place: old.to_owned(),
    });
}
