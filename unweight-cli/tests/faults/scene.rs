//! Small runs of the program: the files before, the call, and the files after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::tracer::UNWEIGHT;

/// A call of the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) arguments: &'static [&'static str],
    /// Name of what the call makes or replaces.
    pub(crate) output: Option<&'static str>,
}

const fn scene(arguments: &'static [&'static str], output: Option<&'static str>) -> Scene {
    Scene { arguments, output }
}

pub(crate) const SCENES: [Scene; 13] = [
    scene(&["compress", "m.safetensors", "-o", "out"], Some("out")),
    scene(
        &[
            "compress",
            "m.safetensors",
            "-o",
            "old",
            "--force",
            "--verify",
        ],
        Some("old"),
    ),
    scene(&["decompress", "m.unw", "-o", "out"], Some("out")),
    scene(
        &["transcode", "m.unw", "--to", "palette", "-o", "out"],
        Some("out"),
    ),
    scene(&["extract", "m.unw", "head", "-o", "out"], Some("out")),
    scene(&["verify", "m.unw"], None),
    scene(&["verify", "m.unw", "--against", "m.safetensors"], None),
    scene(&["inspect", "m.unw"], None),
    scene(&["compress", "src", "-o", "out"], Some("out")),
    scene(
        &["compress", "src", "-o", "older", "--force"],
        Some("older"),
    ),
    scene(&["decompress", "c", "-o", "out"], Some("out")),
    scene(&["verify", "c", "--against", "src"], None),
    scene(&["compress", "src", "-o", "out", "--resume"], Some("out")),
];

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    File { bytes: Vec<u8>, mode: u32 },
    Folder { mode: u32 },
}

/// Everything in a folder, by relative path.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// The entry `name` of a tree and everything in it.
pub(crate) fn part<E: Clone>(tree: &BTreeMap<String, E>, name: &str) -> BTreeMap<String, E> {
    let is_in = |path: &str| path == name || path.starts_with(&format!("{name}/"));
    let entries = tree.iter().filter(|(path, _)| is_in(path));
    entries
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .collect()
}

/// The tree without the entry `name`.
pub(crate) fn without(tree: &Tree, name: &str) -> Tree {
    let own = part(tree, name);
    let others = tree.iter().filter(|(path, _)| !own.contains_key(*path));
    others
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .collect()
}

/// The tree without permissions: files with their bytes, and folders as None.
pub(crate) fn contents(tree: &Tree) -> BTreeMap<&str, Option<&[u8]>> {
    let entries = tree.iter().map(|(name, entry)| match entry {
        Entry::File { bytes, .. } => (name.as_str(), Some(&bytes[..])),
        Entry::Folder { .. } => (name.as_str(), None),
    });
    entries.collect()
}

/// Folder in memory if there is one: tests make it again thousands of times.
pub(crate) fn fresh_folder() -> TempDir {
    match TempDir::new_in("/dev/shm") {
        Ok(folder) => folder,
        Err(_) => TempDir::new().unwrap(),
    }
}

/// The files of all scenes: `m.safetensors`, `m.unw`, the files of other content `old` and `older`,
/// the folder `src`, and `c` made from it.
pub(crate) fn before() -> Tree {
    let folder = fresh_folder();
    let path = |name: &str| folder.path().join(name);
    let mut numbers = Random::new(11);
    let model = safetensors_file(&[
        bf16("head", &numbers.trained_weights(3_000)),
        tensor("bias", "F32", &[9], vec![5; 36]),
        bf16("noise", &numbers.random_weights(500)),
    ]);
    let other = safetensors_file(&[bf16("head", &numbers.trained_weights(2_000))]);
    fs::create_dir_all(path("src/deep")).unwrap();
    fs::create_dir_all(path("s/deep")).unwrap();
    fs::write(path("m.safetensors"), &model).unwrap();
    fs::write(path("old"), "content of another file").unwrap();
    fs::write(path("src/m.safetensors"), &model).unwrap();
    fs::write(path("src/config.json"), "{}").unwrap();
    fs::write(path("src/deep/notes"), "notes").unwrap();
    fs::write(path("s/m.safetensors"), &other).unwrap();
    fs::write(path("s/config.json"), "{ }").unwrap();
    for call in [
        &["compress", "m.safetensors"][..],
        &["compress", "src", "-o", "c"],
        &["compress", "s", "-o", "older"],
    ] {
        let done = Command::new(UNWEIGHT)
            .args(call)
            .arg("--quiet")
            .current_dir(folder.path())
            .status();
        assert!(done.unwrap().success());
    }
    fs::remove_dir_all(path("s")).unwrap();
    read(folder.path())
}

/// Makes the entries of a tree in an empty folder.
pub(crate) fn write(folder: &Path, tree: &Tree) {
    for (name, entry) in tree {
        let path = folder.join(name);
        let mode = match entry {
            Entry::Folder { mode } => {
                fs::create_dir(&path).unwrap();
                mode
            }
            Entry::File { bytes, mode } => {
                fs::write(&path, bytes).unwrap();
                mode
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
}

pub(crate) fn read(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    read_into(folder, folder, &mut tree);
    tree
}

fn read_into(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = path.symlink_metadata().unwrap();
        let mode = found.permissions().mode() & 0o7777;
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if found.is_dir() {
            tree.insert(name, Entry::Folder { mode });
            read_into(root, &path, tree);
        } else {
            let bytes = fs::read(&path).unwrap();
            tree.insert(name, Entry::File { bytes, mode });
        }
    }
}
