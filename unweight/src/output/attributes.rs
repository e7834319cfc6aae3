//! Permissions and times that an output takes over from its source.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::path::Path;

use super::refusal::tolerate;
use crate::Error;
use crate::diagnostics::{RefusedCall, Warning};
use crate::error::reading;

/// Permissions and times of a source, which an output gets when it is complete.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Mode without setuid, setgid and sticky bits.
    #[cfg(unix)]
    mode: u32,
    times: Option<FileTimes>,
}

impl Attributes {
    /// Attributes of an open file. They must be read before the file's content, because reading the
    /// content changes the access time. The path is for messages.
    ///
    /// # Errors
    /// [`Error::Read`] at the path.
    pub fn of(path: impl AsRef<Path>, file: &File) -> Result<Attributes, Error> {
        let metadata = file.metadata().map_err(reading(path.as_ref()))?;
        Ok(Attributes::from(&metadata))
    }

    /// Attributes of a new file that has no source.
    pub fn of_new_file() -> Attributes {
        Attributes {
            #[cfg(unix)]
            mode: 0o666,
            times: None,
        }
    }

    /// Attributes of a folder.
    pub(crate) fn of_folder(path: &Path) -> Result<Attributes, Error> {
        let metadata = path.metadata().map_err(reading(path))?;
        Ok(Attributes::from(&metadata))
    }

    /// Permissions without the times. An output that is not another form of its source gets the
    /// present time.
    pub fn without_times(mut self) -> Attributes {
        self.times = None;
        self
    }

    /// Gives the attributes to a complete file or folder that will have this name. If it replaces
    /// another one, nobody gets a permission that the other one denies.
    pub(crate) fn give_to(
        &self,
        file: &File,
        name: &Path,
        warn: &dyn Fn(Warning),
    ) -> io::Result<()> {
        let mode = self.set_mode(file, name);
        tolerate(mode, RefusedCall::SetMode, name, warn)?;
        let times = self.times.map_or(Ok(()), |times| file.set_times(times));
        tolerate(times, RefusedCall::SetTimes, name, warn)
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

/// The process's file mode creation mask.
#[cfg(unix)]
fn mask() -> u32 {
    use rustix::fs::Mode;
    use std::sync::OnceLock;
    static MASK: OnceLock<u32> = OnceLock::new();
    // Linux tells the mask. Elsewhere it can be read only by changing it, which is done once.
    reported_mask().unwrap_or_else(|| {
        *MASK.get_or_init(|| {
            // The mask is private for this moment, in case a thread makes a file.
            let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
            rustix::process::umask(mask);
            mask.bits() as u32
        })
    })
}

#[cfg(unix)]
fn reported_mask() -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let digits = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    u32::from_str_radix(digits?.trim(), 8).ok()
}
