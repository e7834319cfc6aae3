//! Encode cases (section 11): a source, and the single file that a canonical encoder produces from
//! it. The files come from the reference encoder of `unweight-cpu`. Each is also a case for
//! decoders, with the source as its expected result.

mod codes;
mod containers;
mod records;

use half::bf16;
use unweight::{Serial, container::Encoder};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, SourceKind};

use crate::case::{Case, Cases, Expect};
use crate::draft::Tensor;
use crate::random::Random;
use crate::source;
use crate::weights::Weights;

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    containers::containers(cases);
    codes::palettes(cases);
    codes::code_lengths(cases);
    codes::own_codes(cases);
    records::patches(cases);
    records::verbatim(cases);
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
                encode(&header, &self.tensors, encoding, chunk),
            );
            let full = encoding == Encoding::Palette;
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

/// The output of the reference encoder of `unweight-cpu` for these tensors, with every BF16 tensor
/// coded.
fn encode(header: &[u8], tensors: &[Tensor], encoding: Encoding, chunk: u8) -> Vec<u8> {
    let reference = Codec::of(Isa::Reference).expect("the reference runs everywhere");
    let names: Vec<&str> = tensors
        .iter()
        .map(|tensor| std::str::from_utf8(&tensor.name).expect("names are UTF-8"))
        .collect();
    let declarations = tensors
        .iter()
        .zip(names)
        .map(|(tensor, name)| Declaration::new(name, tensor.dtype, &tensor.shape));
    let mut writer = ContainerWriter::new(
        Vec::new(),
        SourceKind::Safetensors,
        header,
        declarations.collect(),
    )
    .expect("the source is valid");
    for tensor in tensors {
        if tensor.dtype == Dtype::Bf16 {
            let weights: Vec<bf16> = tensor
                .data
                .chunks_exact(2)
                .map(|pair| bf16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            Encoder::new(reference)
                .encode_tensor(&mut writer, &weights[..], encoding, chunk, &Serial)
                .expect("weights can be encoded");
        } else {
            let mut raw = writer.raw().expect("a tensor is left");
            raw.write(&tensor.data).expect("the data fits");
            raw.finish().expect("the data is complete");
        }
    }
    writer.finish().expect("every tensor was written")
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
