//! Permissions and times that an output takes over from its source.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::path::Path;

use super::refusal::{Call, tolerate};
use crate::failure::Failure;

/// Permissions of a source, and its times where they are kept.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    /// Without setuid, setgid and sticky bits.
    #[cfg(unix)]
    mode: u32,
    times: Option<FileTimes>,
}

impl Attributes {
    /// Those of a file that is open. To be asked for before it is read, which changes its access time.
    pub(crate) fn of(path: &Path, file: &File) -> Result<Attributes, Failure> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| Failure::io(path, error))?;
        Ok(Attributes::from(&metadata))
    }

    /// Those of any new file, for what has no source.
    pub(crate) fn of_new_file() -> Attributes {
        Attributes {
            #[cfg(unix)]
            mode: 0o666,
            times: None,
        }
    }

    /// Those of a folder.
    pub(crate) fn of_folder(path: &Path) -> Result<Attributes, Failure> {
        let metadata = path.metadata();
        let metadata = metadata.map_err(|error| Failure::io(path, error))?;
        Ok(Attributes::from(&metadata))
    }

    /// The permissions alone: what is made of the source is no form of it, and gets the present time.
    pub(crate) fn without_times(mut self) -> Attributes {
        self.times = None;
        self
    }

    /// Gives them to a file or folder that is complete and will have this name. Where it replaces another one, nobody gets a
    /// permission that the other one denies.
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
            // Every new folder has it in a folder that has it, so that what is made in it belongs to the group.
            const SET_GROUP_ID: u32 = 0o2000;
            mode |= found.mode() & SET_GROUP_ID;
        }
        // Where all files have the same mode, a call that changes nothing might be refused.
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

/// Reads the process's file mode creation mask. To be called before there are threads: it can only be read by changing it.
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
        // Private, should a thread make a file meanwhile.
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits() as u32
    })
}
