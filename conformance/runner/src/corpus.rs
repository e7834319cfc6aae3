//! A corpus: a `manifest.json` and the files that it names, in a folder or inside the program.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Case, CorpusPath, Expect, InProcess, Manifest, Parameters, Profile, Rejection, Report,
    RunError, RunOptions, Subjects, run_with,
};

/// A corpus, opened and checked.
#[derive(Debug)]
pub struct Corpus {
    files: Files,
    manifest: Manifest,
}

/// Where the files are.
#[derive(Debug)]
enum Files {
    /// In this folder. All exist and lie inside it.
    Folder(PathBuf),
    /// In `unweight-corpus-data`.
    #[cfg(feature = "embedded")]
    Embedded,
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
        let stored = manifest.cases.iter().filter(|case| case.recipe.is_none());
        for (position, case) in stored.enumerate() {
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
        Ok(Self {
            files: Files::Folder(root),
            manifest,
        })
    }

    /// The corpus of this version of the runner, which is inside the program.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Self {
        let json = unweight_corpus_data::file("manifest.json").expect("the data have a manifest");
        let json = std::str::from_utf8(json).expect("the manifest is UTF-8");
        let manifest = Manifest::parse(json).expect("the manifest of the data is valid");
        let stored = manifest.cases.iter().filter(|case| case.recipe.is_none());
        let all = stored.flat_map(files_of);
        let missing = all.into_iter().find(|file| embedded_file(file).is_err());
        assert!(missing.is_none(), "the data lack {missing:?}");
        Self {
            files: Files::Embedded,
            manifest,
        }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The cases, in the order of the manifest.
    pub fn cases(&self) -> &[Case] {
        &self.manifest.cases
    }

    /// The folder of the corpus, unless it is inside the program.
    pub fn root(&self) -> Option<&Path> {
        match &self.files {
            Files::Folder(root) => Some(root),
            #[cfg(feature = "embedded")]
            Files::Embedded => None,
        }
    }

    /// Reads a file of the corpus, or makes it.
    pub fn read(&self, file: &CorpusPath) -> io::Result<Vec<u8>> {
        if file.as_path().starts_with("made") {
            return self
                .make(file)
                .ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        match &self.files {
            Files::Folder(root) => fs::read(root.join(file.as_path())),
            #[cfg(feature = "embedded")]
            Files::Embedded => embedded_file(file).map(<[u8]>::to_vec),
        }
    }

    /// The file with this path, of the recipe of the case that names it.
    fn make(&self, file: &CorpusPath) -> Option<Vec<u8>> {
        let mut cases = self.manifest.cases.iter();
        let case = cases.find(|case| files_of(case).any(|named| named == file))?;
        let recipe = case.recipe.as_ref()?;
        let is_source = file.as_path().extension() == Some("safetensors".as_ref());
        Some(match is_source {
            true => recipe.restored(),
            false => recipe.file(),
        })
    }

    /// Runs a Rust decoder of `profile` through every accept, reject and prefixes case, on all cores.
    ///
    /// `decode` is given a whole file and returns the restored source. A panic is caught and
    /// reported as a crash; there is no time limit. The other cases are reported as not run.
    pub fn check<D>(&self, profile: Profile, decode: D) -> Result<Report, RunError>
    where
        D: Fn(&[u8]) -> Result<Vec<u8>, Rejection> + Sync,
    {
        let decoder = InProcess(|file: &[u8], _: &Parameters| decode(file));
        let subjects = Subjects {
            decoder: Some(&decoder),
            ..Subjects::default()
        };
        let options = RunOptions {
            profile,
            ..RunOptions::default()
        };
        run_with(self, &options, subjects, &|_| ())
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

#[cfg(feature = "embedded")]
fn embedded_file(file: &CorpusPath) -> io::Result<&'static [u8]> {
    unweight_corpus_data::file(&file.to_string()).ok_or_else(|| io::ErrorKind::NotFound.into())
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
