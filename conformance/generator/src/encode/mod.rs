//! Encode cases (section 11): a source, and the single file that a canonical encoder produces from
//! it. The files come from the encoder in `conformance/decoders/python`, which was written from the
//! specification alone; the tests compare them with those of `unweight-cpu`. Each is also a case
//! for decoders, with the source as its expected result.

mod codes;
mod containers;
mod exact;
mod forms;
mod records;

use unweight_format::Encoding;

use crate::case::{Case, Cases, Expect};
use crate::draft::Tensor;
use crate::python;
use crate::random::Random;
use crate::source;
use crate::weights::Weights;

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    containers::containers(cases);
    codes::palettes(cases);
    codes::code_lengths(cases);
    codes::frequent(cases);
    codes::own_codes(cases);
    records::patches(cases);
    records::verbatim(cases);
    forms::constants(cases);
    forms::thresholds(cases);
    forms::types(cases);
    forms::samples(cases);
    exact::add(cases);
    containers::raw_instead(cases);
    containers::real_weights(cases);
}

/// A source and the parameters of the files to encode it to.
struct Vector<'a> {
    id: &'a str,
    sections: &'a [&'static str],
    claim: &'a str,
    /// The JSON of the header and the tensors that it describes.
    json: Vec<u8>,
    tensors: Vec<Tensor>,
}

impl Vector<'_> {
    fn of<'a>(
        id: &'a str,
        sections: &'a [&'static str],
        claim: &'a str,
        tensors: impl Into<Vec<Tensor>>,
    ) -> Vector<'a> {
        let tensors = tensors.into();
        let json = source::describe(&tensors);
        Vector {
            id,
            sections,
            claim,
            json,
            tensors,
        }
    }

    /// Adds the source, and an encode case and a decode case for each of the parameters.
    fn add(self, cases: &mut Cases, parameters: &[(Encoding, u8)]) {
        let header = [&(self.json.len() as u64).to_le_bytes()[..], &self.json].concat();
        let data = self.tensors.iter().flat_map(|tensor| &tensor.data);
        let source: Vec<u8> = header.iter().chain(data).copied().collect();
        let path = cases.file(format!("encode/{}.safetensors", self.id), source.clone());
        for &(encoding, chunk) in parameters {
            let id = format!("{}-{encoding}-{chunk}", self.id);
            let file = cases.file(
                format!("encode/{id}.unw"),
                python::encode(&source, encoding, chunk),
            );
            let full = has_palette(&cases.files[cases.files.len() - 1].bytes);
            let case = Case {
                id: format!("{id}-decodes"),
                claim: format!("what the canonical encoder makes of {} decodes", self.id),
                full,
                sections: vec!["7"],
                file: file.clone(),
                expect: Expect::Accept {
                    restored: source.clone(),
                    tensors: self.tensors.clone(),
                    source: Some(path.clone()),
                },
            };
            cases.cases.push(Case {
                id,
                claim: self.claim.to_owned(),
                full,
                sections: self.sections.to_vec(),
                file,
                expect: Expect::Encode {
                    source: path.clone(),
                    encoding: encoding.name(),
                    chunk,
                },
            });
            cases.cases.push(case);
        }
    }
}

/// Whether a file has a field in the form palette, which a decoder of profile core rejects.
pub(crate) fn has_palette(file: &[u8]) -> bool {
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes"));
    let mut forms = (0..number(12) as usize).map(|tensor| number(64 + 40 * tensor + 4));
    forms.any(|forms| (0..8).any(|field| forms >> (4 * field) & 15 == 2))
}

const BOTH: [(Encoding, u8); 2] = [(Encoding::Huffman, 12), (Encoding::Palette, 12)];
const HUFFMAN: [(Encoding, u8); 1] = [(Encoding::Huffman, 12)];
const PALETTE: [(Encoding, u8); 1] = [(Encoding::Palette, 12)];

/// A BF16 tensor of these exponents in pseudo-random order.
fn shuffled(name: &str, mut exponents: Vec<u8>) -> Tensor {
    Random::new(name).shuffle(&mut exponents);
    in_order(name, exponents)
}

/// A BF16 tensor of these exponents.
fn in_order(name: &str, exponents: Vec<u8>) -> Tensor {
    let count = exponents.len();
    let mut weights = Weights::new(name, exponents);
    // There are few different bytes, because the repository contains these files.
    for (i, byte) in weights.sign_mantissa.iter_mut().enumerate() {
        *byte = (i % 227) as u8;
    }
    assert_eq!(weights.len(), count);
    Tensor::raw_weights(name, &weights)
}

/// The exponents with these counts.
fn counts(counts: &[(u8, usize)]) -> Vec<u8> {
    let of_each = counts
        .iter()
        .map(|&(exponent, count)| vec![exponent; count]);
    of_each.collect::<Vec<_>>().concat()
}
