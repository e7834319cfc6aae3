//! Model of a disk whose power fails: what calls did to files and folders, and what a flush makes
//! sure of.
//!
//! It promises less than file systems do. Without a flush of the file, any of its writes may be
//! missing, or half of one. Without a flush of the folder, any change of its entries may be
//! missing, whichever changes came later. A rename is all or nothing, as POSIX demands.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;

use crate::scene::{Entry, Tree};
use crate::tracer::{Call, Traced};

/// A file or folder, whatever its names are.
type Node = usize;

/// A name in a folder.
type Place = (Node, String);

/// A change of the disk, or a flush.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The file gets these bytes.
    Write {
        file: Node,
        offset: usize,
        bytes: Rc<[u8]>,
    },
    /// The file gets this length.
    Resize { file: Node, length: usize },
    /// The place gets an entry.
    Link { place: Place, node: Node },
    /// The place loses its entry.
    Unlink { place: Place },
    /// The entry leaves one place for the other.
    Rename { from: Place, to: Place, node: Node },
    /// Two entries change places.
    Exchange {
        places: [Place; 2],
        nodes: [Node; 2],
    },
    /// What happened to the file, or to the entries of the folder, stays.
    Flush { node: Node },
}

impl Step {
    /// The nodes of which a flush makes sure that this step stays. One suffices: no step is half
    /// done after the flush.
    fn owners(&self) -> Vec<Node> {
        match self {
            Step::Write { file, .. } | Step::Resize { file, .. } => vec![*file],
            Step::Link { place, .. } | Step::Unlink { place } => vec![place.0],
            Step::Rename { from, to, .. } => vec![from.0, to.0],
            Step::Exchange { places, .. } => vec![places[0].0, places[1].0],
            Step::Flush { .. } => vec![],
        }
    }

    /// The step half done, if it can be.
    fn half(&self) -> Option<Step> {
        match self {
            Step::Write {
                file,
                offset,
                bytes,
            } if bytes.len() > 1 => Some(Step::Write {
                file: *file,
                offset: *offset,
                bytes: bytes[..bytes.len() / 2].into(),
            }),
            _ => None,
        }
    }
}

const ROOT: Node = 0;

/// Content of a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<Node, Rc<Vec<u8>>>,
    folders: BTreeMap<Node, BTreeMap<String, Node>>,
}

impl Disk {
    /// A disk that holds the entries of a tree.
    pub(crate) fn with(tree: &Tree) -> Disk {
        let mut disk = Disk::default();
        disk.folders.insert(ROOT, BTreeMap::new());
        for (node, (name, entry)) in (1..).zip(tree) {
            match entry {
                Entry::File { bytes, .. } => {
                    disk.files.insert(node, Rc::new(bytes.clone()));
                }
                Entry::Folder { .. } => {
                    disk.folders.insert(node, BTreeMap::new());
                }
            }
            let (folder, name) = disk.place(name).unwrap();
            disk.folders.get_mut(&folder).unwrap().insert(name, node);
        }
        disk
    }

    /// All files by their paths, and folders as None.
    pub(crate) fn content(&self) -> BTreeMap<String, Option<Rc<Vec<u8>>>> {
        let mut content = BTreeMap::new();
        self.add_content(ROOT, "", &mut content);
        content
    }

    fn add_content(
        &self,
        folder: Node,
        before: &str,
        content: &mut BTreeMap<String, Option<Rc<Vec<u8>>>>,
    ) {
        for (name, node) in &self.folders[&folder] {
            let path = format!("{before}{name}");
            match self.files.get(node) {
                Some(bytes) => {
                    content.insert(path, Some(bytes.clone()));
                }
                None => {
                    self.add_content(*node, &format!("{path}/"), content);
                    content.insert(path, None);
                }
            }
        }
    }

    /// Makes the files and folders in an empty folder.
    pub(crate) fn write_to(&self, folder: &Path) {
        let content = self.content();
        for (name, _) in content.iter().filter(|(_, file)| file.is_none()) {
            std::fs::create_dir_all(folder.join(name)).unwrap();
            use std::os::unix::fs::PermissionsExt;
            // Folders of `--resume` are refused if others have access to them.
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(folder.join(name), mode).unwrap();
        }
        for (name, bytes) in content
            .iter()
            .filter_map(|(name, file)| Some((name, file.as_ref()?)))
        {
            std::fs::write(folder.join(name), &bytes[..]).unwrap();
        }
    }

