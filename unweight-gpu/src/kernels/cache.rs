//! Folder cache for images that NVRTC compiled.
//!
//! A file has `MAGIC`, its key, the SHA-256 of the image, and the image. Its name is the key in
//! hexadecimal digits. It is written under a temporary name and renamed. The final name therefore
//! never has a partial file, and two processes may write it at once. A file that is damaged, or
//! that another user could have written, is compiled again. An image that cannot be written is not
//! cached.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use crate::GpuError;

const MAGIC: &[u8; 16] = b"unweight kernel\n";
/// Limit on the file size, far above that of an image. It prevents reading a large unrelated file
/// whole.
const MOST_BYTES: u64 = 64 << 20;

/// The inputs of an image.
pub(crate) struct Key(Sha256);

impl Key {
    /// A key for this version of the crate.
    pub(crate) fn new() -> Key {
        let mut key = Key(Sha256::new());
        key.add(env!("CARGO_PKG_VERSION"));
        key
    }

    pub(crate) fn add(&mut self, text: &str) -> &mut Key {
        // The length is hashed too, so that the boundary between two texts is unambiguous.
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
        self
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The cache folder.
#[derive(Clone, Debug)]
pub(crate) struct KernelCache {
    folder: PathBuf,
}

impl KernelCache {
    pub(crate) const fn new(folder: PathBuf) -> KernelCache {
        KernelCache { folder }
    }

    /// Calls `load` with the image of this key. The image comes from the cache, or from `compile`,
    /// and is then cached. If `load` rejects a cached image, it is compiled again.
    ///
    /// # Errors
    /// The errors of `compile`, and those of `load` for a compiled image.
    pub(crate) fn load<T>(
        &self,
        key: &[u8; 32],
        compile: impl FnOnce() -> Result<Vec<u8>, GpuError>,
        load: impl Fn(&[u8]) -> Result<T, GpuError>,
    ) -> Result<T, GpuError> {
        if let Some(image) = self.read(key)
            && let Ok(loaded) = load(&image)
        {
            return Ok(loaded);
        }
        let image = compile()?;
        let loaded = load(&image)?;
        // A process that cannot write to the folder compiles again next time.
        let _ = self.write(key, &image);
        Ok(loaded)
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(digits)
    }

    fn read(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
        if !owner::is_private_folder(&self.folder) {
            return None;
        }
        let file = owner::open(&self.path(key)).ok()?;
        if !owner::is_private_file(&file.metadata().ok()?) {
            return None;
        }
        let mut bytes = vec![];
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(key)?;
        let (checksum, image) = rest.split_first_chunk::<32>()?;
        (*checksum == <[u8; 32]>::from(Sha256::digest(image))).then(|| image.to_vec())
    }

    fn write(&self, key: &[u8; 32], image: &[u8]) -> io::Result<()> {
        owner::create_folder(&self.folder)?;
        if !owner::is_private_folder(&self.folder) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let partial = format!(".{}-{number}.partial", std::process::id());
        let partial = self.folder.join(partial);
        // A process with the same number may have left a temporary file behind.
        let _ = fs::remove_file(&partial);
        let written = (|| {
            let mut file = owner::create(&partial)?;
            file.write_all(MAGIC)?;
            file.write_all(key)?;
            file.write_all(&Sha256::digest(image))?;
            file.write_all(image)?;
            fs::rename(&partial, self.path(key))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        written
    }
}

/// Checks of the write permissions.
#[cfg(unix)]
mod owner {
    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::OFlags;

    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;

    fn is_ours(metadata: &Metadata) -> bool {
        metadata.uid() == rustix::process::geteuid().as_raw()
    }

    pub(super) fn is_private_file(metadata: &Metadata) -> bool {
        metadata.is_file() && is_ours(metadata) && metadata.mode() & OTHERS_WRITE == 0
    }

    /// Whether the folder belongs to the user, and nobody else except root can write to it or
    /// replace it.
    pub(super) fn is_private_folder(folder: &Path) -> bool {
        let Ok(folder) = folder.canonicalize() else {
            return false;
        };
        folder.ancestors().enumerate().all(|(height, folder)| {
            let Ok(metadata) = folder.symlink_metadata() else {
                return false;
            };
            let is_writable = metadata.mode() & OTHERS_WRITE != 0;
            if height == 0 {
                return metadata.is_dir() && is_ours(&metadata) && !is_writable;
            }
            // In a sticky folder such as /tmp, nobody can move files of other users.
            (is_ours(&metadata) || metadata.uid() == 0)
                && (!is_writable || metadata.mode() & STICKY != 0)
        })
    }

    pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// Opens the file without following a link, and without waiting for the writer of a pipe.
    pub(super) fn open(path: &Path) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(path)
    }

    pub(super) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }
}

/// On systems without these permission checks, nothing is cached.
#[cfg(not(unix))]
mod owner {
    use std::fs::{File, Metadata};
    use std::io;
    use std::path::Path;

    pub(super) fn is_private_file(_: &Metadata) -> bool {
        false
    }

    pub(super) fn is_private_folder(_: &Path) -> bool {
        false
    }

    pub(super) fn create_folder(_: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn open(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn create(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn key(text: &str) -> [u8; 32] {
        let mut key = Key::new();
        key.add(text);
        key.finish()
    }

    fn cache() -> (tempfile::TempDir, KernelCache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = KernelCache::new(folder.path().join("unweight/kernels"));
        (folder, cache)
    }

    /// Returns the image, and whether it was compiled.
    fn load(cache: &KernelCache, key: &[u8; 32]) -> (Vec<u8>, bool) {
        let is_compiled = Cell::new(false);
        let compile = || {
            is_compiled.set(true);
            Ok(b"an image".to_vec())
        };
        let image = cache.load(key, compile, |image| Ok(image.to_vec()));
        (image.unwrap(), is_compiled.get())
    }

    fn compiled() -> (Vec<u8>, bool) {
        (b"an image".to_vec(), true)
    }

    fn kept() -> (Vec<u8>, bool) {
        (b"an image".to_vec(), false)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keeps_an_image_that_only_the_user_can_write() {
        let (_folder, cache) = cache();
        assert_eq!(load(&cache, &key("a")), compiled());
        assert_eq!(load(&cache, &key("a")), kept());
        assert_eq!(load(&cache, &key("b")), compiled());
        assert_eq!(mode(&cache.folder), 0o700);
        assert_eq!(mode(&cache.path(&key("a"))), 0o600);
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 2);
    }

    #[test]
    fn makes_a_damaged_image_again() {
        let (_folder, cache) = cache();
        load(&cache, &key("a"));
        let path = cache.path(&key("a"));
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(load(&cache, &key("a")), compiled(), "byte {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(load(&cache, &key("a")), compiled(), "{place} bytes");
        }
        assert_eq!(load(&cache, &key("a")), kept());
    }

    #[test]
    fn makes_an_image_of_another_key_again() {
        let (_folder, cache) = cache();
        load(&cache, &key("a"));
        fs::copy(cache.path(&key("a")), cache.path(&key("b"))).unwrap();
        assert_eq!(load(&cache, &key("b")), compiled());
    }

    #[test]
    fn makes_an_image_again_that_the_driver_does_not_take() {
        let (_folder, cache) = cache();
        load(&cache, &key("a"));
        let compile = || Ok(b"another".to_vec());
        let load_another = |image: &[u8]| match image {
            b"another" => Ok(()),
            _ => Err(GpuError::NoKernels),
        };
        cache.load(&key("a"), compile, load_another).unwrap();
        assert_eq!(load(&cache, &key("a")), (b"another".to_vec(), false));
    }

    #[test]
    fn does_not_use_what_others_can_write() {
        let (folder, cache) = cache();
        load(&cache, &key("a"));
        let path = cache.path(&key("a"));
        for (place, private) in [
            (path.as_path(), 0o600),
            (&cache.folder, 0o700),
            (folder.path(), 0o700),
        ] {
            for open in [0o020, 0o002] {
                set_mode(place, private | open);
                assert_eq!(load(&cache, &key("a")), compiled(), "{}", place.display());
                // An unsafe file is replaced by the first load. Files in unsafe folders never are.
                if place != path {
                    assert_eq!(load(&cache, &key("a")), compiled(), "{}", place.display());
                }
                set_mode(place, private);
            }
            assert_eq!(load(&cache, &key("a")), kept());
        }
    }

    #[test]
    fn does_not_follow_links() {
        let (folder, cache) = cache();
        load(&cache, &key("a"));
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(cache.path(&key("a")), &elsewhere).unwrap();
        symlink(&elsewhere, cache.path(&key("a"))).unwrap();
        assert_eq!(load(&cache, &key("a")), compiled());
        assert_eq!(load(&cache, &key("a")), kept());
    }

    #[test]
    fn does_not_use_what_others_own() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give files away");
            return;
        }
        let (_folder, cache) = cache();
        load(&cache, &key("a"));
        let path = cache.path(&key("a"));
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert_eq!(load(&cache, &key("a")), compiled());
        assert_eq!(load(&cache, &key("a")), kept());
        std::os::unix::fs::chown(&cache.folder, Some(65_534), None).unwrap();
        assert_eq!(load(&cache, &key("a")), compiled());
        assert_eq!(load(&cache, &key("a")), compiled());
    }

    #[test]
    fn does_without_a_folder_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "no folder").unwrap();
        let cache = KernelCache::new(file.join("kernels"));
        assert_eq!(load(&cache, &key("a")), compiled());
        assert_eq!(load(&cache, &key("a")), compiled());
    }

    #[test]
    fn gives_errors_of_the_compiler_and_keeps_nothing() {
        let (_folder, cache) = cache();
        let compile = || Err(GpuError::Compile("no".to_owned()));
        assert!(cache.load(&key("a"), compile, |_| Ok(())).is_err());
        assert!(!cache.folder.exists());
    }

    #[test]
    fn many_processes_may_write_at_once() {
        let (_folder, cache) = cache();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(load(&cache, &key("a")).0, b"an image");
                        let _ = cache.write(&key("a"), b"an image");
                    }
                });
            }
        });
        assert_eq!(load(&cache, &key("a")), kept());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
    }

    #[test]
    fn keys_differ_in_each_text_and_in_where_it_ends() {
        let of = |texts: &[&str]| {
            let mut key = Key::new();
            texts.iter().for_each(|text| {
                key.add(text);
            });
            key.finish()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", "c"]), of(&["abc"]));
    }
}
