//! Cases whose files the runner makes, because they are too large for the corpus.

use std::iter;

use unweight_conformance_runner::Recipe;
use unweight_format::Rule;

use crate::case::sections_of;

/// A case whose file the runner makes of a recipe.
pub struct Made {
    /// The unique name.
    pub id: &'static str,
    /// The claim as a sentence.
    pub claim: &'static str,
    /// The sections of the specification that the case exercises.
    pub sections: Vec<&'static str>,
    /// The step with which a decoder gets the case right.
    pub step: Option<u8>,
    /// What the file is made of.
    pub recipe: Recipe,
    /// Whether a run leaves the case out unless it is asked for.
    pub large: bool,
    /// The expected result.
    pub expect: Expect,
}

/// Expected result of a case whose file is made.
pub enum Expect {
    /// A decoder restores the source.
    Accept,
    /// The file breaks this rule.
    Reject(Rule),
    /// An encoder makes the file of the source.
    Encode,
    /// A transcoder makes the file of itself.
    Transcode,
    /// An encoder refuses the source.
    EncodeRefuse,
}

/// More tensors than 16 bits count.
const MANY: u32 = 65_537;

/// The steps of `conformance/README.md`.
const HEADER: u8 = 1;
const RAW: u8 = 3;

/// All of these cases.
pub fn cases() -> Vec<Made> {
    iter::empty()
        .chain(many())
        .chain([most()])
        .chain(above_the_limits())
        .chain(refused())
        .collect()
}

/// A source section and these tensors.
fn described(tensors: u32) -> Recipe {
    Recipe {
        source_spaces: Some(0),
        ..alone(tensors)
    }
}

/// These tensors without a source section.
fn alone(tensors: u32) -> Recipe {
    Recipe {
        tensors,
        name_length: 8,
        source_spaces: None,
        extension: None,
    }
}

fn many() -> impl Iterator<Item = Made> {
    let made = |id, claim, sections: &[&'static str], step, expect| Made {
        id,
        claim,
        sections: sections.to_vec(),
        step,
        recipe: described(MANY),
        large: false,
        expect,
    };
    [
        made(
            "65537-tensors",
            "a file of 65,537 tensors decodes, with a directory and a source section of more than 1 MiB",
            &["3.1", "3.2", "3.3", "9"],
            Some(RAW),
            Expect::Accept,
        ),
        made(
            "65537-tensors-huffman-12",
            "a source of 65,537 tensors is encoded",
            &["11.1"],
            None,
            Expect::Encode,
        ),
        made(
            "65537-tensors-to-palette",
            "a file of 65,537 tensors is transcoded",
            &["11.9"],
            None,
            Expect::Transcode,
        ),
    ]
    .into_iter()
}

fn most() -> Made {
    Made {
        id: "1048576-tensors",
        claim: "a file has up to 2^20 tensors",
        sections: vec!["3.1", "3.2", "9"],
        step: Some(RAW),
        recipe: alone(1 << 20),
        large: true,
        expect: Expect::Accept,
    }
}

fn above_the_limits() -> impl Iterator<Item = Made> {
    let made = |id, rule, claim, recipe| Made {
        id,
        claim,
        sections: sections_of(rule).into_iter().chain(["10"]).collect(),
        step: Some(HEADER),
        recipe,
        large: true,
        expect: Expect::Reject(rule),
    };
    [
        made(
            "1048577-tensors",
            Rule::LimitTensors,
            "a file has at most 2^20 tensors",
            alone((1 << 20) + 1),
        ),
        made(
            "directory-of-more-than-2-to-the-28-bytes",
            Rule::LimitDirectory,
            "a directory has at most 2^28 bytes",
            // 4096 tensors of 40 + 8 + 65,535 bytes.
            Recipe {
                name_length: 65_535,
                ..alone(4096)
            },
        ),
        made(
            "source-of-more-than-2-to-the-28-bytes",
            Rule::LimitSource,
            "a source section has at most 2^28 bytes",
            Recipe {
                source_spaces: Some(1 << 28),
                ..described(1)
            },
        ),
        made(
            "extensions-of-more-than-2-to-the-28-bytes",
            Rule::LimitExtensions,
            "extensions have at most 2^28 bytes",
            Recipe {
                extension: Some(1 << 28),
                ..alone(1)
            },
        ),
    ]
    .into_iter()
}

fn refused() -> impl Iterator<Item = Made> {
    let made = |id, claim, recipe| Made {
        id,
        claim,
        sections: vec!["9", "11.1"],
        step: None,
        recipe,
        large: true,
        expect: Expect::EncodeRefuse,
    };
    [
        made(
            "1048577-tensors-refused",
            "an encoder refuses a source of more than 2^20 tensors",
            described((1 << 20) + 1),
        ),
        made(
            "source-of-more-than-2-to-the-28-bytes-refused",
            "an encoder refuses a source whose header would make a source section of more than 2^28 bytes",
            Recipe {
                source_spaces: Some(1 << 28),
                ..described(1)
            },
        ),
    ]
    .into_iter()
}
