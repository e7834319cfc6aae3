//! How much of a disk a folder run is going to fill, and whether there is so much.

use std::fs::Metadata;
use std::path::Path;

use crate::failure::Failure;
use crate::report::bytes;

/// Bytes that are going to be written: how many it will be is known when they are.
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

/// What a copy of a file takes in `folder`.
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

/// Within one file system a copy may share its blocks with the original. Holes need not be filled.
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
    /// For anybody.
    common: u64,
    /// With those that are kept for the superuser: no program has more.
    all: u64,
}

/// The free bytes where `folder` is; None if nobody can tell.
#[cfg(unix)]
pub(crate) fn free(folder: &Path) -> Option<Free> {
    let found = rustix::fs::statvfs(folder).ok()?;
    // Some network mounts say that they have no size.
    (found.f_blocks > 0).then(|| Free {
        common: found.f_bavail.saturating_mul(found.f_frsize),
        all: found.f_bfree.saturating_mul(found.f_frsize),
    })
}

#[cfg(not(unix))]
pub(crate) fn free(_: &Path) -> Option<Free> {
    None
}

/// Fails where the space cannot suffice. Gives a warning where it may not.
pub(crate) fn require(output: &Path, need: Need, free: Free) -> Result<Option<String>, Failure> {
    if need.at_least > free.all {
        let needed = match need.at_least == need.at_most {
            true => bytes(need.at_least),
            false => format!("at least {}", bytes(need.at_least)),
        };
        return Err(Failure::Io(format!(
            "{}: {needed} bytes are needed, but {} are free; make room, or choose a place elsewhere with -o",
            output.display(),
            bytes(free.all)
        )));
    }
    Ok((need.at_most > free.common).then(|| {
        format!(
            "{}: {} bytes are free, which may not suffice: between {} and {} are needed",
            output.display(),
            bytes(free.common),
            bytes(need.at_least),
            bytes(need.at_most)
        )
    }))
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
        assert_eq!(with(2_000, 2_100).unwrap(), None);
        let warning = with(1_999, 2_100).unwrap().unwrap();
        assert!(warning.contains("between 1,000 and 2,000"), "{warning}");
        // The superuser's share suffices.
        assert!(with(900, 1_000).unwrap().is_some());
        let refused = with(900, 999).unwrap_err().to_string();
        assert!(
            refused.contains("at least 1,000 bytes are needed, but 999 are free"),
            "{refused}"
        );
    }
}
