//! Every backend of `unweight-cpu` on this machine gives the results that the corpus expects.

use std::path::PathBuf;

use half::bf16;
use unweight::safetensors::Header;
use unweight::{
    ReadError, Serial,
    container::{Encoder, OpenFile, copy_raw_tensor},
};
use unweight_conformance_runner::{Corpus, Parameters, Profile, Rejection, Report, Verdict};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, SourceKind};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn corpus() -> Corpus {
    Corpus::open(folder()).unwrap()
}

/// The codec of every backend that this machine can run, from the reference on.
fn codecs() -> impl Iterator<Item = Codec> {
    Isa::available().filter_map(Codec::of)
}

/// The restored source with every rule checked, which is the output of `unweight decompress`.
fn restore(codec: Codec, file: &[u8]) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container().with_codec(codec);
    let mut restored = Vec::new();
    unweight::container::restore(&container, &Serial, |bytes| {
        restored.extend(bytes);
        Ok::<_, ReadError>(())
    })?;
    Ok(restored)
}

fn rejection(error: ReadError) -> Rejection {
    Rejection::naming(error.rule().expect("memory does not fail").id())
}

fn run(codec: Codec) -> Report {
    corpus()
        .check(|file| restore(codec, file).map_err(rejection))
        .unwrap()
}

#[test]
fn every_decoder_passes_and_names_exactly_the_rule_that_a_case_breaks() {
    for codec in codecs() {
        let report = run(codec);
        report.assert_passed();
        assert!(matches!(
            report.decoder_verdict(Profile::Full),
            Verdict::Passed(_)
        ));
        let wrong: Vec<String> = report
            .cases
            .iter()
            .filter_map(|report| {
                let (rule, _) = report.case.rule()?;
                let named = report.named_rule.as_deref();
                (named != Some(rule)).then(|| format!("{}: {rule}, not {named:?}", report.case.id))
            })
            .collect();
        assert!(wrong.is_empty(), "{codec:?}\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_encoder_is_canonical() {
    for codec in codecs() {
        let report = corpus()
            .check_encoder(|source, parameters| encode(codec, source, parameters))
            .unwrap();
        report.assert_passed();
        assert!(matches!(report.encoder_verdict(), Verdict::Passed(_)));
    }
}

/// Encodes with every BF16 tensor coded, which is the output of `unweight compress`.
fn encode(codec: Codec, source: &[u8], parameters: &Parameters) -> Result<Vec<u8>, Rejection> {
    let value = |name| parameters.value(name).expect("every case sets it");
    let encoding = match value("encoding") {
        "huffman" => Encoding::Huffman,
        "palette" => Encoding::Palette,
        other => panic!("encoding {other}"),
    };
    let chunk = value("chunk").parse().expect("a number");
    let json_bytes = u64::from_le_bytes(source[..8].try_into().expect("a length"));
    let (header, data) = source.split_at(8 + json_bytes as usize);
    let parsed = Header::parse(header).map_err(|_| Rejection::unnamed())?;
    let declarations = parsed
        .tensors
        .iter()
        .map(|tensor| tensor.declaration())
        .collect::<Vec<Declaration<'_>>>();
    let mut writer =
        ContainerWriter::new(Vec::new(), SourceKind::Safetensors, header, declarations).unwrap();
    for tensor in &parsed.tensors {
        let bytes = &data[tensor.begin as usize..tensor.end as usize];
        if tensor.dtype == Dtype::Bf16 {
            let weights: Vec<bf16> = bytes
                .as_chunks()
                .0
                .iter()
                .map(|&pair| bf16::from_le_bytes(pair))
                .collect();
            Encoder::new(codec)
                .encode_tensor(&mut writer, &weights[..], encoding, chunk, &Serial)
                .unwrap();
        } else {
            copy_raw_tensor(&mut writer, source, parsed.data(tensor)).unwrap();
        }
    }
    Ok(writer.finish().unwrap())
}
