//! Transcode cases (section 11.9): a valid file, and the single file that a transcoder produces from
//! it; and files that it rejects. The files come from the transcoder in
//! `conformance/decoders/python`, which was written from the specification alone; the tests compare
//! them with those of `unweight-cpu`. Each is also a case for decoders.

mod containers;
mod forms;
mod raw;
mod records;
mod refusals;

use unweight_format::Encoding;

use crate::case::{Case, Cases, Expect};
use crate::encode::has_palette;
use crate::python;

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    records::add(cases);
    forms::add(cases);
    raw::add(cases);
    containers::add(cases);
    refusals::add(cases);
}

const BOTH: [Encoding; 2] = [Encoding::Huffman, Encoding::Palette];

/// Transcodes the file of the accept case `from`. A case `FROM-to-ENCODING` is added, and a case for
/// decoders. Returns the path of the new file.
fn transcode(
    cases: &mut Cases,
    from: &str,
    encoding: Encoding,
    sections: &[&'static str],
    claim: &str,
) -> String {
    let id = id_of(from, encoding);
    let file = python::transcode(source_of(cases, from).1, encoding);
    let path = cases.file(format!("transcode/{id}.unw"), file);
    expect(cases, &id, from, encoding, sections, claim, &path);
    let case = cases.case(from);
    let decodes = Case {
        id: format!("{id}-decodes"),
        claim: format!("what a transcoder makes of {from} decodes"),
        full: has_palette(cases.bytes(&path)),
        sections: vec!["7"],
        file: path.clone(),
        expect: case.expect.clone(),
    };
    cases.cases.push(decodes);
    path
}

/// Transcodes the file of the accept case `from` to a file that the corpus has.
fn transcode_to(
    cases: &mut Cases,
    from: &str,
    encoding: Encoding,
    sections: &[&'static str],
    claim: &str,
    path: &str,
) {
    let file = python::transcode(source_of(cases, from).1, encoding);
    assert!(file == cases.bytes(path), "{from}: differs from {path}");
    let id = id_of(from, encoding);
    expect(cases, &id, from, encoding, sections, claim, path);
}

fn expect(
    cases: &mut Cases,
    id: &str,
    from: &str,
    encoding: Encoding,
    sections: &[&'static str],
    claim: &str,
    path: &str,
) {
    let (source, input) = source_of(cases, from);
    let full = encoding == Encoding::Palette || has_palette(input);
    let case = Case {
        id: id.to_owned(),
        claim: claim.to_owned(),
        full,
        sections: sections.iter().copied().chain(["11.9"]).collect(),
        file: path.to_owned(),
        expect: Expect::Transcode {
            source: source.to_owned(),
            encoding: encoding.name(),
        },
    };
    cases.cases.push(case);
}

fn id_of(from: &str, encoding: Encoding) -> String {
    format!("{}-to-{encoding}", from.trim_end_matches("-decodes"))
}

/// Path and contents of the file of a case.
fn source_of<'a>(cases: &'a Cases, id: &str) -> (&'a str, &'a [u8]) {
    let path = &cases.case(id).file;
    (path, cases.bytes(path))
}
