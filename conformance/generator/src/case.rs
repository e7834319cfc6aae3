//! Cases and their list.

use unweight_format::{Category, Rule};

use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

/// One claim about the format, and the file that tests it.
#[derive(Clone)]
pub struct Case {
    /// The unique name: the claim in a few words. Its file has this name too.
    pub id: String,
    /// The claim as a sentence.
    pub claim: String,
    /// Whether the case only applies to decoders of profile full.
    pub full: bool,
    /// The sections of the specification that the case exercises.
    pub sections: Vec<&'static str>,
    /// The file: its path in the corpus.
    pub file: String,
    /// The expected result.
    pub expect: Expect,
}

/// Expected result of a case.
#[derive(Clone)]
pub enum Expect {
    /// The file restores to these bytes.
    Accept {
        /// The restored source.
        restored: Vec<u8>,
        /// The tensors. Their data is the end of the restored source.
        tensors: Vec<Tensor>,
        /// A file of the corpus with the restored source.
        source: Option<String>,
    },
    /// The file breaks this rule.
    Reject(Rule),
    /// Every strict prefix of the file breaks this rule.
    Prefixes(Rule),
    /// An encoder produces the file from this file of the corpus.
    Encode {
        /// The file's path.
        source: String,
        /// huffman or palette.
        encoding: &'static str,
        /// Binary logarithm of the weights of a chunk.
        chunk: u8,
    },
    /// An encoder refuses the file.
    EncodeRefuse,
    /// A transcoder produces the file from this file of the corpus.
    Transcode {
        /// The file's path.
        source: String,
        /// huffman or palette.
        encoding: &'static str,
    },
    /// A transcoder rejects the file, which breaks this rule.
    TranscodeRefuse {
        /// The rule.
        rule: Rule,
        /// huffman or palette.
        encoding: &'static str,
    },
}

/// A file of the corpus.
#[derive(Clone)]
pub struct CorpusFile {
    /// Its path in the corpus.
    pub path: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Cases and files, in the order in which they were made.
#[derive(Default)]
pub struct Cases {
    /// The cases.
    pub cases: Vec<Case>,
    /// The files.
    pub files: Vec<CorpusFile>,
}

impl Cases {
    /// A valid file.
    pub fn accept(&mut self, id: &str, sections: &[&'static str], claim: &str, draft: &Draft) {
        self.accept_forged(id, sections, claim, draft, draft.forge());
    }

    /// A valid file whose bytes differ from the draft's, with the same restored source.
    pub fn accept_forged(
        &mut self,
        id: &str,
        sections: &[&'static str],
        claim: &str,
        draft: &Draft,
        forge: Forge,
    ) {
        let file = self.file(format!("valid/{id}.unw"), forge.into_bytes());
        self.cases.push(Case {
            id: id.to_owned(),
            claim: claim.to_owned(),
            full: draft.has_palette(),
            sections: sections.to_vec(),
            file,
            expect: Expect::Accept {
                restored: draft.restored(),
                tensors: draft.tensors.clone(),
                source: None,
            },
        });
    }

    /// A file that breaks `rule`; the case exercises the rule's section, and section 9 if the rule
    /// is a limit.
    pub fn reject(&mut self, id: &str, rule: Rule, claim: &str, forge: Forge) {
        self.reject_of_profile(id, rule, claim, forge, rule == Rule::SourceHeader);
    }

    /// A file with a palette field that breaks `rule`: a case of profile full.
    pub fn reject_full(&mut self, id: &str, rule: Rule, claim: &str, forge: Forge) {
        self.reject_of_profile(id, rule, claim, forge, true);
    }

    fn reject_of_profile(&mut self, id: &str, rule: Rule, claim: &str, forge: Forge, full: bool) {
        let mut sections: Vec<&str> = sections_of(rule);
        sections.push("10");
        let file = self.file(format!("invalid/{id}.unw"), forge.into_bytes());
        self.cases.push(Case {
            id: id.to_owned(),
            claim: claim.to_owned(),
            full,
            sections,
            file,
            expect: Expect::Reject(rule),
        });
    }

    /// Adds sections to the last case.
    pub fn also(&mut self, sections: &[&'static str]) {
        let case = self.cases.last_mut().expect("a case was added");
        for section in sections {
            if !case.sections.contains(section) {
                case.sections.push(section);
            }
        }
        case.sections.sort_by_key(|section| section_order(section));
    }

    /// The case with this id.
    pub fn case(&self, id: &str) -> &Case {
        let found = self.cases.iter().find(|case| case.id == id);
        found.unwrap_or_else(|| panic!("there is no case {id}"))
    }

    /// The contents of the file with this path.
    pub fn bytes(&self, path: &str) -> &[u8] {
        let found = self.files.iter().find(|file| file.path == path);
        &found
            .unwrap_or_else(|| panic!("there is no file {path}"))
            .bytes
    }

    /// Adds a file and returns its path.
    pub fn file(&mut self, path: String, bytes: Vec<u8>) -> String {
        self.files.push(CorpusFile {
            path: path.clone(),
            bytes,
        });
        path
    }
}

/// The section of a rule, and section 9 if the rule is a limit.
pub fn sections_of(rule: Rule) -> Vec<&'static str> {
    let mut sections: Vec<&str> = rule.section().split(", ").collect();
    if rule.category() == Category::Limit || rule == Rule::RecordTooLong {
        sections.push("9");
    }
    sections
}

fn section_order(section: &str) -> Vec<u32> {
    section
        .split('.')
        .map(|part| part.parse().expect("a section is numbers"))
        .collect()
}
