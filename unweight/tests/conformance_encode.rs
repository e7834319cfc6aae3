//! The files that a canonical encoder makes of the sources in the conformance corpus.

use std::fs;

use serde_json::Value;
use unweight::{CompressOptions, Encoding, compress};
use unweight_testkit::repository;

#[test]
fn compresses_every_source_of_the_corpus_to_its_file() {
    let corpus = repository("conformance/corpus");
    let manifest = fs::read(corpus.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let cases = manifest["cases"].as_array().unwrap().iter();
    let mut seen = 0;
    for case in cases.filter(|case| case["kind"] == "encode") {
        let read = |name: &str| fs::read(corpus.join(case[name].as_str().unwrap())).unwrap();
        let encoding = match case["parameters"]["encoding"].as_str() {
            Some("huffman") => Encoding::Huffman,
            Some("palette") => Encoding::Palette,
            other => panic!("encoding {other:?}"),
        };
        let options = CompressOptions::new()
            .encoding(encoding)
            .chunk_size_log2(case["parameters"]["chunk"].as_u64().unwrap() as u8);
        for threads in [1, 3] {
            let options = options.clone().threads(threads);
            let found = compress(&read("source"), &options).unwrap();
            assert!(found == read("file"), "{}, {threads} threads", case["id"]);
        }
        seen += 1;
    }
    assert!(seen >= 60, "{seen} cases");
}