    fn place(&self, path: &str) -> Option<Place> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some((self.node(folder)?, name.to_owned()))
    }

    fn node(&self, path: &str) -> Option<Node> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(ROOT, |node, name| {
            self.folders.get(&node)?.get(name).copied()
        })
    }

    fn entries(&mut self, place: &Place) -> &mut BTreeMap<String, Node> {
        self.folders.get_mut(&place.0).unwrap()
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Write {
                file,
                offset,
                bytes,
            } => {
                let content = Rc::make_mut(self.files.get_mut(file).unwrap());
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Step::Resize { file, length } => {
                Rc::make_mut(self.files.get_mut(file).unwrap()).resize(*length, 0);
            }
            Step::Link { place, node } => {
                self.entries(place).insert(place.1.clone(), *node);
            }
            Step::Unlink { place } => {
                self.entries(place).remove(&place.1);
            }
            Step::Rename { from, to, node } => {
                self.entries(from).remove(&from.1);
                self.entries(to).insert(to.1.clone(), *node);
            }
            Step::Exchange {
                places: [a, b],
                nodes,
            } => {
                self.entries(a).insert(a.1.clone(), nodes[1]);
                self.entries(b).insert(b.1.clone(), nodes[0]);
            }
            Step::Flush { .. } => {}
        }
    }
}

/// A run as steps on a disk. `disk` has all nodes that the steps make, without names.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) disk: Disk,
    pub(crate) steps: Vec<Step>,
}

impl Recording {
    /// The disk after all steps.
    pub(crate) fn end(&self) -> Disk {
        let mut end = self.disk.clone();
        self.steps.iter().for_each(|step| end.apply(step));
        end
    }
}

/// The steps of a traced run in `folder`, which held `tree` before.
pub(crate) fn record(folder: &Path, tree: &Tree, run: &Traced) -> Recording {
    let disk = Disk::with(tree);
    let mut recorder = Recorder {
        folder: folder.to_str().unwrap().to_owned(),
        live: disk.clone(),
        disk,
        nodes_of_inodes: HashMap::new(),
        steps: Vec::new(),
    };
    for call in &run.calls {
        if call.result >= 0 {
            recorder.add(call, &run.data);
        }
    }
    Recording {
        disk: recorder.disk,
        steps: recorder.steps,
    }
}

struct Recorder {
    folder: String,
    /// The disk without power failure.
    live: Disk,
    disk: Disk,
    /// Nodes of the inodes that the run made.
    nodes_of_inodes: HashMap<u64, Node>,
    steps: Vec<Step>,
}

impl Recorder {
    fn add(&mut self, call: &Call, data: &[u8]) {
        const O_CREAT: u64 = 0o100;
        const O_TRUNC: u64 = 0o1000;
        let number = |key| call.number_of(key).unwrap_or(0);
        match call.name.as_str() {
            "open" | "openat" => {
                let Some(path) = self.relative(call.text("path")) else {
                    return;
                };
                if number("path_inode") == 0 && number("flags") & O_CREAT != 0 {
                    let node = self.new_node();
                    self.nodes_of_inodes.insert(number("new_inode"), node);
                    for disk in [&mut self.disk, &mut self.live] {
                        disk.files.insert(node, Rc::default());
                    }
                    let place = self.live.place(&path).unwrap();
                    self.step(Step::Link { place, node });
                } else if number("flags") & O_TRUNC != 0 {
                    let file = self.live.node(&path).unwrap();
                    self.step(Step::Resize { file, length: 0 });
                }
            }
            "mkdir" | "mkdirat" => {
                if let Some(path) = self.relative(call.text("path")) {
                    let node = self.new_node();
                    for disk in [&mut self.disk, &mut self.live] {
                        disk.folders.insert(node, BTreeMap::new());
                    }
                    let place = self.live.place(&path).unwrap();
                    self.step(Step::Link { place, node });
                }
            }
            "write" | "pwrite64" => {
                if let Some(file) = self.file(call, "fd") {
                    let from = number("data") as usize;
                    let bytes = data[from..from + call.result as usize].into();
                    let offset = call.number_of("offset").unwrap_or(number("fd_position")) as usize;
                    self.step(Step::Write {
                        file,
                        offset,
                        bytes,
                    });
                }
            }
            "copy_file_range" => {
                let file = self.file(call, "to_fd").unwrap();
                let source = self.file(call, "fd").unwrap();
                let from = number("fd_position") as usize;
                let bytes = self.live.files[&source][from..from + call.result as usize].into();
                let offset = number("to_fd_position") as usize;
                self.step(Step::Write {
                    file,
                    offset,
                    bytes,
                });
            }
            "ftruncate" => {
                let file = self.file(call, "fd").unwrap();
                let length = number("length") as usize;
                self.step(Step::Resize { file, length });
            }
            "fallocate" => {
                let file = self.file(call, "fd").unwrap();
                let end = (number("offset") + number("length")) as usize;
                if number("flags") == 0 && end > self.live.files[&file].len() {
                    self.step(Step::Resize { file, length: end });
                }
            }
            "fsync" | "fdatasync" => {
                let node = self.file(call, "fd").unwrap();
                self.step(Step::Flush { node });
            }
            "rename" | "renameat" | "renameat2" => {
                let [from, to] = ["path", "to"].map(|key| self.relative(call.text(key)).unwrap());
                let nodes = [&from, &to].map(|path| self.live.node(path));
                let [from, to] = [from, to].map(|path| self.live.place(&path).unwrap());
                self.step(match call.is_exchange() {
                    true => Step::Exchange {
                        places: [from, to],
                        nodes: nodes.map(Option::unwrap),
                    },
                    false => Step::Rename {
                        from,
                        to,
                        node: nodes[0].unwrap(),
                    },
                });
            }
            "link" | "linkat" => {
                let [from, to] = ["path", "to"].map(|key| self.relative(call.text(key)).unwrap());
                let node = self.live.node(&from).unwrap();
                let place = self.live.place(&to).unwrap();
                self.step(Step::Link { place, node });
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let path = self.relative(call.text("path")).unwrap();
                let place = self.live.place(&path).unwrap();
                self.step(Step::Unlink { place });
            }
            "symlink" | "symlinkat" | "truncate" | "sendfile" | "splice" | "writev" | "pwritev"
                if self.relative(Some(call.path())).is_some() =>
            {
                panic!("the model lacks {call:?}")
            }
            _ => {}
        }
    }

