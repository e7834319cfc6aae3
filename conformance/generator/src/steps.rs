//! Steps of `conformance/README.md`: with which one a decoder gets a case right.
//!
//! The step of a valid file is that of what it contains. The step of an invalid one is that of the
//! rule that it breaks, and not before that of what else it contains, unless header and directory
//! alone show that the rule is broken.

use unweight_conformance_runner::inspect::{File, Form, Kind, Parts, Tensor};
use unweight_format::Rule;

use crate::case::Expect;

const HEADER: u8 = 1;
const DIRECTORY: u8 = 2;
const RAW: u8 = 3;
const EXTENSIONS: u8 = 4;
const CONSTANTS: u8 = 5;
const VERBATIM: u8 = 6;
const HUFFMAN: u8 = 7;
const SEVERAL_CODED_FIELDS: u8 = 8;
const PALETTE: u8 = 9;
const SOURCE_HEADER: u8 = 10;

/// The step of a case about a file with these bytes; none if it does not concern a decoder.
pub fn of_case(expect: &Expect, bytes: &[u8]) -> Option<u8> {
    Some(match expect {
        Expect::Accept { .. } => of_contents(bytes),
        Expect::Reject(rule) => match of_rule(*rule) {
            step @ (HEADER | DIRECTORY) => step,
            step => step.max(of_contents(bytes)),
        },
        Expect::Prefixes(rule) => of_rule(*rule),
        Expect::Encode { .. }
        | Expect::EncodeRefuse
        | Expect::Transcode { .. }
        | Expect::TranscodeRefuse { .. } => return None,
    })
}

/// Whether a decoder of profile core has to reject the file of this case: a field has the form
/// palette.
pub fn is_rejected_in_core(expect: &Expect, bytes: &[u8]) -> bool {
    let is_decode = matches!(
        expect,
        Expect::Accept { .. } | Expect::Reject(_) | Expect::Prefixes(_)
    );
    let file = File::read(bytes);
    let has_palette = file.is_ok_and(|file| {
        let mut forms = file.tensors().iter().flat_map(Tensor::forms);
        forms.any(|form| form == Form::Palette)
    });
    is_decode && has_palette
}

fn of_rule(rule: Rule) -> u8 {
    match (rule, rule.section()) {
        (Rule::SourceHeader, _) => SOURCE_HEADER,
        // The end of the last payload is in the directory.
        (Rule::FileLength, _) => DIRECTORY,
        (Rule::PaletteCrc | Rule::PaletteValues, _) => CONSTANTS,
        (Rule::RecordEnds | Rule::RecordTooLong, _) => VERBATIM,
        (_, "3.1") => HEADER,
        (_, "3.2" | "3.3" | "4.1") => DIRECTORY,
        (_, "3.4") => EXTENSIONS,
        (_, "5.1") => VERBATIM,
        (_, "5.2" | "5.5" | "6") => HUFFMAN,
        _ => RAW,
    }
}

/// The step with which a decoder can read all that a file contains.
fn of_contents(bytes: &[u8]) -> u8 {
    let Ok(file) = File::read(bytes) else {
        return HEADER;
    };
    let extensions = if file.extensions().is_empty() {
        DIRECTORY
    } else {
        EXTENSIONS
    };
    let tensors = file.tensors().iter().map(|tensor| of_tensor(&file, tensor));
    tensors.fold(extensions, u8::max)
}

fn of_tensor(file: &File<'_>, tensor: &Tensor) -> u8 {
    let forms = tensor.forms();
    let Ok(parts) = tensor.parts() else {
        return RAW;
    };
    if forms.contains(&Form::Palette) {
        return PALETTE;
    }
    match parts.coded.len() {
        0 if parts.stored.is_empty() => RAW,
        0 => CONSTANTS,
        1 if has_huffman_records(file, tensor, &parts) => HUFFMAN,
        1 => VERBATIM,
        _ => SEVERAL_CODED_FIELDS,
    }
}

/// Whether a record of the only coded field may be other than verbatim. One that cannot be read may.
fn has_huffman_records(file: &File<'_>, tensor: &Tensor, parts: &Parts) -> bool {
    // A chunk count that the file cannot hold ends at the first record that is not there.
    (0..parts.chunks).any(|chunk| {
        let record = file.record(tensor, parts, chunk, 0);
        record.map_or(true, |record| record.kind != Kind::Verbatim)
    })
}
