//! Permissions and times that an output takes over from its source.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::path::Path;

use super::refusal::{Call, tolerate};
use crate::failure::Failure;

/// Permissions of a source, and its times where they are kept.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    /// Mode without setuid, setgid and sticky bits.
    #[cfg(unix)]
    mode: u32,
    times: Option<FileTimes>,
}

impl Attributes {
    /// Attributes of an open file. They must be read before the file's content, because reading the
    /// content changes the access time.
    pub(crate) fn of(path: &Path, file: &File) -> Result<Attributes, Failure> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| Failure::io(path, error))?;
        Ok(Attributes::from(&metadata))
    }

    /// Attributes of a new file that has no source.
    pub(crate) fn of_new_file() -> Attributes {
        Attributes {
            #[cfg(unix)]
            mode: 0o666,
            times: None,
        }
    }

    /// Attributes of a folder.
    pub(crate) fn of_folder(path: &Path) -> Result<Attributes, Failure> {
        let metadata = path.metadata();
        let metadata = metadata.map_err(|error| Failure::io(path, error))?;
        Ok(Attributes::from(&metadata))
    }

    /// Permissions without the times. An output that is not another form of its source gets the
    /// present time.
    pub(crate) fn without_times(mut self) -> Attributes {
        self.times = None;
        self
    }

    /// Gives the attributes to a complete file or folder that will have this name. If it replaces
    /// another one, nobody gets a permission that the other one denies.
    pub(crate) fn give_to(&self, file: &File, name: &Path) -> io::Result<()> {
        tolerate(self.set_mode(file, name), Call::SetMode, name)?;
        let set_times = self.times.map_or(Ok(()), |times| file.set_times(times));
        tolerate(set_times, Call::SetTimes, name)
    }

    #[cfg(unix)]
    fn set_mode(&self, file: &File, name: &Path) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let found = file.metadata()?;
        let mut mode = self.mode & !mask();
        if let Ok(replaced) = name.metadata()
            && replaced.is_dir() == found.is_dir()
        {
            mode &= replaced.mode();
        }
        if found.is_dir() {
            // New folders inherit this bit from the folder around them, so that their content
            // belongs to the group.
            const SET_GROUP_ID: u32 = 0o2000;
            mode |= found.mode() & SET_GROUP_ID;
        }
        // A file system on which all files have the same mode may refuse even a call that changes
        // nothing.
        match found.mode() & 0o7777 == mode {
            true => Ok(()),
            false => file.set_permissions(std::fs::Permissions::from_mode(mode)),
        }
    }

    #[cfg(not(unix))]
    fn set_mode(&self, _: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl From<&Metadata> for Attributes {
    fn from(metadata: &Metadata) -> Attributes {
        let times = || {
            let times = FileTimes::new().set_modified(metadata.modified().ok()?);
            Some(match metadata.accessed() {
                Ok(accessed) => times.set_accessed(accessed),
                Err(_) => times,
            })
        };
        Attributes {
            #[cfg(unix)]
            mode: std::os::unix::fs::MetadataExt::mode(metadata) & 0o777,
            times: times(),
        }
    }
}

/// Reads the process's file mode creation mask. It must be called before there are threads, because
/// reading the mask changes it.
pub(crate) fn read_mask() {
    #[cfg(unix)]
    mask();
}

#[cfg(unix)]
fn mask() -> u32 {
    use rustix::fs::Mode;
    use std::sync::OnceLock;
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        // The mask is private for this moment, in case a thread makes a file.
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits() as u32
    })
}