    fn step(&mut self, step: Step) {
        self.live.apply(&step);
        self.steps.push(step);
    }

    fn new_node(&self) -> Node {
        let last = |nodes: Option<&Node>| nodes.copied().unwrap_or(0);
        1 + last(self.live.files.keys().last()).max(last(self.live.folders.keys().last()))
    }

    /// The file or folder of a descriptor, if it is on this disk.
    fn file(&self, call: &Call, key: &str) -> Option<Node> {
        let path = self.relative(call.text(&format!("{key}_path")));
        let inode = call.number_of(&format!("{key}_inode")).unwrap();
        let made = self.nodes_of_inodes.get(&inode).copied();
        path.and_then(|path| self.live.node(&path)).or(made)
    }

    /// A path relative to the folder of the run. None if it is elsewhere.
    fn relative(&self, path: Option<&str>) -> Option<String> {
        let path = path?.replace("/./", "/");
        let rest = path.strip_prefix(&self.folder)?;
        let rest = rest.trim_start_matches('/').trim_end_matches("/.");
        Some(if rest == "." { "" } else { rest }.to_owned())
    }
}

/// Calls `check` with each state in which a power failure after the first `end` steps can leave the
/// disk. Of many missing steps, some of the combinations are taken.
pub(crate) fn after_power_failure(
    recording: &Recording,
    end: usize,
    mut check: impl FnMut(&Disk, &str),
) {
    let steps = &recording.steps[..end];
    let stays = |at: usize| {
        let flushed = |node: &Node| {
            let mut later = steps[at..].iter();
            later.any(|step| matches!(step, Step::Flush { node: flushed } if flushed == node))
        };
        let owners = steps[at].owners();
        owners.iter().any(flushed)
    };
    let sure: Vec<bool> = (0..end).map(stays).collect();
    let open: Vec<usize> = (0..end).filter(|&at| !sure[at]).collect();
    let mut try_one = |happened: &dyn Fn(usize) -> bool, torn: Option<usize>| {
        let mut disk = recording.disk.clone();
        for (at, step) in steps.iter().enumerate() {
            if torn == Some(at) {
                step.half().iter().for_each(|half| disk.apply(half));
            } else if sure[at] || happened(at) {
                disk.apply(step);
            }
        }
        check(
            &disk,
            &format!("{end} steps of {}, open: {open:?}", recording.steps.len()),
        );
    };
    // None, all, the first ones, the last ones, one alone, all but one, one half done.
    for (i, &limit) in open.iter().enumerate() {
        try_one(&|at| at < limit, None);
        try_one(&|at| at >= limit, None);
        try_one(&|at| at == limit, None);
        try_one(&|at| at != limit, None);
        if steps[limit].half().is_some() {
            try_one(&|at| at < limit, Some(limit));
            try_one(&|_| true, Some(limit));
        }
        // Pairs of changes of entries, which a rename and its folder may be.
        for &other in &open[i + 1..] {
            if !matches!(steps[limit], Step::Write { .. }) {
                try_one(&|at| at == limit || at == other, None);
                try_one(&|at| at != limit && at != other, None);
            }
        }
    }
    try_one(&|_| true, None);
}
