//! Disk space that a folder run needs, and whether that much is free.

use std::fs::Metadata;
use std::path::Path;

use crate::diagnostics::{FileError, Warning};

/// Bounds on the number of bytes that are going to be written. The exact number is known only after
/// the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
}

impl Need {
    pub(crate) fn exactly(bytes: u64) -> Need {
        Need {
            at_least: bytes,
            at_most: bytes,
        }
    }

    pub(crate) fn and(self, other: Need) -> Need {
        Need {
            at_least: self.at_least.saturating_add(other.at_least),
            at_most: self.at_most.saturating_add(other.at_most),
        }
    }
}

/// Space that a copy of a file takes in `folder`.
pub(crate) fn of_copy(file: &Path, folder: &Path) -> Need {
    let Ok(found) = file.metadata() else {
        return Need::default();
    };
    let at_least = match folder.metadata() {
        Ok(target) => least_of_copy(&found, &target),
        Err(_) => 0,
    };
    Need {
        at_least,
        at_most: found.len(),
    }
}

/// Least number of bytes that a copy takes. Within one file system a copy may share its blocks with
/// the original. Holes need not be filled.
#[cfg(unix)]
fn least_of_copy(file: &Metadata, folder: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK_BYTES: u64 = 512;
    match file.dev() == folder.dev() {
        true => 0,
        false => file.len().min(file.blocks().saturating_mul(BLOCK_BYTES)),
    }
}

#[cfg(not(unix))]
fn least_of_copy(_: &Metadata, _: &Metadata) -> u64 {
    0
}

/// Free bytes of a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free {
    /// Bytes that are free for any user.
    common: u64,
    /// Free bytes, including those reserved for the superuser. No program can use more.
    all: u64,
}

/// Free bytes of the file system that holds `folder`. None if the number is unknown.
#[cfg(unix)]
pub(crate) fn free(folder: &Path) -> Option<Free> {
    let found = rustix::fs::statvfs(folder).ok()?;
    // Some network mounts report a size of zero.
    (found.f_blocks > 0).then(|| Free {
        common: found.f_bavail.saturating_mul(found.f_frsize),
        all: found.f_bfree.saturating_mul(found.f_frsize),
    })
}

#[cfg(not(unix))]
pub(crate) fn free(_: &Path) -> Option<Free> {
    None
}

/// Returns an error if the space cannot suffice, and a warning if it may not suffice.
pub(crate) fn require(output: &Path, need: Need, free: Free) -> Result<Option<Warning>, FileError> {
    let path = output.to_owned();
    if need.at_least > free.all {
        return Err(FileError::NoSpace {
            path,
            needed_bytes: need.at_least,
            is_exact: need.at_least == need.at_most,
            free_bytes: free.all,
        });
    }
    Ok(
        (need.at_most > free.common).then_some(Warning::LittleSpace {
            path,
            free_bytes: free.common,
            least_bytes: need.at_least,
            most_bytes: need.at_most,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_only_what_cannot_fit() {
        let need = Need {
            at_least: 1_000,
            at_most: 2_000,
        };
        let with = |common, all| require(Path::new("out"), need, Free { common, all });
        assert!(with(2_000, 2_100).unwrap().is_none());
        let warning = with(1_999, 2_100).unwrap().unwrap().to_string();
        assert!(warning.contains("between 1,000 and 2,000"), "{warning}");
        // The space reserved for the superuser suffices.
        assert!(with(900, 1_000).unwrap().is_some());
        let refused = with(900, 999).unwrap_err().to_string();
        assert!(
            refused.contains("at least 1,000 bytes are needed, but 999 are free"),
            "{refused}"
        );
    }
}
