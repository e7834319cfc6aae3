//! The manifest of a corpus, valid by construction. Described for other languages by
//! `conformance/manifest.schema.json`.
//!
//! Parsing has three modules. [`raw`] has the JSON's fields. [`newer`] sets aside what a newer
//! manifest has and this runner does not know. [`validate`] turns the rest into the types here and
//! names the case of a wrong value.

mod newer;
mod raw;
mod validate;

use std::{collections::BTreeMap, fmt, path::Path};

use crate::{Recipe, Section};

/// A corpus manifest: each file of the corpus and the expected result.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The version of the format that the cases belong to, such as `1.0-rc.1`.
    pub format_version: String,
    /// The SPDX license expression of the corpus files.
    pub license: String,
    /// The cases, in the order of the manifest. Their ids are unique.
    pub cases: Vec<Case>,
    /// What this runner does not know and therefore ignores.
    pub ignored: Ignored,
}

impl Manifest {
    /// Parses and validates the text of a manifest. Touches no file.
    ///
    /// A newer manifest may have members, and cases of kinds, profiles and categories, that this
    /// runner does not know. They are ignored and counted.
    pub fn parse(json: &str) -> Result<Self, ManifestError> {
        let raw: raw::Manifest = serde_json::from_str(json).map_err(ManifestError::json)?;
        validate::manifest(raw, newer::unknown_members(json)?)
    }
}

/// Contents of a newer manifest that this runner ignores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    /// The number of cases by what is unknown, such as ``kind `tensor-slice` ``.
    pub cases: BTreeMap<String, usize>,
    /// The number of unknown members by name.
    pub members: BTreeMap<String, usize>,
}

impl Ignored {
    /// The number of cases that are ignored.
    pub fn case_count(&self) -> usize {
        self.cases.values().sum()
    }
}

/// One claim about the format and the file that tests it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The unique name, in kebab case.
    pub id: String,
    /// The claim as a sentence.
    pub claim: String,
    /// The least profile whose decoders must get this case right.
    pub profile: Profile,
    /// The sections of the specification that the case exercises. At least one.
    pub sections: Vec<Section>,
    /// Free labels, such as `edge-case`.
    pub flags: Vec<String>,
    /// The step of `conformance/README.md` with which a decoder must get this case right.
    pub step: Option<u8>,
    /// The rule under which a decoder of profile core rejects the file. Only a case of profile full
    /// has one. Without it, a core decoder may do either.
    pub core_rule: Option<String>,
    /// The file under test; for [`Expect::Encode`] and [`Expect::Transcode`], the file that must be
    /// written.
    pub file: CorpusPath,
    /// What the runner makes the case's files of, which are then not in the corpus.
    pub recipe: Option<Recipe>,
    /// Whether the file is so large that a run leaves the case out unless it is asked for.
    pub large: bool,
    /// The expected result.
    pub expect: Expect,
}

impl Case {
    /// All kinds, in the order in which documents list them.
    pub const KINDS: [&'static str; 7] = [
        "accept",
        "reject",
        "prefixes",
        "encode",
        "encode-refuse",
        "transcode",
        "transcode-refuse",
    ];

    /// The kind in the manifest, such as `accept`.
    pub fn kind(&self) -> &'static str {
        match self.expect {
            Expect::Accept(_) => "accept",
            Expect::Reject { .. } => "reject",
            Expect::Prefixes { .. } => "prefixes",
            Expect::Encode { .. } => "encode",
            Expect::EncodeRefuse { .. } => "encode-refuse",
            Expect::Transcode { .. } => "transcode",
            Expect::TranscodeRefuse { .. } => "transcode-refuse",
        }
    }

    /// Whether the case concerns a decoder: its kind is accept, reject or prefixes.
    pub fn is_decode(&self) -> bool {
        matches!(
            self.expect,
            Expect::Accept(_) | Expect::Reject { .. } | Expect::Prefixes { .. }
        )
    }

    /// The rule that the file breaks, where the case names one, and its category.
    pub fn rule(&self) -> Option<(&str, Category)> {
        match &self.expect {
            Expect::Reject { rule, category } | Expect::TranscodeRefuse { rule, category, .. } => {
                Some((rule, *category))
            }
            Expect::Prefixes { broken, .. } => broken
                .as_ref()
                .map(|(rule, category)| (rule.as_str(), *category)),
            Expect::Accept(_)
            | Expect::Encode { .. }
            | Expect::EncodeRefuse { .. }
            | Expect::Transcode { .. } => None,
        }
    }
}

