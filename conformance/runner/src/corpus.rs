//! A corpus on disk: a folder with a `manifest.json` whose files all exist and all lie inside the
//! folder.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Case, CorpusPath, Expect, InProcess, Manifest, Parameters, Rejection, Report, RunError,
    RunOptions, Subjects, run_with,
};

/// A corpus, opened and checked.
#[derive(Debug)]
pub struct Corpus {
    root: PathBuf,
    manifest: Manifest,
}

impl Corpus {
    /// Opens the corpus in the folder `root`: reads its manifest and checks that every file it
    /// names is there.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, CorpusError> {
        let root = root.as_ref();
        let path = root.join("manifest.json");
        let fail = |problem: String| CorpusError {
            manifest: path.clone(),
            problem,
        };
        let json = fs::read_to_string(&path).map_err(|error| {
            fail(format!(
                "cannot be read: {error}; name the folder that holds the corpus's manifest.json"
            ))
        })?;
        let manifest = Manifest::parse(&json).map_err(|error| fail(error.to_string()))?;
        let root = root
            .canonicalize()
            .map_err(|error| fail(error.to_string()))?;
        for (position, case) in manifest.cases.iter().enumerate() {
            for file in files_of(case) {
                check_file(&root, file).map_err(|problem| {
                    fail(format!(
                        "case {} (`{}`): {file} {problem}",
                        position + 1,
                        case.id
                    ))
                })?;
            }
        }
        Ok(Self { root, manifest })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The cases, in the order of the manifest.
    pub fn cases(&self) -> &[Case] {
        &self.manifest.cases
    }

    /// The folder of the corpus.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads a file of the corpus.
    pub fn read(&self, file: &CorpusPath) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(file.as_path()))
    }

    /// Runs a Rust decoder through every accept, reject and prefixes case, on all cores.
    ///
    /// `decode` is given a whole file and returns the restored source. A panic is caught and
    /// reported as a crash; there is no time limit. The other cases are reported as not run.
    pub fn check<D>(&self, decode: D) -> Result<Report, RunError>
    where
        D: Fn(&[u8]) -> Result<Vec<u8>, Rejection> + Sync,
    {
        let decoder = InProcess(|file: &[u8], _: &Parameters| decode(file));
        let subjects = Subjects {
            decoder: Some(&decoder),
            ..Subjects::default()
        };
        run_with(self, &RunOptions::default(), subjects, &|_| ())
    }

    /// Runs a Rust encoder through every encode and encode-refuse case, on all cores.
    ///
    /// `encode` is given a source and the case's parameters and returns the `.unw` file, or refuses.
    /// The other cases are reported as not run.
    pub fn check_encoder<E>(&self, encode: E) -> Result<Report, RunError>
    where
        E: Fn(&[u8], &Parameters) -> Result<Vec<u8>, Rejection> + Sync,
    {
        let encoder = InProcess(encode);
        let subjects = Subjects {
            encoder: Some(&encoder),
            ..Subjects::default()
        };
        run_with(self, &RunOptions::default(), subjects, &|_| ())
    }

    /// Runs a Rust transcoder through every transcode and transcode-refuse case, on all cores.
    ///
    /// `transcode` is given a `.unw` file and the case's parameters and returns another, or rejects.
    /// The other cases are reported as not run.
    pub fn check_transcoder<T>(&self, transcode: T) -> Result<Report, RunError>
    where
        T: Fn(&[u8], &Parameters) -> Result<Vec<u8>, Rejection> + Sync,
    {
        let transcoder = InProcess(transcode);
        let subjects = Subjects {
            transcoder: Some(&transcoder),
            ..Subjects::default()
        };
        run_with(self, &RunOptions::default(), subjects, &|_| ())
    }
}

/// Every file that a case names.
fn files_of(case: &Case) -> impl Iterator<Item = &CorpusPath> {
    let second = match &case.expect {
        Expect::Encode { source, .. } | Expect::Transcode { source, .. } => Some(source),
        Expect::Accept(accept) => accept.source.as_ref(),
        Expect::Reject { .. }
        | Expect::Prefixes { .. }
        | Expect::EncodeRefuse { .. }
        | Expect::TranscodeRefuse { .. } => None,
    };
    std::iter::once(&case.file).chain(second)
}

/// A link could lead out of the folder although its path does not, so the resolved path is checked
/// as well.
fn check_file(root: &Path, file: &CorpusPath) -> Result<(), String> {
    let resolved = root
        .join(file.as_path())
        .canonicalize()
        .map_err(|error| format!("cannot be read: {error}"))?;
    if !resolved.starts_with(root) {
        return Err("is a link that leads out of the corpus".into());
    }
    if !resolved.is_file() {
        return Err("is not a file".into());
    }
    Ok(())
}

/// Error of a corpus that cannot be opened.
#[derive(Debug, Clone)]
pub struct CorpusError {
    /// The manifest.
    pub manifest: PathBuf,
    /// The problem, and its position in the manifest.
    pub problem: String,
}

impl fmt::Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.manifest.display(), self.problem)
    }
}

impl std::error::Error for CorpusError {}
