//! The reader against every file of the corpus.

use super::{
    costs,
    explain::{Costs, field_codes},
    *,
};
use crate::{Corpus, Expect};

fn corpus() -> Corpus {
    Corpus::embedded()
}

/// The code that an encoder takes is the record's, in every file that an encoder must write.
#[test]
fn the_costs_explain_the_code_of_every_record_that_an_encoder_must_write() {
    let (corpus, mut own, mut fields) = (corpus(), 0, 0);
    for case in corpus.cases() {
        let Expect::Encode { .. } = case.expect else {
            continue;
        };
        let bytes = corpus.read(&case.file).unwrap();
        let file = File::read(&bytes).unwrap();
        for tensor in file.tensors() {
            let parts = tensor.parts().unwrap();
            let codes = field_codes(
                &file,
                tensor,
                &parts,
                &file.coded_values(tensor, &parts).unwrap(),
            )
            .unwrap();
            for (chunk, i) in
                (0..parts.chunks).flat_map(|chunk| (0..parts.coded.len()).map(move |i| (chunk, i)))
            {
                let record = file.record(tensor, &parts, chunk, i).unwrap();
                if record.kind != Kind::Huffman {
                    continue;
                }
                let palette = file.palette(tensor, &parts, parts.coded[i]).unwrap();
                let counts = costs::count(&record.values(palette).unwrap());
                let choice = Costs::of(&counts, record.weights, palette, &codes[i]);
                let taken = if choice.takes_own() {
                    choice.own_code
                } else {
                    codes[i]
                };
                assert_eq!(record.code_lengths, taken, "{} chunk {chunk}", case.id);
                *(if choice.takes_own() {
                    &mut own
                } else {
                    &mut fields
                }) += 1;
            }
        }
    }
    assert!(
        own > 0 && fields > 0,
        "{own} own codes, {fields} codes of fields"
    );
}

#[test]
fn every_valid_file_is_restored_and_explained() {
    let (corpus, mut files) = (corpus(), 0);
    for case in corpus.cases() {
        let Expect::Accept(accept) = &case.expect else {
            continue;
        };
        let bytes = corpus.read(&case.file).unwrap();
        let restored = super::restore(&bytes).unwrap();
        let digest = crate::digest::sha256_hex(&restored);
        assert_eq!(digest, accept.sha256, "{}", case.id);
        let text = explain(&bytes, &Choice::default()).unwrap();
        assert!(!text.contains("WRONG"), "{}: {text}", case.id);
        assert!(!text.contains("cannot"), "{}: {text}", case.id);
        files += 1;
    }
    assert!(files > 400, "{files}");
}

/// A file that breaks a rule is explained as far as it can be, and never with a panic.
#[test]
fn every_invalid_file_is_explained_as_far_as_it_can_be() {
    let (corpus, choice, mut explained) = (corpus(), Choice::default(), 0);
    for case in corpus.cases() {
        let bytes = corpus.read(&case.file).unwrap();
        if let Expect::Reject { .. } = case.expect {
            explained += usize::from(explain(&bytes, &choice).is_ok());
        } else if bytes.len() < 4096 {
            let half = &bytes[..bytes.len() / 2];
            explained += usize::from(explain(half, &choice).is_ok());
        }
    }
    assert!(explained > 500, "{explained}");
}