/// Expected result of a case.
#[derive(Debug, Clone)]
pub enum Expect {
    /// The file is valid and restores to this.
    Accept(Accept),
    /// The file breaks `rule`, so it is rejected.
    Reject {
        /// The id of the rule in section 10 of the specification.
        rule: String,
        /// The rule's category there.
        category: Category,
    },
    /// Every strict prefix of the file is rejected.
    Prefixes {
        /// Prefixes of 0, `stride`, 2·`stride`, … bytes are tried, and always the longest one. At
        /// least 1.
        stride: u64,
        /// The rule that the prefixes break, and its category, where the case names one.
        broken: Option<(String, Category)>,
    },
    /// An encoder makes exactly the case's file out of `source`.
    Encode {
        /// The encoder's input.
        source: CorpusPath,
        /// The encoder's parameters. `encoding` and `chunk` are always there.
        parameters: Parameters,
    },
    /// An encoder refuses the case's file, which is no source of a valid file (section 11.1).
    EncodeRefuse {
        /// The encoder's parameters, as for [`Expect::Encode`].
        parameters: Parameters,
    },
    /// A transcoder makes exactly the case's file out of the file `source` (section 11.9).
    Transcode {
        /// The transcoder's input.
        source: CorpusPath,
        /// The transcoder's parameters. `encoding` is always there.
        parameters: Parameters,
    },
    /// A transcoder rejects the case's file.
    TranscodeRefuse {
        /// The id of the rule that the file breaks.
        rule: String,
        /// The rule's category.
        category: Category,
        /// The transcoder's parameters, as for [`Expect::Transcode`].
        parameters: Parameters,
    },
}

/// The expected restored source of a valid file.
#[derive(Debug, Clone)]
pub struct Accept {
    /// Length of the restored source in bytes.
    pub length_bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The tensors in directory order. The first begins after the source section, each where the
    /// one before it ended, and the last ends with the restored source.
    pub tensors: Vec<Tensor>,
    /// The restored source itself, where the manifest has it as `restored_hex`.
    pub restored: Option<Vec<u8>>,
    /// A file that holds the restored source, where the manifest names it as `source`.
    pub source: Option<CorpusPath>,
}

/// A tensor's bytes in the restored source.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The tensor's name.
    pub name: String,
    /// Its type, by the names of section 4.1.
    pub dtype: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Offset of its bytes in the restored source.
    pub offset: u64,
    /// The number of its bytes.
    pub length_bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
}

/// Profile of a decoder; full includes core (section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Header, directory, raw, huffman.
    Core,
    /// Core, palette, and the rule `source-header`.
    Full,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Profile::Core => "core",
            Profile::Full => "full",
        })
    }
}

/// Category of a rule (section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// The file is bad.
    Malformed,
    /// More bytes would help.
    Truncated,
    /// A newer decoder would help.
    Unsupported,
    /// The file is too large for the format.
    Limit,
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Category::Malformed => "malformed",
            Category::Truncated => "truncated",
            Category::Unsupported => "unsupported",
            Category::Limit => "limit",
        })
    }
}

/// A path inside the corpus folder: relative, with `/`, and without `.` and `..`. The files that the
/// runner makes have paths in the folder `made`, which is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorpusPath(String);

impl CorpusPath {
    /// The path below the corpus folder.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for CorpusPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Parameters of an encoder or a transcoder by name, as they are put into its command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// The value of a parameter, if the case sets it.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// An invalid manifest: the position and the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// The position: `line 12, column 8`, or ``case 3 (`valid-one-weight`)``. It is empty if the
    /// problem concerns the whole manifest.
    pub location: String,
    /// The problem, with the expected value.
    pub problem: String,
}

impl ManifestError {
    fn json(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // serde_json's message ends with the position; here the position comes first.
        let problem = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(problem, _)| problem)
            .to_owned();
        Self {
            location: format!("line {}, column {}", error.line(), error.column()),
            problem,
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.location.is_empty() {
            write!(f, "{}: ", self.location)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ManifestError {}
