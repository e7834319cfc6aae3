//! Every case of the conformance corpus for decoders: valid files give the stated bytes, whole and
//! in part, and invalid ones break the stated rule.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};
use unweight::{Coalesce, Error, Isa, Model, OpenOptions};
use unweight_testkit::{Random, repository};

fn corpus() -> PathBuf {
    repository("conformance/corpus")
}

fn cases(kind: &str) -> Vec<Value> {
    let manifest = fs::read(corpus().join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut cases = std::mem::take(manifest["cases"].as_array_mut().unwrap());
    cases.retain(|case| case["kind"] == kind);
    cases
}

fn file(case: &Value) -> Vec<u8> {
    fs::read(corpus().join(case["file"].as_str().unwrap())).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn restored(model: &Model) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    model.restore(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn restores_every_valid_file() {
    let cases = cases("accept");
    assert!(cases.len() >= 380, "{}", cases.len());
    let mut random = Random::new(1);
    for case in &cases {
        let (id, file) = (&case["id"], file(case));
        for isa in Isa::available() {
            let backend = unweight::Backend::Cpu(isa);
            let options = OpenOptions::new().threads(1).backend(backend);
            let model = options.open_bytes(&file[..]).unwrap();
            let bytes = restored(&model).unwrap_or_else(|error| panic!("{id}: {error}"));
            assert_eq!(sha256(&bytes), case["restored"]["sha256"], "{id} {isa}");
        }
        let options = OpenOptions::new().coalesce(Coalesce::new().gap_bytes(64));
        for options in [OpenOptions::new(), options] {
            let model = options.open_bytes(&file[..]).unwrap();
            for stated in case["tensors"].as_array().unwrap() {
                let tensor = model.tensor(stated["name"].as_str().unwrap()).unwrap();
                let whole = tensor.to_bytes().unwrap();
                assert_eq!(sha256(&whole), stated["sha256"], "{id}");
                let range = random.range_in(whole.len() as u64);
                let mut part = vec![0xa5; (range.end - range.start) as usize];
                tensor
                    .read_byte_range_into(range.clone(), &mut part)
                    .unwrap();
                assert!(
                    part == whole[range.start as usize..range.end as usize],
                    "{id}"
                );
            }
        }
    }
}

#[test]
fn names_the_rule_that_every_invalid_file_breaks() {
    let cases = cases("reject");
    assert!(cases.len() >= 650, "{}", cases.len());
    for case in &cases {
        let (id, file) = (&case["id"], file(case));
        for options in [
            OpenOptions::new().threads(1),
            OpenOptions::new().threads(1).coalesce(Coalesce::new()),
        ] {
            let done = options.open_bytes(&file[..]);
            let error = done.and_then(|model| restored(&model)).map(drop);
            let rule = error.expect_err("an invalid file").rule().unwrap();
            assert_eq!(rule.id(), case["rule"], "{id}");
        }
    }
}
