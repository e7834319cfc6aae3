//! Renames to names that are free. No function here replaces an entry that somebody else made,
//! whatever the file system offers. If the file system cannot rename without replacing, the name is
//! taken in another way that fails if it exists.

#[cfg(unix)]
use std::fs;
use std::io;
use std::path::Path;

#[cfg(unix)]
use super::refusal::is_not_supported;

/// Renames a file to a name that is free. Returns `AlreadyExists` if the name is taken.
#[cfg(unix)]
pub(super) fn file_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match without_replacing(from, to) {
        Err(error) if is_not_supported(&error) => {}
        done => return done,
    }
    match by_link(from, to) {
        Err(error) if is_not_supported(&error) => {}
        done => return done,
    }
    over_own_file(from, to)
}

/// Renames a folder to a name that is free. Returns `AlreadyExists` if the name is taken.
#[cfg(unix)]
pub(super) fn folder_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match without_replacing(from, to) {
        Err(error) if is_not_supported(&error) => over_own_folder(from, to),
        done => done,
    }
}

#[cfg(not(unix))]
pub(super) fn file_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    let from = tempfile::TempPath::try_from_path(from)?;
    from.persist_noclobber(to).map_err(|refused| {
        // The caller removes the file.
        let _ = refused.path.keep();
        refused.error
    })
}

/// `MoveFileExW` moves folders too.
#[cfg(not(unix))]
pub(super) fn folder_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    file_to_free_name(from, to)
}

/// Exchanges the names of two files or folders in one step. Returns `Unsupported` if the system
/// cannot exchange them.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let done = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    done.map_err(io::Error::from)
        .map_err(|error| match is_not_supported(&error) {
            true => io::ErrorKind::Unsupported.into(),
            false => error,
        })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(all(
    unix,
    not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))
))]
fn without_replacing(_: &Path, _: &Path) -> io::Result<()> {
    Err(rustix::io::Errno::NOSYS.into())
}

/// Renames a file by a hard link, which fails if the new name exists.
#[cfg(unix)]
fn by_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    // The file has its new name. It is no failure if the old name remains.
    let _ = fs::remove_file(from);
    Ok(())
}

/// Makes an empty file of the new name, which fails if the name exists. Renames over that file as
/// long as it is the same file and still empty.
#[cfg(unix)]
fn over_own_file(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    let own = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let own = own.metadata()?;
    let is_own = || {
        fs::symlink_metadata(to)
            .is_ok_and(|found| (found.dev(), found.ino(), found.len()) == (own.dev(), own.ino(), 0))
    };
    if !is_own() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to).inspect_err(|_| {
        if is_own() {
            let _ = fs::remove_file(to);
        }
    })
}

/// Makes an empty folder of the new name, which fails if the name exists. Renames onto that folder,
/// which fails unless it is empty.
#[cfg(unix)]
fn over_own_folder(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(to)?;
    fs::rename(from, to).map_err(|error| {
        // The removal fails if somebody has put something into the folder.
        let _ = fs::remove_dir(to);
        use io::ErrorKind::{DirectoryNotEmpty, NotADirectory};
        match error.kind() {
            DirectoryNotEmpty | NotADirectory => io::ErrorKind::AlreadyExists.into(),
            _ => error,
        }
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;

    type Rename = fn(&Path, &Path) -> io::Result<()>;

    const FILE_WAYS: [Rename; 4] = [file_to_free_name, without_replacing, by_link, over_own_file];
    const FOLDER_WAYS: [Rename; 3] = [folder_to_free_name, without_replacing, over_own_folder];

    fn file_and_folder() -> (TempDir, PathBuf, PathBuf) {
        let place = TempDir::new().unwrap();
        let (file, folder) = (place.path().join("file"), place.path().join("folder"));
        fs::write(&file, "new").unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("in"), "new").unwrap();
        (place, file, folder)
    }

    #[test]
    fn every_way_gives_a_free_name() {
        for way in FILE_WAYS {
            let (place, file, _) = file_and_folder();
            way(&file, &place.path().join("out")).unwrap();
            assert_eq!(fs::read(place.path().join("out")).unwrap(), b"new");
            assert!(!file.exists());
        }
        for way in FOLDER_WAYS {
            let (place, _, folder) = file_and_folder();
            way(&folder, &place.path().join("out")).unwrap();
            assert_eq!(fs::read(place.path().join("out/in")).unwrap(), b"new");
            assert!(!folder.exists());
        }
    }

    #[test]
    fn no_way_replaces_anything() {
        let makers: [fn(&Path); 4] = [
            |out| fs::write(out, "theirs").unwrap(),
            |out| fs::write(out, "").unwrap(),
            |out| fs::create_dir(out).unwrap(),
            |out| std::os::unix::fs::symlink("nowhere", out).unwrap(),
        ];
        for make in makers {
            let (place, file, folder) = file_and_folder();
            let out = place.path().join("out");
            make(&out);
            let before = fs::symlink_metadata(&out).unwrap();
            let ways = FILE_WAYS.map(|way| (way, &file));
            for (way, from) in ways
                .into_iter()
                .chain(FOLDER_WAYS.map(|way| (way, &folder)))
            {
                let refused = way(from, &out).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
                let after = fs::symlink_metadata(&out).unwrap();
                use std::os::unix::fs::MetadataExt;
                assert_eq!((after.ino(), after.len()), (before.ino(), before.len()));
                assert!(from.exists());
            }
        }
    }

    /// Models a race: the name is free when it is reserved, and holds something a moment later.
    #[test]
    fn a_reserved_folder_that_somebody_fills_stays_theirs() {
        let (place, _, folder) = file_and_folder();
        let out = place.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("notes"), "theirs").unwrap();
        assert!(fs::rename(&folder, &out).is_err());
        assert_eq!(fs::read(out.join("notes")).unwrap(), b"theirs");
    }
}
