//! Every backend of `unweight-cpu` on this machine gives the results that the corpus expects, by the
//! crate `unweight`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use unweight::container::{self, Encoder, OpenFile, TransferError};
use unweight::{CompressOptions, CompressPlan, Encoding, ReadError, Serial};
use unweight_conformance_runner::{Corpus, Parameters, Profile, Rejection, Verdict};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::SourceKind;
use unweight_format::write::{ContainerWriter, Declaration};

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

fn rejection(error: ReadError) -> Rejection {
    Rejection::naming(error.rule().expect("memory does not fail").id())
}

#[test]
fn every_decoder_passes_and_names_exactly_the_rule_that_a_case_breaks() {
    for codec in codecs() {
        let report = corpus()
            .check(Profile::Full, |file| {
                restore(codec, file).map_err(rejection)
            })
            .unwrap();
        report.assert_passed();
        assert!(matches!(
            report.decoder_verdict(Profile::Full),
            Verdict::Passed(_)
        ));
        assert_eq!(
            report.differently_named(),
            Vec::<String>::new(),
            "{codec:?}"
        );
    }
}

#[test]
fn every_encoder_is_canonical_and_refuses_what_is_no_source() {
    for codec in codecs() {
        let report = corpus()
            .check_encoder(|source, parameters| encode(codec, source, parameters))
            .unwrap();
        report.assert_passed();
        assert!(matches!(report.encoder_verdict(), Verdict::Passed(_)));
    }
}

#[test]
fn every_transcoder_is_canonical_and_names_exactly_the_rule_that_a_case_breaks() {
    for codec in codecs() {
        let report = corpus()
            .check_transcoder(|file, parameters| transcode(codec, file, parameters))
            .unwrap();
        report.assert_passed();
        assert!(matches!(report.transcoder_verdict(), Verdict::Passed(_)));
        assert_eq!(
            report.differently_named(),
            Vec::<String>::new(),
            "{codec:?}"
        );
    }
}

/// Every rule can be broken by a file that is to be transcoded.
#[test]
fn a_transcoder_meets_every_rule() {
    let corpus = corpus();
    let rules = |kind: &str| -> BTreeSet<&str> {
        let cases = corpus.cases().iter().filter(|case| case.kind() == kind);
        cases.filter_map(|case| Some(case.rule()?.0)).collect()
    };
    assert_eq!(rules("transcode-refuse"), rules("reject"));
}

/// The restored source with every rule checked, which is the output of `unweight decompress`.
fn restore(codec: Codec, file: &[u8]) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container().with_codec(codec);
    let mut restored = Vec::new();
    container::restore(&container, &Serial, |bytes| {
        restored.extend(bytes);
        Ok::<_, ReadError>(())
    })?;
    Ok(restored)
}

/// The output of `unweight compress`.
fn encode(codec: Codec, source: &[u8], parameters: &Parameters) -> Result<Vec<u8>, Rejection> {
    let encoding = encoding_of(parameters);
    let chunk = parameters.value("chunk").expect("every case sets it");
    let chunk = chunk.parse().expect("a number");
    let plan =
        CompressPlan::read(source, &CompressOptions::new()).map_err(|_| Rejection::unnamed())?;
    let header = plan.header();
    let section = &source[..header.header_bytes as usize];
    let tensors = header.tensors.iter();
    let declarations: Vec<Declaration<'_>> = tensors.map(|tensor| tensor.declaration()).collect();
    let mut writer =
        ContainerWriter::new(Vec::new(), SourceKind::Safetensors, section, declarations)
            .map_err(|_| Rejection::unnamed())?;
    let encoder = Encoder::new(codec);
    for tensor in &header.tensors {
        let data = header.data(tensor);
        encoder
            .encode_tensor(&mut writer, source, data, encoding, chunk, &Serial)
            .unwrap();
    }
    Ok(writer.finish().unwrap())
}

/// The output of `unweight transcode`.
fn transcode(codec: Codec, file: &[u8], parameters: &Parameters) -> Result<Vec<u8>, Rejection> {
    let open = OpenFile::read(file).map_err(rejection)?;
    let container = open.container().with_codec(codec);
    let encoding = encoding_of(parameters);
    let transcoded = container::transcode(&container, encoding, Vec::new(), &Serial);
    transcoded.map_err(|error| match error {
        TransferError::Read(error) => rejection(error),
        error => panic!("{error}"),
    })
}

fn encoding_of(parameters: &Parameters) -> Encoding {
    match parameters.value("encoding") {
        Some("huffman") => Encoding::Huffman,
        Some("palette") => Encoding::Palette,
        other => panic!("encoding {other:?}"),
    }
}
